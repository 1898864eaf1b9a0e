//! Connect to a backend and tell it who the client is, in one write.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::socket::set_tcp_options;
use super::{Address, Socket, later, say};

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
            Self::Send(error) => write!(f, "the connection broke while the header was written: {error}"),
        }
    }
}

impl DialError {
    /// Whether it is this host that lacks something: nothing is known of the address then.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::PortsExhausted(_) | Self::NoSocket(_))
    }
}

/// Connects within `timeout`, and writes `header` (possibly empty) before anything else.
///
/// # Errors
/// See [`DialError`].
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn dial(address: &Address, header: &[u8], timeout: Duration) -> Result<Socket, DialError> {
    let deadline = later(Instant::now(), timeout);
    let connect = async {
        match address {
            Address::Tcp(addr) => connect_tcp(*addr).await.map(Socket::Tcp),
            Address::Unix(path) => connect_unix(path).await.map(Socket::Unix),
        }
    };
    let socket = match tokio::time::timeout_at(deadline.into(), connect).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(not_connected(address, error)),
        Err(_) => return Err(DialError::Timeout(timeout)),
    };
    if !header.is_empty() {
        // The send buffer of a new connection is larger than any header, so that this is one write.
        say(&socket, header, deadline).await.map_err(DialError::Send)?;
    }
    Ok(socket)
}

/// What a failed connect means.
fn not_connected(address: &Address, error: io::Error) -> DialError {
    match (Errno::from_io_error(&error), address) {
        (Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM), _) => DialError::NoSocket(error),
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

async fn connect_tcp(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    set_tcp_options(&SockRef::from(&socket))?;
    socket.connect(addr).await
}

/// A UNIX socket whose queue is full says so at once instead of letting us wait, so that the waiting is ours.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    const PAUSE: Duration = Duration::from_millis(5);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
            other => return other,
        }
    }
}
