//! What the tests of the IO shell share: a listener without sockets, headers, an observer, and a way to drop futures.
#![allow(dead_code, reason = "every test binary uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

pub(crate) mod net;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use truepeer::{Accept, ListenerEvent, ListenerOptions, PeerAddress, ProxyListener, TrustedNetworks};
use truepeer_testkit::scripted::{Handle, ScriptedStream, Step};

/// A v1 header for 203.0.113.5:40000, which reached 198.51.100.2:25.
pub(crate) const V1: &[u8] = b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 25\r\n";
/// The same in v2.
pub(crate) const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x05\xc6\x33\x64\x02\x9c\x40\0\x19";
/// v2 LOCAL.
pub(crate) const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// The address of a trusted proxy.
pub(crate) const PROXY: &str = "192.0.2.10:1000";
/// The address of somebody else.
pub(crate) const STRANGER: &str = "192.0.2.99:2000";

/// Hands out scripted connections, in order, and errors.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeListener(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    arrivals: VecDeque<io::Result<(ScriptedStream, PeerAddress)>>,
    ended: bool,
    waker: Option<Waker>,
    polls: usize,
}

impl FakeListener {
    pub(crate) fn connect(&self, peer: &str, steps: impl IntoIterator<Item = Step>) -> Handle {
        self.connect_from(PeerAddress::tcp(peer.parse().unwrap()), steps)
    }

    pub(crate) fn connect_from(&self, peer: PeerAddress, steps: impl IntoIterator<Item = Step>) -> Handle {
        let (stream, handle) = ScriptedStream::new(steps);
        self.push(Ok((stream, peer)));
        handle
    }

    /// Nobody comes any more.
    pub(crate) fn end(&self) {
        let mut queue = self.0.lock().unwrap();
        queue.ended = true;
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn fail(&self, error: io::Error) {
        self.push(Err(error));
    }

    /// How often the listener asked for a connection.
    pub(crate) fn polls(&self) -> usize {
        self.0.lock().unwrap().polls
    }

    fn push(&self, arrival: io::Result<(ScriptedStream, PeerAddress)>) {
        let mut queue = self.0.lock().unwrap();
        queue.arrivals.push_back(arrival);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }
}

impl Accept for FakeListener {
    type Stream = ScriptedStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(ScriptedStream, PeerAddress)>>> {
        let mut queue = self.0.lock().unwrap();
        queue.polls += 1;
        match queue.arrivals.pop_front() {
            Some(arrival) => Poll::Ready(Some(arrival)),
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn reached(_: &ScriptedStream) -> Option<SocketAddr> {
        Some("198.51.100.2:25".parse().unwrap())
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(None)
    }
}

/// Everything a listener reported, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<ListenerEvent>>>);

impl Events {
    pub(crate) fn observe(&self, options: ListenerOptions) -> ListenerOptions {
        let events = Arc::clone(&self.0);
        options.on_event(move |event| events.lock().unwrap().push(event))
    }

    /// The codes, but the pause in ms for accept errors; and forgets everything.
    pub(crate) fn take(&self) -> Vec<String> {
        let said = |event: ListenerEvent| match event {
            ListenerEvent::AcceptFailed { pause, .. } => pause.as_millis().to_string(),
            other => other.code().to_owned(),
        };
        self.0.lock().unwrap().drain(..).map(said).collect()
    }

    /// Everything in words; and forgets it.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).map(|event| event.to_string()).collect()
    }
}

/// The one proxy at 192.0.2.10, and loopback for tests with sockets.
pub(crate) fn trusted() -> TrustedNetworks {
    TrustedNetworks::parse(["192.0.2.10", "127.0.0.0/8"]).unwrap()
}

/// A listener without sockets, its source of connections, and what it reports.
pub(crate) fn listener(options: ListenerOptions) -> (ProxyListener<FakeListener>, FakeListener, Events) {
    let door = FakeListener::default();
    let events = Events::default();
    let listener = ProxyListener::new(door.clone(), trusted(), events.observe(options));
    (listener, door, events)
}

pub(crate) fn bytes(parts: &[&[u8]]) -> Step {
    Step::Bytes(parts.concat())
}

/// Lets the runtime do what it can without time passing.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Polls `future` until it is ready or was pending `times` times; then drops it.
pub(crate) async fn drop_after<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=times {
        let once = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = once {
            return Some(output);
        }
        settle().await;
    }
    None
}
