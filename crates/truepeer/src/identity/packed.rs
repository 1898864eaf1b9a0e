//! An identity in as few bytes as it needs: a server holds one for each of its connections, as long as it lasts.
//!
//! Made and read by [`ClientIdentity`](super::ClientIdentity) alone; what is in it was understood before. Lossless: one
//! value has one form, so that equal bytes are equal identities.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::num::{NonZeroU16, NonZeroU32};

use truepeer_proto::Version;

use super::{Endpoint, IdentitySource, OwnConnection, Role};
use crate::PeerAddress;

/// What is known beside the TLVs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) role: Role,
    pub(super) peer: PeerAddress,
    pub(super) destination: Option<Endpoint>,
    pub(super) source: IdentitySource,
}

/// Five bytes that say what follows, the addresses, and the TLV area as received. Each can be had without the others: a
/// server asks some forty times for one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn new(facts: &Facts, tlvs: &[u8]) -> Self {
        let (client, own) = match facts.role {
            Role::Client(client) => (Some(client), CLIENT),
            Role::ProxyOwn(own) => (None, own_code(own)),
        };
        let kind = |endpoint: Option<Endpoint>| endpoint.map_or(NOTHING, endpoint_kind);
        let mut out = Writer { bytes: [0; MAX], len: 0 };
        let kinds = [kind(client), peer_kind(facts.peer), kind(facts.destination)];
        out.put([source_code(facts.source), own]);
        out.put(kinds);
        if let Some(client) = client {
            out.endpoint(client);
        }
        out.peer(facts.peer);
        if let Some(destination) = facts.destination {
            out.endpoint(destination);
        }
        Self([out.bytes.get(..out.len).unwrap_or_default(), tlvs].concat().into_boxed_slice())
    }

    pub(super) fn facts(&self) -> Facts {
        Facts { role: self.role(), peer: self.peer(), destination: self.destination(), source: self.source() }
    }

    pub(super) fn source(&self) -> IdentitySource {
        match self.0.first() {
            Some(0) => IdentitySource::Direct,
            Some(1) => IdentitySource::Header(Version::V1),
            _ => IdentitySource::Header(Version::V2),
        }
    }

    pub(super) fn role(&self) -> Role {
        let [_, own, client, ..] = self.head();
        match own {
            CLIENT => Role::Client(self.behind([]).endpoint(client).unwrap_or(NOWHERE)),
            code => Role::ProxyOwn(own_of(code)),
        }
    }

    pub(super) fn peer(&self) -> PeerAddress {
        let [_, _, client, peer, _] = self.head();
        self.behind([endpoint_len(client)]).peer(peer)
    }

    pub(super) fn destination(&self) -> Option<Endpoint> {
        let [_, _, client, peer, destination] = self.head();
        self.behind([endpoint_len(client), peer_len(peer)]).endpoint(destination)
    }

    pub(super) fn tlvs(&self) -> &[u8] {
        let [_, _, client, peer, destination] = self.head();
        self.behind([endpoint_len(client), peer_len(peer), endpoint_len(destination)]).0
    }

    /// The same TLVs with other facts.
    pub(super) fn with(self, facts: &Facts) -> Self {
        if self.facts() == *facts { self } else { Self::new(facts, self.tlvs()) }
    }

    /// Source, own connection, and the kinds of client, peer and destination.
    fn head(&self) -> [u8; HEAD] {
        self.0.first_chunk().copied().unwrap_or_default()
    }

    /// What is behind parts of these lengths.
    fn behind<const N: usize>(&self, parts: [usize; N]) -> Reader<'_> {
        let at = parts.into_iter().fold(HEAD, usize::saturating_add);
        Reader(self.0.get(at..).unwrap_or_default())
    }
}

/// What says which kind everything is.
const HEAD: usize = 5;
/// The most that precedes the TLVs: client, peer and destination, each the longest there is.
const MAX: usize = HEAD + 22 + 26 + 22;
/// Of a role that is a client; other values are why there is none.
const CLIENT: u8 = 0;
/// In place of an endpoint's kind.
const NOTHING: u8 = 0;
const V4: u8 = 1;
const V6: u8 = 2;
const UNIX: u8 = 3;
const UNIX_UID: u8 = 4;
const VSOCK: u8 = 5;
/// Beside the kind of an endpoint's address: a scope follows.
const SCOPED: u8 = 0x80;
/// For a client that is not there, which is never written.
const NOWHERE: Endpoint = Endpoint { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: None, scope_id: None };

fn endpoint_kind(endpoint: Endpoint) -> u8 {
    let kind = if endpoint.ip.is_ipv4() { V4 } else { V6 };
    if endpoint.scope_id.is_some() { kind | SCOPED } else { kind }
}

/// Address and port, and the scope.
fn endpoint_len(kind: u8) -> usize {
    match kind {
        V4 => 6,
        V6 => 18,
        NOTHING => 0,
        kind if kind & !SCOPED == V4 => 10,
        _ => 22,
    }
}

fn peer_kind(peer: PeerAddress) -> u8 {
    match peer {
        PeerAddress::Tcp(SocketAddr::V4(_)) => V4,
        PeerAddress::Tcp(SocketAddr::V6(_)) => V6,
        PeerAddress::Unix { uid: None } => UNIX,
        PeerAddress::Unix { uid: Some(_) } => UNIX_UID,
        PeerAddress::Vsock { .. } => VSOCK,
    }
}

/// Address and port, flow and scope; the number of a user; context and port.
fn peer_len(kind: u8) -> usize {
    match kind {
        V4 => 6,
        V6 => 26,
        UNIX_UID => 4,
        VSOCK => 8,
        _ => 0,
    }
}

fn source_code(source: IdentitySource) -> u8 {
    match source {
        IdentitySource::Direct => 0,
        IdentitySource::Header(Version::V1) => 1,
        IdentitySource::Header(Version::V2) => 2,
    }
}

fn own_code(own: OwnConnection) -> u8 {
    match own {
        OwnConnection::Local => 1,
        OwnConnection::Unknown => 2,
        OwnConnection::Unspecified => 3,
        OwnConnection::UnixClient => 4,
        OwnConnection::Datagram => 5,
        OwnConnection::Stream => 6,
        OwnConnection::OwnAddress => 7,
    }
}

fn own_of(code: u8) -> OwnConnection {
    match code {
        1 => OwnConnection::Local,
        2 => OwnConnection::Unknown,
        3 => OwnConnection::Unspecified,
        4 => OwnConnection::UnixClient,
        5 => OwnConnection::Datagram,
        6 => OwnConnection::Stream,
        _ => OwnConnection::OwnAddress,
    }
}

struct Writer {
    bytes: [u8; MAX],
    len: usize,
}

impl Writer {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let end = self.len.saturating_add(N);
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(&bytes);
            self.len = end;
        }
    }

    fn endpoint(&mut self, Endpoint { ip, port, scope_id }: Endpoint) {
        match ip {
            IpAddr::V4(ip) => self.put(ip.octets()),
            IpAddr::V6(ip) => self.put(ip.octets()),
        }
        self.put(port.map_or(0, NonZeroU16::get).to_be_bytes());
        if let Some(scope) = scope_id {
            self.put(scope.get().to_be_bytes());
        }
    }

    fn peer(&mut self, peer: PeerAddress) {
        match peer {
            PeerAddress::Tcp(SocketAddr::V4(addr)) => {
                self.put(addr.ip().octets());
                self.put(addr.port().to_be_bytes());
            }
            PeerAddress::Tcp(SocketAddr::V6(addr)) => {
                self.put(addr.ip().octets());
                self.put(addr.port().to_be_bytes());
                self.put(addr.flowinfo().to_be_bytes());
                self.put(addr.scope_id().to_be_bytes());
            }
            PeerAddress::Unix { uid: None } => {}
            PeerAddress::Unix { uid: Some(uid) } => self.put(uid.to_be_bytes()),
            PeerAddress::Vsock { cid, port } => {
                self.put(cid.to_be_bytes());
                self.put(port.to_be_bytes());
            }
        }
    }
}

/// What is still to be read. It never runs out, since what was written is read by its kind.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((taken, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *taken
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn port(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    fn endpoint(mut self, kind: u8) -> Option<Endpoint> {
        let ip = match kind & !SCOPED {
            V4 => Ipv4Addr::from(self.take::<4>()).into(),
            V6 => Ipv6Addr::from(self.take::<16>()).into(),
            _ => return None,
        };
        let port = NonZeroU16::new(self.port());
        let scope_id = if kind & SCOPED == 0 { None } else { NonZeroU32::new(self.number()) };
        Some(Endpoint { ip, port, scope_id })
    }

    fn peer(mut self, kind: u8) -> PeerAddress {
        match kind {
            V4 => {
                let ip = Ipv4Addr::from(self.take::<4>());
                PeerAddress::Tcp(SocketAddr::new(ip.into(), self.port()))
            }
            V6 => {
                let (ip, port) = (Ipv6Addr::from(self.take::<16>()), self.port());
                PeerAddress::Tcp(SocketAddrV6::new(ip, port, self.number(), self.number()).into())
            }
            VSOCK => PeerAddress::Vsock { cid: self.number(), port: self.number() },
            kind => PeerAddress::Unix { uid: (kind == UNIX_UID).then(|| self.number()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_the_same_again() {
        let sources = [
            IdentitySource::Direct,
            IdentitySource::Header(Version::V1),
            IdentitySource::Header(Version::V2),
        ];
        let addrs =
            ["192.0.2.1:25", "192.0.2.1:0", "[2001:db8::1]:65535", "[fe80::1%7]:1", "[::ffff:192.0.2.1]:9"];
        let addrs: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        let mut endpoints: Vec<Endpoint> = addrs.iter().map(|addr| Endpoint::from(*addr)).collect();
        // As behind a translator.
        endpoints.push(Endpoint { scope_id: NonZeroU32::new(3), ..endpoints[0] });
        let mut peers: Vec<_> = addrs.iter().map(|addr| PeerAddress::Tcp(*addr)).collect();
        peers.push(PeerAddress::Tcp(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 2, 3).into()));
        peers.extend([PeerAddress::Unix { uid: None }, PeerAddress::Unix { uid: Some(0) }]);
        peers.push(PeerAddress::Vsock { cid: 2, port: u32::MAX });
        let roles = endpoints
            .iter()
            .map(|client| Role::Client(*client))
            .chain((1..=7).map(|code| Role::ProxyOwn(own_of(code))));
        let destinations: Vec<_> = endpoints.iter().copied().map(Some).chain([None]).collect();
        for role in roles {
            for (peer, destination) in
                peers.iter().flat_map(|peer| destinations.iter().map(move |to| (*peer, *to)))
            {
                for source in sources {
                    let facts = Facts { role, peer, destination, source };
                    for tlvs in [&b""[..], b"\x01\0\x02h2"] {
                        let packed = Packed::new(&facts, tlvs);
                        assert!(
                            packed.facts() == facts && packed.tlvs() == tlvs,
                            "{role:?} {peer:?} {destination:?}"
                        );
                        assert!(packed.clone().with(&facts) == packed);
                    }
                }
            }
        }
    }

    /// Bytes of a client that is its own peer and reached where it came from: each address as long as the others.
    fn len_of(addr: &str) -> usize {
        let addr: SocketAddr = addr.parse().unwrap();
        let (role, destination) = (Role::Client(addr.into()), Some(addr.into()));
        let facts = Facts { role, peer: PeerAddress::tcp(addr), destination, source: IdentitySource::Direct };
        Packed::new(&facts, &[]).0.len()
    }

    #[test]
    fn an_identity_of_ipv4_adds_few_bytes_to_its_tlvs() {
        assert_eq!(len_of("192.0.2.1:25"), 5 + 3 * 6);
        assert_eq!(len_of("[fe80::1%7]:25"), MAX, "the longest");
    }
}
