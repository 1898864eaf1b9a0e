//! A connection whose caller is known: what was read too far comes first, then the socket.
//!
//! Handed out by the listener. After the first read there is nothing between the server and its socket.

use core::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::split::{ReadHalf, Split};
use super::unread::Unread;
use crate::{Caller, Client, ClientIdentity, PeerAddress, ProxyOwn};

/// A client's connection. Reads and writes go to the socket; the header is gone.
///
/// The bytes that came in one segment with the header are read first; the buffer is given back with the last of
/// them, and from then on nothing is copied and nothing is kept. It does **not** look for a second header in the
/// client's bytes: a server parses those as its own protocol anyway. Anyone who passes them on to something that reads
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

    /// The stream in pieces, for zero-copy relays and other runtimes.
    #[must_use]
    pub fn into_parts(self) -> Parts<S> {
        let (io, unread) = self.inner.into_parts();
        Parts { io, caller: self.client, unread }
    }

    /// The stream put together again.
    #[must_use]
    pub fn from_parts(parts: Parts<S>) -> Self {
        Self { inner: Unread::new(parts.io, parts.unread), client: parts.caller }
    }
}

/// What a stream consists of. `{:?}` shows how many bytes are unread, never the bytes.
///
/// `C`: who is calling, a [`Client`], a [`ProxyOwn`] or a [`Caller`].
#[non_exhaustive]
pub struct Parts<S, C = Client> {
    /// The socket.
    pub io: S,
    /// Who is calling.
    pub caller: C,
    /// The first bytes, which were received with the header. They come before anything in `io`. Empty with
    /// [`ListenerOptions::exact_reads`](super::ListenerOptions::exact_reads).
    pub unread: Vec<u8>,
}

impl<S, C> Parts<S, C> {
    /// A socket of which nothing was read that has not been dealt with.
    #[must_use]
    pub fn new(io: S, caller: C) -> Self {
        Self { io, caller, unread: Vec::new() }
    }

    /// The same around another stream, such as the socket wrapped.
    #[must_use]
    pub fn with_io<T>(self, io: T) -> Parts<T, C> {
        Parts { io, caller: self.caller, unread: self.unread }
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for Parts<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("io", &self.io)
            .field("caller", &self.caller)
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

    /// The stream in pieces.
    #[must_use]
    pub fn into_parts(self) -> Parts<S, ProxyOwn> {
        let (io, unread) = self.inner.into_parts();
        Parts { io, caller: self.own, unread }
    }

    /// The stream put together again.
    #[must_use]
    pub fn from_parts(parts: Parts<S, ProxyOwn>) -> Self {
        Self { inner: Unread::new(parts.io, parts.unread), own: parts.caller }
    }
}

/// An identified connection: a client's, or the proxy's own. Taking the stream out answers the question.
///
/// It is also the one type for both: it reads, writes, splits and comes apart as either of them does, and tells
/// [who is calling](Self::caller).
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
        Self::from_parts(Parts { io, caller: Caller::from(identity), unread })
    }

    /// Who is calling.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self {
            Self::Client(stream) => Caller::Client(stream.client.clone()),
            Self::ProxyOwn(stream) => Caller::ProxyOwn(stream.own),
        }
    }

    /// The other end of our socket, no matter who is calling.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        match self {
            Self::Client(stream) => stream.client.identity().peer(),
            Self::ProxyOwn(stream) => stream.own.peer(),
        }
    }

    /// The stream in pieces, no matter who is calling.
    #[must_use]
    pub fn into_parts(self) -> Parts<S, Caller> {
        let caller = self.caller();
        let (io, unread) = match self {
            Self::Client(stream) => stream.inner.into_parts(),
            Self::ProxyOwn(stream) => stream.inner.into_parts(),
        };
        Parts { io, caller, unread }
    }

    /// The stream put together again.
    pub fn from_parts(parts: Parts<S, Caller>) -> Self {
        let inner = Unread::new(parts.io, parts.unread);
        match parts.caller {
            Caller::Client(client) => Self::Client(ClientStream { inner, client }),
            Caller::ProxyOwn(own) => Self::ProxyOwn(ProxyOwnStream { inner, own }),
        }
    }

    fn inner(&self) -> &Unread<S> {
        match self {
            Self::Client(stream) => &stream.inner,
            Self::ProxyOwn(stream) => &stream.inner,
        }
    }

    fn inner_mut(&mut self) -> &mut Unread<S> {
        match self {
            Self::Client(stream) => &mut stream.inner,
            Self::ProxyOwn(stream) => &mut stream.inner,
        }
    }
}

impl<S> From<ClientStream<S>> for Connection<S> {
    fn from(stream: ClientStream<S>) -> Self {
        Self::Client(stream)
    }
}

impl<S> From<ProxyOwnStream<S>> for Connection<S> {
    fn from(stream: ProxyOwnStream<S>) -> Self {
        Self::ProxyOwn(stream)
    }
}

impl<S> ClientStream<S> {
    fn inner(&self) -> &Unread<S> {
        &self.inner
    }

    fn inner_mut(&mut self) -> &mut Unread<S> {
        &mut self.inner
    }
}

impl<S> ProxyOwnStream<S> {
    fn inner(&self) -> &Unread<S> {
        &self.inner
    }

    fn inner_mut(&mut self) -> &mut Unread<S> {
        &mut self.inner
    }
}

/// What all three are: the socket behind what was read too far. Reads go through `Unread`, writes straight to the
/// socket.
macro_rules! pass_io {
    ($stream:ident) => {
        impl<S> $stream<S> {
            /// The socket. Reading from it directly loses what stands in `unread`.
            #[must_use]
            pub fn as_io(&self) -> &S {
                &self.inner().io
            }

            /// The socket, to be changed. Reading from it directly loses what stands in `unread`.
            #[must_use]
            pub fn as_io_mut(&mut self) -> &mut S {
                &mut self.inner_mut().io
            }

            /// The bytes that were received with the header and not read yet.
            #[must_use]
            pub fn unread(&self) -> &[u8] {
                self.inner().unread()
            }
        }

        impl<S: Split> $stream<S> {
            /// Both directions, each for a task of its own, without a lock: the bytes that were received with the
            /// header come first in the half that reads. Who is calling is to be asked before.
            ///
            /// For sockets that know how ([`Split`]); `tokio::io::split` does it for all others.
            #[must_use]
            pub fn into_split(self) -> (ReadHalf<S::Read>, S::Write) {
                let parts = self.into_parts();
                let (read, write) = parts.io.split();
                (ReadHalf::new(read, parts.unread), write)
            }
        }

        /// The socket's descriptor. Reading from it directly loses what stands in `unread`.
        #[cfg(unix)]
        impl<S: AsFd> AsFd for $stream<S> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.as_io().as_fd()
            }
        }

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
