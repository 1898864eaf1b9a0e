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
    patiently(deadline, pending, |given_up| given_up, |cx| poll_receive(reading, socket, buf, cx)).await
}

/// Polls until there is something, `deadline` has passed or an older connection has to make room; what the last two mean
/// is `given_up`'s to say.
async fn patiently<T>(
    deadline: Instant,
    pending: Option<&Pending>,
    given_up: impl Fn(Received) -> T,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> T {
    let mut expired = until(deadline);
    poll_fn(|cx| {
        // Bytes that are there win over a deadline that has just passed.
        if let Poll::Ready(found) = poll(cx) {
            return Poll::Ready(found);
        }
        if pending.is_some_and(|pending| pending.poll_evicted(cx).is_ready()) {
            return Poll::Ready(given_up(Received::Evicted));
        }
        Pin::new(&mut expired).poll(cx).map(|()| given_up(Received::Expired))
    })
    .await
}

/// What a first look at a connection found.
#[derive(Debug)]
pub enum Looked<T> {
    /// What came was enough.
    Enough(T),
    /// It was not; the bytes are kept.
    Kept(Vec<u8>),
    /// Nothing came.
    Nothing(Received),
}

/// Takes what comes first, and keeps it only if `judge` says that it is not enough: most headers come whole, with what
/// follows them, and are understood where they were read.
///
/// # Cancel safety
/// That of [`receive`].
pub async fn look<T>(
    socket: &Socket,
    deadline: Instant,
    pending: Option<&Pending>,
    mut judge: impl FnMut(&[u8]) -> Option<T>,
) -> Looked<T> {
    patiently(deadline, pending, Looked::Nothing, |cx| {
        poll_taking(socket, cx, |scratch| {
            let len = socket.try_read(scratch)?;
            let came = scratch.get(..len).unwrap_or_default();
            Ok(match judge(came) {
                _ if came.is_empty() => Looked::Nothing(Received::Ended),
                Some(enough) => Looked::Enough(enough),
                None => Looked::Kept(came.to_vec()),
            })
        })
        .map(|looked| looked.unwrap_or_else(|error| Looked::Nothing(Received::Failed(error))))
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
    let received = ready!(poll_taking(socket, cx, |scratch| {
        let (from, len) = match reading {
            Reading::Ahead => (0, socket.try_read(scratch)?),
            Reading::Exactly => (buf.len(), socket.try_peek(scratch, buf.len())?),
        };
        // Exactly what came: an unfinished header of 8 bytes holds 8 bytes.
        buf.reserve_exact(len);
        buf.extend_from_slice(scratch.get(from..from.saturating_add(len)).unwrap_or_default());
        Ok(len)
    }));
    Poll::Ready(match received {
        Err(error) => Received::Failed(error),
        Ok(0) => Received::Ended,
        Ok(len) => Received::Bytes(len),
    })
}

/// Takes what is there, by `take` into at most [`RECEIVE_MAX`] bytes of the thread's buffer, as soon as there is something.
fn poll_taking<T>(
    socket: &Socket,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&mut [u8]) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        match with_scratch(|scratch| take(scratch.get_mut(..RECEIVE_MAX).unwrap_or_default())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            taken => return Poll::Ready(taken),
        }
    }
}
