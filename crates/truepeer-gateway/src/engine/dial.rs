//! Connect to a backend and tell it who the client is, in one write.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, ready};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt};
use socket2::{Domain, Socket as RawSocket, Type};

use super::reactor::Ready;
use super::socket::{Ack, Family};
use super::{Address, Socket, in_time, later, now, say, until};

/// Why a backend could not be reached.
#[derive(Debug)]
pub enum DialError {
    /// It refused, or the network did. Another address may be tried.
    Connect(io::Error),
    /// It did not answer in time. Another address may be tried.
    Timeout(Duration),
    /// Every source port towards this address is in use. Another address has ports of its own.
    PortsExhausted(io::Error),
    /// This host has no descriptor or no memory left for one more socket, whatever the address.
    NoSocket(io::Error),
    /// This process may not connect as a client.
    NotPermitted(io::Error),
    /// This client cannot reach an address of the other family as itself.
    MixedFamilies(IpAddr),
    /// The backend's socket does not say who the client is.
    NotShown(NotShown),
    /// It was reached, and broke while our header was being written. Nothing may be tried again.
    Send(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Timeout(limit) => write!(f, "no answer within {} s", limit.as_secs_f32()),
            Self::PortsExhausted(error) => write!(f, "no source port is left towards this address: {error}"),
            Self::NoSocket(error) => write!(f, "this host has no socket left: {error}"),
            Self::NotPermitted(error) => {
                write!(f, "this process may not use the client's address (CAP_NET_ADMIN is needed): {error}")
            }
            Self::MixedFamilies(client) => {
                let family = if client.is_ipv4() { "IPv4" } else { "IPv6" };
                write!(f, "a client of {family} reaches only {family} as itself")
            }
            Self::NotShown(why) => why.fmt(f),
            Self::Send(error) => write!(f, "the connection broke while the header was written: {error}"),
        }
    }
}

/// Why a backend's socket does not say who the client is.
#[derive(Debug)]
pub enum NotShown {
    /// It has not taken the label.
    NotTaken,
    /// It listens on IPv4 only, and the client has an address of IPv6.
    Inexpressible,
    /// The programs are not loaded, which connecting to a backend without a proof would mean.
    NotLoaded,
    /// The label cannot be laid ready.
    NotReady(io::Error),
}

impl fmt::Display for NotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTaken => f.write_str("its socket has not taken the client's address: it was made outside the control group that is watched, or is made anew"),
            Self::Inexpressible => f.write_str("it listens on IPv4 only, which cannot say the address of a client of IPv6"),
            Self::NotLoaded => f.write_str("no programs are loaded that would say who the client is"),
            Self::NotReady(error) => write!(f, "the client's address cannot be laid ready: {error}"),
        }
    }
}

impl DialError {
    /// Whether it is this host that lacks something: nothing is known of the address then.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::PortsExhausted(_)
                | Self::NoSocket(_)
                | Self::NotPermitted(_)
                | Self::MixedFamilies(_)
                | Self::NotShown(_)
        )
    }
}

/// Connects within `timeout`, and writes `opening` (possibly empty) before anything else.
///
/// # Errors
/// See [`DialError`].
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn dial(address: &Address, opening: &[u8], timeout: Duration) -> Result<Socket, DialError> {
    let deadline = later(now(), timeout);
    let connect = async {
        #[cfg(test)]
        if let Some(dialled) = super::simulated::dial(address, opening) {
            let (ours, is_there) = dialled.map_err(Failed::Connect)?;
            let state = if is_there { State::Connected } else { State::Connecting };
            let ready = ready_at_first(state, opening);
            return stands(Ok(Socket::simulated(ours, Family::Tcp, ready)), state, opening).await;
        }
        stand(begin(address, opening).await.map_err(Failed::Connect)?, opening).await
    };
    let (socket, sent) = match in_time(deadline, connect).await {
        Some(connected) => connected.map_err(|failed| match failed {
            Failed::Connect(error) => not_connected(address, error),
            Failed::Send(error) => DialError::Send(error),
        })?,
        None => return Err(DialError::Timeout(timeout)),
    };
    // The send buffer of a new connection is larger than any header, so that this is one write.
    if let Some(rest) = opening.get(sent..).filter(|rest| !rest.is_empty()) {
        say(&socket, rest, deadline).await.map_err(DialError::Send)?;
    }
    Ok(socket)
}

pub(super) enum Failed {
    Connect(io::Error),
    Send(io::Error),
}

/// Waits until the connection stands, and writes what it can of `opening`; returns how much that was.
///
/// The write is how it is found out that the connection stands: on the same host it does when `connect` returns.
pub(super) fn stand(
    begun: Begun,
    opening: &[u8],
) -> impl Future<Output = Result<(Socket, usize), Failed>> + use<'_> {
    let Begun { fd, family, state, ack } = begun;
    stands(Socket::connecting(fd, family, ready_at_first(state, opening), ack), state, opening)
}

fn ready_at_first(state: State, opening: &[u8]) -> Ready {
    match (state, opening) {
        // Readiness says when it stands.
        (State::Connecting, []) => Ready::NOTHING,
        _ => Ready::WRITE,
    }
}

async fn stands(socket: io::Result<Socket>, state: State, opening: &[u8]) -> Result<(Socket, usize), Failed> {
    let socket = socket.map_err(Failed::Connect)?;
    if opening.is_empty() {
        if state == State::Connecting {
            poll_fn(|cx| socket.poll_write_ready(cx)).await.map_err(Failed::Connect)?;
            socket.take_error().map_err(Failed::Connect)?;
        }
        return Ok((socket, 0));
    }
    poll_fn(|cx| {
        loop {
            ready!(socket.poll_write_ready(cx)).map_err(Failed::Connect)?;
            return Poll::Ready(match socket.try_write(opening) {
                Ok(sent) => Ok(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // What was established and is gone again says one of these; what never was says why not.
                Err(error)
                    if matches!(Errno::from_io_error(&error), Some(Errno::PIPE | Errno::CONNRESET)) =>
                {
                    Err(Failed::Send(error))
                }
                Err(error) => Err(Failed::Connect(error)),
            });
        }
    })
    .await
    .map(|sent| (socket, sent))
}

/// A socket that connects, or has.
pub(super) struct Begun {
    pub(super) fd: OwnedFd,
    pub(super) family: Family,
    pub(super) state: State,
    pub(super) ack: Ack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connected,
    Connecting,
}

async fn begin(address: &Address, opening: &[u8]) -> io::Result<Begun> {
    /// A UNIX socket whose queue is full says so at once instead of letting us wait, so that the waiting is ours.
    const PAUSE: Duration = Duration::from_millis(5);
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    match address {
        Address::Tcp(addr) => {
            let fd = socket_with(
                if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 },
                SocketType::STREAM,
                flags,
                None,
            )?;
            let is_held = !opening.is_empty() && sockopt::set_tcp_quickack(&fd, false).is_ok();
            let ack = if is_held { Ack::WithOurs } else { Ack::AtOnce };
            Ok(Begun { ack, ..begin_tcp(fd, addr)? })
        }
        // A program is started, not connected to.
        Address::Program(_) => Err(io::ErrorKind::Unsupported.into()),
        Address::Unix(path) => {
            let name = SocketAddrUnix::new(path)?;
            loop {
                let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                match net::connect(&fd, &name) {
                    Ok(()) => {
                        return Ok(Begun {
                            fd,
                            family: Family::Unix,
                            state: State::Connected,
                            ack: Ack::AtOnce,
                        });
                    }
                    Err(Errno::AGAIN) => until(later(now(), PAUSE)).await,
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// Has `fd` connect to `addr`.
pub(super) fn begin_tcp(fd: OwnedFd, addr: &SocketAddr) -> io::Result<Begun> {
    let state = match net::connect(&fd, addr) {
        Ok(()) => State::Connected,
        Err(Errno::INPROGRESS) => State::Connecting,
        Err(error) => return Err(error.into()),
    };
    Ok(Begun { fd, family: Family::Tcp, state, ack: Ack::AtOnce })
}

/// What a failed connect means.
fn not_connected(address: &Address, error: io::Error) -> DialError {
    match (Errno::from_io_error(&error), address) {
        // The last is epoll's: as many sockets are watched as this user may.
        (Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC), _) => {
            DialError::NoSocket(error)
        }
        // The kernel says the same for two things: no source port, and no source address (IPv6 that is switched off).
        (Some(Errno::ADDRNOTAVAIL), Address::Tcp(addr)) if has_source_address(*addr) => {
            DialError::PortsExhausted(error)
        }
        _ => DialError::Connect(error),
    }
}

/// Whether this host has an address from which `addr` can be reached.
///
/// Connecting a datagram socket sends nothing and asks the same of the routing table, and its ports are not TCP's.
fn has_source_address(addr: SocketAddr) -> bool {
    let connected = RawSocket::new(Domain::for_address(addr), Type::DGRAM, None)
        .and_then(|socket| socket.connect(&addr.into()));
    !connected.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests;
