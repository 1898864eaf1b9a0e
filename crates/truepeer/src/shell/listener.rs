//! The listener: accepts, lets nobody wait for anybody, hands out connections whose caller is known.
//!
//! The whole of its waiting is one poll function, so that every `accept` is cancel safe by construction.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::time::{Sleep, sleep};

use super::handle::{Owner, Shared};
use super::incoming::Now;
use super::pending::{Ended, Pending};
use super::{
    Accept, ClientStream, Connection, Incoming, ListenerEvent, ListenerHandle, ListenerOptions, Refusal,
};
use crate::{PeerAddress, TrustPolicy};

/// Hands out connections whose caller is known.
///
/// It **never waits for one peer's bytes**: headers are read in tasks of the listener's own, so that a thousand
/// silent proxies keep nobody from being served. Peers without a good header are closed and reported to
/// [`ListenerOptions::on_event`].
///
/// Accept errors do not end it: a connection that broke while it waited is passed over, up to 16 times in a row. Then,
/// and when descriptors or memory run out, it waits 5 ms, then twice as long each time, up to 1 s. Without descriptors
/// it gives up a header, as when all places are taken, because that is where descriptors can come from.
/// What it sends away in one poll is bounded, so that other tasks of the thread get their turn in a flood.
///
/// Memory: see [`ListenerOptions`]. Dropping the listener closes every connection that was not handed out; to stop
/// without that, see [`ProxyListener::handle`].
#[derive(Debug)]
pub struct ProxyListener<L: Accept = TcpListener> {
    /// Until it stops.
    listener: Option<L>,
    /// Those who had arrived when it stopped.
    arrived: VecDeque<(L::Stream, PeerAddress)>,
    shared: Owner,
    options: ListenerOptions,
    pending: Pending<PeerAddress, Result<Connection<L::Stream>, Refusal>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// How long the next pause is.
    next_pause: Duration,
    /// Accept errors since the last connection.
    failures: u32,
}

/// Errors of connections that broke by themselves, in a row, before they count as the system's.
const FREE_FAILURES: u32 = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl ProxyListener {
    /// Listens on a TCP address. Peers in trusted networks must send a header.
    ///
    /// # Errors
    /// Those of binding the address.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the address unbound or bound and released; nothing else is lost.
    pub async fn bind(addr: impl ToSocketAddrs, policy: impl Into<TrustPolicy>) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind(addr).await?, policy, ListenerOptions::new()))
    }

    /// The address that is listened on, with the port that the system chose.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::NotConnected`] once it has stopped listening.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_listener().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }
}

#[cfg(unix)]
impl ProxyListener<UnixListener> {
    /// Listens on a UNIX socket. Its peers have no address: they are trusted or refused, as
    /// [`UnixPeers`](crate::UnixPeers) says, and only the file's permissions say who they are.
    ///
    /// # Errors
    /// Those of binding the path; a file that is there already is never replaced.
    pub fn bind_unix(path: impl AsRef<Path>, policy: impl Into<TrustPolicy>) -> io::Result<Self> {
        Ok(Self::new(UnixListener::bind(path)?, policy, ListenerOptions::new()))
    }
}

impl<L: Accept> ProxyListener<L> {
    /// Takes over a listener that is bound already.
    pub fn new(listener: L, policy: impl Into<TrustPolicy>, options: ListenerOptions) -> Self {
        let pending = Pending::new(options.max_pending);
        Self {
            listener: Some(listener),
            arrived: VecDeque::new(),
            shared: Owner(Shared::new(policy.into())),
            options,
            pending,
            pause: None,
            next_pause: FIRST_PAUSE,
            failures: 0,
        }
    }

    /// Replaces the options, for a listener that was just bound.
    #[must_use]
    pub fn with_options(mut self, options: ListenerOptions) -> Self {
        self.pending = Pending::new(options.max_pending);
        self.options = options;
        self
    }

    /// Steers this listener from elsewhere: another policy, a stop that drains.
    #[must_use]
    pub fn handle(&self) -> ListenerHandle {
        self.shared.0.handle()
    }

    /// Replaces the trust policy for every connection that is accepted from now on.
    pub fn set_policy(&mut self, policy: impl Into<TrustPolicy>) {
        self.shared.0.set_policy(policy.into());
    }

    /// The next client. A proxy's own connections are closed, and reported as
    /// [`ListenerEvent::ProxyOwnClosed`]; use [`ProxyListener::accept_any`] to answer health checks.
    ///
    /// After the listener's end, where it has one, this is never ready; [`ProxyListener::next`] tells the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: neither a connection nor a byte of a header.
    pub async fn accept(&mut self) -> ClientStream<L::Stream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The next connection: a client's or a proxy's own. Never ready after the listener's end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: neither a connection nor a byte of a header.
    pub async fn accept_any(&mut self) -> Connection<L::Stream> {
        poll_fn(|cx| self.poll_accept_any(cx)).await
    }

    /// The next client as [`ProxyListener::accept`] has it; `None` at the listener's end, when everybody who had come
    /// was handed out or sent away.
    ///
    /// A listener ends when the [`Accept`] below has no more, or after [`ListenerHandle::stop_accepting`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: neither a connection nor a byte of a header.
    pub async fn next(&mut self) -> Option<ClientStream<L::Stream>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next connection as [`ProxyListener::accept_any`] has it; `None` at the listener's end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: neither a connection nor a byte of a header.
    pub async fn next_any(&mut self) -> Option<Connection<L::Stream>> {
        poll_fn(|cx| self.poll_next_any(cx)).await
    }

    /// The next connection that the trust policy has a place for, as it is: nothing was read yet. Never ready after the
    /// listener's end.
    ///
    /// For servers that identify in tasks of their own. They bound their number themselves.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn accept_incoming(&mut self) -> Incoming<L::Stream> {
        poll_fn(|cx| or_never(self.poll_incoming(cx, &mut Turns::new()))).await
    }

    /// As [`ProxyListener::accept`], for streams and futures written by hand.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<ClientStream<L::Stream>> {
        or_never(self.poll_next(cx))
    }

    /// As [`ProxyListener::accept_any`], for streams and futures written by hand.
    pub fn poll_accept_any(&mut self, cx: &mut Context<'_>) -> Poll<Connection<L::Stream>> {
        or_never(self.poll_next_any(cx))
    }

    /// As [`ProxyListener::next`], for streams and futures written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<ClientStream<L::Stream>>> {
        let mut turns = Turns::new();
        loop {
            match ready!(self.poll_identified(cx, &mut turns)) {
                Some(Connection::Client(stream)) => return Poll::Ready(Some(stream)),
                Some(Connection::ProxyOwn(stream)) => {
                    self.options.report(ListenerEvent::ProxyOwnClosed(stream.own()));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    /// As [`ProxyListener::next_any`], for streams and futures written by hand.
    pub fn poll_next_any(&mut self, cx: &mut Context<'_>) -> Poll<Option<Connection<L::Stream>>> {
        self.poll_identified(cx, &mut Turns::new())
    }

    fn poll_identified(
        &mut self,
        cx: &mut Context<'_>,
        turns: &mut Turns,
    ) -> Poll<Option<Connection<L::Stream>>> {
        let next = self.poll_connection(cx, turns);
        self.shared.0.set_headers(self.pending.len());
        if let Poll::Ready(None) = next {
            self.shared.0.end();
        }
        next
    }

    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
        turns: &mut Turns,
    ) -> Poll<Option<Connection<L::Stream>>> {
        loop {
            // Headers that are complete come first: their number is limited by what was accepted before.
            while let Poll::Ready(ended) = self.pending.poll_ended(cx) {
                let result = match ended {
                    Ended::Done(result) => result,
                    Ended::GivenUp(peer) => Err(Refusal::Evicted(peer)),
                };
                if let Some(connection) = self.keep(result) {
                    return Poll::Ready(Some(connection));
                }
            }
            let incoming = match ready!(self.poll_incoming(cx, turns)) {
                Some(incoming) => incoming,
                None if self.pending.is_empty() => return Poll::Ready(None),
                None => return Poll::Pending,
            };
            let peer = incoming.peer();
            match incoming.now(cx) {
                Now::Known(result) => {
                    if let Some(connection) = self.keep(result) {
                        return Poll::Ready(Some(connection));
                    }
                }
                Now::Later(incoming) => self.pending.start(peer, peer.ip().into(), incoming.identify()),
            }
        }
    }

    /// How many connections wait for their header or for being handed out.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The listener below, unless it has stopped.
    #[must_use]
    pub fn as_listener(&self) -> Option<&L> {
        self.listener.as_ref()
    }

    #[cfg(feature = "tokio-rustls")]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared.0
    }

    #[cfg(feature = "tokio-rustls")]
    pub(crate) fn report(&self, event: ListenerEvent) {
        self.options.report(event);
    }

    /// `None` at the end.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
        turns: &mut Turns,
    ) -> Poll<Option<Incoming<L::Stream>>> {
        if self.shared.0.is_stopping(cx)
            && let Some(listener) = self.listener.take()
        {
            self.arrived.extend(listener.close());
        }
        loop {
            ready!(turns.poll_take(cx));
            let Some((io, peer)) = ready!(self.poll_raw(cx)) else { return Poll::Ready(None) };
            let reached = L::reached(&io);
            match Incoming::new(io, peer, reached, &self.shared.0.policy(), &self.options) {
                Ok(incoming) => return Poll::Ready(Some(incoming)),
                Err(refusal) => self.options.report(ListenerEvent::Refused(refusal)),
            }
        }
    }

    /// The next connection as it comes, those first that had arrived when the listener stopped.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<(L::Stream, PeerAddress)>> {
        loop {
            if let Some(arrived) = self.arrived.pop_front() {
                return Poll::Ready(Some(arrived));
            }
            let Some(listener) = &mut self.listener else { return Poll::Ready(None) };
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(listener.poll_accept(cx)) {
                Some(Ok(accepted)) => {
                    self.next_pause = FIRST_PAUSE;
                    self.failures = 0;
                    return Poll::Ready(Some(accepted));
                }
                Some(Err(error)) => self.back_off(error),
                None => self.listener = None,
            }
        }
    }

    fn back_off(&mut self, error: io::Error) {
        self.failures = self.failures.saturating_add(1);
        let pause = match error.kind() {
            // One connection is gone; the next may be fine, unless none ever is.
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
                if self.failures <= FREE_FAILURES =>
            {
                Duration::ZERO
            }
            _ => self.next_pause,
        };
        if !pause.is_zero() {
            self.pause = Some(Box::pin(sleep(pause)));
            self.next_pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        if is_out_of_descriptors(&error) {
            self.pending.give_up_one();
        }
        self.options.report(ListenerEvent::AcceptFailed { error, pause });
    }

    fn keep(&self, result: Result<Connection<L::Stream>, Refusal>) -> Option<Connection<L::Stream>> {
        result.map_err(|refusal| self.options.report(ListenerEvent::Refused(refusal))).ok()
    }
}

/// Nothing comes after the end.
pub(crate) fn or_never<T>(next: Poll<Option<T>>) -> Poll<T> {
    match next {
        Poll::Ready(Some(next)) => Poll::Ready(next),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

/// How many connections one poll may still take before other tasks get their turn. tokio's own listeners have such a
/// budget; others need not.
#[derive(Debug)]
pub(crate) struct Turns(u8);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(64)
    }

    /// Ready for one more; otherwise this task is woken again.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Ready(())
            }
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// EMFILE and ENFILE, which have these numbers on every Unix.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}
