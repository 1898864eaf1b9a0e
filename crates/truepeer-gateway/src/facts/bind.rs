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

impl Bind {
    /// Whether both name one place, whatever else is said of it.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { addr: one, .. }, Self::Tcp { addr: other, .. }) => one == other,
            (Self::Unix { path: one, .. }, Self::Unix { path: other, .. }) => one == other,
            _ => false,
        }
    }

    /// Whether only one of the two can be listened on: they are one place, or one is a wildcard that takes the other in.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (Self::Tcp { addr: a, families: of_a }, Self::Tcp { addr: b, families: of_b }) = (self, other)
        else {
            return self.is_same_place(other);
        };
        let any = a.ip().is_unspecified() || b.ip().is_unspecified();
        let family = a.is_ipv4() == b.is_ipv4() || [of_a, of_b].contains(&&Families::Both);
        a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || (any && family))
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
