//! The question that nobody may forget: is this a client at all?
//!
//! An identity is one or the other; these types carry the answer, so that an address can only be asked of a client.
//! Used by the listener and the adapters. Knows nothing of sockets.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::{ClientIdentity, Endpoint, OwnConnection, PeerAddress, Role};

/// A known client. Cheap to clone: handlers, tasks and request extensions share one identity.
///
/// There is no `Client` without an address: the proxy's own connections become [`ProxyOwn`] instead.
///
/// Memory: 32 bytes for each clone, and one shared [`ClientIdentity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    endpoint: Endpoint,
    identity: Arc<ClientIdentity>,
}

impl Client {
    /// A client that connects directly, for tests of handlers and for peers whose address is the truth.
    #[must_use]
    pub fn from_direct(addr: SocketAddr) -> Self {
        let endpoint = Endpoint::from(addr);
        Self { endpoint, identity: Arc::new(ClientIdentity::from_direct(addr)) }
    }

    /// A client that a proxy's header names, for tests of handlers.
    ///
    /// `client`: whom the header names; `proxy`: the peer that sent it.
    #[must_use]
    pub fn through_proxy(client: SocketAddr, proxy: SocketAddr) -> Self {
        let endpoint = Endpoint::from(client);
        Self { endpoint, identity: Arc::new(ClientIdentity::through_proxy(client, proxy)) }
    }

    /// The client's address, never the proxy's.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The client's IP address, for lists, limits and logs.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.endpoint.ip
    }

    /// Everything else that is known: the peer, the destination, TLS facts, names and ids.
    #[must_use]
    pub fn identity(&self) -> &ClientIdentity {
        &self.identity
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

/// A connection that a proxy made for itself: a health check, mostly. It has no client and no TLS facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyOwn {
    why: OwnConnection,
    peer: PeerAddress,
}

impl ProxyOwn {
    /// A proxy's own connection, for tests of handlers.
    #[must_use]
    pub fn new(why: OwnConnection, peer: PeerAddress) -> Self {
        Self { why, peer }
    }

    /// How the header said so.
    #[must_use]
    pub fn why(&self) -> OwnConnection {
        self.why
    }

    /// The proxy.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        self.peer
    }
}

impl fmt::Display for ProxyOwn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {} itself ({})", self.peer, self.why.code())
    }
}

/// Who is calling: a client, or the proxy for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A client, with its address.
    Client(Client),
    /// The proxy itself.
    ProxyOwn(ProxyOwn),
}

impl Caller {
    /// The client, unless the proxy calls for itself.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        match self {
            Self::Client(client) => Some(client),
            Self::ProxyOwn(_) => None,
        }
    }
}

impl From<ClientIdentity> for Caller {
    fn from(identity: ClientIdentity) -> Self {
        match identity.role() {
            Role::Client(endpoint) => Self::Client(Client { endpoint, identity: Arc::new(identity) }),
            Role::ProxyOwn(why) => Self::ProxyOwn(ProxyOwn { why, peer: identity.peer() }),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => client.fmt(f),
            Self::ProxyOwn(own) => own.fmt(f),
        }
    }
}
