//! What a listening socket that somebody else has made is bound to.
//!
//! Asked of the kernel; whoever was given the socket decides what it is for.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};
use socket2::SockRef;

use crate::facts::bind::{Bind, Families};

/// What a socket is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp {
        addr: SocketAddr,
        families: Families,
    },
    Unix(PathBuf),
    /// A UNIX socket without a path.
    Unnamed,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addr, .. } => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Unnamed => f.write_str("a UNIX address without a path"),
        }
    }
}

impl Place {
    /// Whether `bind` means this address, however it is to be listened on there.
    pub(super) fn is(&self, bind: &Bind) -> bool {
        match (self, bind) {
            // A scope or a flow label is no part of the address as it is configured.
            (Self::Tcp { addr: has, .. }, Bind::Tcp { addr: wants, .. }) => {
                (has.ip(), has.port()) == (wants.ip(), wants.port())
            }
            (Self::Unix(has), Bind::Unix { path, .. }) => has == path,
            _ => false,
        }
    }
}

impl Place {
    /// Whether a socket of ours that was handed over listens there as `bind` says.
    pub(super) fn fits(&self, bind: &Bind) -> Result<(), &'static str> {
        match (self, bind) {
            (Self::Tcp { addr, families: has }, Bind::Tcp { families: wants, .. })
                if addr.ip().is_unspecified() && has != wants =>
            {
                Err(
                    "whether it serves IPv4, too, is decided when its socket is made: reload first, then upgrade",
                )
            }
            (Self::Unix(path), Bind::Unix { mode, .. }) if mode_of(path).is_some_and(|has| has != *mode) => {
                Err("`socket-mode` is decided when its socket is made: reload first, then upgrade")
            }
            _ => Ok(()),
        }
    }
}

/// What is said of a stream socket that does not listen.
pub(super) const DEAF: &str = "a stream socket that does not listen";

/// What a descriptor is bound to, or what it is instead of a listening stream socket.
pub(super) fn place(descriptor: &OwnedFd) -> io::Result<Result<Place, &'static str>> {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    match sockopt::socket_type(descriptor) {
        Err(rustix::io::Errno::NOTSOCK) => return Ok(Err("no socket")),
        Ok(SocketType::STREAM) => {}
        Ok(SocketType::DGRAM) => return Ok(Err("a datagram socket")),
        Ok(_) => return Ok(Err("neither a stream nor a datagram socket")),
        Err(error) => return Err(error.into()),
    }
    let family = sockopt::socket_domain(descriptor)?;
    if ![AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX].contains(&family) {
        return Ok(Err("a socket of another address family"));
    }
    let protocol = sockopt::socket_protocol(descriptor)?;
    if family != AddressFamily::UNIX && ![Some(ipproto::TCP), Some(ipproto::MPTCP)].contains(&protocol) {
        return Ok(Err("a stream socket of another protocol than TCP"));
    }
    if !sockopt::socket_acceptconn(descriptor)? {
        return Ok(Err(DEAF));
    }
    name(descriptor).map(Ok)
}

/// The address of a stream socket.
pub(super) fn name(descriptor: &OwnedFd) -> io::Result<Place> {
    let local = SockRef::from(descriptor).local_addr()?;
    let path = || local.as_pathname().map_or(Place::Unnamed, |path| Place::Unix(path.to_owned()));
    let Some(addr) = local.as_socket() else { return Ok(path()) };
    let both = addr.is_ipv6() && addr.ip().is_unspecified() && !sockopt::ipv6_v6only(descriptor)?;
    let families = if both { Families::Both } else { Families::Own };
    Ok(Place::Tcp { addr, families })
}

pub(super) fn mode_of(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}
