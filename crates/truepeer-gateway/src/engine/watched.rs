//! A descriptor whose readiness somebody watches: the worker's loop, or the runtime of a thread for slow things.
//!
//! Which of them is decided once, where it is made, and nobody above notices: probes and health checks use the same
//! verbs as connections.

use std::io;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::reactor::Ready;
use super::run::here;

/// The descriptor, and what its owner notes of it: a few bytes that cost nothing in here, since every connection has two.
#[derive(Debug)]
pub(super) enum Watched<N = ()> {
    InLoop(Number, OwnedFd, N),
    InRuntime(Box<AsyncFd<OwnedFd>>, N),
    #[cfg(test)]
    Simulated(Number, super::simulated::Ours, N),
}

/// Its number in the loop of this thread.
#[derive(Debug)]
pub(super) struct Number(u32, PhantomData<*const ()>);

impl Drop for Number {
    fn drop(&mut self) {
        here(|here| here.reactor.remove(self.0));
    }
}

impl<N> Watched<N> {
    /// Watches `fd`, which is taken to be `ready` until a try says otherwise.
    ///
    /// # Errors
    /// The runtime's; a loop takes everything.
    pub(super) fn new(fd: OwnedFd, ready: Ready, note: N) -> io::Result<Self> {
        Self::keeping(fd, ready, note).map_err(|(error, _)| error)
    }

    /// As [`Watched::new`]; what cannot be watched is given back.
    ///
    /// # Errors
    /// The runtime's, with the descriptor.
    pub(super) fn keeping(fd: OwnedFd, ready: Ready, note: N) -> Result<Self, (io::Error, OwnedFd)> {
        match here(|here| here.reactor.insert(ready)) {
            Some(number) => Ok(Self::InLoop(Number(number, PhantomData), fd, note)),
            None => Ok(Self::InRuntime(Box::new(in_runtime(fd)?), note)),
        }
    }

    /// What its owner noted.
    pub(super) fn note(&self) -> &N {
        match self {
            Self::InLoop(_, _, note) | Self::InRuntime(_, note) => note,
            #[cfg(test)]
            Self::Simulated(_, _, note) => note,
        }
    }

    /// Watched no more, and open.
    pub(super) fn into_fd(self) -> OwnedFd {
        match self {
            Self::InLoop(number, fd, _) => {
                here(|here| here.reactor.forget(number.0, fd.as_fd()));
                fd
            }
            Self::InRuntime(fd, _) => fd.into_inner(),
            #[cfg(test)]
            Self::Simulated(..) => unreachable!("a simulated socket has no descriptor"),
        }
    }

    /// Its descriptor, if the loop watches it, which it does no more: to be closed at once, or the kernel would go on
    /// telling of it.
    pub(super) fn into_closing(self) -> Option<OwnedFd> {
        match self {
            Self::InLoop(_, fd, _) => Some(fd),
            Self::InRuntime(..) => None,
            #[cfg(test)]
            Self::Simulated(..) => None,
        }
    }

    /// Whether a try is worth it; registers the task otherwise.
    pub(super) fn poll_ready(&self, want: Ready, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::InLoop(number, fd, _) => {
                here(|here| here.reactor.poll(number.0, fd.as_fd(), want, here.current()))
                    .unwrap_or(Poll::Pending)
            }
            Self::InRuntime(fd, _) => {
                let guard =
                    if want == Ready::WRITE { fd.poll_write_ready(cx) } else { fd.poll_read_ready(cx) };
                ready!(guard)?.retain_ready();
                Poll::Ready(Ok(()))
            }
            #[cfg(test)]
            Self::Simulated(number, ours, _) => {
                let polled = here(|here| here.reactor.poll_simulated(number.0, want, here.current()));
                let polled = polled.unwrap_or(Poll::Pending);
                if polled.is_pending() {
                    ours.watch();
                }
                polled
            }
        }
    }

    /// As [`Watched::poll_ready`] for reading, of a listening socket.
    pub(super) fn poll_accept_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::InLoop(number, fd, _) => {
                here(|here| here.reactor.poll_accept(number.0, fd.as_fd(), here.current()))
                    .unwrap_or(Poll::Pending)
            }
            Self::InRuntime(..) => self.poll_ready(Ready::READ, cx),
            #[cfg(test)]
            Self::Simulated(..) => self.poll_ready(Ready::READ, cx),
        }
    }

    /// Nobody will accept for a while.
    pub(super) fn silence(&self) {
        if let Self::InLoop(number, fd, _) = self {
            here(|here| here.reactor.silence(number.0, fd.as_fd()));
        }
    }

    /// Tries `what`; `WouldBlock` says that it is to be waited for.
    pub(super) fn attempt<T>(
        &self,
        what: Ready,
        act: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        match self {
            Self::InLoop(number, fd, _) => {
                let done = act(fd.as_fd());
                if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    here(|here| here.reactor.clear(number.0, what));
                }
                done
            }
            Self::InRuntime(fd, _) => {
                let interest = if what == Ready::WRITE { Interest::WRITABLE } else { Interest::READABLE };
                fd.try_io(interest, |fd| act(fd.as_fd()))
            }
            // As of a kind of socket that cannot be spliced.
            #[cfg(test)]
            Self::Simulated(..) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// A read has emptied it: no need to be told so by another.
    pub(super) fn drained(&self) {
        if let Some(number) = self.number() {
            here(|here| here.reactor.drained(number));
        }
    }

    /// A write has filled it.
    pub(super) fn filled(&self) {
        if let Some(number) = self.number() {
            here(|here| here.reactor.clear(number, Ready::WRITE));
        }
    }

    /// Its number in the loop, if it is there.
    fn number(&self) -> Option<u32> {
        match self {
            Self::InLoop(number, ..) => Some(number.0),
            Self::InRuntime(..) => None,
            #[cfg(test)]
            Self::Simulated(number, ..) => Some(number.0),
        }
    }
}

#[allow(
    deprecated,
    reason = "unsound only for types that do not always stand for one descriptor; this one does"
)]
fn in_runtime(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>, (io::Error, OwnedFd)> {
    AsyncFd::try_new(fd).map_err(|failed| {
        let (fd, error) = failed.into_parts();
        (error, fd)
    })
}

impl<N> AsFd for Watched<N> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::InLoop(_, fd, _) => fd.as_fd(),
            Self::InRuntime(fd, _) => fd.as_fd(),
            #[cfg(test)]
            Self::Simulated(..) => unreachable!("a simulated socket has no descriptor"),
        }
    }
}

#[cfg(test)]
impl<N> Watched<N> {
    /// A simulated socket in this thread's loop.
    pub(super) fn simulated(ours: super::simulated::Ours, ready: Ready, note: N) -> Self {
        let (number, key) = here(|here| here.reactor.insert_simulated(ready)).expect("a loop runs");
        ours.known_as(key);
        Self::Simulated(Number(number, PhantomData), ours, note)
    }

    /// The simulated socket, if it is one.
    pub(super) fn as_simulated(&self) -> Option<&super::simulated::Ours> {
        match self {
            Self::Simulated(_, ours, _) => Some(ours),
            Self::InLoop(..) | Self::InRuntime(..) => None,
        }
    }

    /// As [`Watched::attempt`], of a simulated socket.
    pub(super) fn attempt_simulated<T>(
        &self,
        what: Ready,
        act: impl FnOnce(&super::simulated::Ours) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let Self::Simulated(number, ours, _) = self else { return None };
        let done = act(ours);
        if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            here(|here| here.reactor.clear(number.0, what));
        }
        Some(done)
    }
}
