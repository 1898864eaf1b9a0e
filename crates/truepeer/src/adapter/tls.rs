//! TLS above the header: a listener whose handshakes wait for nobody either.
//!
//! The order is the type's: [`TlsListener`] is built on a [`ProxyListener`] and not the other way round, so that a
//! header can never be read from inside TLS, where it would be the client's own words.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::shell::{Ended, Pending, Turns};
use crate::{Accept, Client, ClientStream, ListenerEvent, ListenerOptions, ProxyListener};

/// Hands out clients whose TLS handshake is done. The client is `stream.get_ref().0.client()`.
///
/// Handshakes run in tasks of the listener's own, as headers do: a silent client keeps nobody waiting. When there are
/// [`max_handshakes`](Self::max_handshakes) of them, whoever holds most loses the oldest: a flood from one address makes
/// room for itself.
///
/// [`is_secure`](crate::ClientIdentity::is_secure) is about TLS between client and **proxy**; that this connection is
/// TLS as well is what the stream's type says.
///
/// Memory: `max_handshakes` times what rustls holds for a handshake, besides that of the listener below. That is 8 KiB for
/// a silent client and 68 KiB for one that sends a ClientHello as large as rustls takes: 68 MiB by default.
#[derive(Debug)]
pub struct TlsListener<L: Accept = TcpListener> {
    listener: ProxyListener<L>,
    acceptor: Acceptor,
    handshake_timeout: Duration,
    max_handshakes: usize,
    handshakes: Pending<Client, Result<Secured<L>, (Client, io::Error)>>,
}

type Secured<L> = TlsStream<ClientStream<<L as Accept>::Stream>>;

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

    /// The number of handshakes that may be unfinished, or finished and not fetched. When it is reached, whoever holds
    /// most of them loses the oldest unfinished one. An IPv4 address and a /64 of IPv6 are one holder. At least 1.
    /// For a listener that has accepted nobody yet.
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
    /// [`ListenerEvent::TlsFailed`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn accept(&mut self) -> TlsStream<ClientStream<L::Stream>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`TlsListener::accept`], for streams and futures written by hand.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<TlsStream<ClientStream<L::Stream>>> {
        let mut turns = Turns::new();
        loop {
            while let Poll::Ready(ended) = self.handshakes.poll_ended(cx) {
                match ended {
                    Ended::Done(Ok(stream)) => return Poll::Ready(stream),
                    Ended::Done(Err((client, error))) => {
                        self.listener.report(ListenerEvent::TlsFailed { client, error });
                    }
                    Ended::GivenUp(client) => {
                        let error = io::Error::new(
                            io::ErrorKind::ConnectionAborted,
                            format!(
                                "its handshake was the oldest of whoever held most of {} when a newer client \
                                 needed the place",
                                self.max_handshakes
                            ),
                        );
                        self.listener.report(ListenerEvent::TlsFailed { client, error });
                    }
                }
            }
            ready!(turns.poll_take(cx));
            let stream = ready!(self.listener.poll_accept(cx));
            let client = stream.client().clone();
            let holder = Some(client.ip()).into();
            let handshake = handshake(self.acceptor.0.clone(), stream, self.handshake_timeout);
            self.handshakes.start(client, holder, handshake);
        }
    }

    /// The listener below.
    #[must_use]
    pub fn as_listener(&self) -> &ProxyListener<L> {
        &self.listener
    }
}

async fn handshake<S>(
    acceptor: TlsAcceptor,
    stream: ClientStream<S>,
    time: Duration,
) -> Result<TlsStream<ClientStream<S>>, (Client, io::Error)>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let client = stream.client().clone();
    match timeout(time, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err((client, error)),
        Err(_) => {
            let late = format!("its handshake was not finished within {time:?}");
            Err((client, io::Error::new(io::ErrorKind::TimedOut, late)))
        }
    }
}

/// tokio-rustls' acceptor says nothing of itself.
struct Acceptor(TlsAcceptor);

impl core::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}
