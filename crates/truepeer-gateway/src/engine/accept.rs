//! Accept: a socket and a peer address; never a peer's byte.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::{SocketFlags, accept_with, acceptfrom_with, sockopt};
use truepeer::PeerAddress;

use super::reactor::Ready;
use super::run::{Loop, here};
use super::socket::Family;
use super::watched::Watched;
use super::{RawListener, Socket, later, now, until};

/// A connection that has just arrived.
#[derive(Debug)]
pub struct Arrival {
    /// The connection.
    pub socket: Socket,
    /// Its other end.
    pub peer: PeerAddress,
    /// The address that the peer reached, for TCP.
    pub reached: Option<SocketAddr>,
    /// When it was accepted; every deadline counts from here.
    pub at: Instant,
}

/// A listening socket of one worker: of TCP each has its own, unless the service manager gave one for all; of UNIX all
/// share one.
#[derive(Debug)]
pub struct Acceptor {
    /// Gone only while this is taken apart.
    watched: Option<Watched>,
    place: Place,
    taken: Cell<Taken>,
}

/// The turn of the loop in which the last connections were accepted, and how many.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    turn: u64,
    count: u32,
}

/// Connections that are accepted at one socket before others get their turn.
const AT_ONCE: u32 = 32;

/// What is known of every connection that is accepted somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Unix,
    /// TCP, where every peer reaches the same address ...
    Tcp(SocketAddr),
    /// ... or one that is to be asked for.
    AnyTcp,
}

impl Place {
    /// Of a TCP socket that is bound to `addr`.
    pub(super) fn bound_to(addr: SocketAddr) -> Self {
        let addr = canonical(addr);
        if addr.ip().is_unspecified() || addr.port() == 0 { Self::AnyTcp } else { Self::Tcp(addr) }
    }
}

impl Acceptor {
    /// Watches `fd`.
    ///
    /// # Errors
    /// The runtime's, with the socket.
    pub(super) fn new(fd: OwnedFd, place: Place) -> Result<Self, (io::Error, OwnedFd)> {
        Ok(Self { watched: Some(Watched::keeping(fd, Ready::BOTH, ())?), place, taken: Cell::default() })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The kernel's; [`AcceptPause`] says how long to wait before the next try.
    ///
    /// # Cancel safety
    /// Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<Arrival> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        let Some(watched) = &self.watched else { return Poll::Pending };
        #[cfg(test)]
        if let Some(called) = super::simulated::poll_accept(cx) {
            return called.map_ok(simulated);
        }
        let turn = here(Loop::turn).unwrap_or_default();
        let Taken { turn: last, count } = self.taken.get();
        let count = if last == turn { count } else { 0 };
        if turn != 0 && count >= AT_ONCE {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            ready!(watched.poll_accept_ready(cx))?;
            match watched.attempt(Ready::READ, |fd| accept(fd, self.place)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => {
                    self.taken.set(Taken { turn, count: count.saturating_add(1) });
                    // One that came alone is probably the only one: the kernel tells if not. Where they come turn by
                    // turn, all that are there are taken.
                    if turn.wrapping_sub(last) > 1 {
                        watched.drained();
                    }
                    return Poll::Ready(other);
                }
            }
        }
    }

    /// Nobody will wait for the next connection for a while; [`Acceptor::accept`] may be called again at any time.
    pub fn rest(&self) {
        if let Some(watched) = &self.watched {
            watched.silence();
        }
    }

    /// The socket, not watched any more.
    ///
    /// # Errors
    /// If it is gone.
    pub fn into_raw(mut self) -> io::Result<RawListener> {
        let watched = self.watched.take().ok_or(io::ErrorKind::NotFound)?;
        Ok(match self.place {
            Place::Unix => RawListener::unix(watched.into_fd().into()),
            Place::Tcp(_) | Place::AnyTcp => RawListener::tcp(watched.into_fd().into()),
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Others may hold the same socket: closing ours would not end the watching.
        drop(self.watched.take().map(Watched::into_fd));
    }
}

/// A connection that is there.
pub(super) fn accept(listener: BorrowedFd<'_>, place: Place) -> io::Result<Arrival> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    if place == Place::Unix {
        let fd = accept_with(listener, flags)?;
        let uid = sockopt::socket_peercred(&fd).ok().map(|cred| cred.uid.as_raw());
        let socket = Socket::accepted(fd, Family::Unix)?;
        return Ok(Arrival { socket, peer: PeerAddress::Unix { uid }, reached: None, at: now() });
    }
    let (fd, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // A connection that was reset meanwhile may have none.
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    let reached = match place {
        Place::Tcp(addr) => Some(addr),
        Place::AnyTcp | Place::Unix => {
            let ours = rustix::net::getsockname(&fd).ok();
            ours.and_then(|ours| SocketAddr::try_from(ours).ok()).map(canonical)
        }
    };
    let socket = Socket::accepted(fd, Family::Tcp)?;
    Ok(Arrival { socket, peer: PeerAddress::tcp(peer), reached, at: now() })
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether an accept failed for one connection only, which is lost: the next may be there.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// How long to wait after an accept that failed.
///
/// A connection that was gone before it was accepted costs nothing; a lack of descriptors or memory is not mended
/// by asking at once again.
#[derive(Debug, Default)]
pub struct AcceptPause {
    next: Option<Duration>,
    until: Option<Instant>,
}

impl AcceptPause {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    /// An accept succeeded.
    pub fn succeeded(&mut self) {
        (self.next, self.until) = (None, None);
    }

    /// The pause after `error`; `None` for an error that concerned only the connection that was lost.
    pub fn after(&mut self, error: &io::Error) -> Option<Duration> {
        if is_of_one_connection(error) {
            return None;
        }
        let pause = self.next.unwrap_or(Self::FIRST);
        self.next = Some(pause.saturating_mul(2).min(Self::LONGEST));
        self.until = Some(later(now(), pause));
        Some(pause)
    }

    /// Whether the last pause goes on.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.until.is_some_and(|until| now() < until)
    }

    /// Waits for the end of the last pause, if there was one: for whoever has other things to attend to meanwhile, and
    /// comes back to the same pause.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; the pause ends when it would have.
    pub async fn over(&self) {
        if let Some(over) = self.until {
            until(over).await;
        }
    }

    /// Waits.
    ///
    /// # Cancel safety
    /// Dropping the future ends the pause early.
    pub async fn wait(pause: Duration) {
        until(later(now(), pause)).await;
    }
}

#[cfg(test)]
pub(super) fn simulated(caller: super::simulated::Caller) -> Arrival {
    let super::simulated::Caller { ours, peer, reached } = caller;
    let family = if matches!(peer, PeerAddress::Tcp(_)) { Family::Tcp } else { Family::Unix };
    Arrival { socket: Socket::simulated(ours, family, Ready::BOTH), peer, reached, at: now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_backs_off_and_recovers() {
        const EMFILE: i32 = 24;
        let mut pause = AcceptPause::default();
        let error = io::Error::from_raw_os_error(EMFILE);
        let pauses: Vec<_> = (0..9).filter_map(|_| pause.after(&error)).map(|p| p.as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        pause.succeeded();
        assert_eq!(pause.after(&error), Some(AcceptPause::FIRST));
    }

    #[tokio::test]
    async fn a_pause_that_was_looked_away_from_does_not_begin_anew() {
        let mut pause = AcceptPause::default();
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        pause.over().await;
        let begun = Instant::now();
        let lasts = pause.after(&error).unwrap();
        // Whoever has other work looks at it now and then.
        let mut looked = 0_u32;
        loop {
            tokio::select! {
                biased;
                () = pause.over() => break,
                () = tokio::task::yield_now() => looked = looked.saturating_add(1),
            }
        }
        assert!(looked > 0 && begun.elapsed() >= lasts, "{looked} looks, {:?}", begun.elapsed());
        assert_eq!(pause.after(&error), Some(AcceptPause::FIRST.saturating_mul(2)));
        pause.succeeded();
        pause.over().await;
        assert_eq!(pause.after(&error), Some(AcceptPause::FIRST));
    }

    #[test]
    fn a_connection_lost_before_accept_costs_no_pause() {
        let mut pause = AcceptPause::default();
        assert_eq!(pause.after(&io::ErrorKind::ConnectionAborted.into()), None);
        assert_eq!(pause.after(&io::ErrorKind::OutOfMemory.into()), Some(AcceptPause::FIRST));
    }
}
