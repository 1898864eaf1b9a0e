//! One worker's socket of a post: it accepts, or it is shut and keeps its address.
//!
//! Told by the post's owner; it decides nothing. Whatever the kernel has queued when it shuts is handed out first.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine::{Acceptor, Arrival, RawListener};

/// Connections that are taken from the queue when a socket shuts: as many as it holds.
const MOST_WAITING: usize = 4096;

/// The socket.
#[derive(Debug)]
pub(crate) struct Gate {
    state: State,
    /// How many workers listen at this post.
    open: Arc<AtomicU32>,
}

#[derive(Debug)]
enum State {
    Open(Acceptor),
    Shut(RawListener),
    /// The system took it from us.
    Lost,
}

impl Gate {
    /// A gate that takes nothing yet; the socket may listen already.
    pub(crate) fn new(socket: RawListener, open: Arc<AtomicU32>) -> Self {
        Self { state: State::Shut(socket), open }
    }

    /// Accepts from now on; nothing if it does.
    ///
    /// # Errors
    /// The address was taken by another program meanwhile: it is still shut. Or the runtime cannot watch the socket:
    /// it is lost.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        let State::Shut(socket) = &mut self.state else { return Ok(()) };
        socket.listen()?;
        if let State::Shut(socket) = mem::replace(&mut self.state, State::Lost) {
            self.state = State::Open(socket.watch()?);
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Accepts no more; `serve` gets what was queued.
    ///
    /// A connection that comes to the queue in the instant between its last look and the shutting is lost: the
    /// kernel has no way to do both at once.
    ///
    /// # Errors
    /// The system's; the socket is lost then.
    pub(crate) fn shut(&mut self, serve: impl FnMut(Arrival)) -> io::Result<()> {
        if let Some(mut socket) = self.take()? {
            serve_waiting(&socket, serve);
            socket.shut()?;
            self.state = State::Shut(socket);
        }
        Ok(())
    }

    /// Gives the address up; `serve` gets what was queued.
    pub(crate) fn leave(mut self, serve: impl FnMut(Arrival)) {
        // If the runtime does not let go of it, it is closed all the same.
        if let Ok(Some(socket)) = self.take() {
            serve_waiting(&socket, serve);
        }
    }

    /// What to accept from, while it is open.
    pub(crate) fn acceptor(&self) -> Option<&Acceptor> {
        match &self.state {
            State::Open(acceptor) => Some(acceptor),
            State::Shut(_) | State::Lost => None,
        }
    }

    fn take(&mut self) -> io::Result<Option<RawListener>> {
        match mem::replace(&mut self.state, State::Lost) {
            State::Open(acceptor) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                acceptor.into_raw().map(Some)
            }
            State::Shut(socket) => Ok(Some(socket)),
            State::Lost => Ok(None),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if matches!(self.state, State::Open(_)) {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve_waiting(socket: &RawListener, serve: impl FnMut(Arrival)) {
    std::iter::from_fn(|| socket.accept_waiting()).take(MOST_WAITING).for_each(serve);
}
