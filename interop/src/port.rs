//! Ports chosen by the system, held until their server binds them.
//!
//! Called by `servers`. It must not know who uses the port.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::feed::PATIENCE;
use crate::verdict::{During, Result, failed};

/// A free port. While it is held the kernel gives it to nobody who does not ask for it by number; a server that
/// sets SO_REUSEADDR can bind it nevertheless, because the holding socket never listens.
#[derive(Debug)]
pub(crate) struct Port {
    addr: SocketAddr,
    _holder: Socket,
}

impl Port {
    /// Holds a free port of `ip`.
    pub(crate) fn free(ip: IpAddr) -> Result<Self> {
        let holder = bound(SocketAddr::new(ip, 0))?;
        let Some(addr) = holder.local_addr().during("read a bound address")?.as_socket() else {
            return failed("a bound socket has no internet address");
        };
        Ok(Self { addr, _holder: holder })
    }

    /// Address and number.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A TCP socket bound to `addr`, neither listening nor connected.
pub(crate) fn bound(addr: SocketAddr) -> Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP)).during("socket")?;
    socket.set_reuse_address(true).during("SO_REUSEADDR")?;
    socket.bind(&addr.into()).during(&format!("bind {addr}"))?;
    Ok(socket)
}

/// Waits until somebody listens at `addr`, without a connection, which the server would count among its clients.
pub(crate) fn until_listened(addr: SocketAddr) -> Result {
    let IpAddr::V4(ip) = addr.ip() else { return failed(format!("{addr} is in another table")) };
    const LISTENING: &str = "0A";
    const BETWEEN: Duration = Duration::from_millis(10);
    // As the kernel prints it: the address as a number of this host, both in hexadecimal digits.
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), addr.port());
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let table = fs::read_to_string("/proc/thread-self/net/tcp").during("read the table of sockets")?;
        let is_it = |line: &str| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next() == Some(&wanted) && words.nth(1) == Some(LISTENING)
        };
        if table.lines().any(is_it) {
            return Ok(());
        }
        thread::park_timeout(BETWEEN);
    }
    failed(format!("nobody listens at {addr}"))
}
