//! The listener on real sockets: silent crowds, splits, half-close, UNIX.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::net::{bind, bind_with, dial, dial_as, read_all, silent_crowd};
use common::{Events, LOCAL, V1, V2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use truepeer::{
    ClientStream, Connection, IdentitySource, ListenerOptions, PeerAddress, ProxyListener, TrustPolicy,
    TrustedNetworks, UnixPeers, Unlisted,
};

/// A thousand trusted peers hold their header back, and the very next connection that is handed out is the good one.
#[tokio::test]
async fn behind_a_thousand_silent_peers_the_next_one_out_is_the_good_client() {
    let events = Events::default();
    let (mut listener, addr) = bind_with(events.observe(ListenerOptions::new())).await;
    // With nobody there, the good client is the first one out.
    let _good = dial(addr, V1).await;
    assert_eq!(listener.accept().await.client().to_string(), "203.0.113.5:40000");
    // With a thousand, as well. They connect while the listener runs: its queue is shorter than they are many.
    let (crowd, stream) = tokio::join!(
        async {
            let crowd = silent_crowd(addr, 1000).await;
            let good = dial(addr, V2).await;
            (crowd, good)
        },
        listener.accept(),
    );
    assert_eq!(stream.client().to_string(), "203.0.113.5:40000");
    assert_eq!(listener.pending(), 1000, "every one of them was accepted before, and is awaited still");
    assert!(events.take().is_empty(), "nobody was sent away for it");
    drop(crowd);
}

#[tokio::test]
async fn both_ends_of_a_direct_connection_are_told() {
    let mut listener = ProxyListener::bind("127.0.0.1:0", TrustedNetworks::nobody()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = dial(addr, b"").await;
    let stream = listener.accept().await;
    assert_eq!(stream.client().to_string(), client.local_addr().unwrap().to_string());
    assert_eq!(stream.client().identity().destination().unwrap().to_string(), addr.to_string());
    assert_eq!(stream.client().identity().source(), IdentitySource::Direct);
}

#[tokio::test]
async fn bytes_flow_both_ways_and_half_close_is_seen() {
    let (mut listener, addr) = bind().await;
    let mut client = dial(addr, &[V2, b"first "].concat()).await;
    let mut server = listener.accept().await;
    client.write_all(b"second").await.unwrap();
    client.shutdown().await.unwrap();
    let mut all = String::new();
    server.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "first second");
    let (head, body) = (std::io::IoSlice::new(b"an"), std::io::IoSlice::new(b"swer"));
    assert!(tokio::io::AsyncWrite::is_write_vectored(&server));
    assert_eq!(server.write_vectored(&[head, body]).await.unwrap(), 6);
    server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await, "answer");
}

#[tokio::test]
async fn the_stream_comes_apart_and_together_again_without_losing_a_byte() {
    let (mut listener, addr) = bind().await;
    let mut client = dial(addr, &[V1, b"early"].concat()).await;
    client.write_all(b" late").await.unwrap();
    client.shutdown().await.unwrap();
    let mut stream = listener.accept().await;
    let mut two = [0; 2];
    stream.read_exact(&mut two).await.unwrap();
    let parts = stream.into_parts();
    assert!(parts.unread.starts_with(b"rly"));
    assert_eq!(parts.caller.to_string(), "203.0.113.5:40000");
    assert_eq!(parts.io.local_addr().unwrap(), addr);
    let mut stream = ClientStream::from_parts(parts);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "rly late");
    assert_eq!(stream.unread(), b"");
}

#[cfg(unix)]
#[tokio::test]
async fn unix_peers_speak_for_clients_only_where_they_are_trusted() {
    let dir = std::env::temp_dir().join(format!("truepeer-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("door.sock");
    let _ = std::fs::remove_file(&path);
    let events = Events::default();
    let policy = TrustPolicy::new(TrustedNetworks::nobody(), UnixPeers::Trusted, Unlisted::Refuse);
    let mut listener =
        ProxyListener::bind_unix(&path, policy).unwrap().with_options(events.observe(ListenerOptions::new()));

    let mut proxy = tokio::net::UnixStream::connect(&path).await.unwrap();
    proxy.write_all(V2).await.unwrap();
    let stream = listener.accept().await;
    assert_eq!(stream.client().to_string(), "203.0.113.5:40000");
    let PeerAddress::Unix { uid: Some(_) } = stream.client().identity().peer() else { panic!("whose?") };

    let mut check = tokio::net::UnixStream::connect(&path).await.unwrap();
    check.write_all(LOCAL).await.unwrap();
    let Connection::ProxyOwn(_) = listener.accept_any().await else { panic!("no client") };

    // Not inherited: without the word, nobody on this socket is anybody.
    listener.set_policy(common::trusted());
    let mut stranger = tokio::net::UnixStream::connect(&path).await.unwrap();
    let gone = async { stranger.read(&mut [0; 1]).await.unwrap_or(0) };
    tokio::select! {
        _ = listener.accept() => panic!("an identity out of nothing"),
        read = gone => assert_eq!(read, 0),
    }
    assert_eq!(events.take(), ["peer_unlisted"]);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn what_we_send_is_what_we_read() {
    let (mut listener, addr) = bind().await;
    for client in ["203.0.113.5:40000", "[2001:db8::5]:40000"] {
        let _backend = dial_as(addr, client).await;
        let stream = listener.accept().await;
        assert_eq!(stream.client().to_string(), client);
    }
}

/// What follows the header is left to the kernel, to the byte, whichever header it is and however it comes.
#[tokio::test]
async fn exact_reads_leave_everything_behind_the_header_in_the_socket() {
    use truepeer::proto::{Addresses, Encoder, Tlv, TlvType};

    let (mut listener, addr) = bind_with(ListenerOptions::new().exact_reads()).await;
    let value = [7; 2000];
    let tlvs = [Tlv { kind: TlvType::NOOP, value: &value }];
    let addresses = Addresses::Inet6 {
        source: "[2001:db8::5]:40000".parse().unwrap(),
        destination: "[2001:db8::2]:25".parse().unwrap(),
    };
    let long = truepeer::OutgoingHeader::encode(&Encoder::v2(addresses).tlvs(&tlvs)).unwrap();
    let v6 = b"PROXY TCP6 2001:db8::5 2001:db8::2 40000 25\r\n";
    let unknown = b"PROXY UNKNOWN\r\n";
    for header in [V1, V2, LOCAL, v6, unknown, long.as_bytes()] {
        let mut client = dial(addr, &[header, b"ClientHello"].concat()).await;
        let connection = listener.accept_any().await;
        assert_eq!(connection.unread(), b"");
        let parts = connection.into_parts();
        assert!(parts.unread.is_empty());
        // Another owner of the descriptor sees what a TLS of the kernel's would.
        let mut other = tokio::net::TcpStream::from_std(parts.io.into_std().unwrap()).unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut other).await, "ClientHello");
    }
}

/// One way to treat both callers: in pieces, in halves, by descriptor.
#[tokio::test]
async fn whoever_calls_the_stream_comes_apart_alike() {
    #[cfg(unix)]
    use std::os::fd::{AsFd, AsRawFd};

    let (mut listener, addr) = bind().await;
    for (header, caller) in [(V1, "203.0.113.5:40000"), (LOCAL, "itself (local)")] {
        let mut client = dial(addr, &[header, b"early"].concat()).await;
        let mut connection = listener.accept_any().await;
        connection.as_io_mut().set_nodelay(true).unwrap();
        #[cfg(unix)]
        assert_eq!(connection.as_fd().as_raw_fd(), connection.as_io().as_raw_fd());
        let mut one = [0; 1];
        connection.read_exact(&mut one).await.unwrap();
        let parts = connection.into_parts();
        assert!(parts.caller.to_string().ends_with(caller), "{}", parts.caller);
        assert_eq!(parts.unread, b"arly");
        let connection = match Connection::from_parts(parts) {
            Connection::Client(stream) => Connection::from(ClientStream::from_parts(stream.into_parts())),
            Connection::ProxyOwn(stream) => {
                Connection::from(truepeer::ProxyOwnStream::from_parts(stream.into_parts()))
            }
        };
        // Both directions at once, each in a task of its own.
        let (mut read, mut write) = connection.into_split();
        assert_eq!(read.unread(), b"arly");
        let mut answers = tokio::task::JoinSet::new();
        answers.spawn(async move {
            write.write_all(b"answer").await.unwrap();
            write.shutdown().await.unwrap();
        });
        client.write_all(b" late").await.unwrap();
        client.shutdown().await.unwrap();
        let mut all = String::new();
        read.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "arly late");
        assert_eq!(read_all(&mut client).await, "answer");
        answers.join_next().await.unwrap().unwrap();
        assert!(read.into_parts().1.is_empty());
    }
}
