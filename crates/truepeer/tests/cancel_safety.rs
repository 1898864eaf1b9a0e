//! Every public async function, dropped at each of its await points: nothing that was promised is lost.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::net::bind;
use common::{PROXY, STRANGER, V1, bytes, drop_after, listener, settle};
use tokio::io::AsyncReadExt;
use truepeer::{
    Connection, Incoming, ListenerOptions, OutgoingHeader, PeerAddress, ProxyListener, TrustPolicy, connect,
    send_header,
};
use truepeer_testkit::scripted::{ScriptedStream, Step};

/// A header in three pieces, its tail, and then the end.
fn slow_steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in [&V1[..6], &V1[6..20], &[&V1[20..], b"tail"].concat()] {
        steps.extend([Step::Yield, Step::Bytes(piece.to_vec()), Step::Yield]);
    }
    steps.push(Step::Eof);
    steps
}

async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    rest
}

#[tokio::test(start_paused = true)]
async fn accept_loses_no_connection_and_no_byte() {
    for times in 0..8 {
        let (mut listener, door, events) = listener(ListenerOptions::new());
        let mut first = drop_after(times, listener.accept()).await;
        assert!(first.is_none());
        door.connect(PROXY, slow_steps());
        door.connect(PROXY, slow_steps());
        door.connect(STRANGER, [Step::Eof]);
        let mut clients = Vec::new();
        // Each accept is dropped after so many polls, whatever it was about to do.
        while clients.len() < 3 {
            first = drop_after(times, listener.accept()).await;
            if let Some(stream) = first {
                clients.push(stream.client().to_string());
                let tail = rest(stream).await;
                assert!(tail.is_empty() || tail == b"tail", "{tail:?}");
            }
        }
        clients.sort();
        assert_eq!(clients, [STRANGER, "203.0.113.5:40000", "203.0.113.5:40000"]);
        assert!(events.take().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn accept_any_loses_no_connection_and_no_byte() {
    for times in 0..8 {
        let (mut listener, door, events) = listener(ListenerOptions::new());
        door.connect(PROXY, slow_steps());
        door.connect(PROXY, [Step::Yield, bytes(&[common::LOCAL, b"tail"]), Step::Eof]);
        let mut callers = Vec::new();
        while callers.len() < 2 {
            if let Some(connection) = drop_after(times, listener.accept_any()).await {
                callers.push(connection.caller().to_string());
                assert_eq!(rest(connection).await, b"tail");
            }
        }
        callers.sort();
        assert_eq!(callers, ["203.0.113.5:40000", "proxy 192.0.2.10:1000 itself (local)"]);
        assert!(events.take().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn accept_incoming_loses_no_connection_even_in_a_pause() {
    let (mut listener, door, _) = listener(ListenerOptions::new());
    door.fail(std::io::Error::from(std::io::ErrorKind::OutOfMemory));
    assert!(drop_after(0, listener.accept_incoming()).await.is_none());
    door.connect(STRANGER, []);
    assert!(drop_after(3, listener.accept_incoming()).await.is_none(), "the pause goes on");
    assert_eq!(listener.accept_incoming().await.peer(), PeerAddress::tcp(STRANGER.parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn identify_closes_its_own_connection_when_dropped_and_no_other() {
    let policy = TrustPolicy::from(common::trusted());
    let peer = PeerAddress::tcp(PROXY.parse().unwrap());
    let mut finished = 0;
    for times in 0..12 {
        let (stream, handle) = ScriptedStream::new(slow_steps());
        let incoming = Incoming::new(stream, peer, None, &policy, &ListenerOptions::new()).unwrap();
        match drop_after(times, incoming.identify()).await {
            None => assert!(handle.is_closed()),
            Some(Ok(Connection::Client(stream))) => {
                finished += 1;
                assert_eq!(rest(stream).await, b"tail");
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    assert!((1..12).contains(&finished), "both ends were reached: {finished}");
}

#[tokio::test(start_paused = true)]
async fn send_header_writes_all_or_nothing() {
    let header = OutgoingHeader::local().unwrap();
    for times in 0..4 {
        let (mut backend, handle) = ScriptedStream::silent();
        handle.delay_writes(2);
        match drop_after(times, send_header(&mut backend, &header)).await {
            None => assert!(handle.writes().is_empty()),
            Some(result) => {
                result.unwrap();
                assert_eq!(handle.writes(), [common::LOCAL.to_vec()], "one write");
            }
        }
        assert_eq!(handle.writes().len(), usize::from(times >= 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_fit_in_one_write_is_an_error() {
    let (mut backend, handle) = ScriptedStream::silent();
    handle.limit_writes(10);
    let error = send_header(&mut backend, &OutgoingHeader::local().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    assert_eq!(error.to_string(), "only 10 of the header's 16 bytes could be written at once");
    assert_eq!(handle.writes().len(), 1, "the rest is not sent after it");
}

#[tokio::test]
async fn connect_shows_the_backend_a_header_or_nothing() {
    let (mut backend, addr) = bind().await;
    let header = OutgoingHeader::encode(&truepeer::proto::Encoder::local()).unwrap();
    for times in 0..4 {
        let dialled = drop_after(times, connect(addr, &header)).await;
        if let Some(stream) = dialled {
            stream.unwrap();
        }
    }
    // The last one went through; whichever came before it closed without a byte, and nothing in between.
    let _last = connect(addr, &header).await.unwrap();
    let Connection::ProxyOwn(_) = backend.accept_any().await else { panic!("part of a header was seen") };
}

#[tokio::test]
async fn bind_leaves_nothing_behind() {
    for times in 0..3 {
        if let Some(bound) = drop_after(times, ProxyListener::bind("127.0.0.1:0", TrustPolicy::off())).await {
            let addr = bound.unwrap().local_addr().unwrap();
            // Released with the listener.
            ProxyListener::bind(addr, TrustPolicy::off()).await.unwrap();
        }
        settle().await;
    }
}
