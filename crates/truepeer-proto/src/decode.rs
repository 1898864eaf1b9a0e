//! Bytes to meaning: the entry points, the profile's switches, and which version it is.
//!
//! Called with the bytes received so far, again from their start whenever more have come.
//! Must not know where bytes come from, how long to wait, or whom to believe.
use crate::{DecodeError, DecodeErrorKind, Header, V1_SIGNATURE, V2_MIN_LEN, V2_SIGNATURE, v1, v2};

/// What the bytes so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode<'a> {
    /// A whole header of `len` bytes; what follows is payload.
    Complete {
        /// What it says.
        header: Header<'a>,
        /// Bytes to consume: never more, never fewer than the header has.
        len: usize,
    },
    /// At least this many more bytes are needed (so that a reader never over-reads if it does not want to).
    Incomplete {
        /// One or more. For v2 exact once the fixed 16 bytes are there, a lower bound before and for v1.
        at_least: usize,
    },
}

/// Which versions the receiver expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// Either, told apart by their signatures.
    #[default]
    Both,
    /// Text only.
    V1Only,
    /// Binary only.
    V2Only,
}

/// Whether a CRC32C TLV is verified. `Verify` is the rule; `Skip` exists for measuring and for explaining broken headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Refuse a header whose checksum does not match.
    #[default]
    Verify,
    /// Check its length and that there is one only, but not its value.
    Skip,
}

/// A literal of the other family in a v1 line (nginx takes the family from the client's side alone).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MixedFamilies {
    /// The rule: the family names the format of both addresses.
    #[default]
    Refuse,
    /// IPv4 in `TCP6` and IPv6 in `TCP4` are read; a line of both kinds gives `Inet6`, IPv4 v4-mapped.
    Accept,
}

/// A decoder with its profile. The default is strict and accepts both versions; header cap 4096 + 16 bytes.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Decoder {
    versions: Versions,
    checksum: Checksum,
    mixed: MixedFamilies,
    max_len: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Room for a client certificate in DER, 4096 bytes behind the fixed part.
    pub const DEFAULT_MAX_LEN: usize = 4096 + 16;

    /// The strict profile.
    pub const fn new() -> Self {
        Self {
            versions: Versions::Both,
            checksum: Checksum::Verify,
            mixed: MixedFamilies::Refuse,
            max_len: Self::DEFAULT_MAX_LEN,
        }
    }

    /// Accepts these versions only.
    pub const fn versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// Verifies a CRC32C TLV or not.
    pub const fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// Takes v1 lines of mixed families or not.
    pub const fn mixed_families(mut self, mixed: MixedFamilies) -> Self {
        self.mixed = mixed;
        self
    }

    /// Refuses longer v2 headers by their announced length.
    /// `max_len`: bytes in all; v1 has its own limit of 107.
    pub const fn max_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }

    /// Checked decode: every rule of the profile.
    ///
    /// `bytes`: all that was received so far, from the first byte of the connection.
    ///
    /// # Errors
    /// Any [`DecodeErrorKind`] but `Truncated`, as soon as one byte decides it.
    ///
    /// Source: PROXY protocol 2.1 and 2.2.
    #[inline]
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Decode<'a>, DecodeError> {
        match (bytes.first(), self.versions) {
            (Some(b'\r'), Versions::Both | Versions::V2Only) => {
                v2::decode(bytes, self.max_len, self.checksum)
            }
            (Some(b'P'), Versions::Both | Versions::V1Only) => v1::decode(bytes, self.mixed),
            _ => not_accepted(bytes, self.versions),
        }
    }

    /// As `decode`, for a whole datagram: what ends early is an error, not "need more".
    ///
    /// Returns the header and its length; what follows is payload, perhaps none.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), `Truncated` for what ends inside its header, and
    /// `V1Datagram` for a line of text, which no receiver could accept here.
    /// A decoder of [`Versions::V1Only`] refuses every datagram.
    ///
    /// Source: PROXY protocol 2, datagrams.
    pub fn decode_datagram<'a>(&self, bytes: &'a [u8]) -> Result<(Header<'a>, usize), DecodeError> {
        let wrong = |kind, at| Err(DecodeError::new(kind, at, bytes));
        match self.versions(Versions::V2Only).decode(bytes) {
            Ok(Decode::Complete { .. }) if self.versions == Versions::V1Only => {
                wrong(DecodeErrorKind::VersionNotAccepted, 0)
            }
            Ok(Decode::Complete { header, len }) => Ok((header, len)),
            Ok(Decode::Incomplete { .. }) => wrong(DecodeErrorKind::Truncated, bytes.len()),
            Err(error) if error.kind() == DecodeErrorKind::VersionNotAccepted => {
                wrong(DecodeErrorKind::V1Datagram, 0)
            }
            Err(error) => Err(error),
        }
    }

    /// Frame only: signature, fixed part, addresses, length; TLVs are not walked.
    ///
    /// For readers who need no more than the addresses; `tlvs` of the result is unchecked.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), without those of TLVs.
    ///
    /// Source: PROXY protocol 2.1 and 2.2.
    #[inline]
    pub fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Decode<'a>, DecodeError> {
        match (bytes.first(), self.versions) {
            (Some(b'\r'), Versions::Both | Versions::V2Only) => v2::frame(bytes, self.max_len),
            (Some(b'P'), Versions::Both | Versions::V1Only) => v1::decode(bytes, self.mixed),
            _ => not_accepted(bytes, self.versions),
        }
    }
}

/// `Decoder::new().decode(bytes)`.
///
/// # Errors
/// As [`Decoder::decode`].
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Decode<'_>, DecodeError> {
    Decoder::new().decode(bytes)
}

/// Tells "no header" from "a header of the other version", for which its whole signature must be there.
#[cold]
fn not_accepted(bytes: &[u8], versions: Versions) -> Result<Decode<'_>, DecodeError> {
    let signature: &[u8] = match bytes.first() {
        Some(b'P') => &V1_SIGNATURE,
        Some(b'\r') => &V2_SIGNATURE,
        Some(_) => return Err(DecodeError::new(DecodeErrorKind::BadSignature, 0, bytes)),
        None => {
            let at_least = if versions == Versions::V2Only { V2_MIN_LEN } else { v1::SHORTEST };
            return Ok(Decode::Incomplete { at_least });
        }
    };
    match signature.iter().zip(bytes).position(|(expected, byte)| expected != byte) {
        Some(at) => Err(DecodeError::new(DecodeErrorKind::BadSignature, at, bytes)),
        None if bytes.len() < signature.len() => {
            Ok(Decode::Incomplete { at_least: signature.len().saturating_sub(bytes.len()) })
        }
        None => Err(DecodeError::new(DecodeErrorKind::VersionNotAccepted, 0, bytes)),
    }
}
