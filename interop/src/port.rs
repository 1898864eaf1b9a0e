//! Ports chosen by the system, held until their server binds them.
//!
//! Called by `servers`. It must not know who uses the port.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

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
