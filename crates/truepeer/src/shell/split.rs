//! Both directions of a connection, each for a task of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};
#[cfg(unix)]
use tokio::net::{UnixStream, unix};

use super::unread::Unread;

/// A socket that comes apart into two directions without a lock between them, as tokio's do.
pub trait Split {
    /// The half that reads.
    type Read: AsyncRead + Unpin;
    /// The half that writes.
    type Write: AsyncWrite + Unpin;

    /// Both halves.
    fn split(self) -> (Self::Read, Self::Write);
}

impl Split for TcpStream {
    type Read = tcp::OwnedReadHalf;
    type Write = tcp::OwnedWriteHalf;

    fn split(self) -> (Self::Read, Self::Write) {
        self.into_split()
    }
}

#[cfg(unix)]
impl Split for UnixStream {
    type Read = unix::OwnedReadHalf;
    type Write = unix::OwnedWriteHalf;

    fn split(self) -> (Self::Read, Self::Write) {
        self.into_split()
    }
}

/// The half of a connection that reads: what was received with the header first, then the socket.
///
/// Memory: 32 bytes besides the socket's half, and at most 511 bytes until they are read.
#[derive(Debug)]
pub struct ReadHalf<R>(Unread<R>);

impl<R> ReadHalf<R> {
    pub(super) fn new(half: R, unread: Vec<u8>) -> Self {
        Self(Unread::new(half, unread))
    }

    /// The socket's half. Reading from it directly loses what stands in [`ReadHalf::unread`].
    #[must_use]
    pub fn as_io(&self) -> &R {
        &self.0.io
    }

    /// The bytes that were received with the header and not read yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.0.unread()
    }

    /// The socket's half and the bytes that come before anything in it, for putting both halves together again.
    #[must_use]
    pub fn into_parts(self) -> (R, Vec<u8>) {
        self.0.into_parts()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ReadHalf<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}
