//! The mail server of the examples from outside: the wire cases of the front door, and what it does with a client.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../examples/mail/main.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod mail;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use common::net::{bind, dial, dial_as};
use common::{LOCAL, V1};
use mail::Protocol;
use mail::door::{Door, MOST_OF_ONE};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use truepeer::NetworkSet;
use truepeer::proto::{Addresses, ClientFlags, Encoder, Tlv, TlvType};

async fn start(protocol: Protocol) -> (JoinSet<()>, SocketAddr) {
    let (listener, addr) = bind().await;
    let mut server = JoinSet::new();
    let denied = NetworkSet::parse(["192.0.2.66", "2001:db8:66::/48"]).unwrap();
    server.spawn(mail::serve(listener, protocol, Arc::new(Door::new(denied))));
    (server, addr)
}

/// All that is answered to `bytes` and the end of them. A connection that is closed with bytes unread is reset.
async fn answer(mut stream: TcpStream, bytes: &[u8]) -> String {
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}

fn cases() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/vectors.json");
    let all: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    all.into_iter().filter(|case| case["transport"] == "stream").collect()
}

fn bytes(case: &Value) -> Vec<u8> {
    let hex = case["hex"].as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Whom an accepted case is for: `None` is the proxy itself.
fn client(case: &Value, header: &[u8]) -> Option<IpAddr> {
    let src: SocketAddr = case["src"].as_str()?.parse().ok()?;
    let is_datagram = case["version"] == 2 && header[13] & 0xF == 2;
    (case["command"] == "PROXY" && !is_datagram).then(|| src.ip().to_canonical())
}

#[tokio::test]
async fn every_wire_case_ends_as_at_the_front_door() {
    let (_server, addr) = start(Protocol::Smtp).await;
    let (mut clients, mut own, mut refused) = (0, 0, 0);
    for case in cases() {
        let sent = bytes(&case);
        let Some(consumed) = case["consumed"].as_u64() else {
            refused += 1;
            let said = answer(dial(addr, b"").await, &sent).await;
            assert_eq!(said, "", "{}: whoever sends no good header hears nothing", case["id"]);
            continue;
        };
        let header = &sent[..usize::try_from(consumed).unwrap()];
        let said = answer(dial(addr, header).await, b"EHLO client\r\nRSET\r\n").await;
        match client(&case, header) {
            Some(ip) if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]) => {
                assert_eq!(said, "", "{}: nobody is {ip}", case["id"]);
            }
            Some(ip) => {
                clients += 1;
                assert!(said.contains(&format!(" greets {ip}\r\n")), "{}: {said}", case["id"]);
            }
            None => {
                own += 1;
                assert!(said.contains("\r\n250 mx.example.org\r\n421 4.3.0 "), "{}: {said}", case["id"]);
            }
        }
    }
    assert!(clients > 30 && own > 10 && refused > 60, "{clients} {own} {refused}");
}

/// A v2 header for 203.0.113.5:40000 who came over TLS.
fn secure() -> Vec<u8> {
    let value = [&[ClientFlags::SSL.0, 0, 0, 0, 0][..], &[0x21, 0, 7], b"TLSv1.3"].concat();
    let tlvs = [Tlv { kind: TlvType::SSL, value: &value }];
    let addresses = Addresses::Inet {
        source: "203.0.113.5:40000".parse().unwrap(),
        destination: "198.51.100.2:25".parse().unwrap(),
    };
    truepeer::OutgoingHeader::encode(&Encoder::v2(addresses).tlvs(&tlvs)).unwrap().as_bytes().to_vec()
}

#[tokio::test]
async fn smtp_asks_logs_and_writes_down_the_client() {
    let (_server, addr) = start(Protocol::Smtp).await;
    let session =
        b"EHLO c.example\r\nAUTH PLAIN x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
    let said = answer(dial(addr, V1).await, session).await;
    for line in [
        "538 5.7.11 encryption required\r\n",
        "250 2.1.0 asked 5.113.0.203.bl.example.org\r\n",
        "250 2.0.0 Received: from c.example ([203.0.113.5]) by mx.example.org with ESMTP\r\n221 bye\r\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let said = answer(dial(addr, &secure()).await, session).await;
    assert!(said.contains("250-AUTH PLAIN\r\n") && said.contains(" with ESMTPS\r\n"), "{said}");
    let said = answer(dial_as(addr, "[2001:db8::5]:40000").await, session).await;
    let nibbles = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example.org";
    assert!(said.contains(nibbles) && said.contains("([IPv6:2001:db8::5])"), "{said}");
}

#[tokio::test]
async fn imap_lets_nobody_log_in_whose_tls_is_not_known() {
    let (_server, addr) = start(Protocol::Imap).await;
    let session = b"a CAPABILITY\r\nb LOGIN u p\r\nc LOGOUT\r\n";
    let said = answer(dial(addr, V1).await, session).await;
    assert!(said.contains("LOGINDISABLED") && said.contains("b NO [PRIVACYREQUIRED]"), "{said}");
    let said = answer(dial(addr, &secure()).await, session).await;
    assert!(said.contains("AUTH=PLAIN") && said.contains("b NO [AUTHENTICATIONFAILED]"), "{said}");
    let said = answer(dial(addr, LOCAL).await, session).await;
    assert!(said.contains("b NO [UNAVAILABLE]") && said.ends_with("c OK done\r\n"), "{said}");
}

#[tokio::test]
async fn the_denied_and_the_many_hear_it_in_the_protocol_and_others_are_served() {
    for (protocol, denied, too_many, greeting) in [
        (Protocol::Smtp, "554 5.7.1", "421 4.7.0", "220 "),
        (Protocol::Imap, "* BYE [NOPERM]", "* BYE [LIMIT]", "* OK "),
    ] {
        let (_server, addr) = start(protocol).await;
        for client in ["192.0.2.66:1", "[2001:db8:66:1::5]:1"] {
            let said = answer(dial_as(addr, client).await, b"").await;
            assert!(said.starts_with(denied) && said.lines().count() == 1, "{said}");
        }
        let mut open = Vec::new();
        for port in 1..=MOST_OF_ONE {
            let mut stream = dial_as(addr, &format!("[2001:db8:1::{port}]:1")).await;
            assert_ne!(stream.read_u8().await.unwrap(), 0);
            open.push(stream);
        }
        // One more of the same /64, and one of another.
        let said = answer(dial_as(addr, "[2001:db8:1::ffff]:1").await, b"").await;
        assert!(said.starts_with(too_many), "{said}");
        let said = answer(dial_as(addr, "[2001:db8:2::1]:1").await, b"").await;
        assert!(said.starts_with(greeting), "{said}");
        // The proxy is no client, whatever its clients do.
        let said = answer(dial(addr, LOCAL).await, b"").await;
        assert!(said.starts_with(greeting), "{said}");
        let first = open.remove(0);
        answer(first, b"").await;
        let said = answer(dial_as(addr, "[2001:db8:1::ffff]:1").await, b"").await;
        assert!(said.starts_with(greeting), "a place is free again: {said}");
    }
}
