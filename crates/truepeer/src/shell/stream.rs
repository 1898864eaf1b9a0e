//! A connection whose caller is known: what was read too far comes first, then the socket.
//!
//! Handed out by the listener. After the first read there is nothing between the server and its socket.

use core::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Caller, Client, ClientIdentity, PeerAddress, ProxyOwn};

/// A client's connection. Reads and writes go to the socket; the header is gone.
///
/// The bytes that came in one segment with the header are read first; the buffer is given back with the last of
/// them, and from then on nothing is copied and nothing is kept. It does **not** look for a second header in the
/// client's bytes: a server parses those as its own protocol anyway. Whoever passes them on to something that reads
/// headers puts [`FirstBytes`](crate::FirstBytes) in between.
///
/// Memory: 80 bytes besides the socket, one shared identity, and at most 511 bytes until they are read.
#[derive(Debug)]
pub struct ClientStream<S> {
    inner: Unread<S>,
    client: Client,
}

impl<S> ClientStream<S> {
    /// Whose connection this is.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The socket. Reading from it directly loses what stands in [`ClientStream::unread`].
    #[must_use]
    pub fn as_io(&self) -> &S {
        &self.inner.io
    }

    /// The client's bytes that were received with the header and not read yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.inner.unread()
    }

    /// The stream in pieces, for zero-copy relays and other runtimes.
    #[must_use]
    pub fn into_parts(self) -> Parts<S> {
        let unread = self.inner.unread().to_vec();
        Parts { io: self.inner.io, client: self.client, unread }
    }

    /// The stream put together again.
    #[must_use]
    pub fn from_parts(parts: Parts<S>) -> Self {
        Self { inner: Unread::new(parts.io, parts.unread), client: parts.client }
    }
}

/// What a [`ClientStream`] consists of. `{:?}` shows how many bytes are unread, never the bytes.
pub struct Parts<S> {
    /// The socket.
    pub io: S,
    /// Whose connection it is.
    pub client: Client,
    /// The client's first bytes, which were received with the header. They come before anything in `io`.
    pub unread: Vec<u8>,
}

impl<S: fmt::Debug> fmt::Debug for Parts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("io", &self.io)
            .field("client", &self.client)
            .field("unread", &format_args!("{} bytes", self.unread.len()))
            .finish()
    }
}

/// A proxy's own connection, such as a health check. It has no client, and no way to ask for one.
#[derive(Debug)]
pub struct ProxyOwnStream<S> {
    inner: Unread<S>,
    own: ProxyOwn,
}

impl<S> ProxyOwnStream<S> {
    /// Which proxy it is, and how it said so.
    #[must_use]
    pub fn own(&self) -> ProxyOwn {
        self.own
    }

    /// The socket.
    #[must_use]
    pub fn as_io(&self) -> &S {
        &self.inner.io
    }
}

/// An identified connection: a client's, or the proxy's own. Taking the stream out answers the question.
#[derive(Debug)]
#[must_use = "dropping it closes the connection"]
pub enum Connection<S> {
    /// A client.
    Client(ClientStream<S>),
    /// The proxy itself: answer its health check, or drop it.
    ProxyOwn(ProxyOwnStream<S>),
}

impl<S> Connection<S> {
    pub(super) fn new(io: S, identity: ClientIdentity, unread: Vec<u8>) -> Self {
        let inner = Unread::new(io, unread);
        match Caller::from(identity) {
            Caller::Client(client) => Self::Client(ClientStream { inner, client }),
            Caller::ProxyOwn(own) => Self::ProxyOwn(ProxyOwnStream { inner, own }),
        }
    }

    /// Who is calling.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self {
            Self::Client(stream) => Caller::Client(stream.client.clone()),
            Self::ProxyOwn(stream) => Caller::ProxyOwn(stream.own),
        }
    }

    /// The other end of our socket, whoever is calling.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        match self {
            Self::Client(stream) => stream.client.identity().peer(),
            Self::ProxyOwn(stream) => stream.own.peer(),
        }
    }
}

/// A socket with bytes in front of it.
struct Unread<S> {
    io: S,
    bytes: Vec<u8>,
    /// How many of `bytes` were read.
    read: usize,
}

impl<S> Unread<S> {
    fn new(io: S, bytes: Vec<u8>) -> Self {
        Self { io, bytes, read: 0 }
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }
}

/// How many bytes there are, never which: they are a client's first words, and often a password.
impl<S: fmt::Debug> fmt::Debug for Unread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unread")
            .field("io", &self.io)
            .field("unread", &format_args!("{} bytes", self.unread().len()))
            .finish()
    }
}

impl<S: AsyncRead + Unpin> Unread<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let unread = self.unread();
        if unread.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let now = unread.get(..unread.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(now);
        self.read = self.read.saturating_add(now.len());
        if self.read >= self.bytes.len() {
            // The buffer is not carried along for the life of the connection.
            self.bytes = Vec::new();
            self.read = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> ClientStream<S> {
    fn inner_mut(&mut self) -> &mut Unread<S> {
        &mut self.inner
    }
}

impl<S> ProxyOwnStream<S> {
    fn inner_mut(&mut self) -> &mut Unread<S> {
        &mut self.inner
    }
}

impl<S> Connection<S> {
    /// The socket, whoever is calling.
    #[must_use]
    pub fn as_io(&self) -> &S {
        match self {
            Self::Client(stream) => stream.as_io(),
            Self::ProxyOwn(stream) => stream.as_io(),
        }
    }

    fn inner_mut(&mut self) -> &mut Unread<S> {
        match self {
            Self::Client(stream) => &mut stream.inner,
            Self::ProxyOwn(stream) => &mut stream.inner,
        }
    }
}

/// Reads go through `Unread`, writes straight to the socket.
macro_rules! pass_io {
    ($stream:ident) => {
        impl<S: AsyncRead + Unpin> AsyncRead for $stream<S> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.inner_mut().poll_read(cx, buf)
            }
        }

        impl<S: AsyncWrite + Unpin> AsyncWrite for $stream<S> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.inner_mut().io).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.inner_mut().io).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.as_io().is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner_mut().io).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner_mut().io).poll_shutdown(cx)
            }
        }
    };
}

pass_io!(ClientStream);
pass_io!(ProxyOwnStream);
pass_io!(Connection);
