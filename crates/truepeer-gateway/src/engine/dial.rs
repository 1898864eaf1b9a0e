//! Connect to a backend and tell it who the client is, in one write.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::SockRef;
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
    /// Every source port towards this address is in use.
    PortsExhausted(io::Error),
    /// It was reached, and broke while our header was being written. Nothing may be tried again.
    Send(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Timeout(limit) => write!(f, "no answer within {} s", limit.as_secs_f32()),
            Self::PortsExhausted(error) => write!(f, "no source port is left towards this address: {error}"),
            Self::Send(error) => write!(f, "the connection broke while the header was written: {error}"),
        }
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
        Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            return Err(DialError::PortsExhausted(error));
        }
        Ok(Err(error)) => return Err(DialError::Connect(error)),
        Err(_) => return Err(DialError::Timeout(timeout)),
    };
    if !header.is_empty() {
        // The send buffer of a new connection is larger than any header, so that this is one write.
        say(&socket, header, deadline).await.map_err(DialError::Send)?;
    }
    Ok(socket)
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
