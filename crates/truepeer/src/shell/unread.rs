//! A socket with bytes in front of it. Knows nothing of who is calling.

use core::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// A socket, or its half that reads, behind bytes that were read too far.
pub(super) struct Unread<S> {
    pub(super) io: S,
    bytes: Vec<u8>,
    /// How many of `bytes` were read.
    read: usize,
}

impl<S> Unread<S> {
    pub(super) fn new(io: S, bytes: Vec<u8>) -> Self {
        Self { io, bytes, read: 0 }
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        let unread = self.unread().to_vec();
        (self.io, unread)
    }
}

impl<S: AsyncRead + Unpin> Unread<S> {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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

/// How many bytes there are, never which: they are a client's first words, and often a password.
impl<S: fmt::Debug> fmt::Debug for Unread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unread")
            .field("io", &self.io)
            .field("unread", &format_args!("{} bytes", self.unread().len()))
            .finish()
    }
}
