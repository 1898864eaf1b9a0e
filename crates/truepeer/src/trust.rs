//! Trust: two questions about a peer, asked before one of its bytes is read.
//!
//! Who may speak for others? What of the rest? Pure: an address in, a decision out.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::TrustedNetworks;

/// The other end of our socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// A TCP peer; a v4-mapped IPv6 address is folded by [`PeerAddress::tcp`].
    Tcp(SocketAddr),
    /// A UNIX-socket peer: it has no address, at most credentials.
    Unix {
        /// The user that connected, where the kernel tells.
        uid: Option<u32>,
    },
}

impl PeerAddress {
    /// A TCP peer, with v4-mapped IPv6 folded to IPv4.
    #[must_use]
    pub fn tcp(addr: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }

    /// The IP address, if this peer has one; v4-mapped IPv6 is folded however the peer was made.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(addr) => Some(addr.ip().to_canonical()),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix { uid: Some(uid) } => write!(f, "unix uid={uid}"),
            Self::Unix { uid: None } => f.write_str("unix"),
        }
    }
}

/// What happens to a peer that is in no trusted network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unlisted {
    /// The peer is the client, its own address being the truth.
    #[default]
    Direct,
    /// The connection ends: this port is for proxies only.
    Refuse,
}

/// Whether UNIX-socket peers may speak for others. Never inherited from a server-wide list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnixPeers {
    /// The listener's own list holds the word `"unix"`.
    Trusted,
    /// An unlisted UNIX peer has no address that could be the client's.
    #[default]
    Refuse,
}

/// What to do with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustDecision {
    /// A proxy: it must send a header.
    ExpectHeader,
    /// Not a proxy: the peer is the client, and no header is looked for.
    Direct,
    /// Neither: end the connection.
    Refuse,
}

/// The trust policy of one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustPolicy {
    trusted: TrustedNetworks,
    unix: UnixPeers,
    unlisted: Unlisted,
}

impl TrustPolicy {
    /// Peers in `trusted` must send a header; all others are treated as `unlisted` says.
    #[must_use]
    pub fn new(trusted: TrustedNetworks, unix: UnixPeers, unlisted: Unlisted) -> Self {
        Self { trusted, unix, unlisted }
    }

    /// Nobody speaks for others: no header is read, every TCP peer is the client.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Decides on the address alone, before one byte is read.
    #[must_use]
    pub fn decide(&self, peer: PeerAddress) -> TrustDecision {
        match peer {
            PeerAddress::Tcp(addr) if self.trusted.contains(addr.ip()) => TrustDecision::ExpectHeader,
            PeerAddress::Tcp(_) => match self.unlisted {
                Unlisted::Direct => TrustDecision::Direct,
                Unlisted::Refuse => TrustDecision::Refuse,
            },
            PeerAddress::Unix { .. } => match self.unix {
                UnixPeers::Trusted => TrustDecision::ExpectHeader,
                UnixPeers::Refuse => TrustDecision::Refuse,
            },
        }
    }

    /// The networks whose peers must send a header.
    #[must_use]
    pub fn trusted(&self) -> &TrustedNetworks {
        &self.trusted
    }
}

impl From<TrustedNetworks> for TrustPolicy {
    /// Peers in these networks must send a header, all others are clients themselves.
    fn from(trusted: TrustedNetworks) -> Self {
        Self::new(trusted, UnixPeers::default(), Unlisted::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(unix: UnixPeers, unlisted: Unlisted) -> TrustPolicy {
        TrustPolicy::new(["192.0.2.10/32".parse().unwrap()].into_iter().collect(), unix, unlisted)
    }

    fn tcp(text: &str) -> PeerAddress {
        PeerAddress::tcp(text.parse().unwrap())
    }

    #[test]
    fn decisions() {
        let open = policy(UnixPeers::Refuse, Unlisted::Direct);
        let closed = policy(UnixPeers::Trusted, Unlisted::Refuse);
        for (policy, peer, decision) in [
            (&open, tcp("192.0.2.10:4711"), TrustDecision::ExpectHeader),
            (&open, tcp("[::ffff:192.0.2.10]:4711"), TrustDecision::ExpectHeader),
            (&open, tcp("192.0.2.11:4711"), TrustDecision::Direct),
            (
                &open,
                PeerAddress::Tcp("[::ffff:192.0.2.10]:4711".parse().unwrap()),
                TrustDecision::ExpectHeader,
            ),
            (&open, PeerAddress::Unix { uid: Some(0) }, TrustDecision::Refuse),
            (&closed, tcp("192.0.2.11:4711"), TrustDecision::Refuse),
            (&closed, PeerAddress::Unix { uid: None }, TrustDecision::ExpectHeader),
        ] {
            assert_eq!(policy.decide(peer), decision, "{peer}");
        }
    }

    #[test]
    fn off_reads_no_header_from_anybody() {
        for peer in ["127.0.0.1:1", "[::1]:1", "192.0.2.10:1"] {
            assert_eq!(TrustPolicy::off().decide(tcp(peer)), TrustDecision::Direct, "{peer}");
        }
        assert_eq!(TrustPolicy::off().decide(PeerAddress::Unix { uid: Some(0) }), TrustDecision::Refuse);
    }
}
