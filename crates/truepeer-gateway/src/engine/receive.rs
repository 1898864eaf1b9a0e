//! Receive with a deadline.

use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::{Pending, Socket, until};

/// What came.
#[derive(Debug)]
pub enum Received {
    /// So many bytes were appended.
    Bytes(usize),
    /// The other end will send no more.
    Ended,
    /// The deadline passed first.
    Expired,
    /// An older connection had to make room for newer ones.
    Evicted,
    /// The connection broke.
    Failed(io::Error),
}

/// How the bytes of a connection are read while it is found out whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// What is there is taken; what follows a header goes on from our memory.
    Ahead,
    /// What is there is looked at, and only a header is taken, to its last byte: what follows it is for a program to read.
    Exactly,
}

/// One read takes at most so much; also the most that waits for a side that does not take it.
pub(super) const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// One read buffer for all connections of a thread: used only inside one poll.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lends the thread's read buffer of [`SCRATCH`] bytes.
pub(super) fn with_scratch<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| act(buffer))
}

/// Appends at most `RECEIVE_MAX` bytes to `buf`, as soon as there are any, until `deadline` or eviction.
///
/// # Cancel safety
/// Dropping the future loses nothing: bytes are taken from the socket only when it is about to return them.
pub async fn receive(
    socket: &Socket,
    buf: &mut Vec<u8>,
    deadline: Instant,
    pending: Option<&Pending>,
) -> Received {
    receive_as(Reading::Ahead, socket, buf, deadline, pending).await
}

/// As [`receive`]. With [`Reading::Exactly`], `buf` is what the socket holds, from its first byte on, and gets what is
/// there behind that.
///
/// # Cancel safety
/// That of [`receive`].
pub async fn receive_as(
    reading: Reading,
    socket: &Socket,
    buf: &mut Vec<u8>,
    deadline: Instant,
    pending: Option<&Pending>,
) -> Received {
    let mut expired = until(deadline);
    poll_fn(|cx| {
        // Bytes that are there win over a deadline that has just passed.
        if let Poll::Ready(received) = poll_receive(reading, socket, buf, cx) {
            return Poll::Ready(received);
        }
        if pending.is_some_and(|pending| pending.poll_evicted(cx).is_ready()) {
            return Poll::Ready(Received::Evicted);
        }
        Pin::new(&mut expired).poll(cx).map(|()| Received::Expired)
    })
    .await
}

/// One receive takes at most so much: a header at its cap and a little of what follows.
pub(super) const RECEIVE_MAX: usize = 4096 + 16;

fn poll_receive(
    reading: Reading,
    socket: &Socket,
    buf: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Received> {
    loop {
        if let Err(error) = ready!(socket.poll_read_ready(cx)) {
            return Poll::Ready(Received::Failed(error));
        }
        let received = with_scratch(|scratch| {
            let scratch = scratch.get_mut(..RECEIVE_MAX).unwrap_or_default();
            let (from, len) = match reading {
                Reading::Ahead => (0, socket.try_read(scratch)?),
                Reading::Exactly => (buf.len(), socket.try_peek(scratch, buf.len())?),
            };
            // Exactly what came: an unfinished header of 8 bytes holds 8 bytes.
            buf.reserve_exact(len);
            buf.extend_from_slice(scratch.get(from..from.saturating_add(len)).unwrap_or_default());
            Ok::<_, io::Error>(len)
        });
        return Poll::Ready(match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => Received::Failed(error),
            Ok(0) => Received::Ended,
            Ok(len) => Received::Bytes(len),
        });
    }
}
