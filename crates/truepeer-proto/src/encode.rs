//! Meaning to bytes: one header, written whole or not at all.
//!
//! Called by the side that opens a connection to a receiver. The text of version 1 is made in
//! `encode/text.rs`. Never writes what `decode` would refuse.
mod text;

use crate::{
    Addresses, EncodeError, Ssl, SslFacts, Tlv, TlvType, Transport, V2_MIN_LEN, V2_SIGNATURE, Version,
    crc32c, tlv,
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
    ssl: Option<SslFacts<'a>>,
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
        Self { version, local: false, transport, addresses, tlvs: &[], ssl: None, checksum: false }
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

    /// An SSL TLV that says this, behind the others. One that was received goes among them.
    /// Source: PROXY protocol 2.2.6.
    pub const fn ssl(mut self, facts: SslFacts<'a>) -> Self {
        self.ssl = Some(facts);
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
        if self.version == Version::V1 {
            return text::encode(self, out);
        }
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

    /// What the length field will say; the header has 16 bytes more.
    #[inline(always)]
    fn v2_length(&self) -> Result<u16, EncodeError> {
        match (self.addresses, self.transport) {
            _ if self.local => {}
            (Addresses::Unspecified, _) => return Err(EncodeError::MissingAddresses),
            (_, Transport::Unspecified) => return Err(EncodeError::MissingTransport),
            _ => {}
        }
        // Saturates far beyond what the field can say.
        let mut length = u32::from(self.block().1);
        for tlv in self.tlvs {
            match tlv.kind {
                TlvType::CRC32C => return Err(EncodeError::ReservedType),
                TlvType::UNIQUE_ID if tlv.value.len() > tlv::UNIQUE_ID_MAX_LEN => {
                    return Err(EncodeError::ValueTooLong);
                }
                TlvType::SSL if Ssl::check(tlv.value).is_err() => return Err(EncodeError::MalformedSsl),
                _ => {}
            }
            length = length.saturating_add(item_len(tlv)?);
        }
        if let Some(facts) = self.ssl {
            length = length.saturating_add(ITEM_LEN).saturating_add(ssl_len(facts)?);
        }
        if self.checksum {
            length = length.saturating_add(CRC32C.len() as u32);
        }
        u16::try_from(length).map_err(|_| EncodeError::TooLong)
    }

    /// The octet for family and transport, and the length of the address block.
    fn block(&self) -> (u8, u16) {
        let transport = self.transport as u8;
        match self.addresses {
            Addresses::Unspecified => (0, 0),
            Addresses::Inet { .. } => (0x10 | transport, 12),
            Addresses::Inet6 { .. } => (0x20 | transport, 36),
            Addresses::Unix { .. } => (0x30 | transport, 216),
        }
    }

    /// Everything but the checksum's value.
    #[inline(always)]
    fn fill(&self, mut header: &mut [u8], length: u16) -> Option<()> {
        let rest = &mut header;
        let [high, low] = length.to_be_bytes();
        put(rest, &V2_SIGNATURE)?;
        put(rest, &[if self.local { 0x20 } else { 0x21 }, self.block().0, high, low])?;
        match self.addresses {
            Addresses::Unspecified => {}
            Addresses::Inet { source, destination } => {
                put(rest, &source.ip().octets())?;
                put(rest, &destination.ip().octets())?;
                put(rest, &source.port().to_be_bytes())?;
                put(rest, &destination.port().to_be_bytes())?;
            }
            Addresses::Inet6 { source, destination } => {
                put(rest, &source.ip().octets())?;
                put(rest, &destination.ip().octets())?;
                put(rest, &source.port().to_be_bytes())?;
                put(rest, &destination.port().to_be_bytes())?;
            }
            Addresses::Unix { source, destination } => {
                put(rest, source.as_bytes())?;
                put(rest, destination.as_bytes())?;
            }
        }
        put_items(rest, self.tlvs)?;
        if let Some(facts) = self.ssl {
            // Fits, since the whole header does.
            let [high, low] = (ssl_len(facts).ok()? as u16).to_be_bytes();
            let [a, b, c, d] = facts.verify.to_be_bytes();
            put(rest, &[TlvType::SSL.0, high, low, facts.client.0, a, b, c, d])?;
            put_items(rest, facts.subs)?;
        }
        if self.checksum { put(rest, &CRC32C) } else { Some(()) }
    }
}

/// Length of an item on the wire.
fn item_len(tlv: &Tlv<'_>) -> Result<u32, EncodeError> {
    let len = u16::try_from(tlv.value.len()).map_err(|_| EncodeError::ValueTooLong)?;
    Ok(ITEM_LEN.wrapping_add(u32::from(len)))
}

/// Length of an SSL TLV's value. Source: PROXY protocol 2.2.6.
fn ssl_len(facts: SslFacts<'_>) -> Result<u32, EncodeError> {
    let client_and_verify = 5u32;
    facts.subs.iter().try_fold(client_and_verify, |len, sub| Ok(len.saturating_add(item_len(sub)?)))
}

/// Items in order. Source: PROXY protocol 2.2, type-length-value.
fn put_items(rest: &mut &mut [u8], tlvs: &[Tlv<'_>]) -> Option<()> {
    for tlv in tlvs {
        let [high, low] = (tlv.value.len() as u16).to_be_bytes();
        put(rest, &[tlv.kind.0, high, low])?;
        put(rest, tlv.value)?;
    }
    Some(())
}

/// Takes the front of `rest` for `bytes`; `None` where they do not fit.
fn put(rest: &mut &mut [u8], bytes: &[u8]) -> Option<()> {
    rest.split_off_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(())
}

/// An item without its value.
const ITEM_LEN: u32 = 3;

/// Type, length and value of the checksum; the value counts as zero until it is known.
const CRC32C: [u8; 7] = [TlvType::CRC32C.0, 0, 4, 0, 0, 0, 0];
