//! Meaning to bytes: one header, written whole or not at all.
//!
//! Called by whoever opens a connection to a receiver. The text of version 1 is made in
//! `encode/text.rs`. Never writes what `decode` would refuse.
mod text;

use core::net::{SocketAddrV4, SocketAddrV6};

use crate::{
    Addresses, EncodeError, Ssl, Tlv, TlvType, Transport, V2_MIN_LEN, V2_SIGNATURE, Version, crc32c, tlv,
};

/// Describes one header; writes it whole or not at all.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Encoder<'a> {
    version: Version,
    local: bool,
    transport: Transport,
    addresses: Addresses<'a>,
    tlvs: &'a [Tlv<'a>],
    checksum: bool,
}

impl<'a> Encoder<'a> {
    /// v1 line; `Unspecified` gives `PROXY UNKNOWN`. Source: PROXY protocol 2.1.
    pub const fn v1(addresses: Addresses<'a>) -> Self {
        Self { version: Version::V1, ..Self::v2(addresses) }
    }

    /// v2 PROXY over a stream. Source: PROXY protocol 2.2.
    pub const fn v2(addresses: Addresses<'a>) -> Self {
        let (version, transport) = (Version::V2, Transport::Stream);
        Self { version, local: false, transport, addresses, tlvs: &[], checksum: false }
    }

    /// v2 LOCAL, 16 bytes. Source: PROXY protocol 2.2, byte 12.
    pub const fn local() -> Self {
        Self { local: true, transport: Transport::Unspecified, ..Self::v2(Addresses::Unspecified) }
    }

    /// Kind of socket that the addresses belong to; ignored for LOCAL.
    pub const fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// TLVs in this order; a CRC32C among them is an error: ask for `with_checksum`.
    pub const fn tlvs(mut self, tlvs: &'a [Tlv<'a>]) -> Self {
        self.tlvs = tlvs;
        self
    }

    /// Appends a CRC32C TLV with the right value. Source: PROXY protocol 2.2.3.
    pub const fn with_checksum(mut self) -> Self {
        self.checksum = true;
        self
    }

    /// Length of the whole header in bytes.
    ///
    /// # Errors
    /// Whatever makes the header impossible: every [`EncodeError`] but `BufferTooSmall`.
    pub fn encoded_len(&self) -> Result<usize, EncodeError> {
        match self.version {
            Version::V1 => text::encoded_len(self),
            Version::V2 => Ok(V2_MIN_LEN.wrapping_add(usize::from(self.v2_length()?))),
        }
    }

    /// Number of bytes written; on error `out` is untouched.
    ///
    /// # Errors
    /// As [`encoded_len`](Self::encoded_len), and `BufferTooSmall` with the length needed.
    ///
    /// Source: PROXY protocol 2.1 and 2.2.
    // Always inlined: where the caller knows which header it wants, only the stores are left.
    #[inline(always)]
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        // The headers that most connections get are a few constants and two addresses.
        if self.tlvs.is_empty()
            && !self.checksum
            && let (Version::V2, false, Transport::Stream) = (self.version, self.local, self.transport)
        {
            match self.addresses {
                Addresses::Inet { source, destination } => {
                    if let Some(front) = out.first_chunk_mut::<28>() {
                        let written = put_inet(front, fixed_part(0x21, 0x11, 12), source, destination);
                        return written.map(|()| 28).ok_or(EncodeError::BufferTooSmall { needed: 28 });
                    }
                }
                Addresses::Inet6 { source, destination } => {
                    if let Some(front) = out.first_chunk_mut::<52>() {
                        let written = put_inet6(front, fixed_part(0x21, 0x21, 36), source, destination);
                        return written.map(|()| 52).ok_or(EncodeError::BufferTooSmall { needed: 52 });
                    }
                }
                Addresses::Unix { .. } | Addresses::Unspecified => {}
            }
        }
        self.encode_any(out)
    }

    fn encode_any(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        match self.version {
            Version::V1 => text::encode(self, out),
            Version::V2 => self.encode_v2(out),
        }
    }

    /// What the length field will say; the header has 16 bytes more.
    fn v2_length(&self) -> Result<u16, EncodeError> {
        let (_, addresses) = self.block();
        if !self.local {
            match (self.addresses, self.transport) {
                (Addresses::Unspecified, _) => return Err(EncodeError::MissingAddresses),
                (_, Transport::Unspecified) => return Err(EncodeError::MissingTransport),
                _ => {}
            }
        }
        // Cannot overflow: no memory holds so many items.
        let mut length = u64::from(addresses);
        for tlv in self.tlvs {
            length = length.wrapping_add(item_len(tlv)?);
            match tlv.kind {
                TlvType::CRC32C => return Err(EncodeError::ReservedType),
                TlvType::UNIQUE_ID if tlv.value.len() > tlv::UNIQUE_ID_MAX_LEN => {
                    return Err(EncodeError::ValueTooLong);
                }
                TlvType::SSL if Ssl::check(tlv.value).is_err() => return Err(EncodeError::MalformedSsl),
                _ => {}
            }
        }
        if self.checksum {
            length = length.wrapping_add(CRC32C_LEN);
        }
        u16::try_from(length).map_err(|_| EncodeError::TooLong)
    }

    /// The octet for family and transport, and the length of the address block.
    fn block(&self) -> (u8, u16) {
        let transport = match self.transport {
            Transport::Unspecified => 0,
            Transport::Stream => 1,
            Transport::Datagram => 2,
        };
        match self.addresses {
            _ if self.local => (0, 0),
            Addresses::Unspecified => (0, 0),
            Addresses::Inet { .. } => (0x10 | transport, 12),
            Addresses::Inet6 { .. } => (0x20 | transport, 36),
            Addresses::Unix { .. } => (0x30 | transport, 216),
        }
    }

    fn encode_v2(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let length = self.v2_length()?;
        let needed = V2_MIN_LEN.wrapping_add(usize::from(length));
        let Some((header, _)) = out.split_at_mut_checked(needed) else {
            return Err(EncodeError::BufferTooSmall { needed });
        };
        // Measured before, so that it fits.
        self.fill(header, length).ok_or(EncodeError::BufferTooSmall { needed })?;
        if self.checksum {
            let value = crc32c::append(0, header);
            if let Some(place) = header.last_chunk_mut::<4>() {
                *place = value.to_be_bytes();
            }
        }
        Ok(needed)
    }

    /// Everything but the checksum's value.
    fn fill(&self, header: &mut [u8], length: u16) -> Option<()> {
        let fixed = fixed_part(if self.local { 0x20 } else { 0x21 }, self.block().0, length);
        let rest = match self.addresses {
            Addresses::Inet { source, destination } if !self.local => {
                let (front, rest) = header.split_first_chunk_mut::<28>()?;
                put_inet(front, fixed, source, destination)?;
                rest
            }
            Addresses::Inet6 { source, destination } if !self.local => {
                let (front, rest) = header.split_first_chunk_mut::<52>()?;
                put_inet6(front, fixed, source, destination)?;
                rest
            }
            Addresses::Unix { source, destination } if !self.local => {
                let rest = put(header, &fixed)?;
                let rest = put(rest, source.as_bytes())?;
                put(rest, destination.as_bytes())?
            }
            _ => put(header, &fixed)?,
        };
        let rest = put_tlvs(rest, self.tlvs)?;
        if self.checksum {
            put(rest, &[TlvType::CRC32C.0, 0, 4, 0, 0, 0, 0])?;
        }
        Some(())
    }
}

/// Signature, bytes 12 and 13, and the length of what follows. Source: PROXY protocol 2.2.
#[inline(always)]
fn fixed_part(version_command: u8, family_transport: u8, length: u16) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = V2_SIGNATURE;
    let [high, low] = length.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, version_command, family_transport, high, low]
}

/// Fixed part and addresses. Source: PROXY protocol 2.2, AF_INET.
#[inline(always)]
fn put_inet(
    out: &mut [u8; 28],
    fixed: [u8; 16],
    source: SocketAddrV4,
    destination: SocketAddrV4,
) -> Option<()> {
    let rest = put(out, &fixed)?;
    let rest = put(rest, &source.ip().octets())?;
    let rest = put(rest, &destination.ip().octets())?;
    let rest = put(rest, &source.port().to_be_bytes())?;
    put(rest, &destination.port().to_be_bytes()).map(|_| ())
}

/// Fixed part and addresses. Source: PROXY protocol 2.2, AF_INET6.
#[inline(always)]
fn put_inet6(
    out: &mut [u8; 52],
    fixed: [u8; 16],
    source: SocketAddrV6,
    destination: SocketAddrV6,
) -> Option<()> {
    let rest = put(out, &fixed)?;
    let rest = put(rest, &source.ip().octets())?;
    let rest = put(rest, &destination.ip().octets())?;
    let rest = put(rest, &source.port().to_be_bytes())?;
    put(rest, &destination.port().to_be_bytes()).map(|_| ())
}

/// Items in order, and what follows them. Source: PROXY protocol 2.2, type-length-value.
#[inline(always)]
pub(crate) fn put_tlvs<'a>(mut rest: &'a mut [u8], tlvs: &[Tlv<'_>]) -> Option<&'a mut [u8]> {
    for tlv in tlvs {
        let [high, low] = (tlv.value.len() as u16).to_be_bytes();
        let (head, behind) = rest.split_first_chunk_mut::<3>()?;
        *head = [tlv.kind.0, high, low];
        rest = put(behind, tlv.value)?;
    }
    Some(rest)
}

/// `bytes` at the front of `out`, and what follows them; `None` where they do not fit.
#[inline(always)]
pub(crate) fn put<'a>(out: &'a mut [u8], bytes: &[u8]) -> Option<&'a mut [u8]> {
    let (place, rest) = out.split_at_mut_checked(bytes.len())?;
    place.copy_from_slice(bytes);
    Some(rest)
}

/// Length of an item on the wire.
#[inline(always)]
pub(crate) fn item_len(tlv: &Tlv<'_>) -> Result<u64, EncodeError> {
    match u16::try_from(tlv.value.len()) {
        Ok(len) => Ok(u64::from(len).wrapping_add(3)),
        Err(_) => Err(EncodeError::ValueTooLong),
    }
}

/// Type, length and value of the checksum.
const CRC32C_LEN: u64 = 7;
