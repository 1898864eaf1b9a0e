//! Accept: a socket and a peer address; never a peer's byte.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use truepeer::PeerAddress;

use super::{RawListener, Socket, later};

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

/// A listening socket of one worker.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP; each worker has a socket of its own, unless the service manager gave one for all.
    Tcp(TcpListener),
    /// UNIX; all workers share one.
    Unix(UnixListener),
}

impl Acceptor {
    /// Waits for the next connection.
    ///
    /// # Errors
    /// The kernel's; [`AcceptPause`] says how long to wait before the next try.
    ///
    /// # Cancel safety
    /// Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<Arrival> {
        Ok(match self {
            Self::Tcp(listener) => tcp(listener.accept().await?),
            Self::Unix(listener) => unix(listener.accept().await?.0),
        })
    }

    /// The socket, not watched any more.
    ///
    /// # Errors
    /// If the runtime cannot let go of it; it is closed then.
    pub fn into_raw(self) -> io::Result<RawListener> {
        Ok(match self {
            Self::Tcp(listener) => RawListener::tcp(listener.into_std()?),
            Self::Unix(listener) => RawListener::unix(listener.into_std()?),
        })
    }
}

pub(super) fn tcp((stream, peer): (TcpStream, SocketAddr)) -> Arrival {
    let reached = stream.local_addr().ok();
    let reached = reached.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port()));
    Arrival { socket: Socket::Tcp(stream), peer: PeerAddress::tcp(peer), reached, at: Instant::now() }
}

pub(super) fn unix(stream: UnixStream) -> Arrival {
    let uid = stream.peer_cred().ok().map(|cred| cred.uid());
    let peer = PeerAddress::Unix { uid };
    Arrival { socket: Socket::Unix(stream), peer, reached: None, at: Instant::now() }
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
        let of_one_connection = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
                | io::ErrorKind::TimedOut
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
        );
        if of_one_connection {
            return None;
        }
        let pause = self.next.unwrap_or(Self::FIRST);
        self.next = Some(pause.saturating_mul(2).min(Self::LONGEST));
        self.until = Some(later(Instant::now(), pause));
        Some(pause)
    }

    /// Waits for the end of the last pause, if there was one: for whoever has other things to attend to meanwhile, and
    /// comes back to the same pause.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; the pause ends when it would have.
    pub async fn over(&self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Waits.
    ///
    /// # Cancel safety
    /// Dropping the future ends the pause early.
    pub async fn wait(pause: Duration) {
        tokio::time::sleep(pause).await;
    }
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
