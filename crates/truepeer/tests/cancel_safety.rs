//! Every public async function, dropped at each of its await points: nothing that was promised is lost.
//!
//! Those of the adapters are in `tls.rs` and `axum.rs`; that none is missing is a test here, too.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::net::bind_with;
use common::{Events, PROXY, STRANGER, V1, bytes, drop_after, listener, settle};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
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
        assert!(drop_after(times, listener.accept()).await.is_none());
        door.connect(PROXY, slow_steps());
        door.connect(PROXY, slow_steps());
        door.connect(STRANGER, [Step::Eof]);
        let mut clients = Vec::new();
        // Each accept is dropped after so many polls, whatever it was about to do.
        while clients.len() < 3 {
            if let Some(stream) = drop_after(times, listener.accept()).await {
                let client = stream.client().to_string();
                clients.push((client, String::from_utf8(rest(stream).await).unwrap()));
            }
        }
        clients.sort();
        let proxied = ("203.0.113.5:40000".to_owned(), "tail".to_owned());
        assert_eq!(clients, [(STRANGER.to_owned(), String::new()), proxied.clone(), proxied]);
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
async fn next_and_next_any_lose_nobody_before_the_end() {
    for times in 0..8 {
        let (mut listener, door, events) = listener(ListenerOptions::new());
        door.connect(PROXY, slow_steps());
        door.connect(PROXY, slow_steps());
        door.end();
        let mut tails = Vec::new();
        while tails.is_empty() {
            if let Some(next) = drop_after(times, listener.next()).await {
                tails.push(rest(next.unwrap()).await);
            }
        }
        let end = loop {
            match drop_after(times, listener.next_any()).await {
                Some(Some(connection)) => tails.push(rest(connection).await),
                Some(None) => break listener.next().await,
                None => {}
            }
        };
        assert!(end.is_none());
        assert_eq!(tails, [b"tail", b"tail"]);
        assert!(events.take().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn accept_incoming_loses_no_connection_even_in_a_pause() {
    let peer = |text: &str| PeerAddress::tcp(text.parse().unwrap());
    for times in 0..4 {
        let (mut listener, door, _) = listener(ListenerOptions::new());
        assert!(drop_after(times, listener.accept_incoming()).await.is_none(), "nobody has come");
        door.fail(std::io::Error::from(std::io::ErrorKind::OutOfMemory));
        assert!(drop_after(0, listener.accept_incoming()).await.is_none());
        let handle = door.connect(PROXY, [bytes(&[V1, b"tail"]), Step::Eof]);
        door.connect(STRANGER, []);
        assert!(drop_after(times, listener.accept_incoming()).await.is_none(), "the pause goes on");
        let proxied = listener.accept_incoming().await;
        assert_eq!(proxied.peer(), peer(PROXY));
        assert_eq!(handle.reads_polled(), 0, "nothing was read that could be lost");
        let Ok(Connection::Client(stream)) = proxied.identify().await else { panic!("whose?") };
        assert_eq!(rest(stream).await, b"tail");
        assert_eq!(listener.accept_incoming().await.peer(), peer(STRANGER));
    }
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

/// A stream with a buffer of its own says that it took the header, and keeps it: a server that speaks first would
/// then be waited for until somebody gives up.
#[tokio::test]
async fn through_a_buffered_stream_the_banner_comes() {
    let (mut backend, addr) = bind_with(ListenerOptions::new()).await;
    let pair = truepeer::ClientPair { client: "203.0.113.5:40000".parse().unwrap(), destination: addr };
    let header = OutgoingHeader::for_client(truepeer::proto::Version::V2, pair).unwrap();
    let speaks_first = async {
        backend.accept().await.write_all(b"220 ready\r\n").await.unwrap();
    };
    let client = async {
        let mut stream = BufStream::new(TcpStream::connect(addr).await.unwrap());
        send_header(&mut stream, &header).await.unwrap();
        let mut banner = String::new();
        stream.read_line(&mut banner).await.unwrap();
        banner
    };
    let both = async { tokio::join!(speaks_first, client).1 };
    let banner = timeout(Duration::from_secs(10), both).await.unwrap();
    assert_eq!(banner, "220 ready\r\n");
}

/// Once the stream has taken the header, dropping the future leaves it whole in the stream's buffer.
#[tokio::test(start_paused = true)]
async fn a_header_that_waits_to_be_flushed_is_never_a_part_of_one() {
    let header = OutgoingHeader::local().unwrap();
    let mut ends = [0; 2];
    for times in 0..6 {
        let (io, handle) = ScriptedStream::silent();
        handle.delay_writes(2);
        let mut backend = BufStream::new(io);
        let sent = drop_after(times, send_header(&mut backend, &header)).await;
        backend.flush().await.unwrap();
        // Taken at the first poll; the socket is what waits.
        assert_eq!(handle.writes(), [common::LOCAL.to_vec()]);
        ends[usize::from(sent.is_some())] += 1;
    }
    assert!(ends[0] > 0 && ends[1] > 0, "dropped before and after: {ends:?}");
}

#[tokio::test]
async fn connect_shows_the_backend_a_header_or_nothing() {
    let events = Events::default();
    let (mut backend, addr) = bind_with(events.observe(ListenerOptions::new())).await;
    let header = OutgoingHeader::local().unwrap();
    let mut sent = 0;
    for times in 0..4 {
        if let Some(stream) = drop_after(times, connect(addr, &header)).await {
            stream.unwrap();
            sent += 1;
        }
    }
    // One that is good for certain, so that there is an end to wait for.
    let _last = connect(addr, &header).await.unwrap();
    for _ in 0..=sent {
        let Connection::ProxyOwn(_) = backend.accept_any().await else { panic!("a client?") };
    }
    assert!(sent < 4, "one of them was dropped on its way");
    // Whoever was dropped had sent nothing at all: never a piece of a header.
    let refused = events.take();
    assert!(refused.iter().all(|code| code == "header_empty"), "{refused:?}");
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

#[tokio::test(start_paused = true)]
async fn drained_may_be_dropped_and_asked_again() {
    let (mut listener, door, _) = listener(ListenerOptions::new());
    door.connect(PROXY, slow_steps());
    let handle = listener.handle();
    for times in 0..3 {
        assert!(drop_after(times, handle.drained()).await.is_none());
    }
    door.end();
    assert!(listener.next().await.is_some());
    assert!(drop_after(2, handle.drained()).await.is_none(), "nobody has heard of the end yet");
    assert!(listener.next().await.is_none());
    handle.drained().await;
}

/// Where each public async function is dropped.
const DROPPED_IN: [(&str, &str, &str); 14] = [
    ("shell/listener.rs", "bind", "bind_leaves_nothing_behind"),
    ("shell/listener.rs", "accept", "accept_loses_no_connection_and_no_byte"),
    ("shell/listener.rs", "accept_any", "accept_any_loses_no_connection_and_no_byte"),
    ("shell/listener.rs", "next", "next_and_next_any_lose_nobody_before_the_end"),
    ("shell/listener.rs", "next_any", "next_and_next_any_lose_nobody_before_the_end"),
    ("shell/listener.rs", "accept_incoming", "accept_incoming_loses_no_connection_even_in_a_pause"),
    ("shell/handle.rs", "drained", "drained_may_be_dropped_and_asked_again"),
    ("shell/incoming.rs", "identify", "identify_closes_its_own_connection_when_dropped_and_no_other"),
    ("shell/send_header.rs", "connect", "connect_shows_the_backend_a_header_or_nothing"),
    ("shell/send_header.rs", "send_header", "send_header_writes_all_or_nothing"),
    ("adapter/tls.rs", "accept", "accept_dropped_at_any_point_loses_no_client"),
    ("adapter/tls.rs", "accept_any", "accept_any_next_and_next_any_dropped_at_any_point_lose_no_client"),
    ("adapter/tls.rs", "next", "accept_any_next_and_next_any_dropped_at_any_point_lose_no_client"),
    ("adapter/tls.rs", "next_any", "accept_any_next_and_next_any_dropped_at_any_point_lose_no_client"),
];

/// A public async function that is new says what dropping it loses, and stands in the table with its test.
#[test]
fn every_public_async_function_says_what_dropping_it_loses_and_is_dropped_by_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for room in ["", "shell", "adapter"] {
        for entry in std::fs::read_dir(root.join("src").join(room)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let file = path.strip_prefix(root.join("src")).unwrap().to_str().unwrap().to_owned();
            let text = read(&path);
            let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
            for (at, line) in lines.iter().enumerate() {
                let Some(rest) = line.strip_prefix("pub async fn ") else { continue };
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let docs = lines[..at].iter().rev().take_while(|line| line.starts_with("//"));
                assert!(docs.into_iter().any(|line| *line == "/// # Cancel safety"), "{file}: {name}");
                found.push((file.clone(), name));
            }
        }
    }
    let mut listed: Vec<_> =
        DROPPED_IN.iter().map(|(file, name, _)| ((*file).to_owned(), (*name).to_owned())).collect();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
    let tests = ["cancel_safety.rs", "tls.rs"].map(|file| read(&root.join("tests").join(file))).concat();
    for (_, name, test) in DROPPED_IN {
        assert!(tests.contains(&format!("async fn {test}()")), "{name}: {test}");
    }
}
