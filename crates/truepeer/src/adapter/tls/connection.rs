//! A connection inside TLS whose caller is known from before TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::server::TlsStream;

use crate::{Caller, ClientStream, PeerAddress, ProxyOwnStream};

/// A connection whose handshake is done: a client's, or the proxy's own. Taking the stream out answers the question;
/// reading and writing does not need it.
#[derive(Debug)]
#[must_use = "dropping it closes the connection"]
pub enum TlsConnection<S> {
    /// A client.
    Client(TlsStream<ClientStream<S>>),
    /// The proxy itself: answer its health check, or drop it.
    ProxyOwn(TlsStream<ProxyOwnStream<S>>),
}

impl<S> TlsConnection<S> {
    /// Who is calling.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self {
            Self::Client(stream) => Caller::Client(stream.get_ref().0.client().clone()),
            Self::ProxyOwn(stream) => Caller::ProxyOwn(stream.get_ref().0.own()),
        }
    }

    /// The other end of our socket, no matter who is calling.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        match self {
            Self::Client(stream) => stream.get_ref().0.client().identity().peer(),
            Self::ProxyOwn(stream) => stream.get_ref().0.own().peer(),
        }
    }

    /// The TLS session: protocol, cipher, and the certificates of the other end of it.
    #[must_use]
    pub fn session(&self) -> &ServerConnection {
        match self {
            Self::Client(stream) => stream.get_ref().1,
            Self::ProxyOwn(stream) => stream.get_ref().1,
        }
    }
}

/// The same of either stream.
macro_rules! either {
    ($connection:expr, $stream:ident => $result:expr) => {
        match $connection {
            TlsConnection::Client($stream) => $result,
            TlsConnection::ProxyOwn($stream) => $result,
        }
    };
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsConnection<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsConnection<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
