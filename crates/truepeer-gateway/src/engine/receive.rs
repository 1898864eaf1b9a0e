//! Receive with a deadline.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use std::time::Instant;

use super::{Pending, Socket};

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
    let evicted = async {
        match pending {
            Some(pending) => pending.evicted().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Bytes that are there win over a deadline that has just passed.
        biased;
        received = receive_some(socket, buf) => received,
        () = evicted => Received::Evicted,
        () = tokio::time::sleep_until(deadline.into()) => Received::Expired,
    }
}

/// One receive takes at most so much: a header at its cap and a little of what follows.
pub(super) const RECEIVE_MAX: usize = 4096 + 16;

async fn receive_some(socket: &Socket, buf: &mut Vec<u8>) -> Received {
    poll_fn(|cx| {
        // On the stack of one poll: across the wait it would be in every connection's future, for its whole life.
        let mut scratch = [0; RECEIVE_MAX];
        loop {
            if let Err(error) = ready!(socket.poll_read_ready(cx)) {
                return Poll::Ready(Received::Failed(error));
            }
            return Poll::Ready(match socket.try_read(&mut scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => Received::Failed(error),
                Ok(0) => Received::Ended,
                Ok(len) => {
                    // Exactly what came: an unfinished header of 8 bytes holds 8 bytes.
                    buf.reserve_exact(len);
                    buf.extend_from_slice(scratch.get(..len).unwrap_or_default());
                    Received::Bytes(len)
                }
            });
        }
    })
    .await
}
