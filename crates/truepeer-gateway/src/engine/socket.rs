//! One connected stream socket, TCP or UNIX, and what may be asked of it without waiting.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use rustix::pipe::{SpliceFlags, splice};
use socket2::{SockRef, TcpKeepalive};

use super::close::close_both;
use super::reactor::Ready;
use super::watched::Watched;
use crate::facts::program::Program;

/// Where a socket connects to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A UNIX socket's path.
    Unix(PathBuf),
    /// A program that is started for each connection: it is given the client's own, and nothing is connected.
    Program(Arc<Program>),
}

impl Address {
    /// The address `further` ports behind this one; a UNIX socket and a program have none.
    #[must_use]
    pub fn further(&self, further: u16) -> Self {
        match self {
            Self::Tcp(addr) => Self::Tcp(SocketAddr::new(addr.ip(), addr.port().saturating_add(further))),
            Self::Unix(_) | Self::Program(_) => self.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Program(program) => program.fmt(f),
        }
    }
}

/// A connected stream.
#[derive(Debug)]
pub struct Socket {
    watched: Watched<Kind>,
}

/// What we know of a socket without asking.
#[derive(Debug)]
struct Kind {
    family: Family,
    options: Cell<Options>,
    ack: Cell<Ack>,
}

impl Kind {
    fn new(family: Family, options: Options, ack: Ack) -> Self {
        Self { family, options: Cell::new(options), ack: Cell::new(ack) }
    }
}

/// How the kernel acknowledges what the other end sends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// As it likes, which is at once.
    AtOnce,
    /// The end of the handshake with our first bytes, which is a segment less. What the kernel then believes is a dialogue,
    /// in which it holds acknowledgments back, for which in turn a server's second small write waits; and that may be its
    /// last words. So it is told otherwise behind each write of ours, up to the first byte from there, as if the handshake
    /// had ended by itself.
    WithOurs,
}

/// What kind of stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Tcp,
    Unix,
}

/// How far the options of a socket are set. Most connections are short: what they do not need costs them nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Options {
    /// None; the first send needs none.
    None,
    /// No delay: there is a second send. A UNIX socket needs none of them.
    NoDelay,
    /// Those of a connection that lasts.
    Lasting,
}

/// A stream of the runtime, for the threads of slow things.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(tokio::net::TcpStream),
    /// UNIX.
    Unix(tokio::net::UnixStream),
}

/// Silence after which the kernel asks whether the other end is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Unacknowledged data after which the kernel gives a connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// No delay; set on listening sockets, whose connections inherit it. What only lasting ones need is a timer in the kernel
/// for each, which most connections would set up and take down for nothing.
pub(super) fn set_tcp_options(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)
}

/// Keep-alive and user timeout.
fn set_lasting_options(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE))?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

impl Socket {
    /// One that was accepted: it has its listener's options.
    pub(super) fn accepted(fd: OwnedFd, family: Family) -> io::Result<Self> {
        Ok(Self { watched: Watched::new(fd, Ready::BOTH, Kind::new(family, Options::NoDelay, Ack::AtOnce))? })
    }

    /// One that connects; `ready` to write if that is how to find out.
    pub(super) fn connecting(fd: OwnedFd, family: Family, ready: Ready, ack: Ack) -> io::Result<Self> {
        let options = if family == Family::Tcp { Options::None } else { Options::NoDelay };
        Ok(Self { watched: Watched::new(fd, ready, Kind::new(family, options, ack))? })
    }

    /// The same connection for the runtime of this thread.
    ///
    /// # Errors
    /// The runtime's.
    pub fn into_stream(self) -> io::Result<Stream> {
        let family = self.watched.note().family;
        let fd = self.watched.into_fd();
        Ok(match family {
            Family::Tcp => Stream::Tcp(tokio::net::TcpStream::from_std(fd.into())?),
            Family::Unix => Stream::Unix(tokio::net::UnixStream::from_std(fd.into())?),
        })
    }

    /// Closes it and `other`.
    pub(super) fn close_with(self, other: Self) {
        if let (Some(one), Some(other)) = (self.watched.into_closing(), other.watched.into_closing()) {
            close_both(one, other);
        }
    }

    /// Whether a read may succeed now; registers the task otherwise.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched.poll_ready(Ready::READ, cx)
    }

    /// Whether a write may succeed now; registers the task otherwise.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched.poll_ready(Ready::WRITE, cx)
    }

    /// Reads what is there; `WouldBlock` if nothing is.
    pub(super) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len();
        let len = self.received(buf)?;
        // A UNIX socket may stop at the border of two messages.
        if len < room && len > 0 && self.watched.note().family == Family::Tcp {
            self.watched.drained();
        }
        Ok(len)
    }

    fn received(&self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(read) = self.watched.attempt_simulated(Ready::READ, |ours| ours.read(buf)) {
            return read;
        }
        let received = self.watched.attempt(Ready::READ, |fd| Ok(recv(fd, buf, RecvFlags::empty())?.0));
        self.heard(&received);
        received
    }

    /// Looks at what is there beyond the first `known` bytes, and leaves all of it there; `WouldBlock` if that is nothing,
    /// 0 if it will be nothing.
    ///
    /// A look empties nothing, so that more bytes and the end are changes of which the kernel tells all the same.
    pub(super) fn try_peek(&self, buf: &mut [u8], known: usize) -> io::Result<usize> {
        self.watched.attempt(Ready::READ, |fd| {
            let len = recv(fd, &mut *buf, RecvFlags::PEEK)?.0;
            match len.checked_sub(known).filter(|more| *more > 0) {
                Some(more) => Ok(more),
                None if len == 0 || has_ended(fd) => Ok(0),
                None => Err(io::ErrorKind::WouldBlock.into()),
            }
        })
    }

    /// Takes away the first `len` bytes, which are there.
    ///
    /// # Errors
    /// The kernel's, or `UnexpectedEof` where so many were not there.
    pub fn discard(&self, len: usize) -> io::Result<()> {
        let mut left = len;
        let mut buf = [0; 512];
        while left > 0 {
            let some = left.min(buf.len());
            let taken = self.try_read(buf.get_mut(..some).unwrap_or_default())?;
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = left.saturating_sub(taken);
        }
        Ok(())
    }

    /// Writes what fits; `WouldBlock` if nothing does.
    pub(super) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        let len = self.sent(buf)?;
        if len < buf.len() && self.watched.note().family == Family::Tcp {
            self.watched.filled();
        }
        Ok(len)
    }

    fn sent(&self, buf: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(written) = self.watched.attempt_simulated(Ready::WRITE, |ours| ours.write(buf)) {
            return written;
        }
        let sent = self.watched.attempt(Ready::WRITE, |fd| Ok(send(fd, buf, SendFlags::NOSIGNAL)?));
        self.said(&sent);
        sent
    }

    fn said(&self, sent: &io::Result<usize>) {
        if sent.is_ok() && self.watched.note().ack.get() == Ack::WithOurs {
            // It fails only on a connection that is gone, and the next read says so.
            let _ = sockopt::set_tcp_quickack(&self.watched, true);
        }
    }

    fn heard(&self, received: &io::Result<usize>) {
        if received.is_ok() {
            self.watched.note().ack.set(Ack::AtOnce);
        }
    }

    /// Moves at most `most` bytes into an empty pipe; `WouldBlock` if nothing is there.
    pub(super) fn try_splice_to(&self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = self.watched.attempt(Ready::READ, |fd| Ok(splice(fd, None, pipe, None, most, flags)?));
        self.heard(&moved);
        moved
    }

    /// Moves at most `most` bytes out of a pipe that holds so many; `WouldBlock` if nothing fits.
    pub(super) fn try_splice_from(&self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = self.watched.attempt(Ready::WRITE, |fd| Ok(splice(pipe, None, fd, None, most, flags)?));
        self.said(&moved);
        moved
    }

    /// What a connection attempt came to.
    pub(super) fn take_error(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(ours) = self.watched.as_simulated() {
            return ours.take_error();
        }
        SockRef::from(&self.watched).take_error()?.map_or(Ok(()), Err)
    }

    /// Before the second write: what follows goes out at once. Nothing where it is so already.
    pub(super) fn set_no_delay(&self) {
        let options = &self.watched.note().options;
        if options.get() == Options::None {
            // It fails only on a connection that is gone, and the write says so.
            let _ = sockopt::set_tcp_nodelay(&self.watched, true);
            options.set(Options::NoDelay);
        }
    }

    /// For a connection that lasts: the kernel notices when the other end has vanished.
    pub(super) fn set_lasting(&self) {
        self.set_no_delay();
        let Kind { family, options, ack } = self.watched.note();
        // Whoever has said nothing for so long is not about to close.
        ack.set(Ack::AtOnce);
        let is_new = options.replace(Options::Lasting) != Options::Lasting;
        #[cfg(test)]
        let is_new = is_new && self.watched.as_simulated().is_none();
        if is_new && *family == Family::Tcp {
            let _ = set_lasting_options(&SockRef::from(&self.watched));
        }
    }

    /// Whether it is known to be one that lasts.
    pub(super) fn is_lasting(&self) -> bool {
        self.watched.note().options.get() == Options::Lasting
    }

    /// Passes a half-close on.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(ours) = self.watched.as_simulated() {
            ours.shutdown_write();
            return Ok(());
        }
        match shutdown(&self.watched, Shutdown::Write) {
            // The other end was quicker.
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Our own end, for TCP.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        #[cfg(test)]
        if let Some(ours) = self.watched.as_simulated() {
            return ours.local_addr();
        }
        let ours = SockRef::from(&self.watched).local_addr().ok()?.as_socket()?;
        Some(SocketAddr::new(ours.ip().to_canonical(), ours.port()))
    }
}

/// Whether the other end will send no more, whatever of it was not taken yet.
fn has_ended(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

/// Bytes that a connection has moved; written by its relay, read by its record and by whoever lists connections.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Traffic {
    /// From the client to the backend.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// From the backend to the client.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// So many of the client's bytes went to the backend with our header.
    pub fn rode(&self, bytes: usize) {
        self.add_in(bytes);
    }

    pub(super) fn total(&self) -> u64 {
        self.bytes_in().wrapping_add(self.bytes_out())
    }

    // Only the relay writes, so that neither is an atomic addition.
    pub(super) fn add_in(&self, bytes: usize) {
        self.bytes_in.store(self.bytes_in().wrapping_add(bytes as u64), Ordering::Relaxed);
    }

    pub(super) fn add_out(&self, bytes: usize) {
        self.bytes_out.store(self.bytes_out().wrapping_add(bytes as u64), Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Socket {
    /// A simulated one, whose options are set.
    pub(super) fn simulated(ours: super::simulated::Ours, family: Family, ready: Ready) -> Self {
        Self { watched: Watched::simulated(ours, ready, Kind::new(family, Options::NoDelay, Ack::AtOnce)) }
    }
}
