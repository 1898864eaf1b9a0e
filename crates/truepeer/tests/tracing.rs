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
use truepeer::{ListenerOptions, ProxyListener, TrustPolicy, UnixPeers, Unlisted};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .without_time()
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
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
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
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
