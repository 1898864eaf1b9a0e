//! Addresses to listen on, as written and as decided.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// TCP. An IPv6 wildcard serves IPv4 as well unless the same port is also bound to an IPv4 address.
    Tcp {
        /// Address and port; port 0 lets the system choose.
        addr: SocketAddr,
        /// Which families the socket serves.
        families: Families,
    },
    /// A UNIX socket.
    Unix {
        /// The path, made at start and removed at the end.
        path: PathBuf,
        /// Permission bits, 0600 by default.
        mode: u32,
    },
}

impl fmt::Display for Bind {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addr, .. } => addr.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which families a TCP socket serves. Decided here; the system's default never decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// The one of its address.
    Own,
    /// `[::]` that serves IPv4, too.
    Both,
}
