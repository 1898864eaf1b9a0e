//! Say something, and say something last.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::{Lingering, Pending, Received, Socket, in_time, later, now, receive};

/// How much of a refused client's bytes is read and thrown away, so that our last words are not lost to a reset.
const DISCARD_MAX: usize = 64 * 1024;
/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Writes all of `bytes` before `deadline`.
///
/// # Errors
/// The socket's own, or `TimedOut`.
///
/// # Cancel safety
/// Not cancel safe: a part of `bytes` may have gone out.
pub async fn say(socket: &Socket, bytes: &[u8], deadline: Instant) -> io::Result<()> {
    socket.set_no_delay();
    let mut rest = bytes;
    let write = poll_fn(|cx| {
        while !rest.is_empty() {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_write(rest) {
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    });
    in_time(deadline, write).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Writes last words, ends our direction, then reads and discards what still comes, so that the words arrive.
///
/// Closing at once while the client is sending would make the kernel answer with a reset, and the client's kernel
/// would throw our words away.
/// `lingering`: where it counts meanwhile, and makes room when it is the oldest of too many.
///
/// # Cancel safety
/// Not cancel safe: a part of the words may have gone out.
pub async fn say_and_close(socket: Socket, bytes: &[u8], lingering: Option<&Lingering>) {
    let place = lingering.map(Lingering::enter);
    let deadline = later(now(), DISCARD_TIME);
    // Whether it worked changes nothing: the connection ends either way.
    if say(&socket, bytes, deadline).await.is_err() || socket.shutdown_write().is_err() {
        return;
    }
    discard(&socket, deadline, place.as_ref()).await;
}

/// Reads and throws away what a client still sends after our last words, within [`DISCARD_TIME`].
///
/// # Cancel safety
/// Dropping the future ends the discarding.
pub(super) async fn discard_briefly(socket: &Socket) {
    discard(socket, later(now(), DISCARD_TIME), None).await;
}

async fn discard(socket: &Socket, deadline: Instant, place: Option<&Pending>) {
    let mut discarded = 0_usize;
    let mut buf = Vec::new();
    while discarded < DISCARD_MAX {
        buf.clear();
        let Received::Bytes(len) = receive(socket, &mut buf, deadline, place).await else { return };
        discarded = discarded.saturating_add(len);
    }
}
