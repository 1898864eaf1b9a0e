//! Trust: two questions about a peer, asked before one of its bytes is read.
//!
//! Who may speak for others? What of the rest? Pure: an address in, a decision out.

use core::fmt;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::TrustedNetworks;

/// The other end of our socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddress {
    /// A TCP peer; a v4-mapped IPv6 address is folded by [`PeerAddress::tcp`].
    Tcp(SocketAddr),
    /// A UNIX-socket peer: it has no address, at most credentials.
    Unix {
        /// The user that connected, where the kernel tells.
        uid: Option<u32>,
    },
    /// A peer over VM sockets, such as the host of an enclave: it has a context id, and no address.
    Vsock {
        /// The context id: 2 is the host, 1 this machine itself.
        cid: u32,
        /// The port that it connected from.
        port: u32,
    },
}

impl PeerAddress {
    /// A TCP peer, with v4-mapped IPv6 folded to IPv4. The scope of a link-local address is kept (`[fe80::1%3]:25`): on
    /// another link it is another host.
    #[must_use]
    pub fn tcp(addr: SocketAddr) -> Self {
        Self::Tcp(match (addr.ip().to_canonical(), addr) {
            (IpAddr::V6(ip), SocketAddr::V6(v6)) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
            (ip, _) => SocketAddr::new(ip, addr.port()),
        })
    }

    /// The IP address, if this peer has one; v4-mapped IPv6 is folded however the peer was made.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(addr) => Some(addr.ip().to_canonical()),
            Self::Unix { .. } | Self::Vsock { .. } => None,
        }
    }

    /// Whether it is on this machine, so that it may speak for clients here.
    pub(crate) fn is_local(&self) -> bool {
        const VMADDR_CID_LOCAL: u32 = 1;
        match self {
            Self::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
            Self::Unix { .. } => true,
            Self::Vsock { cid, .. } => *cid == VMADDR_CID_LOCAL,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix { uid: Some(uid) } => write!(f, "unix uid={uid}"),
            Self::Unix { uid: None } => f.write_str("unix"),
            Self::Vsock { cid, port } => write!(f, "vsock {cid}:{port}"),
        }
    }
}

/// What is known of a connection before one byte of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival {
    /// The other end of the socket; of a UNIX peer, its user.
    pub peer: PeerAddress,
    /// Our end of the socket, the address that the peer reached. `None` where there is none.
    pub reached: Option<SocketAddr>,
}

impl Arrival {
    /// A connection of `peer` to the address `reached`.
    #[must_use]
    pub fn new(peer: PeerAddress, reached: Option<SocketAddr>) -> Self {
        Self { peer, reached }
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
///
/// There is no "read a header if there is one", and there will not be. On a port that takes both, anyone who can
/// connect writes a header and is anyone they like; and where the server speaks first, it can never know how long to
/// wait for one. To serve proxies and others on one port, list the proxies: [`Unlisted::Direct`] takes all others as
/// themselves. Where proxies cannot be told by their address, give them a port of their own, or decide by whatever
/// tells them (`ListenerOptions::decide_with`).
#[doc(alias = "optional")]
#[doc(alias = "auto-detect")]
#[doc(alias = "mixed")]
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
    vsock: Box<[u32]>,
}

impl TrustPolicy {
    /// Peers in `trusted` must send a header; all others are treated as `unlisted` says.
    #[must_use]
    pub fn new(trusted: TrustedNetworks, unix: UnixPeers, unlisted: Unlisted) -> Self {
        Self { trusted, unix, unlisted, vsock: Box::default() }
    }

    /// Peers over VM sockets with these context ids must send a header; all others are refused, since they have no
    /// address that could be the client's. By default there are none.
    #[must_use]
    pub fn with_vsock(mut self, cids: impl IntoIterator<Item = u32>) -> Self {
        self.vsock = cids.into_iter().collect();
        self
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
            PeerAddress::Vsock { cid, .. } if self.vsock.contains(&cid) => TrustDecision::ExpectHeader,
            PeerAddress::Vsock { .. } => TrustDecision::Refuse,
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
    use crate::{ClientIdentity, Endpoint, HeaderReader, HeaderRules, OwnConnection, Progress, Role};

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

    /// One address on two links is two hosts.
    #[test]
    fn a_scope_is_kept_whoever_asks() {
        let here = tcp("[fe80::1%3]:1000");
        assert_eq!(here.to_string(), "[fe80::1%3]:1000");
        assert_ne!(here, tcp("[fe80::1%4]:1000"));
        let identity = ClientIdentity::direct(here, Some("[fe80::2%3]:25".parse().unwrap())).unwrap();
        let (client, destination) = (identity.client().unwrap(), identity.destination().unwrap());
        assert_eq!(
            (client.to_string(), destination.to_string()),
            ("[fe80::1%3]:1000".into(), "[fe80::2%3]:25".into())
        );
        assert_eq!(client.to_socket_addr(0).to_string(), "[fe80::1%3]:1000");
        let portless = Endpoint::from("[fe80::1%3]:0".parse::<SocketAddr>().unwrap());
        assert_eq!(
            (portless.to_string(), portless.to_socket_addr(7).to_string()),
            ("fe80::1%3".into(), "[fe80::1%3]:7".into())
        );
        // An address of the other family has none.
        assert_eq!(tcp("[::ffff:192.0.2.1%3]:1000").to_string(), "192.0.2.1:1000");
        // A flow label is no part of who somebody is.
        let labelled = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 1000, 7, 3));
        assert_eq!(PeerAddress::tcp(labelled), here);
    }

    /// A header cannot tell a scope; a version 1 health check over a link-local address is one all the same.
    #[test]
    fn a_header_that_names_its_own_peer_does_so_without_the_scope() {
        let reader =
            HeaderReader::new(HeaderRules::default(), tcp("[fe80::1%3]:1000"), std::time::Instant::now());
        let check = b"PROXY TCP6 fe80::1 fe80::2 1000 25\r\n";
        let Ok(Progress::Done { identity, .. }) = reader.advance(check) else { panic!("whole") };
        assert_eq!(identity.role(), Role::ProxyOwn(OwnConnection::OwnAddress));
    }

    #[test]
    fn vsock_peers_are_proxies_by_their_context_id_or_nobody() {
        let vsock = |cid| PeerAddress::Vsock { cid, port: 1024 };
        let policy = TrustPolicy::off().with_vsock([2, 3]);
        assert_eq!(policy.decide(vsock(3)), TrustDecision::ExpectHeader);
        assert_eq!(policy.decide(vsock(16)), TrustDecision::Refuse);
        assert_eq!(TrustPolicy::off().decide(vsock(2)), TrustDecision::Refuse);
        assert_eq!((vsock(3).to_string(), vsock(3).ip()), ("vsock 3:1024".to_owned(), None));
        assert!(ClientIdentity::direct(vsock(3), None).is_none());
        // The host is another machine than its guest.
        let loopback = b"PROXY TCP4 127.0.0.1 198.51.100.2 40000 25\r\n";
        for (cid, refused) in [(2, true), (1, false)] {
            let reader = HeaderReader::new(HeaderRules::new(), vsock(cid), std::time::Instant::now());
            assert_eq!(reader.advance(loopback).is_err(), refused, "{cid}");
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
