//! The header that we send: whole bytes, ready for one write.
//!
//! Used by whoever connects to a backend that expects a header. Decides the form (families never mixed, no address
//! made up) and moves no byte itself.

use core::fmt;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use truepeer_proto::{Addresses, EncodeError, Encoder, Version};

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
    pub fn for_client(version: Version, pair: ClientPair) -> Result<Self, EncodeError> {
        let addresses = pair.addresses();
        Self::encode(&match version {
            Version::V1 => Encoder::v1(addresses),
            Version::V2 => Encoder::v2(addresses),
        })
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

impl fmt::Debug for OutgoingHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutgoingHeader({} bytes)", self.0.len())
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
