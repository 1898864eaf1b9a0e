//! Refusals in a log that was set up once for everything: `tracing`, without an observer.
#![cfg(feature = "tracing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{FakeListener, LOCAL, PROXY, STRANGER, V1, bytes, drop_after};
use truepeer::{
    Caller, Client, ClientIdentity, Incoming, ListenerOptions, OwnConnection, PeerAddress, ProxyListener,
    ProxyOwn, TrustPolicy, UnixPeers, Unlisted,
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Catches what this thread logs, until the guard is dropped.
    fn catch() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_sent_away_is_an_event_with_code_fault_and_reason() {
    let (log, _guard) = Log::catch();
    let door = FakeListener::default();
    let policy = TrustPolicy::new(common::trusted(), UnixPeers::Refuse, Unlisted::Refuse);
    let mut listener = ProxyListener::new(door.clone(), policy, ListenerOptions::new());
    door.connect(STRANGER, []);
    door.connect(PROXY, [bytes(&[b"GET / HTTP/1.1\r\n"])]);
    door.connect(PROXY, [bytes(&[LOCAL])]);
    door.fail(std::io::ErrorKind::ConnectionAborted.into());
    door.fail(std::io::ErrorKind::OutOfMemory.into());
    assert!(drop_after(2, listener.accept()).await.is_none());
    door.connect(PROXY, [bytes(&[V1])]);
    listener.accept().await;
    let text = log.text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let expected = [
        "INFO truepeer: connection refused code=\"peer_unlisted\" fault=Peer peer=192.0.2.99:2000 reason=192.0.2.99:2000 is in no trusted network, and this listener accepts proxies only",
        "INFO truepeer: connection refused code=\"header_missing\" fault=Peer peer=192.0.2.10:1000 reason=192.0.2.10:1000 is trusted to send a header and sent \"GET / HTTP/1.1\\r\\n\", which looks like an HTTP request (byte 0)",
        "INFO truepeer: proxy's own connection closed code=\"own_refused\" fault=Operator peer=192.0.2.10:1000 reason=proxy 192.0.2.10:1000 itself (local) was closed: this server accepts clients only",
        "INFO truepeer: accept failed code=\"accept_failed\" fault=Peer reason=no connection could be accepted: connection aborted; the next try is in 0ns",
        "WARN truepeer: accept failed code=\"accept_failed\" fault=Operator reason=no connection could be accepted: out of memory; the next try is in 5ms",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn one_call_names_the_caller_in_every_line() {
    let (log, _guard) = Log::catch();
    let proxy = "192.0.2.10:1000".parse().unwrap();
    let client = Client::through_proxy("203.0.113.5:40000".parse().unwrap(), proxy);
    client.span().in_scope(|| tracing::info!("greeted"));
    let own = ProxyOwn::new(OwnConnection::Local, PeerAddress::tcp(proxy));
    for caller in [Caller::Client(client), Caller::ProxyOwn(own)] {
        caller.span().in_scope(|| tracing::info!("again"));
    }
    let direct =
        ClientIdentity::direct(PeerAddress::tcp(proxy), Some("192.0.2.1:25".parse().unwrap())).unwrap();
    Caller::from(direct).span().in_scope(|| tracing::info!("direct"));
    let text = log.text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let client = "connection{client=203.0.113.5:40000 peer=192.0.2.10:1000 source=\"v2\" secure=false}";
    assert_eq!(
        lines,
        [
            format!("INFO {client}: tracing: greeted").as_str(),
            format!("INFO {client}: tracing: again").as_str(),
            "INFO connection{own=\"local\" peer=192.0.2.10:1000}: tracing: again",
            "INFO connection{client=192.0.2.10:1000 peer=192.0.2.10:1000 source=\"direct\" secure=false destination=192.0.2.1:25}: tracing: direct",
        ]
    );
}

/// Whoever identifies in tasks of their own has the same lines as a listener.
#[tokio::test(start_paused = true)]
async fn what_identify_says_is_reported_as_by_a_listener() {
    let (log, _guard) = Log::catch();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observed = seen.clone();
    let options = ListenerOptions::new().on_event(move |event| observed.lock().unwrap().push(event.code()));
    let peer = PeerAddress::tcp("192.0.2.10:1000".parse().unwrap());
    let policy = TrustPolicy::from(common::trusted());
    let incoming = Incoming::new(&b"EHLO\r\n"[..], peer, None, &policy, &options).unwrap();
    let refusal = incoming.identify().await.unwrap_err();
    options.report(refusal.into());
    assert_eq!(*seen.lock().unwrap(), ["header_missing"]);
    let text = log.text();
    assert!(
        text.contains("connection refused code=\"header_missing\" fault=Peer peer=192.0.2.10:1000 reason="),
        "{text}"
    );
}
