//! Decisions of the caller's own: about peers, at once or by a look-up, and about identities.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::net::dial;
use common::{Events, LOCAL, PROXY, STRANGER, V1, V2, bytes, drop_after, listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use truepeer::proto::{Addresses, ClientFlags, Decoder, Encoder, SslFacts, Versions};
use truepeer::{
    Caller, Connection, Incoming, ListenerOptions, NetworkSet, OutgoingHeader, PeerAddress, ProxyListener,
    TrustDecision, TrustPolicy,
};
use truepeer_testkit::scripted::ScriptedStream;

fn peer(text: &str) -> PeerAddress {
    PeerAddress::tcp(text.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_decision_of_ones_own_is_what_counts() {
    let reached: SocketAddr = "198.51.100.2:25".parse().unwrap();
    // Options that would say otherwise are not asked.
    let options = ListenerOptions::new().decide_with(|_, _| TrustDecision::Refuse);
    let incoming = |peer, decision| {
        let (stream, _handle) = ScriptedStream::new([bytes(&[V1, b"x"])]);
        Incoming::with_decision(stream, peer, Some(reached), decision, &options)
    };
    let Ok(Connection::Client(stream)) =
        incoming(peer(STRANGER), TrustDecision::ExpectHeader).unwrap().identify().await
    else {
        panic!("a client")
    };
    assert_eq!(stream.client().to_string(), "203.0.113.5:40000");
    let Ok(Connection::Client(stream)) =
        incoming(peer(PROXY), TrustDecision::Direct).unwrap().identify().await
    else {
        panic!("a client")
    };
    assert_eq!(stream.client().to_string(), PROXY);
    assert_eq!(stream.client().identity().destination().unwrap().to_string(), "198.51.100.2:25");
    let unix = PeerAddress::Unix { uid: Some(0) };
    for (peer, decision, code) in
        [(peer(PROXY), TrustDecision::Refuse, "peer_denied"), (unix, TrustDecision::Direct, "peer_unlisted")]
    {
        assert_eq!(incoming(peer, decision).unwrap_err().code(), code);
    }
}

/// The same proxy sends a header to one address of ours, and is a client at the other.
#[tokio::test]
async fn the_address_reached_may_decide() {
    let options = ListenerOptions::new().decide_with(|arrival, policy| {
        assert_eq!(policy, TrustDecision::Refuse, "what the policy says is told");
        match arrival.reached.unwrap().ip().to_string().as_str() {
            "127.0.0.2" => TrustDecision::ExpectHeader,
            _ => TrustDecision::Direct,
        }
    });
    let policy = TrustPolicy::new(
        truepeer::TrustedNetworks::nobody(),
        truepeer::UnixPeers::Refuse,
        truepeer::Unlisted::Refuse,
    );
    let mut listener = ProxyListener::bind("0.0.0.0:0", policy).await.unwrap().with_options(options);
    let port = listener.local_addr().unwrap().port();
    for (host, client) in [("127.0.0.2", "203.0.113.5"), ("127.0.0.1", "127.0.0.1")] {
        let _stream = dial(format!("{host}:{port}").parse().unwrap(), V1).await;
        assert_eq!(listener.accept().await.client().ip().to_string(), client);
    }
}

/// One user's process on this machine is the proxy; the others are nobody, although they reach the same socket.
#[cfg(unix)]
#[tokio::test]
async fn the_user_behind_a_unix_socket_may_decide() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let dir = std::env::temp_dir().join(format!("truepeer-test-decision-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let us = rustix::process::geteuid().as_raw();
    for (proxy, let_in) in [(us, true), (us + 1, false)] {
        let path = dir.join(format!("door-{proxy}.sock"));
        let events = Events::default();
        let options =
            events.observe(ListenerOptions::new()).decide_with(move |arrival, _| match arrival.peer {
                PeerAddress::Unix { uid } if uid == Some(proxy) => TrustDecision::ExpectHeader,
                _ => TrustDecision::Refuse,
            });
        let mut listener = ProxyListener::bind_unix(&path, TrustPolicy::off()).unwrap().with_options(options);
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(V2).await.unwrap();
        let gone = async { stream.read(&mut [0; 1]).await.unwrap_or(0) };
        tokio::select! {
            client = listener.accept() => {
                assert!(let_in && client.client().to_string() == "203.0.113.5:40000");
            }
            read = gone => assert!(!let_in && read == 0),
        }
        assert_eq!(events.take(), if let_in { &[][..] } else { &["peer_denied"] });
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A look-up that hangs holds up nobody, takes a place, makes room when places are short, and ends at the deadline.
#[tokio::test(start_paused = true)]
async fn a_look_up_keeps_every_bound() {
    let options = ListenerOptions::new().max_pending(2).decide_later(|arrival, policy| async move {
        match arrival.peer {
            PeerAddress::Tcp(addr) if addr.port() > 9000 => std::future::pending().await,
            PeerAddress::Tcp(addr) if addr.port() == 7 => TrustDecision::Refuse,
            _ => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                policy
            }
        }
    });
    let (mut listener, door, events) = listener(options);
    let start = Instant::now();
    let hangs = door.connect("192.0.2.10:9001", [bytes(&[V1])]);
    door.connect(PROXY, [bytes(&[V1])]);
    assert_eq!(listener.accept().await.client().to_string(), "203.0.113.5:40000");
    assert_eq!(start.elapsed().as_secs(), 3, "its own look-up, not the other's");
    assert_eq!((hangs.reads_polled(), listener.pending()), (0, 1), "undecided, so that not a byte is read");
    let refused = door.connect("192.0.2.10:7", [bytes(&[V1])]);
    assert!(drop_after(2, listener.accept()).await.is_none());
    assert!(refused.is_closed());
    tokio::select! {
        _ = listener.accept() => panic!("nobody is ready"),
        () = hangs.closed() => assert_eq!(start.elapsed().as_secs(), 5, "from accept on"),
    }
    assert!(drop_after(1, listener.accept()).await.is_none());
    assert_eq!(
        events.texts(),
        [
            "192.0.2.10:7 is refused by a decision of this server's own",
            "whether 192.0.2.10:9001 is trusted was not decided before the deadline",
        ]
    );
    // A header has what its look-up left of the time.
    let start = Instant::now();
    let silent = door.connect(PROXY, []);
    tokio::select! {
        _ = listener.accept() => panic!("nobody is ready"),
        () = silent.closed() => assert_eq!(start.elapsed().as_secs(), 5),
    }
    assert!(drop_after(1, listener.accept()).await.is_none());
    assert_eq!(events.take(), ["header_timeout"]);
    let crowd: Vec<_> = (9001..9004).map(|port| door.connect(&format!("192.0.2.10:{port}"), [])).collect();
    assert!(drop_after(4, listener.accept()).await.is_none());
    assert!(crowd[0].is_closed() && !crowd[1].is_closed() && !crowd[2].is_closed());
    assert_eq!(events.take(), ["header_evicted"]);
}

/// Back-off stays as it is with a decision of one's own.
#[tokio::test(start_paused = true)]
async fn a_look_up_keeps_the_back_off() {
    let options = ListenerOptions::new().decide_later(|_, policy| std::future::ready(policy));
    let (mut listener, door, events) = listener(options);
    for _ in 0..3 {
        door.fail(std::io::ErrorKind::OutOfMemory.into());
    }
    door.connect(PROXY, [bytes(&[V1])]);
    listener.accept().await;
    assert_eq!(events.take(), ["5", "10", "20"]);
}

/// Only clients who came over TLS; whoever they are known by.
#[tokio::test(start_paused = true)]
async fn an_identity_may_be_turned_away() {
    let options = ListenerOptions::new().check_identity(|identity| match identity.is_secure() {
        true => Ok(()),
        false => Err("it came without TLS"),
    });
    let (mut listener, door, events) = listener(options);
    let addresses = Addresses::Inet {
        source: "203.0.113.5:40000".parse().unwrap(),
        destination: "198.51.100.2:25".parse().unwrap(),
    };
    let facts = SslFacts::new(ClientFlags::SSL, 0, &[]);
    let secure = OutgoingHeader::encode(&Encoder::v2(addresses).ssl(facts)).unwrap();
    let turned_away = [
        door.connect(PROXY, [bytes(&[V1])]),
        door.connect(STRANGER, []),
        door.connect(PROXY, [bytes(&[LOCAL])]),
    ];
    door.connect(PROXY, [bytes(&[secure.as_bytes()])]);
    let Connection::Client(stream) = listener.accept_any().await else { panic!("a client") };
    assert!(stream.client().identity().is_secure());
    assert!(turned_away.iter().all(truepeer_testkit::scripted::Handle::is_closed));
    assert_eq!(
        events.texts(),
        [
            "client 203.0.113.5:40000 through 192.0.2.10:1000 is not let in: it came without TLS",
            "client 192.0.2.99:2000 through 192.0.2.99:2000 is not let in: it came without TLS",
            "192.0.2.10:1000 for itself is not let in: it came without TLS",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_type_of_stream_is_for_clients_and_for_proxies_themselves() {
    async fn word(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> [u8; 4] {
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
        word
    }
    let (mut listener, door, _) = listener(ListenerOptions::new());
    for (header, who) in [(V1, "203.0.113.5:40000"), (LOCAL, "192.0.2.10:1000"), (V2, "203.0.113.5:40000")] {
        door.connect(PROXY, [bytes(&[header, b"word"])]);
        let connection = listener.accept_any().await;
        assert_eq!(connection.peer(), peer(PROXY));
        assert_eq!(matches!(connection.caller(), Caller::Client(_)), header != LOCAL);
        assert!(connection.caller().to_string().contains(who), "{}", connection.caller());
        // In pieces and together again, without a byte of the client lost.
        let again = Connection::from_parts(connection.into_parts());
        assert_eq!(&word(again).await, b"word");
    }
}

/// What options say of headers is what headers are read by.
#[tokio::test(start_paused = true)]
async fn a_listener_reads_by_the_rules_it_was_given() {
    let first_only = Decoder::new().versions(Versions::V1Only);
    let own = NetworkSet::parse(["203.0.113.0/24"]).unwrap();
    for (options, refused) in [
        (ListenerOptions::new(), &[][..]),
        (ListenerOptions::new().decoder(first_only), &["header_version"]),
        (ListenerOptions::new().own_addresses(own), &["client_implausible"]),
    ] {
        let (mut listener, door, events) = listener(options);
        door.connect(PROXY, [bytes(&[V2])]);
        assert_eq!(drop_after(3, listener.accept()).await.is_some(), refused.is_empty());
        assert_eq!(events.take(), refused);
    }
}
