//! What others may see of a connection while it is open: the part of its record that is shared.
//!
//! What is found out on the way is written here once, and read by the walk, by operators and by the line at the end.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use truepeer::{ClientIdentity, Endpoint, PeerAddress};

use crate::engine::{Cut, Reach, Traffic};
use crate::facts::narrow::U48;
use crate::facts::protocol::Protocol;
use crate::rooms::backend::Reached;
use crate::rooms::record::ConnectionId;

/// Where connections come in: what those of one listener and one worker have in common.
#[derive(Debug)]
pub struct Entrance {
    /// `server.listener.<id>`
    pub listener: Arc<str>,
    /// The language there.
    pub protocol: Protocol,
    /// What the ids of the worker's connections begin with.
    ids: Box<str>,
    /// The worker's loop.
    reach: Reach,
}

impl Entrance {
    /// For connections of this thread's worker to `listener`, whose ids begin with `ids`.
    #[must_use]
    pub fn here(listener: Arc<str>, protocol: Protocol, ids: &str) -> Arc<Self> {
        Arc::new(Self { listener, protocol, ids: ids.into(), reach: Reach::here() })
    }
}

/// One open connection. 104 bytes, and those of its identity.
#[derive(Debug)]
pub struct Entry {
    entrance: Arc<Entrance>,
    /// Rises with each that is accepted.
    number: U48,
    /// When it was accepted, in milliseconds since 1970.
    since: U48,
    peer: CompactPeer,
    /// Bytes so far.
    pub traffic: Traffic,
    identity: OnceLock<ClientIdentity>,
    reached: OnceLock<Arc<Reached>>,
    cut: Cut,
}

impl Entry {
    /// The connection of that `number`, which was accepted at `since`; nothing more is known of it.
    #[must_use]
    pub fn new(entrance: &Arc<Entrance>, number: u64, peer: PeerAddress, since: SystemTime) -> Self {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            entrance: Arc::clone(entrance),
            number: number.into(),
            peer: peer.into(),
            since: u64::try_from(since.as_millis()).unwrap_or(u64::MAX).into(),
            traffic: Traffic::default(),
            identity: OnceLock::new(),
            reached: OnceLock::new(),
            cut: Cut::default(),
        }
    }

    /// The connection's id, as in its record.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId::numbered(&self.entrance.ids, self.number())
    }

    /// Which it is of all; a later one has a greater number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number.into()
    }

    /// Our socket's other end.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        self.peer.into()
    }

    /// Where it came in.
    #[must_use]
    pub fn listener(&self) -> &Arc<str> {
        &self.entrance.listener
    }

    /// The language there.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.entrance.protocol
    }

    /// When it was accepted.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        let since = Duration::from_millis(self.since.into());
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Whom it is for; `None` while that is not known.
    #[must_use]
    pub fn identity(&self) -> Option<&ClientIdentity> {
        self.identity.get()
    }

    /// The client, once it is known that there is one.
    #[must_use]
    pub fn client(&self) -> Option<Endpoint> {
        self.identity().and_then(ClientIdentity::client)
    }

    /// Where it was handed to; `None` until then.
    #[must_use]
    pub fn backend(&self) -> Option<&Reached> {
        self.reached.get().map(|reached| &**reached)
    }

    /// Cuts it, from any thread.
    pub fn cut(&self) {
        self.cut.ask(&self.entrance.reach);
    }

    /// Whether somebody cuts it; the task that is being polled is woken when somebody does.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.is_asked()
    }

    /// Asks the program that has it, if one has, to end.
    pub fn end_program(&self) {
        if let Some(life) = self.backend().and_then(|reached| reached.program.as_ref()) {
            life.end();
        }
    }

    /// Notes whom it is for, which is found out once; returns what holds.
    pub fn identified(&self, identity: ClientIdentity) -> &ClientIdentity {
        self.identity.get_or_init(|| identity)
    }

    /// Notes whom it was handed to, which happens once.
    pub fn reached(&self, whom: Arc<Reached>) {
        self.reached.get_or_init(|| whom);
    }
}

/// A peer's address in 24 bytes, which are those that matter: a flow label is none of them.
#[derive(Debug, Clone, Copy)]
enum CompactPeer {
    V4([u8; 4], u16),
    V6 { ip: Ipv6Addr, port: u16, scope: u32 },
    Unix { uid: Option<u32> },
}

impl From<PeerAddress> for CompactPeer {
    fn from(peer: PeerAddress) -> Self {
        match peer {
            PeerAddress::Tcp(SocketAddr::V4(addr)) => Self::V4(addr.ip().octets(), addr.port()),
            PeerAddress::Tcp(SocketAddr::V6(addr)) => {
                Self::V6 { ip: *addr.ip(), port: addr.port(), scope: addr.scope_id() }
            }
            PeerAddress::Unix { uid } => Self::Unix { uid },
            // A connection is accepted at one of these.
            _ => Self::Unix { uid: None },
        }
    }
}

impl From<CompactPeer> for PeerAddress {
    fn from(peer: CompactPeer) -> Self {
        match peer {
            CompactPeer::V4(ip, port) => Self::tcp(SocketAddr::new(IpAddr::from(ip), port)),
            CompactPeer::V6 { ip, port, scope } => Self::tcp(SocketAddrV6::new(ip, port, 0, scope).into()),
            CompactPeer::Unix { uid } => Self::Unix { uid },
        }
    }
}

#[cfg(test)]
impl Entry {
    /// One of `listener` that came from `peer` in 1970, with this number for an id.
    pub(crate) fn sample(listener: &str, number: u64, peer: PeerAddress) -> Arc<Self> {
        let entrance = Entrance::here(listener.into(), Protocol::Smtp, "id-");
        Arc::new(Self::new(&entrance, number, peer, SystemTime::UNIX_EPOCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_the_same_in_fewer_bytes() {
        let tcp = ["192.0.2.1:25", "[2001:db8::1]:65535", "[fe80::1%3]:1"];
        let tcp = tcp.map(|addr| PeerAddress::tcp(addr.parse().unwrap()));
        for peer in tcp.into_iter().chain([None, Some(0)].map(|uid| PeerAddress::Unix { uid })) {
            assert_eq!(Entry::sample("smtp", 1, peer).peer(), peer);
        }
    }
}
