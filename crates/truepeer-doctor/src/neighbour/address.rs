//! Where a program listens or connects, as its configuration writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A place to listen on or to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// On which host.
        host: Host,
        /// Which port.
        port: u16,
    },
    /// A UNIX socket at this path.
    Unix(String),
}

/// The host part of an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// Every address of the machine.
    Any(Families),
    /// This one.
    Ip(IpAddr),
    /// A name that is not looked up here, such as a container's.
    Name(String),
}

/// Address families that a listening socket serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Families {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// IPv6, and IPv4 as mapped addresses through the same socket.
    Both,
}

/// How well a place to connect to fits a place where somebody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It is another place.
    No,
    /// The port is the same, and nothing speaks against the host.
    Likely,
    /// Every address of the machine is meant, this one among them.
    Certain,
    /// It is the same address.
    Exact,
}

impl Address {
    /// A TCP port.
    #[must_use]
    pub fn tcp(host: Host, port: u16) -> Self {
        Self::Tcp { host, port }
    }

    /// The TCP port, if it is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// The host, if there is one.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub(crate) fn is_local_only(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host.is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether a connection to `self` arrives at `listen`.
    pub(super) fn reaches(&self, listen: &Self) -> Fit {
        match (self, listen) {
            (Self::Unix(to), Self::Unix(at)) if to == at => Fit::Exact,
            (Self::Tcp { host: to, port }, Self::Tcp { host: at, port: there }) if port == there => {
                to.is_at(at)
            }
            _ => Fit::No,
        }
    }
}

impl Host {
    /// Reads what configurations write: `*`, the empty word, an address in brackets or without, a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Self::Any(Families::V4),
            Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Self::Any(Families::Both),
            Ok(ip) => Self::Ip(ip.to_canonical()),
            Err(_) if matches!(bare, "" | "*") => Self::Any(Families::Both),
            Err(_) => Self::Name(bare.to_owned()),
        }
    }

    /// Whether it is loopback, also by the name that everybody gives it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => name == "localhost",
        }
    }

    fn is_at(&self, listen: &Self) -> Fit {
        match (self, listen) {
            (Self::Ip(to), Self::Any(families)) if !families.hold(*to) => Fit::No,
            // Whether another host's address is this machine's is not known here.
            (to, Self::Any(_)) if to.is_loopback() => Fit::Certain,
            (Self::Ip(to), Self::Ip(at)) if to == at => Fit::Exact,
            (Self::Name(to), Self::Name(at)) if to == at => Fit::Exact,
            (Self::Ip(_), Self::Ip(_)) => Fit::No,
            // One of the two is a name.
            (to, at) if to.is_loopback() && at.is_loopback() => Fit::Certain,
            (to, at) if to.is_loopback() || at.is_loopback() => Fit::No,
            _ => Fit::Likely,
        }
    }
}

impl Families {
    fn hold(self, ip: IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::Both => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: Host::Ip(IpAddr::V6(ip)), port } => write!(f, "[{ip}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(Families::V4) => f.write_str("0.0.0.0"),
            Self::Any(Families::V6) => f.write_str("[::]"),
            Self::Any(Families::Both) => f.write_str("*"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address::tcp(Host::parse(host), port)
    }

    #[test]
    fn a_connection_arrives_where_port_and_host_allow() {
        for (to, listen, fit) in [
            (at("127.0.0.1", 25), at("127.0.0.1", 25), Fit::Exact),
            (at("127.0.0.1", 25), at("*", 25), Fit::Certain),
            (at("localhost", 25), at("127.0.0.1", 25), Fit::Certain),
            (at("10.0.0.5", 25), at("*", 25), Fit::Likely),
            (at("mail", 25), at("0.0.0.0", 25), Fit::Likely),
            (at("mail", 25), at("10.0.0.5", 25), Fit::Likely),
            (at("mail", 25), at("127.0.0.1", 25), Fit::No),
            (at("::1", 25), at("0.0.0.0", 25), Fit::No),
            (at("127.0.0.1", 25), at("127.0.0.1", 26), Fit::No),
            (at("10.0.0.5", 25), at("127.0.0.1", 25), Fit::No),
            (Address::Unix("/run/a".into()), Address::Unix("/run/a".into()), Fit::Exact),
        ] {
            assert_eq!(to.reaches(&listen), fit, "{to} at {listen}");
        }
    }
}
