//! Identity: who the client is, how we know, and what the header adds.
//!
//! Made by [`HeaderReader`](crate::HeaderReader) or from a direct peer; outlives the received bytes.
//! Two addresses, always both, never in one field: the **peer** (our socket's other end) and the **client**.

mod packed;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use core::num::{NonZeroU16, NonZeroU32};

use truepeer_proto::{Addresses, Command, Header, Ssl, TlvType, TlvValue, Tlvs, Transport, Version};

use crate::nat64::fold_nat64;
use crate::{Nat64Prefix, NetworkSet, PeerAddress};
use packed::{Facts, Packed};

/// An IP address and, where one was told, a port.
///
/// Port 0 is "not told" (Caddy sends it for both ends), never a value. v4-mapped IPv6 is folded to IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address, folded.
    pub ip: IpAddr,
    /// The port, unless it was not told.
    pub port: Option<NonZeroU16>,
    /// The link that a link-local address is on, as this machine numbers them. A header cannot tell one.
    pub scope_id: Option<NonZeroU32>,
}

impl Endpoint {
    /// As a socket address, with `port` where none was told.
    #[must_use]
    pub fn to_socket_addr(self, port: u16) -> SocketAddr {
        let port = self.port.map_or(port, NonZeroU16::get);
        match (self.ip, self.scope_id) {
            (IpAddr::V6(ip), Some(scope)) => SocketAddrV6::new(ip, port, 0, scope.get()).into(),
            (ip, _) => SocketAddr::new(ip, port),
        }
    }

    /// Address and port, which is all that a header can tell.
    fn told(self) -> (IpAddr, Option<NonZeroU16>) {
        (self.ip, self.port)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        let ip = addr.ip().to_canonical();
        let scope_id = match (ip, addr) {
            (IpAddr::V6(_), SocketAddr::V6(addr)) => NonZeroU32::new(addr.scope_id()),
            _ => None,
        };
        Self { ip, port: NonZeroU16::new(addr.port()), scope_id }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.scope_id) {
            (Some(_), _) => self.to_socket_addr(0).fmt(f),
            (None, Some(scope)) => write!(f, "{}%{scope}", self.ip),
            (None, None) => self.ip.fmt(f),
        }
    }
}

/// Whom a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A client, with its address.
    Client(Endpoint),
    /// Nobody: the proxy speaks for itself. Never mixed with clients in logs, limits and policy.
    ProxyOwn(OwnConnection),
}

/// Why a connection is the proxy's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OwnConnection {
    /// v2 LOCAL: health checks, mostly.
    Local,
    /// v1 UNKNOWN.
    Unknown,
    /// v2 PROXY without addresses.
    Unspecified,
    /// The proxy's client came over a UNIX socket: a path is no address.
    UnixClient,
    /// A datagram family on a stream: no matter who it was for, it is not this connection.
    Datagram,
    /// A stream family in front of a datagram, which is as strange.
    Stream,
    /// The header names exactly the peer that sent it, port included: a version 1 health check, which has no LOCAL.
    OwnAddress,
}

impl OwnConnection {
    /// Short stable token for logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Unknown => "unknown",
            Self::Unspecified => "unspecified",
            Self::UnixClient => "unix_client",
            Self::Datagram => "datagram",
            Self::Stream => "stream",
            Self::OwnAddress => "own_address",
        }
    }
}

/// How we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdentitySource {
    /// The peer's own address.
    Direct,
    /// A header of this version from a trusted peer.
    Header(Version),
}

impl IdentitySource {
    /// Short stable token for logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Header(Version::V1) => "v1",
            Self::Header(Version::V2) => "v2",
        }
    }
}

/// TLS facts that the header conveyed. Present only if the client really used TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls<'a>(Ssl<'a>);

impl<'a> Tls<'a> {
    /// Protocol version such as `TLSv1.3`, as sent.
    #[must_use]
    pub fn version(&self) -> Option<&'a [u8]> {
        self.0.version()
    }

    /// Cipher name, as sent.
    #[must_use]
    pub fn cipher(&self) -> Option<&'a [u8]> {
        self.0.cipher()
    }

    /// Whether the client presented a certificate that the proxy verified.
    ///
    /// Needs `verify == 0` **and** a certificate bit: HAProxy sends `verify` 0 without a certificate, too.
    #[must_use]
    pub fn is_client_verified(&self) -> bool {
        self.0.is_verified()
    }

    /// Common name of the client's certificate, only if it was verified.
    #[must_use]
    pub fn verified_common_name(&self) -> Option<&'a [u8]> {
        self.0.is_verified().then(|| self.0.common_name()).flatten()
    }

    /// The whole TLV, for what has no accessor here.
    #[must_use]
    pub fn as_ssl(&self) -> &Ssl<'a> {
        &self.0
    }
}

/// Who the client is, through whom, and how we know.
///
/// Memory: 16 bytes, and behind them at most 75, of IPv4 23, and the header's TLVs (at most the header cap).
/// `{:?}` shows addresses, and of TLVs types and lengths only.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// With the TLV area as received, so that forwarding loses nothing. Empty for the proxy's own connections.
    packed: Packed,
}

impl ClientIdentity {
    /// The identity of a direct peer: its own address is the truth. `None` for a UNIX peer, which has none.
    ///
    /// `reached`: the address that the peer connected to.
    #[must_use]
    pub fn direct(peer: PeerAddress, reached: Option<SocketAddr>) -> Option<Self> {
        let PeerAddress::Tcp(addr) = peer else { return None };
        let (role, destination) = (Role::Client(addr.into()), reached.map(Endpoint::from));
        Some(Self::of(Facts { role, peer, destination, source: IdentitySource::Direct }, &[]))
    }

    /// A client that is its own peer, for [`Client::from_direct`](crate::Client::from_direct).
    pub(crate) fn from_direct(addr: SocketAddr) -> Self {
        let (role, peer) = (Role::Client(addr.into()), PeerAddress::tcp(addr));
        Self::of(Facts { role, peer, destination: None, source: IdentitySource::Direct }, &[])
    }

    /// What a version 2 header without TLVs would say whose destination is not told.
    pub(crate) fn through_proxy(client: SocketAddr, proxy: SocketAddr) -> Self {
        let (role, peer) = (Role::Client(client.into()), PeerAddress::tcp(proxy));
        Self::of(Facts { role, peer, destination: None, source: IdentitySource::Header(Version::V2) }, &[])
    }

    /// What a trusted peer's header says.
    ///
    /// `over`: what the header came by, a stream or a datagram.
    pub(crate) fn from_header(header: &Header<'_>, peer: PeerAddress, over: Transport) -> Self {
        let source = IdentitySource::Header(header.version());
        let (role, destination) = match role(header, over) {
            // Nobody else can be at the other end of the very connection that we have with the peer.
            Ok((client, _)) if is_peer(client, peer) => (Role::ProxyOwn(OwnConnection::OwnAddress), None),
            Ok((client, destination)) => (Role::Client(client.into()), Some(Endpoint::from(destination))),
            Err(own) => (Role::ProxyOwn(own), None),
        };
        // The TLVs of the proxy's own connections describe nobody; they are dropped.
        let tlvs = match role {
            Role::Client(_) => header.tlv_bytes(),
            Role::ProxyOwn(_) => &[],
        };
        // 0.0.0.0 and :: are "not told".
        let destination = destination.filter(|destination| !destination.ip.is_unspecified());
        Self::of(Facts { role, peer, destination, source }, tlvs)
    }

    fn of(facts: Facts, tlvs: &[u8]) -> Self {
        Self { packed: Packed::new(&facts, tlvs) }
    }

    /// The same, with client and destination folded to the IPv4 addresses that a translator with one of `prefixes`
    /// wrote into them. Ask [`ClientIdentity::check_plausible`] afterwards: what is folded may be loopback.
    #[must_use]
    pub fn with_nat64(self, prefixes: &[Nat64Prefix]) -> Self {
        if prefixes.is_empty() {
            return self;
        }
        let mut facts = self.packed.facts();
        if let Role::Client(client) = &mut facts.role {
            client.ip = fold_nat64(client.ip, prefixes);
        }
        if let Some(destination) = &mut facts.destination {
            destination.ip = fold_nat64(destination.ip, prefixes);
        }
        Self { packed: self.packed.with(&facts) }
    }

    /// The same, with `peer` as our socket's other end: for a header inside a chain, which was written by a proxy that
    /// is not connected to us itself.
    #[must_use]
    pub fn through(self, peer: PeerAddress) -> Self {
        if peer == self.peer() {
            return self;
        }
        let facts = Facts { peer, ..self.packed.facts() };
        Self { packed: self.packed.with(&facts) }
    }

    /// Whom the connection is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.packed.role()
    }

    /// The client, unless the connection is the proxy's own.
    #[must_use]
    pub fn client(&self) -> Option<Endpoint> {
        match self.role() {
            Role::Client(client) => Some(client),
            Role::ProxyOwn(_) => None,
        }
    }

    /// The other end of our socket.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        self.packed.peer()
    }

    /// The address that the client connected to, if told.
    #[must_use]
    pub fn destination(&self) -> Option<Endpoint> {
        self.packed.destination()
    }

    /// How we know.
    #[must_use]
    pub fn source(&self) -> IdentitySource {
        self.packed.source()
    }

    /// The TLS facts of the client's connection to the proxy; `None` if it used no TLS or none was conveyed.
    #[must_use]
    pub fn tls(&self) -> Option<Tls<'_>> {
        let ssl = Ssl::new(self.tlvs().find(TlvType::SSL)?)?;
        ssl.is_tls().then_some(Tls(ssl))
    }

    /// Whether the client is known to have used TLS towards the proxy. Presence of an SSL TLV proves nothing.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.tls().is_some()
    }

    /// The host name that the client asked for (SNI), if it is UTF-8. Chosen by the client: validate before use.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        core::str::from_utf8(self.tlvs().find(TlvType::AUTHORITY)?).ok()
    }

    /// The application protocol that TLS negotiated, as sent.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tlvs().find(TlvType::ALPN)
    }

    /// The proxy's id for this connection, opaque, at most 128 bytes.
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlvs().find(TlvType::UNIQUE_ID)
    }

    /// The AWS VPC endpoint that the connection came through, such as `vpce-08d2bf15fac5001c9`.
    #[must_use]
    pub fn aws_vpc_endpoint_id(&self) -> Option<&str> {
        self.tlvs().find_map(|tlv| match tlv.to_value() {
            TlvValue::AwsVpcEndpointId(id) => core::str::from_utf8(id).ok(),
            _ => None,
        })
    }

    /// The link id of the Azure private endpoint that the connection came through.
    #[must_use]
    pub fn azure_link_id(&self) -> Option<u32> {
        self.tlvs().find_map(|tlv| match tlv.to_value() {
            TlvValue::AzureLinkId(id) => Some(id),
            _ => None,
        })
    }

    /// The Google Cloud Private Service Connect connection that this one came through.
    #[must_use]
    pub fn gcp_connection_id(&self) -> Option<u64> {
        self.tlvs().find_map(|tlv| match tlv.to_value() {
            TlvValue::GcpConnectionId(id) => Some(id),
            _ => None,
        })
    }

    /// The Alibaba Cloud private link endpoint that the connection came through.
    #[must_use]
    pub fn alibaba_endpoint_id(&self) -> Option<&str> {
        self.tlvs().find_map(|tlv| match tlv.to_value() {
            TlvValue::AlibabaEndpointId(id) => core::str::from_utf8(id).ok(),
            _ => None,
        })
    }

    /// The Alibaba Cloud VPC that the client is in.
    #[must_use]
    pub fn alibaba_vpc_id(&self) -> Option<&str> {
        self.tlvs().find_map(|tlv| match tlv.to_value() {
            TlvValue::AlibabaVpcId(id) => core::str::from_utf8(id).ok(),
            _ => None,
        })
    }

    /// The Alibaba Cloud endpoint service that was called.
    #[must_use]
    pub fn alibaba_service_id(&self) -> Option<&str> {
        self.tlvs().find_map(|tlv| match tlv.to_value() {
            TlvValue::AlibabaServiceId(id) => core::str::from_utf8(id).ok(),
            _ => None,
        })
    }

    /// Every TLV in the order received; of two of one type the first counts.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'_> {
        Tlvs::new(self.packed.tlvs())
    }

    /// Whether this client address can be true, seen from this peer.
    ///
    /// `own`: this machine's addresses and those of the backends. A client there, or on loopback, is possible only
    /// if the peer is on loopback as well.
    ///
    /// # Errors
    /// [`Implausible`] with the address and the reason.
    pub fn check_plausible(&self, own: &NetworkSet) -> Result<(), Implausible> {
        let (Role::Client(client), IdentitySource::Header(_)) = (self.role(), self.source()) else {
            return Ok(());
        };
        let ip = client.ip;
        let local_peer = self.peer().is_local();
        let because = if ip.is_unspecified() {
            "is the unspecified address"
        } else if ip.is_multicast() {
            "is a multicast address"
        } else if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            "is the broadcast address"
        } else if ip.is_loopback() && !local_peer {
            "is a loopback address, but the peer is on another machine"
        } else if own.contains(ip) && !local_peer {
            "is an address of this machine or of a backend, but the peer is on another machine"
        } else {
            return Ok(());
        };
        Err(Implausible { client: ip, because })
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("role", &self.role())
            .field("peer", &self.peer())
            .field("destination", &self.destination())
            .field("source", &self.source())
            .field("tlvs", &self.tlvs())
            .finish()
    }
}

/// A client address that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Implausible {
    /// The address that the header named.
    pub client: IpAddr,
    /// Why not, as the rest of a sentence.
    pub because: &'static str,
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the header names {} as client, which {}", self.client, self.because)
    }
}

impl core::error::Error for Implausible {}

impl From<Implausible> for std::io::Error {
    fn from(error: Implausible) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Whether a header names our socket's other end itself, address and port.
fn is_peer(client: SocketAddr, peer: PeerAddress) -> bool {
    let PeerAddress::Tcp(addr) = peer else { return false };
    Endpoint::from(client).told() == Endpoint::from(addr).told()
}

/// Source and destination of the client, or why there is none.
fn role(header: &Header<'_>, over: Transport) -> Result<(SocketAddr, SocketAddr), OwnConnection> {
    if header.command() == Command::Local {
        return Err(OwnConnection::Local);
    }
    match header.addresses() {
        Addresses::Unspecified => Err(match header.version() {
            Version::V1 => OwnConnection::Unknown,
            Version::V2 => OwnConnection::Unspecified,
        }),
        Addresses::Unix { .. } => Err(OwnConnection::UnixClient),
        _ if header.transport() != over => Err(match over {
            Transport::Datagram => OwnConnection::Stream,
            _ => OwnConnection::Datagram,
        }),
        Addresses::Inet { source, destination } => Ok((source.into(), destination.into())),
        Addresses::Inet6 { source, destination } => Ok((source.into(), destination.into())),
    }
}

#[cfg(test)]
mod tests;
