//! The listener without sockets: whom it serves, whom it sends away, what it waits for. The clock is paused.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{LOCAL, PROXY, STRANGER, V1, V2, bytes, drop_after, listener, settle};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Instant, timeout};
use truepeer::{
    Accept, Connection, IdentitySource, Incoming, ListenerOptions, OwnConnection, PeerAddress, ProxyListener,
    TrustPolicy, TrustedNetworks, UnixPeers, Unlisted, proto::Version,
};
use truepeer_testkit::scripted::{Handle, ScriptedStream, Step};

#[tokio::test(start_paused = true)]
async fn a_proxied_client_is_known_by_the_header() {
    for (header, version) in [(V1, Version::V1), (V2, Version::V2)] {
        let (mut listener, door, events) = listener(ListenerOptions::new());
        door.connect(PROXY, [bytes(&[header, b"EHLO client\r\n"]), Step::Eof]);
        let mut stream = listener.accept().await;
        let client = stream.client().clone();
        assert_eq!(client.to_string(), "203.0.113.5:40000");
        assert_eq!(client.identity().peer(), PeerAddress::tcp(PROXY.parse().unwrap()));
        assert_eq!(client.identity().destination().unwrap().to_string(), "198.51.100.2:25");
        assert_eq!(client.identity().source(), IdentitySource::Header(version));
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "EHLO client\r\n");
        assert!(events.take().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unlisted_peer_is_the_client_and_its_bytes_are_its_own() {
    let (mut listener, door, _events) = listener(ListenerOptions::new());
    let handle = door.connect(STRANGER, [bytes(&[V1, b"x"]), Step::Eof]);
    let mut stream = listener.accept().await;
    assert_eq!(stream.client().to_string(), STRANGER);
    assert_eq!(stream.client().identity().source(), IdentitySource::Direct);
    assert_eq!(stream.client().identity().destination().unwrap().to_string(), "198.51.100.2:25");
    assert_eq!(handle.reads_polled(), 0, "not one byte is read before the decision");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, [V1, b"x"].concat());
}

#[tokio::test(start_paused = true)]
async fn a_port_for_proxies_only_closes_all_others() {
    let (_, door, events) = listener(ListenerOptions::new());
    let policy = TrustPolicy::new(common::trusted(), UnixPeers::Refuse, Unlisted::Refuse);
    let mut listener = ProxyListener::new(door.clone(), policy, events.observe(ListenerOptions::new()));
    let stranger = door.connect(STRANGER, [bytes(&[V1])]);
    let unix = door.connect_from(PeerAddress::Unix { uid: Some(0) }, [bytes(&[V1])]);
    door.connect(PROXY, [bytes(&[V1])]);
    assert_eq!(listener.accept().await.client().to_string(), "203.0.113.5:40000");
    assert!(stranger.is_closed() && unix.is_closed());
    assert_eq!((stranger.reads_polled(), unix.reads_polled()), (0, 0));
    assert_eq!(
        events.texts(),
        [
            "192.0.2.99:2000 is in no trusted network, and this listener accepts proxies only",
            "unix uid=0 has no address that could be the client's, and the policy does not trust UNIX peers",
        ]
    );
}

/// 1,000 silent proxies, and the good one is accepted without one tick of the clock.
#[tokio::test(start_paused = true)]
async fn silent_peers_keep_nobody_waiting() {
    let (mut listener, door, events) = listener(ListenerOptions::new());
    let silent: Vec<_> = (0..1000).map(|_| door.connect(PROXY, [])).collect();
    door.connect(PROXY, [bytes(&[V2])]);
    let start = Instant::now();
    assert_eq!(listener.accept().await.client().to_string(), "203.0.113.5:40000");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(listener.pending(), 1000);
    assert!(silent.iter().all(|peer| !peer.is_closed()));
    assert!(events.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_deadline_covers_the_whole_header_however_it_trickles() {
    let (mut listener, door, events) = listener(ListenerOptions::new());
    let start = Instant::now();
    let slow = door.connect(PROXY, []);
    let silent = door.connect(PROXY, []);
    let accept = async {
        listener.accept().await;
    };
    let trickle = async {
        for byte in V1 {
            slow.push(Step::Bytes(vec![*byte]));
            tokio::time::sleep(Duration::from_millis(1100)).await;
            if slow.is_closed() {
                return start.elapsed();
            }
        }
        panic!("a header that took {:?} was read", start.elapsed());
    };
    let end = tokio::select! {
        () = accept => panic!("nobody is ready"),
        end = trickle => end,
    };
    assert!((Duration::from_secs(5)..=Duration::from_secs(6)).contains(&end), "{end:?}");
    assert!(silent.is_closed());
    let mut texts = events.texts();
    texts.sort();
    assert_eq!(
        texts,
        [
            "192.0.2.10:1000 did not finish its header before the deadline; so far \"PROXY\" (byte 5)",
            "192.0.2.10:1000 is trusted to send a header and sent nothing before the deadline",
        ]
    );
}

/// The longest time that can be written is a long time: neither over at once nor without an end.
#[tokio::test(start_paused = true)]
async fn a_header_timeout_beyond_all_bounds_is_a_day() {
    let (mut listener, door, events) = listener(ListenerOptions::new().header_timeout(Duration::MAX));
    let late = door.connect(PROXY, []);
    let silent = door.connect(PROXY, []);
    let start = Instant::now();
    assert!(timeout(Duration::from_secs(600), listener.accept()).await.is_err());
    assert!(events.take().is_empty());
    late.push(bytes(&[V1]));
    assert_eq!(listener.accept().await.client().to_string(), "203.0.113.5:40000");
    tokio::select! {
        _ = listener.accept() => panic!("nobody is ready"),
        () = silent.closed() => assert_eq!(start.elapsed().as_secs(), 86_400),
    }
    assert!(drop_after(1, listener.accept()).await.is_none());
    assert_eq!(events.take(), ["header_timeout"]);
}

#[tokio::test(start_paused = true)]
async fn when_all_places_are_taken_the_oldest_goes_and_the_newest_stays() {
    let (mut listener, door, events) = listener(ListenerOptions::new().max_pending(3));
    let peers: Vec<_> = (0..5).map(|_| door.connect(PROXY, [])).collect();
    assert!(drop_after(4, listener.accept()).await.is_none());
    assert_eq!(peers.iter().map(Handle::is_closed).collect::<Vec<_>>(), [true, true, false, false, false]);
    assert_eq!(listener.pending(), 3);
    assert_eq!(events.take(), ["header_evicted", "header_evicted"]);
    // Who is left is served.
    peers[2].push(bytes(&[V1]));
    assert_eq!(listener.accept().await.client().to_string(), "203.0.113.5:40000");
}

/// A proxy that floods us gives up its own places, not those of another one.
#[tokio::test(start_paused = true)]
async fn when_all_places_are_taken_whoever_holds_most_makes_room() {
    let events = common::Events::default();
    let door = common::FakeListener::default();
    let trusted = TrustedNetworks::parse(["192.0.2.0/24", "2001:db8::/32"]).unwrap();
    let options = events.observe(ListenerOptions::new().max_pending(4));
    let mut listener = ProxyListener::new(door.clone(), trusted, options);
    let alone = door.connect("192.0.2.20:1", []);
    let flood: Vec<_> = (1..=5).map(|port| door.connect(&format!("192.0.2.10:{port}"), [])).collect();
    assert!(drop_after(4, listener.accept()).await.is_none());
    assert!(!alone.is_closed());
    let closed = |handles: &[Handle]| handles.iter().map(Handle::is_closed).collect::<Vec<_>>();
    assert_eq!(closed(&flood), [true, true, false, false, false]);
    // One network of IPv6 is one holder, however many addresses it has.
    let six: Vec<_> = (1..=4).map(|host| door.connect(&format!("[2001:db8::{host}]:1"), [])).collect();
    assert!(drop_after(4, listener.accept()).await.is_none());
    assert!(!alone.is_closed());
    assert_eq!(closed(&flood), [true, true, true, true, false], "it held most until the others did");
    assert_eq!(closed(&six), [true, true, false, false]);
    assert_eq!(events.take().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_ready_are_never_evicted() {
    let (mut listener, door, events) = listener(ListenerOptions::new().max_pending(2));
    let peers: Vec<_> = (0..2).map(|_| door.connect(PROXY, [])).collect();
    assert!(drop_after(2, listener.accept()).await.is_none());
    for peer in &peers {
        peer.push(bytes(&[V1]));
    }
    settle().await;
    // Both are ready, nobody has fetched them, and two more come.
    for _ in 0..2 {
        door.connect(PROXY, []);
    }
    for _ in 0..2 {
        assert_eq!(listener.accept().await.client().to_string(), "203.0.113.5:40000");
    }
    assert!(events.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn bad_headers_are_refused_with_what_was_seen_and_where() {
    let (mut listener, door, events) = listener(ListenerOptions::new());
    let not_told = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0e\xcb\0\x71\x05\xc6\x33\x64\x02\x9c\x40\0\x19\x04\x00";
    for step in [
        Step::Bytes(b"GET / HTTP/1.1\r\n".to_vec()),
        Step::Bytes(b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 99999\r\n".to_vec()),
        Step::Bytes(not_told.to_vec()),
        Step::Bytes(b"PROXY TCP4 127.0.0.1 198.51.100.2 40000 25\r\n".to_vec()),
        Step::Eof,
        Step::Error(io::ErrorKind::ConnectionReset),
    ] {
        let handle = door.connect(PROXY, [step]);
        assert!(drop_after(1, listener.accept()).await.is_none());
        assert!(handle.is_closed());
    }
    let cut = door.connect(PROXY, [Step::Bytes(b"PROXY TC".to_vec()), Step::Yield, Step::Eof]);
    assert!(drop_after(4, listener.accept()).await.is_none());
    assert!(cut.is_closed());
    let texts = events.texts();
    let peer = "192.0.2.10:1000";
    for (text, expected) in texts.iter().zip([
        format!("{peer} is trusted to send a header and sent \"GET / HTTP/1.1\\r\\n\", which looks like an HTTP request (byte 0)"),
        format!("{peer} sent a bad header: "),
        format!("{peer} sent a bad header: "),
        format!("{peer}: the header names 127.0.0.1 as client, which is a loopback address, but the peer is on another machine (byte 11)"),
        format!("{peer} is trusted to send a header and closed without sending a byte"),
        format!("{peer} broke off before its header was complete: connection reset"),
        format!("{peer} closed inside its header, of which \"PROXY TC\" had come (byte 8)"),
    ]) {
        assert!(text.starts_with(&expected), "{text}\n{expected}");
    }
    assert!(texts[1].contains("byte 46"), "{}", texts[1]);
    assert!(texts[2].contains("byte 28"), "{}", texts[2]);
    assert_eq!(texts.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn implausible_clients_pass_only_where_it_is_written_that_they_may() {
    let options = ListenerOptions::new().unsafe_accept_implausible_clients();
    let (mut listener, door, _) = listener(options);
    door.connect(PROXY, [bytes(&[b"PROXY TCP4 127.0.0.1 198.51.100.2 40000 25\r\n"])]);
    assert_eq!(listener.accept().await.client().to_string(), "127.0.0.1:40000");
}

#[tokio::test(start_paused = true)]
async fn a_health_check_is_no_client() {
    let (mut listener, door, events) = listener(ListenerOptions::new());
    let check = door.connect(PROXY, [bytes(&[LOCAL])]);
    assert!(drop_after(1, listener.accept()).await.is_none());
    assert!(check.is_closed());
    let text = "proxy 192.0.2.10:1000 itself (local) was closed: this server accepts clients only";
    assert_eq!(events.texts(), [text]);

    door.connect(PROXY, [bytes(&[LOCAL, b"GET /health"])]);
    let Connection::ProxyOwn(mut check) = listener.accept_any().await else { panic!("a client?") };
    assert_eq!(check.own().why(), OwnConnection::Local);
    assert_eq!(check.own().peer(), PeerAddress::tcp(PROXY.parse().unwrap()));
    let mut word = [0; 11];
    check.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"GET /health");
}

#[tokio::test(start_paused = true)]
async fn accept_errors_are_waited_out_longer_each_time_while_headers_are_read_on() {
    let (mut listener, door, events) = listener(ListenerOptions::new());
    let waiting = door.connect(PROXY, []);
    for _ in 0..10 {
        door.fail(io::Error::from(io::ErrorKind::OutOfMemory));
    }
    let start = Instant::now();
    assert!(timeout(Duration::from_millis(1), listener.accept()).await.is_err());
    waiting.push(bytes(&[V1]));
    listener.accept().await;
    assert!(start.elapsed() < Duration::from_millis(5), "served during the pause");
    door.connect(STRANGER, []);
    listener.accept().await;
    let waits = ["5", "10", "20", "40", "80", "160", "320", "640", "1000", "1000"];
    assert_eq!(events.take(), waits);
    let sum: u64 = waits.iter().map(|wait| wait.parse::<u64>().unwrap()).sum();
    assert!(start.elapsed() >= Duration::from_millis(sum));
    // After a success it begins anew.
    door.fail(io::Error::from(io::ErrorKind::OutOfMemory));
    door.connect(STRANGER, []);
    listener.accept().await;
    assert_eq!(events.texts(), ["no connection could be accepted: out of memory; the next try is in 5ms"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_broke_in_the_queue_costs_no_pause() {
    let (mut listener, door, events) = listener(ListenerOptions::new());
    door.fail(io::Error::from(io::ErrorKind::ConnectionAborted));
    door.connect(STRANGER, []);
    let start = Instant::now();
    listener.accept().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(events.take(), ["0"]);
}

/// What an `Accept` of somebody's own may do without an end.
enum Endless {
    Fails(io::ErrorKind),
    /// A peer, and what it has sent.
    Brings(&'static str, &'static [u8]),
}

/// Does the same each time it is asked, at once. Its own end comes when it was asked far too often in one go.
struct Always(Endless, Arc<AtomicUsize>);

impl Accept for Always {
    type Stream = ScriptedStream;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(ScriptedStream, PeerAddress)>>> {
        let asked = self.1.fetch_add(1, Ordering::Relaxed);
        assert!(asked < 10_000, "asked without a pause");
        Poll::Ready(Some(match self.0 {
            Endless::Fails(kind) => Err(kind.into()),
            Endless::Brings(peer, sent) => {
                let (stream, _handle) = ScriptedStream::new([bytes(&[sent]), Step::Eof]);
                Ok((stream, PeerAddress::tcp(peer.parse().unwrap())))
            }
        }))
    }

    fn reached(_: &ScriptedStream) -> Option<std::net::SocketAddr> {
        None
    }

    fn local_addr(&self) -> io::Result<Option<std::net::SocketAddr>> {
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn an_accept_that_keeps_breaking_off_is_asked_less_and_less_often() {
    let (events, asked) = (common::Events::default(), Arc::default());
    let accept = Always(Endless::Fails(io::ErrorKind::Interrupted), Arc::clone(&asked));
    let options = events.observe(ListenerOptions::new());
    let mut listener = ProxyListener::new(accept, common::trusted(), options);
    assert!(timeout(Duration::from_millis(300), listener.accept()).await.is_err());
    let pauses = events.take();
    let (none, some) = pauses.split_at(16);
    assert!(none.iter().all(|pause| pause == "0"), "{pauses:?}");
    assert_eq!(some, ["5", "10", "20", "40", "80", "160"]);
    assert_eq!(asked.load(Ordering::Relaxed), 22);
}

/// Other tasks of the same thread get their turn while connections are refused one after the other.
#[tokio::test(start_paused = true)]
async fn whatever_comes_without_an_end_other_tasks_get_their_turn() {
    let closed = TrustPolicy::new(common::trusted(), UnixPeers::Refuse, Unlisted::Refuse);
    for (endless, policy) in [
        (Endless::Brings(STRANGER, b""), closed.clone()),
        (Endless::Brings(PROXY, b"GET / HTTP/1.1\r\n"), closed.clone()),
        (Endless::Brings(PROXY, LOCAL), closed),
    ] {
        let asked = Arc::default();
        let mut listener =
            ProxyListener::new(Always(endless, Arc::clone(&asked)), policy, ListenerOptions::new());
        assert!(drop_after(3, listener.accept()).await.is_none());
        let asked = asked.load(Ordering::Relaxed);
        assert!((4..=4 * 64).contains(&asked), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_is_served_to_its_last_connection() {
    let (mut listener, door, events) = listener(ListenerOptions::new());
    door.connect(PROXY, [bytes(&[V1])]);
    let late = door.connect(PROXY, []);
    door.connect(PROXY, [bytes(&[LOCAL])]);
    let _silent = door.connect(PROXY, []);
    door.end();
    assert_eq!(listener.next().await.unwrap().client().to_string(), "203.0.113.5:40000");
    assert!(drop_after(2, listener.next()).await.is_none(), "two headers are awaited");
    late.push(bytes(&[V2]));
    let Some(Connection::Client(_)) = listener.next_any().await else { panic!("a client") };
    let start = Instant::now();
    assert!(listener.next().await.is_none());
    assert_eq!(start.elapsed().as_secs(), 5, "the silent one's deadline");
    assert!(listener.next_any().await.is_none(), "and so it stays");
    assert_eq!(events.take(), ["own_refused", "header_timeout"]);
    // Whoever asks for a client gets a client or waits.
    assert!(timeout(Duration::from_secs(3600), listener.accept()).await.is_err());
    assert!(timeout(Duration::from_secs(3600), listener.accept_incoming()).await.is_err());
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn without_descriptors_the_oldest_silent_peer_makes_room() {
    const EMFILE: i32 = 24;
    let (mut listener, door, events) = listener(ListenerOptions::new());
    let silent: Vec<_> = (0..2).map(|_| door.connect(PROXY, [])).collect();
    door.fail(io::Error::from_raw_os_error(EMFILE));
    door.connect(STRANGER, []);
    listener.accept().await;
    assert!(silent[0].is_closed() && !silent[1].is_closed());
    assert_eq!(events.take(), ["5", "header_evicted"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_policy_holds_for_the_next_connection() {
    let (mut listener, door, _) = listener(ListenerOptions::new());
    listener.set_policy(TrustPolicy::off());
    door.connect(PROXY, [bytes(&[V1])]);
    assert_eq!(listener.accept().await.client().to_string(), PROXY);
}

#[tokio::test(start_paused = true)]
async fn a_server_may_identify_in_tasks_of_its_own() {
    let (mut listener, door, _) = listener(ListenerOptions::new());
    let late = door.connect(PROXY, []);
    door.connect(PROXY, [bytes(&[V2])]);
    let first = listener.accept_incoming().await;
    let second = listener.accept_incoming().await;
    assert_eq!(first.peer(), PeerAddress::tcp(PROXY.parse().unwrap()));
    // The deadline has begun at accept.
    tokio::time::advance(Duration::from_secs(4)).await;
    let Ok(Connection::Client(stream)) = second.identify().await else { panic!() };
    assert_eq!(stream.client().to_string(), "203.0.113.5:40000");
    let start = Instant::now();
    assert_eq!(first.identify().await.unwrap_err().code(), "header_timeout");
    assert!(start.elapsed() <= Duration::from_millis(1001), "{:?}", start.elapsed());
    assert!(late.is_closed());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_listener_closes_whoever_waits() {
    let (mut listener, door, _) = listener(ListenerOptions::new());
    let peer = door.connect(PROXY, []);
    assert!(drop_after(2, listener.accept()).await.is_none());
    assert!(!peer.is_closed());
    drop(listener);
    peer.closed().await;
}

/// A socket that says what it was told, and remembers into whose memory.
#[derive(Debug, Default)]
struct Socket {
    bytes: &'static [u8],
    read_into: Option<usize>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read_into = Some(buf.initialize_unfilled().as_ptr().addr());
        let (now, later) = self.bytes.split_at(self.bytes.len().min(buf.remaining()));
        buf.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

/// After the bytes that came with the header the socket reads into the server's own buffer.
#[tokio::test(start_paused = true)]
async fn behind_the_header_nothing_is_copied() {
    const SENT: &[u8] = b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 25\r\n";
    let policy = TrustPolicy::from(common::trusted());
    let sent: &'static [u8] = [SENT, &[b'x'; 2000]].concat().leak();
    for (peer, with_header) in [(PROXY, 512 - SENT.len()), (STRANGER, 0)] {
        let socket = Socket { bytes: sent, read_into: None };
        let peer = PeerAddress::tcp(peer.parse().unwrap());
        let incoming = Incoming::new(socket, peer, None, &policy, &ListenerOptions::new()).unwrap();
        let Ok(Connection::Client(mut stream)) = incoming.identify().await else { panic!() };
        assert_eq!(stream.unread().len(), with_header);
        let mut room = vec![0; 1024];
        if with_header > 0 {
            assert_eq!(stream.read(&mut room).await.unwrap(), with_header, "the leftover, and first");
        }
        assert_eq!(stream.read(&mut room).await.unwrap(), 1024);
        assert_eq!(stream.as_io().read_into, Some(room.as_ptr().addr()));
    }
}
