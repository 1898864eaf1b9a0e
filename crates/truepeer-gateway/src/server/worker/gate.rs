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
pub(crate) struct PostGate {
    state: State,
    /// How many workers listen at this post.
    open: Arc<AtomicU32>,
    whose: Whose,
}

/// Who decides whether a socket listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    /// The service manager, or a process that has taken our place.
    Others,
}

#[derive(Debug)]
enum State {
    /// Counted until the socket is shut or closed, which comes after the acceptor's end.
    Open(Acceptor, Counted),
    Shut(RawListener),
    /// Taken out for a moment.
    Lost,
}

/// One worker that listens at a post.
#[derive(Debug)]
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(open: &Arc<AtomicU32>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PostGate {
    /// A gate that takes nothing yet; the socket may listen already.
    pub(crate) fn new(socket: RawListener, open: Arc<AtomicU32>) -> Self {
        Self { state: State::Shut(socket), open, whose: Whose::Ours }
    }

    /// The same for a socket that goes on listening when this gives it up.
    pub(crate) fn of_others(self) -> Self {
        Self { whose: Whose::Others, ..self }
    }

    /// Accepts from now on; nothing if it does.
    ///
    /// # Errors
    /// The address was taken by another program meanwhile, or the socket cannot be watched: nobody accepts there, and it
    /// may be tried again.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        let State::Shut(socket) = &mut self.state else { return Ok(()) };
        let counted = Counted::new(&self.open);
        socket.listen()?;
        match self.take()? {
            Some((socket, _)) => self.put_back(socket, Some(counted)),
            None => Ok(()),
        }
    }

    /// Accepts no more; `serve` gets what was queued.
    ///
    /// A connection that comes to the queue in the instant between its last look and the shutting is lost: the
    /// kernel has no way to do both at once.
    ///
    /// # Errors
    /// The system's. Whoever is still queued could not be taken, so that it stays as it was; it may be tried again.
    pub(crate) fn shut(&mut self, serve: impl FnMut(Arrival)) -> io::Result<()> {
        if let Some((mut socket, counted)) = self.take()? {
            if let Err(error) = serve_waiting(&socket, serve).and_then(|()| socket.shut()) {
                self.put_back(socket, counted)?;
                return Err(error);
            }
            drop(counted);
            self.state = State::Shut(socket);
        }
        Ok(())
    }

    /// Gives the address up; `serve` gets what was queued.
    ///
    /// # Errors
    /// The system's, with the gate as it was: whoever is still queued could not be taken.
    pub(crate) fn leave(mut self, serve: impl FnMut(Arrival)) -> Result<(), (io::Error, Self)> {
        // If the runtime does not let go of it, it is closed all the same.
        if let Ok(Some((mut socket, counted))) = self.take() {
            if let Err(error) = serve_waiting(&socket, serve) {
                return match self.put_back(socket, counted) {
                    Ok(()) | Err(_) => Err((error, self)),
                };
            }
            // The main thread may hold the same socket for a while. It fails only on what is closed already.
            if self.whose == Whose::Ours {
                let _ = socket.shut();
            }
        }
        Ok(())
    }

    /// Gives the address up at once; who is queued is refused.
    pub(crate) fn abandon(mut self) {
        if let Ok(Some((mut socket, _))) = self.take()
            && self.whose == Whose::Ours
        {
            let _ = socket.shut();
        }
    }

    /// What to accept from, while it is open.
    pub(crate) fn acceptor(&self) -> Option<&Acceptor> {
        match &self.state {
            State::Open(acceptor, _) => Some(acceptor),
            State::Shut(_) | State::Lost => None,
        }
    }

    fn take(&mut self) -> io::Result<Option<(RawListener, Option<Counted>)>> {
        Ok(match mem::replace(&mut self.state, State::Lost) {
            State::Open(acceptor, counted) => Some((acceptor.into_raw()?, Some(counted))),
            State::Shut(socket) => Some((socket, None)),
            State::Lost => None,
        })
    }

    /// Open if it is counted, and shut otherwise, or if it cannot be watched.
    fn put_back(&mut self, socket: RawListener, counted: Option<Counted>) -> io::Result<()> {
        let Some(counted) = counted else {
            self.state = State::Shut(socket);
            return Ok(());
        };
        match socket.watch() {
            Ok(acceptor) => self.state = State::Open(acceptor, counted),
            Err((error, socket)) => {
                self.state = State::Shut(socket);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Hands out what the kernel has queued.
fn serve_waiting(socket: &RawListener, mut serve: impl FnMut(Arrival)) -> io::Result<()> {
    for _ in 0..MOST_WAITING {
        match socket.accept_waiting()? {
            Some(arrival) => serve(arrival),
            None => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;
    use crate::engine::{Binding, Given, bind};
    use crate::facts::bind::{Bind, Families};

    fn listening() -> (RawListener, SocketAddr) {
        let any_port = Bind::Tcp { addr: "127.0.0.1:0".parse().unwrap(), families: Families::Own };
        let mut listening = bind(&any_port, "bind", 1, Binding::Listens, &Given::default()).unwrap();
        (listening.take_raw().unwrap(), listening.tcp.unwrap())
    }

    #[test]
    fn a_socket_that_could_not_be_watched_is_opened_at_the_next_try() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let (socket, address) = listening();
        // Watched already, under the same number: the system refuses it.
        let number = socket.as_fd().as_raw_fd();
        #[allow(deprecated, reason = "the socket outlives it")]
        let watched = tokio::io::unix::AsyncFd::new(number).unwrap();
        let open = Arc::new(AtomicU32::new(0));
        let mut gate = PostGate::new(socket, Arc::clone(&open));
        gate.open().unwrap_err();
        assert_eq!(open.load(Ordering::Relaxed), 0);
        gate.open().unwrap_err();
        drop(watched);
        gate.open().unwrap();
        assert_eq!(open.load(Ordering::Relaxed), 1);
        let _client = TcpStream::connect(address).unwrap();
        runtime.block_on(gate.acceptor().unwrap().accept()).unwrap();
    }

    #[test]
    fn it_counts_as_open_until_nobody_can_find_it_listening() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let (socket, address) = listening();
        let open = Arc::new(AtomicU32::new(0));
        let mut gate = PostGate::new(socket, Arc::clone(&open));
        gate.open().unwrap();
        let _queued = TcpStream::connect(address).unwrap();
        let mut served = Vec::new();
        // Here it still listens: who takes it for shut and looks finds the address taken.
        gate.shut(|_| served.push(open.load(Ordering::Relaxed))).unwrap();
        assert_eq!(served, [1]);
        assert_eq!(open.load(Ordering::Relaxed), 0);
        gate.open().unwrap();
        gate.open().unwrap();
        assert_eq!(open.load(Ordering::Relaxed), 1);
        drop(gate);
        assert_eq!(open.load(Ordering::Relaxed), 0);
    }
}
