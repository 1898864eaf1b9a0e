//! The examples, run against real sockets as their reader would run them.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../examples/backend.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod backend;
mod common;
#[path = "../examples/hyper.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod hyper;
#[path = "../examples/line.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod line;
#[path = "../examples/smtp.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod smtp;

use common::net::{bind, bind_untrusting, dial, http_get, read_all};
use common::{LOCAL, V1, V2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use truepeer::OutgoingHeader;
use truepeer::proto::{Addresses, ClientFlags, Encoder, Tlv, TlvType};

#[tokio::test]
async fn the_line_server_greets_the_client_by_its_address() {
    let (listener, addr) = bind().await;
    let mut server = JoinSet::new();
    server.spawn(line::serve(listener));
    let mut client = dial(addr, &[V2, b"one\ntwo\n"].concat()).await;
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, "hello 203.0.113.5:40000\none\ntwo\n");
}

/// A v2 header with an SSL TLV whose client byte is `flags`.
fn with_ssl(flags: ClientFlags) -> Vec<u8> {
    let value = [&[flags.0, 0, 0, 0, 0][..], &[0x21, 0, 7], b"TLSv1.3"].concat();
    let tlvs = [Tlv { kind: TlvType::SSL, value: &value }];
    let addresses = Addresses::Inet {
        source: "203.0.113.5:40000".parse().unwrap(),
        destination: "198.51.100.2:25".parse().unwrap(),
    };
    OutgoingHeader::encode(&Encoder::v2(addresses).tlvs(&tlvs)).unwrap().as_bytes().to_vec()
}

async fn ehlo(mut stream: TcpStream) -> String {
    // It speaks first: not a byte of ours but the header has been sent.
    let mut banner = [0; 26];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 mx.example.org ESMTP\r\n");
    stream.write_all(b"EHLO client\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n").await.unwrap();
    read_all(&mut stream).await
}

#[tokio::test]
async fn the_smtp_server_offers_auth_only_to_clients_that_came_over_tls() {
    let (listener, addr) = bind().await;
    let mut server = JoinSet::new();
    server.spawn(smtp::serve(listener));
    let offered =
        "250-mx.example.org greets 203.0.113.5\r\n250 AUTH PLAIN\r\n502 5.5.1 not here\r\n221 bye\r\n";
    let withheld = "250 mx.example.org greets 203.0.113.5\r\n538 5.7.11 encryption required\r\n221 bye\r\n";
    for (header, answer) in [
        (V1.to_vec(), withheld),
        (V2.to_vec(), withheld),
        (with_ssl(ClientFlags::SSL), offered),
        // The TLV is there, and says that there was no TLS.
        (with_ssl(ClientFlags(0)), withheld),
    ] {
        assert_eq!(ehlo(dial(addr, &header).await).await, answer);
    }
    // A health check is closed: it is nobody that could be greeted.
    let mut check = dial(addr, LOCAL).await;
    assert_eq!(read_all(&mut check).await, "");
}

#[tokio::test]
async fn hyper_sees_the_client() {
    let (listener, addr) = bind().await;
    let mut server = JoinSet::new();
    server.spawn(hyper::serve(listener));
    let answer = http_get(dial(addr, V1).await, "/", "").await;
    assert_eq!(answer, "HTTP/1.1 200 OK hello 203.0.113.5:40000\n");
}

#[tokio::test]
async fn the_small_proxy_tells_its_backend_who_we_are() {
    let (backend, backend_addr) = bind().await;
    let (proxy, addr) = bind_untrusting().await;
    let mut servers = JoinSet::new();
    servers.spawn(line::serve(backend));
    servers.spawn(backend::serve(proxy, backend_addr.to_string()));
    let mut client = dial(addr, b"line\n").await;
    let us = client.local_addr().unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, format!("hello {us}\nline\n"));
}
