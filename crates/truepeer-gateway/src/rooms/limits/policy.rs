//! What is limited, for whom, and how seriously: the resolved values that a gate works with.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use truepeer::{IpNet, NetworkSet};

use crate::facts::address::ClientIp;
use crate::facts::protocol::Protocol;
use crate::rooms::limits::Rate;

/// The limits of one listener. `None` sets no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What happens to a client that a limit is against.
    pub mode: Mode,
    /// Which addresses are one client.
    pub prefixes: Prefixes,
    /// Clients that no per-client limit holds for.
    pub exempt: Arc<NetworkSet>,
    /// Connections at once of one client to this listener.
    pub connections_per_client: Option<NonZeroU32>,
    /// New connections of one client to this listener in a time.
    pub rate_per_client: Option<Rate>,
    /// Connections at once to this listener, over all clients.
    pub listener_connections: Option<NonZeroU32>,
    /// Connections at once to all listeners, over all clients.
    pub server_connections: Option<NonZeroU32>,
}

impl Policy {
    /// What holds for a listener of `protocol` if nothing is configured.
    ///
    /// Mail servers seldom open more than a handful of connections to one host. Users' protocols have no default:
    /// an office or a mobile network is one address with hundreds of people behind it.
    #[must_use]
    pub fn default_for(protocol: Protocol) -> Self {
        Self {
            mode: Mode::default(),
            prefixes: Prefixes::default(),
            exempt: Arc::default(),
            connections_per_client: protocol.at_once(),
            rate_per_client: None,
            listener_connections: None,
            server_connections: None,
        }
    }

    /// Whether connections of `client` are counted by client.
    pub(super) fn counts(&self, client: ClientIp) -> bool {
        let limited = self.connections_per_client.is_some() || self.rate_per_client.is_some();
        limited && !self.exempt.contains(client.ip())
    }
}

/// `limits.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A client that a limit is against is refused.
    #[default]
    Enforce,
    /// It is counted and reported, and refused nothing.
    Observe,
}

/// How many leading bits of an address make a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    v4: u8,
    v6: u8,
}

impl Prefixes {
    /// Whole IPv4 addresses, and the /64 of IPv6 that one customer can use freely.
    pub const DEFAULT: Self = Self { v4: 32, v6: 64 };

    /// These lengths in bits; `None` unless `v4` is 1 to 32 and `v6` is 1 to 128.
    #[must_use]
    pub fn new(lengths: PrefixLengths) -> Option<Self> {
        let PrefixLengths { v4, v6 } = lengths;
        ((1..=32).contains(&v4) && (1..=128).contains(&v6)).then_some(Self { v4, v6 })
    }

    /// The network that `client` is counted as.
    #[must_use]
    pub fn group(self, client: impl Into<ClientIp>) -> IpNet {
        let client = client.into().ip();
        let len = match client {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        };
        IpNet::new(client, len).map_or_else(|_| IpNet::from(client), |network| network.trunc())
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Prefix lengths as configured, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLengths {
    /// Bits of an IPv4 address.
    pub v4: u8,
    /// Bits of an IPv6 address.
    pub v6: u8,
}
