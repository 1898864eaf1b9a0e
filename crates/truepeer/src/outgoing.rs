//! The header that we send: whole bytes, ready for one write.
//!
//! Used by code that connects to a backend that expects a header. Decides the form (families never mixed, no address
//! made up) and moves no byte itself.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use truepeer_proto::{Addresses, EncodeError, Encoder, Tlv, TlvType, Version};

use crate::ClientIdentity;

/// An encoded header. Send it first, whole, in one write: many receivers refuse one that comes in two pieces.
///
/// Memory: its length, 15 bytes to [`proto::V2_MAX_LEN`](truepeer_proto::V2_MAX_LEN); 28 or 52 for most.
/// `{:?}` shows the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingHeader(Box<[u8]>);

/// The two ends of a client's connection, for [`OutgoingHeader::for_client`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientPair {
    /// The client.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

impl OutgoingHeader {
    /// A header that says: this connection is for `pair.client`.
    ///
    /// If the two families differ, both travel as IPv6 and the IPv4 one is v4-mapped.
    ///
    /// # Errors
    /// None that these arguments can cause; the codec's own are passed on.
    pub fn for_client(version: Version, pair: impl Into<ClientPair>) -> Result<Self, EncodeError> {
        let addresses = pair.into().addresses();
        Self::encode(&match version {
            Version::V1 => Encoder::v1(addresses),
            Version::V2 => Encoder::v2(addresses),
        })
    }

    /// A header that passes on what was learnt of a client: its addresses and, in version 2, every TLV that came with
    /// it, vendors' own included. Version 1 has no place for those, and they are left out.
    ///
    /// Two TLVs are about the header that came and not about the client: the checksum is computed anew where there was
    /// one, and padding is dropped. A destination that was not told goes as `0.0.0.0` or `::`, a port as 0. A proxy's
    /// own connection is passed on as LOCAL, in version 1 as UNKNOWN.
    ///
    /// # Errors
    /// None that an identity from a header or a direct peer can cause; the codec's own are passed on.
    pub fn for_identity(version: Version, identity: &ClientIdentity) -> Result<Self, EncodeError> {
        Self::for_identity_with(version, identity, &[])
    }

    /// As [`for_identity`](Self::for_identity), with `more` TLVs behind those that came. One of a type that came, too,
    /// takes its place. Not for a proxy's own connections, about whose client there is nothing to say.
    ///
    /// ```
    /// use truepeer::{Client, OutgoingHeader, OutgoingTlv, proto::Version};
    ///
    /// let client = Client::from_direct("203.0.113.5:40000".parse()?);
    /// let more = [OutgoingTlv::unique_id("7f3a"), OutgoingTlv::aws_vpc_endpoint_id("vpce-08d2bf15fac5001c9")];
    /// let header = OutgoingHeader::for_identity_with(Version::V2, client.identity(), &more)?;
    /// # assert_eq!(header.as_ref().len(), 28 + 3 + 4 + 3 + 1 + 22);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the encoder finds wrong with `more`, such as any at all in version 1.
    pub fn for_identity_with(
        version: Version,
        identity: &ClientIdentity,
        more: &[OutgoingTlv],
    ) -> Result<Self, EncodeError> {
        let Some(client) = identity.client() else {
            return Self::encode(&match version {
                Version::V1 => Encoder::v1(Addresses::Unspecified),
                Version::V2 => Encoder::local(),
            });
        };
        let nowhere = match client.ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let destination =
            identity.destination().map_or(SocketAddr::new(nowhere, 0), |told| told.to_socket_addr(0));
        let addresses = ClientPair { client: client.to_socket_addr(0), destination }.addresses();
        let more: Vec<Tlv<'_>> = more.iter().map(OutgoingTlv::as_tlv).collect();
        if version == Version::V1 {
            return Self::encode(&Encoder::v1(addresses).tlvs(&more));
        }
        let about_the_header = |kind| matches!(kind, TlvType::CRC32C | TlvType::NOOP);
        let replaced = |kind| more.iter().any(|tlv| tlv.kind == kind);
        let came = identity.tlvs().filter(|tlv| !about_the_header(tlv.kind) && !replaced(tlv.kind));
        let tlvs: Vec<Tlv<'_>> = came.chain(more.iter().copied()).collect();
        let encoder = Encoder::v2(addresses).tlvs(&tlvs);
        match identity.tlvs().find(TlvType::CRC32C) {
            Some(_) => Self::encode(&encoder.with_checksum()),
            None => Self::encode(&encoder),
        }
    }

    /// A header that says: the proxy speaks for itself (v2 LOCAL).
    ///
    /// # Errors
    /// None that can happen; the codec's own are passed on.
    pub fn local() -> Result<Self, EncodeError> {
        Self::encode(&Encoder::local())
    }

    /// Any header, for TLVs and everything else that the codec can say.
    ///
    /// # Errors
    /// What the encoder finds wrong, such as a TLV in version 1 or a header that is too long.
    pub fn encode(encoder: &Encoder<'_>) -> Result<Self, EncodeError> {
        let mut bytes = vec![0; encoder.encoded_len()?];
        let len = encoder.encode(&mut bytes)?;
        bytes.truncate(len);
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// The bytes to write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for a buffer of one's own.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_vec()
    }
}

impl AsRef<[u8]> for OutgoingHeader {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for OutgoingHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutgoingHeader({} bytes)", self.0.len())
    }
}

/// A TLV to be sent, for [`OutgoingHeader::for_identity_with`]. `{:?}` shows type and length only.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingTlv {
    kind: TlvType,
    value: Vec<u8>,
}

impl OutgoingTlv {
    /// Any type and value, such as one of your own in the application range (0xE0 to 0xEF).
    #[must_use]
    pub fn new(kind: TlvType, value: impl Into<Vec<u8>>) -> Self {
        Self { kind, value: value.into() }
    }

    /// The host name that the client asked for.
    #[must_use]
    pub fn authority(name: &str) -> Self {
        Self::new(TlvType::AUTHORITY, name)
    }

    /// The application protocol that was negotiated, such as `h2`.
    #[must_use]
    pub fn alpn(protocol: impl Into<Vec<u8>>) -> Self {
        Self::new(TlvType::ALPN, protocol)
    }

    /// An id of the connection, at most 128 bytes.
    #[must_use]
    pub fn unique_id(id: impl Into<Vec<u8>>) -> Self {
        Self::new(TlvType::UNIQUE_ID, id)
    }

    /// An AWS VPC endpoint.
    #[must_use]
    pub fn aws_vpc_endpoint_id(id: &str) -> Self {
        Self::with_subtype(TlvType::AWS, 1, id.as_bytes())
    }

    /// The link id of an Azure private endpoint.
    #[must_use]
    pub fn azure_link_id(id: u32) -> Self {
        Self::with_subtype(TlvType::AZURE, 1, &id.to_le_bytes())
    }

    /// A connection of Google Cloud Private Service Connect.
    #[must_use]
    pub fn gcp_connection_id(id: u64) -> Self {
        Self::new(TlvType::GCP_PSC, id.to_be_bytes())
    }

    /// An Alibaba Cloud VPC.
    #[must_use]
    pub fn alibaba_vpc_id(id: &str) -> Self {
        Self::with_subtype(TlvType::ALIBABA, 1, id.as_bytes())
    }

    /// An Alibaba Cloud private link endpoint. It has one type with the VPC, so that a header has either.
    #[must_use]
    pub fn alibaba_endpoint_id(id: &str) -> Self {
        Self::with_subtype(TlvType::ALIBABA, 2, id.as_bytes())
    }

    /// As the codec's encoder takes it.
    #[must_use]
    pub(crate) fn as_tlv(&self) -> Tlv<'_> {
        Tlv { kind: self.kind, value: &self.value }
    }

    fn with_subtype(kind: TlvType, subtype: u8, id: &[u8]) -> Self {
        Self { kind, value: [&[subtype], id].concat() }
    }
}

impl fmt::Debug for OutgoingTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_tlv().fmt(f)
    }
}

impl From<(SocketAddr, SocketAddr)> for ClientPair {
    /// `(client, destination)`.
    fn from((client, destination): (SocketAddr, SocketAddr)) -> Self {
        Self { client, destination }
    }
}

impl ClientPair {
    /// Both in one family: IPv4 if both are, else IPv6 with the IPv4 one v4-mapped. For an [`Encoder`] with TLVs.
    #[must_use]
    pub fn addresses(self) -> Addresses<'static> {
        let [source, destination] = [self.client, self.destination]
            .map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port()));
        match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => Addresses::Inet { source, destination },
            (source, destination) => {
                Addresses::Inet6 { source: to_v6(source), destination: to_v6(destination) }
            }
        }
    }
}

fn to_v6(addr: SocketAddr) -> SocketAddrV6 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, addr.port(), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(version: Version, client: &str, destination: &str) -> Vec<u8> {
        let pair = ClientPair { client: client.parse().unwrap(), destination: destination.parse().unwrap() };
        OutgoingHeader::for_client(version, pair).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn one_family_stays_what_it_is() {
        assert_eq!(
            sent(Version::V1, "192.0.2.1:56324", "198.51.100.2:25"),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n"
        );
        assert_eq!(
            sent(Version::V2, "192.0.2.1:56324", "198.51.100.2:25"),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\0\x19"
        );
        assert_eq!(
            sent(Version::V1, "[2001:db8::1]:5", "[2001:db8::2]:25"),
            b"PROXY TCP6 2001:db8::1 2001:db8::2 5 25\r\n"
        );
    }

    #[test]
    fn two_families_become_one() {
        assert_eq!(
            sent(Version::V1, "[2001:db8::1]:5", "192.0.2.2:25"),
            b"PROXY TCP6 2001:db8::1 ::ffff:c000:202 5 25\r\n"
        );
    }

    #[test]
    fn mapped_addresses_are_folded_first() {
        assert_eq!(
            sent(Version::V1, "[::ffff:192.0.2.1]:5", "192.0.2.2:25"),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25\r\n"
        );
    }

    #[test]
    fn local_is_sixteen_bytes() {
        let local = OutgoingHeader::local().unwrap();
        assert_eq!(local.as_bytes(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}
