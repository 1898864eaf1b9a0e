//! What can be wrong, and where: the words in which every refusal is told.
//!
//! Made by the decoders and the encoder, read by code that reports to people.
//! A decode error is always the sending peer's fault, an encode error always the caller's.
use core::fmt;

use crate::{V1_MAX_LEN, V1_SIGNATURE, V2_SIGNATURE};

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The first bytes are neither signature. Source: PROXY protocol 2.2, identifying the version.
    BadSignature,
    /// A v1 line with a field too many, too few, or two spaces. Source: PROXY protocol 2.1.
    V1Fields,
    /// A v1 family other than `TCP4`, `TCP6` and `UNKNOWN`. Source: PROXY protocol 2.1.
    V1Family,
    /// A v1 address that is not one of its family. Source: PROXY protocol 2.1.
    V1Address,
    /// A v1 port outside 0 to 65535, or not in plain decimal. Source: PROXY protocol 2.1.
    V1Port,
    /// A lone CR or LF. Source: PROXY protocol 2.1.
    V1Eol,
    /// No CRLF within 107 bytes. Source: PROXY protocol 2.1.
    V1TooLong,
    /// A version other than 2. Source: PROXY protocol 2.2, byte 12, high four bits.
    V2Version,
    /// A command other than LOCAL and PROXY. Source: PROXY protocol 2.2, byte 12, low four bits.
    V2Command,
    /// An address family that is not defined. Source: PROXY protocol 2.2, byte 13, high four bits.
    V2Family,
    /// A transport that is not defined. Source: PROXY protocol 2.2, byte 13, low four bits.
    V2Protocol,
    /// Family and transport are defined, the pair is not. Source: PROXY protocol 2.2, byte 13.
    V2Combination,
    /// The announced length has no room for the addresses. Source: PROXY protocol 2.2, bytes 14-15.
    V2Length,
    /// A TLV runs past the end of the header, or one or two bytes are left over.
    /// Source: PROXY protocol 2.2, type-length-value.
    TlvTruncated,
    /// A CRC32C TLV that is not four bytes long or does not match. Source: PROXY protocol 2.2.3.
    TlvChecksum,
    /// A second CRC32C TLV. Source: profile, the specification is silent.
    TlvDuplicateChecksum,
    /// A UNIQUE_ID of more than 128 bytes. Source: PROXY protocol 2.2.5.
    TlvUniqueId,
    /// An SSL TLV that is too short or holds malformed sub-TLVs. Source: PROXY protocol 2.2.6.
    TlvSsl,
    /// A v1 line in a datagram, for which it has no form. Source: PROXY protocol 2, datagrams.
    V1Datagram,
    /// A datagram ended inside its header. Source: PROXY protocol 2, datagrams.
    Truncated,
    /// Longer than `Decoder::max_len`. Source: profile.
    TooLong,
    /// A right signature of a version that was not asked for. Source: profile.
    VersionNotAccepted,
}

impl DecodeErrorKind {
    /// Short stable token, as in `vectors/`: `bad_signature`, `v1_fields`, ...
    pub const fn code(self) -> &'static str {
        self.code_and_allowed().0
    }

    /// What would have been right in this place, in words for a person.
    pub const fn allowed(self) -> &'static str {
        self.code_and_allowed().1
    }

    const fn code_and_allowed(self) -> (&'static str, &'static str) {
        match self {
            Self::BadSignature => ("bad_signature", "\"PROXY \" (v1) or 0d0a0d0a000d0a515549540a (v2)"),
            Self::V1Fields => ("v1_fields", "PROXY, family, two addresses, two ports, single spaces, CRLF"),
            Self::V1Family => ("v1_family", "TCP4, TCP6, UNKNOWN"),
            Self::V1Address => ("v1_address", "decimals 0-255, no leading zeros (TCP4); hex groups (TCP6)"),
            Self::V1Port => ("v1_port", "0 to 65535, decimal, no sign, no leading zero"),
            Self::V1Eol => ("v1_eol", "CR LF, and only at the end"),
            Self::V1TooLong => ("v1_too_long", "at most 107 bytes with CRLF"),
            Self::V2Version => ("v2_version", "0x2"),
            Self::V2Command => ("v2_command", "0x0 (LOCAL), 0x1 (PROXY)"),
            Self::V2Family => ("v2_family", "0x0 (UNSPEC), 0x1 (INET), 0x2 (INET6), 0x3 (UNIX)"),
            Self::V2Protocol => ("v2_protocol", "0x0 (UNSPEC), 0x1 (STREAM), 0x2 (DGRAM)"),
            Self::V2Combination => ("v2_combination", "0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32"),
            Self::V2Length => ("v2_length", "at least 12 (INET), 36 (INET6), 216 (UNIX)"),
            Self::TlvTruncated => ("tlv_truncated", "TLVs that end exactly where the header ends"),
            Self::TlvChecksum => ("tlv_crc32c", "four bytes, the CRC32C of the header with these bytes zero"),
            Self::TlvDuplicateChecksum => ("tlv_duplicate_crc", "one CRC32C TLV"),
            Self::TlvUniqueId => ("tlv_unique_id", "at most 128 bytes"),
            Self::TlvSsl => ("tlv_ssl", "client (1 byte), verify (4), sub-TLVs to the end of the value"),
            Self::V1Datagram => ("v1_datagram", "version 2"),
            Self::Truncated => ("truncated", "header and payload in the same datagram"),
            Self::TooLong => ("too_long", "a header within the receiver's limit"),
            Self::VersionNotAccepted => ("version_not_accepted", "the version this receiver was set to"),
        }
    }
}

/// Kind and byte offset of the first thing that is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    seen: Option<u16>,
    at: usize,
}

impl DecodeError {
    /// `bytes`: what was being decoded, from which the offending byte or length is kept.
    #[cold]
    pub(crate) fn new(kind: DecodeErrorKind, at: usize, bytes: &[u8]) -> Self {
        let byte = bytes.get(at).copied();
        let seen = match kind {
            DecodeErrorKind::V2Length | DecodeErrorKind::TooLong | DecodeErrorKind::TlvUniqueId => {
                byte.zip(bytes.get(at.saturating_add(1))).map(|(high, low)| u16::from_be_bytes([high, *low]))
            }
            _ => byte.map(u16::from),
        };
        Self { kind, seen, at }
    }

    /// Which rule was broken.
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Offset of the first byte that is wrong.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// The byte at that offset, or the length field there where a length is what is wrong.
    /// `None` where the bytes ended before it.
    pub const fn seen(&self) -> Option<u16> {
        self.seen
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use DecodeErrorKind as Kind;
        let seen = self.seen.unwrap_or(0);
        let (high, low) = (seen >> 4 & 15, seen & 15);
        let byte = Byte(self.seen);
        match self.kind {
            Kind::BadSignature => write!(f, "no PROXY header: {byte} belongs to no signature")?,
            Kind::V1Fields => write!(f, "v1 header: {byte} where another field belongs")?,
            Kind::V1Family => write!(f, "v1 header: {byte} belongs to no family name")?,
            Kind::V1Address => write!(f, "v1 header: {byte} makes this no address of the family")?,
            Kind::V1Port => write!(f, "v1 header: {byte} makes this no port")?,
            Kind::V1Eol => write!(f, "v1 header: {byte} is half a line end")?,
            Kind::V1TooLong => write!(f, "v1 header: no line end in time, {byte} instead")?,
            Kind::V2Version => write!(f, "v2 header: version {high:#x} is not defined")?,
            Kind::V2Command => write!(f, "v2 header: command {low:#x} is not defined")?,
            Kind::V2Family => write!(f, "v2 header: address family {high:#x} is not defined")?,
            Kind::V2Protocol => write!(f, "v2 header: transport {low:#x} is not defined")?,
            Kind::V2Combination => write!(f, "v2 header: family and transport {seen:#04x} are no pair")?,
            Kind::V2Length => write!(f, "v2 header: length {seen} has no room for the addresses")?,
            Kind::TlvTruncated => write!(f, "v2 header: a TLV does not fit")?,
            Kind::TlvChecksum => write!(f, "v2 header: CRC32C is wrong")?,
            Kind::TlvDuplicateChecksum => write!(f, "v2 header: CRC32C stands twice")?,
            Kind::TlvUniqueId => write!(f, "v2 header: UNIQUE_ID of {seen} bytes")?,
            Kind::TlvSsl => write!(f, "v2 header: SSL value is malformed")?,
            Kind::V1Datagram => write!(f, "v1 header: a line of text has no form for datagrams")?,
            Kind::Truncated => write!(f, "datagram ends inside its header")?,
            Kind::TooLong => write!(f, "v2 header: announced length {seen} is over the limit")?,
            Kind::VersionNotAccepted => {
                let version = if seen == u16::from(V1_SIGNATURE[0]) { 1 } else { 2 };
                write!(f, "v{version} header: this version is not accepted here")?;
            }
        }
        write!(f, "; allowed: {} (byte {})", self.kind.allowed(), self.at)
    }
}

impl core::error::Error for DecodeError {}

/// Prints a wire byte so that it can stand in one line of text.
struct Byte(Option<u16>);

impl fmt::Display for Byte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(u8::try_from) {
            Some(Ok(b'\r')) => f.write_str("CR"),
            Some(Ok(b'\n')) => f.write_str("LF"),
            Some(Ok(b' ')) => f.write_str("a space"),
            Some(Ok(byte)) if byte.is_ascii_graphic() => write!(f, "'{}'", char::from(byte)),
            Some(Ok(byte)) => write!(f, "{byte:#04x}"),
            _ => f.write_str("nothing"),
        }
    }
}

/// Why a header cannot be written; nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The caller's slice is too short; `needed` bytes would do.
    BufferTooSmall {
        /// Length of the whole header.
        needed: usize,
    },
    /// Addresses and TLVs exceed what the length field can say, 65,535 bytes.
    TooLong,
    /// A value is longer than its TLV may be: 65,535 bytes, or 128 for UNIQUE_ID.
    ValueTooLong,
    /// v1 has no TLVs, no checksum, no UNIX addresses and no datagrams.
    NotInV1,
    /// A CRC32C TLV in the list: ask for `Encoder::with_checksum`.
    ReservedType,
    /// v2 PROXY without addresses, which most receivers refuse: send LOCAL.
    MissingAddresses,
    /// v2 PROXY with addresses, but without a transport, a pair the specification does not list.
    MissingTransport,
    /// An SSL TLV whose value no receiver could read.
    MalformedSsl,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed } => write!(f, "buffer too small: the header has {needed} bytes"),
            Self::TooLong => f.write_str("addresses and TLVs exceed the 65535 bytes of a v2 header"),
            Self::ValueTooLong => f.write_str("TLV value too long: 65535 bytes at most, 128 for UNIQUE_ID"),
            Self::NotInV1 => f.write_str("v1 knows only TCP over IPv4 and IPv6, and no TLVs: use v2"),
            Self::ReservedType => f.write_str("CRC32C is computed, not given: ask for the checksum"),
            Self::MissingAddresses => f.write_str("v2 PROXY without addresses: send LOCAL instead"),
            Self::MissingTransport => f.write_str("v2 PROXY without a transport: STREAM or DGRAM is needed"),
            Self::MalformedSsl => f.write_str("SSL value malformed: needs client, verify, whole sub-TLVs"),
        }
    }
}

impl core::error::Error for EncodeError {}

// The texts above spell these out; a change there must show here.
const _: () = assert!(V1_MAX_LEN == 107 && V2_SIGNATURE.len() == 12);
