//! TLS above the header: a listener whose handshakes wait for nobody either.
//!
//! The order is the type's: [`TlsListener`] is built on a [`ProxyListener`] and not the other way round, so that a
//! header can never be read from inside TLS, where it would be the client's own words.

mod connection;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use connection::TlsConnection;

use crate::shell::{Ended, Pending, Turns, or_never};
use crate::{
    Accept, Caller, ClientStream, Connection, ListenerEvent, ListenerHandle, ListenerOptions, ProxyListener,
};

/// Hands out connections whose TLS handshake is done. The client is `stream.get_ref().0.client()`.
///
/// Handshakes run in tasks of the listener's own, as headers do: a silent client keeps nobody waiting. When there are
/// [`max_handshakes`](Self::max_handshakes) of them, the peer that holds most loses its oldest: a flood from one
/// address makes room for itself.
///
/// [`is_secure`](crate::ClientIdentity::is_secure) is about TLS between client and **proxy**; that this connection is
/// TLS as well is what the stream's type says.
///
/// A proxy whose health checks speak TLS behind a LOCAL header (HAProxy's `send-proxy-v2 ssl check`) takes a server for
/// dead that closes them: [`accept_any`](Self::accept_any) shakes hands with those, too.
///
/// Memory: `max_handshakes` times what rustls holds for a handshake, besides that of the listener below. That is 8 KiB
/// for a silent client and 68 KiB for one that sends a ClientHello as large as rustls takes: 68 MiB by default.
#[derive(Debug)]
pub struct TlsListener<L: Accept = TcpListener> {
    listener: ProxyListener<L>,
    acceptor: Acceptor,
    handshake_timeout: Duration,
    max_handshakes: usize,
    handshakes: Pending<Caller, Shaken<L>>,
}

type Shaken<L> = Result<TlsConnection<<L as Accept>::Stream>, (Caller, io::Error)>;

impl<L: Accept> TlsListener<L> {
    /// 1,024 handshakes at once.
    pub const DEFAULT_MAX_HANDSHAKES: usize = 1024;
    /// 10 seconds for the whole handshake, from the end of the header on.
    pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

    /// TLS for every client of `listener`. `TlsAcceptor::from(Arc::new(config))` makes an acceptor of a rustls
    /// configuration, with whichever provider that has.
    pub fn new(listener: ProxyListener<L>, acceptor: TlsAcceptor) -> Self {
        Self {
            listener,
            acceptor: Acceptor(acceptor),
            handshake_timeout: Self::DEFAULT_HANDSHAKE_TIMEOUT,
            max_handshakes: Self::DEFAULT_MAX_HANDSHAKES,
            handshakes: Pending::new(Self::DEFAULT_MAX_HANDSHAKES),
        }
    }

    /// The number of handshakes that may be unfinished, or finished and not fetched. When it is reached, the peer that
    /// holds most of them loses the oldest unfinished one. An IPv4 address and a /64 of IPv6 are one holder. At least
    /// 1. For a listener that has accepted nobody yet.
    #[must_use]
    pub fn max_handshakes(mut self, max: usize) -> Self {
        self.max_handshakes = max.max(1);
        self.handshakes = Pending::new(max);
        self
    }

    /// The time for a whole handshake, at most [`ListenerOptions::LONGEST_TIMEOUT`].
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout.min(ListenerOptions::LONGEST_TIMEOUT);
        self
    }

    /// The next client whose handshake is done. Those that fail are closed and reported as
    /// [`ListenerEvent::TlsFailed`], proxies' own connections as [`ListenerEvent::ProxyOwnClosed`].
    ///
    /// After the listener's end this is never ready; [`TlsListener::next`] tells the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn accept(&mut self) -> TlsStream<ClientStream<L::Stream>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The next connection whose handshake is done: a client's or a proxy's own. Never ready after the listener's end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn accept_any(&mut self) -> TlsConnection<L::Stream> {
        poll_fn(|cx| self.poll_accept_any(cx)).await
    }

    /// The next client as [`TlsListener::accept`] has it; `None` at the listener's end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<TlsStream<ClientStream<L::Stream>>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next connection as [`TlsListener::accept_any`] has it; `None` at the listener's end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_any(&mut self) -> Option<TlsConnection<L::Stream>> {
        poll_fn(|cx| self.poll_next_any(cx)).await
    }

    /// As [`TlsListener::accept`], for streams and futures written by hand.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<TlsStream<ClientStream<L::Stream>>> {
        or_never(self.poll_next(cx))
    }

    /// As [`TlsListener::accept_any`], for streams and futures written by hand.
    pub fn poll_accept_any(&mut self, cx: &mut Context<'_>) -> Poll<TlsConnection<L::Stream>> {
        or_never(self.poll_next_any(cx))
    }

    /// As [`TlsListener::next`], for streams and futures written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<TlsStream<ClientStream<L::Stream>>>> {
        loop {
            match ready!(self.poll_shaken(cx, Whom::Clients)) {
                Some(TlsConnection::Client(stream)) => return Poll::Ready(Some(stream)),
                // It was let in by an `accept_any`; nobody asks for it any more.
                Some(TlsConnection::ProxyOwn(stream)) => {
                    let own = stream.get_ref().0.own();
                    self.listener.report(ListenerEvent::ProxyOwnClosed(own));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    /// As [`TlsListener::next_any`], for streams and futures written by hand.
    pub fn poll_next_any(&mut self, cx: &mut Context<'_>) -> Poll<Option<TlsConnection<L::Stream>>> {
        self.poll_shaken(cx, Whom::Everybody)
    }

    /// Steers this listener from elsewhere: another policy, a stop that drains.
    #[must_use]
    pub fn handle(&self) -> ListenerHandle {
        self.listener.handle()
    }

    /// The listener below.
    #[must_use]
    pub fn as_listener(&self) -> &ProxyListener<L> {
        &self.listener
    }

    fn poll_shaken(&mut self, cx: &mut Context<'_>, whom: Whom) -> Poll<Option<TlsConnection<L::Stream>>> {
        let next = self.poll_connection(cx, whom);
        self.listener.shared().set_handshakes(self.handshakes.len());
        next
    }

    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
        whom: Whom,
    ) -> Poll<Option<TlsConnection<L::Stream>>> {
        let mut turns = Turns::new();
        loop {
            while let Poll::Ready(ended) = self.handshakes.poll_ended(cx) {
                let (caller, error) = match ended {
                    Ended::Done(Ok(connection)) => return Poll::Ready(Some(connection)),
                    Ended::Done(Err(failed)) => failed,
                    Ended::GivenUp(caller) => (caller, made_room(self.max_handshakes)),
                };
                self.listener.report(ListenerEvent::TlsFailed { caller, error });
            }
            ready!(turns.poll_take(cx));
            let next = match whom {
                Whom::Clients => self.listener.poll_next(cx).map(|next| next.map(Connection::Client)),
                Whom::Everybody => self.listener.poll_next_any(cx),
            };
            let connection = match ready!(next) {
                Some(connection) => connection,
                None if self.handshakes.is_empty() => return Poll::Ready(None),
                None => return Poll::Pending,
            };
            let caller = connection.caller();
            let holder = caller.client().map(crate::Client::ip).or(connection.peer().ip()).into();
            let work = secure(self.acceptor.0.clone(), connection, self.handshake_timeout);
            self.handshakes.start(caller, holder, work);
            // Before the listener below can end, so that nobody takes its end for ours.
            self.listener.shared().set_handshakes(self.handshakes.len());
        }
    }
}

/// Whose handshakes are wanted.
#[derive(Clone, Copy)]
enum Whom {
    Clients,
    Everybody,
}

async fn secure<S>(
    acceptor: TlsAcceptor,
    connection: Connection<S>,
    time: Duration,
) -> Result<TlsConnection<S>, (Caller, io::Error)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let caller = connection.caller();
    let secured = match connection {
        Connection::Client(stream) => handshake(acceptor, stream, time).await.map(TlsConnection::Client),
        Connection::ProxyOwn(stream) => handshake(acceptor, stream, time).await.map(TlsConnection::ProxyOwn),
    };
    secured.map_err(|error| (caller, error))
}

async fn handshake<IO>(acceptor: TlsAcceptor, io: IO, time: Duration) -> io::Result<TlsStream<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    timeout(time, acceptor.accept(io)).await.unwrap_or_else(|_| {
        let late = format!("its handshake was not finished within {time:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, late))
    })
}

fn made_room(max: usize) -> io::Error {
    let why = format!(
        "its handshake was the oldest of the peer that held most of {max} when a newer client needed the place"
    );
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

/// tokio-rustls' acceptor says nothing of itself.
struct Acceptor(TlsAcceptor);

impl core::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}
