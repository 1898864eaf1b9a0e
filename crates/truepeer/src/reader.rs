//! The header reader: bytes and instants in; need more, done, or failed.
//!
//! The caller owns the buffer and the clock. It shows everything received so far, and is told how much of it is the
//! header; what follows belongs to the client and is never touched.

use core::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use truepeer_proto::{Decode, DecodeError, DecodeErrorKind, Decoder, Transport, Version};

use crate::{ClientIdentity, IdentitySource, Implausible, NetworkSet, PeerAddress, Seen};

/// Source: PROXY protocol 2.1, behind `PROXY TCP4 `.
const V1_CLIENT_AT: usize = 11;
/// Source: PROXY protocol 2.2, behind the fixed part.
const V2_CLIENT_AT: usize = 16;

/// What a reader accepts. The default is the strict decoder, and clients that can be true.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HeaderRules {
    /// Versions, size cap and strictness.
    pub decoder: Decoder,
    plausibility: Plausibility,
}

#[derive(Debug, Clone)]
enum Plausibility {
    /// Against these addresses besides what is impossible anywhere; `None` are none.
    Check {
        own: Option<Arc<NetworkSet>>,
    },
    Skip,
}

impl Default for Plausibility {
    fn default() -> Self {
        Self::Check { own: None }
    }
}

impl HeaderRules {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Versions, size cap and strictness of headers.
    #[must_use]
    pub fn decoder(mut self, decoder: Decoder) -> Self {
        self.decoder = decoder;
        self
    }

    /// Addresses of this machine and of its backends: no peer from elsewhere can be speaking for a client there.
    #[must_use]
    pub fn own_addresses(mut self, own: impl Into<Arc<NetworkSet>>) -> Self {
        self.plausibility = Plausibility::Check { own: Some(own.into()) };
        self
    }

    /// Accepts clients that cannot be true, such as `127.0.0.1` from another machine.
    ///
    /// Rules like "loopback may do everything" are then in the hands of every trusted peer, unless the caller asks
    /// [`HeaderReader::check_plausible`], as it must after [`ClientIdentity::with_nat64`].
    #[must_use]
    pub fn unsafe_accept_implausible_clients(mut self) -> Self {
        self.plausibility = Plausibility::Skip;
        self
    }
}

/// Reads one header from one trusted peer.
///
/// Memory: none of its own besides this struct (under 100 bytes); the caller's buffer needs at most
/// [`Decoder::DEFAULT_MAX_LEN`] bytes plus one read.
#[derive(Debug, Clone)]
pub struct HeaderReader {
    rules: HeaderRules,
    peer: PeerAddress,
    deadline: Instant,
}

/// Where a reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// At least this many more bytes are needed; reading exactly so many never takes a byte of the client's.
    NeedMore {
        /// A lower bound, at least 1.
        at_least: usize,
    },
    /// The header is complete.
    Done {
        /// What it says.
        identity: ClientIdentity,
        /// Its length; the bytes after it belong to the client.
        header_len: usize,
    },
}

impl HeaderReader {
    /// A reader for a connection of `peer` whose whole header is due at `deadline`.
    #[must_use]
    pub fn new(rules: HeaderRules, peer: PeerAddress, deadline: Instant) -> Self {
        Self { rules, peer, deadline }
    }

    /// When [`HeaderReader::expired`] is due. One deadline for the whole header, not for each read.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Judges `received`, everything that the peer sent so far. A client that cannot be true is refused, unless the
    /// rules say otherwise: anyone who has an identity from here has one that was checked.
    ///
    /// # Errors
    /// At the first byte that cannot belong to a header, with the reason and its offset; and
    /// [`IdentifyReason::Implausible`] at the client's address.
    pub fn advance(&self, received: &[u8]) -> Result<Progress, IdentifyError> {
        match self.rules.decoder.decode(received) {
            Ok(Decode::Complete { header, len }) => {
                let identity = ClientIdentity::from_header(&header, self.peer, Transport::Stream);
                self.believe(&identity)?;
                Ok(Progress::Done { identity, header_len: len })
            }
            Ok(Decode::Incomplete { at_least }) => Ok(Progress::NeedMore { at_least: at_least.max(1) }),
            Err(error) => Err(self.fail(IdentifyReason::of(error), error.at(), received)),
        }
    }

    /// As [`HeaderReader::advance`], of a whole datagram: what ends inside its header is an error.
    pub(crate) fn whole<'a>(&self, datagram: &'a [u8]) -> Result<(ClientIdentity, &'a [u8]), IdentifyError> {
        match self.rules.decoder.decode_datagram(datagram) {
            Ok((header, len)) => {
                let identity = ClientIdentity::from_header(&header, self.peer, Transport::Datagram);
                self.believe(&identity)?;
                Ok((identity, datagram.get(len..).unwrap_or_default()))
            }
            Err(error) if error.kind() == DecodeErrorKind::Truncated => Err(self.ended(datagram)),
            Err(error) => Err(self.fail(IdentifyReason::of(error), error.at(), datagram)),
        }
    }

    /// Whether the identity can be true, as far as the rules ask.
    fn believe(&self, identity: &ClientIdentity) -> Result<(), IdentifyError> {
        match &self.rules.plausibility {
            Plausibility::Check { own: Some(own) } => self.check_plausible(identity, own),
            Plausibility::Check { own: None } => self.check_plausible(identity, &NetworkSet::default()),
            Plausibility::Skip => Ok(()),
        }
    }

    /// The peer ended its stream before the header was complete.
    #[must_use]
    pub fn ended(&self, received: &[u8]) -> IdentifyError {
        let reason = if received.is_empty() { IdentifyReason::Empty } else { IdentifyReason::Truncated };
        self.fail(reason, received.len(), received)
    }

    /// The deadline has passed.
    #[must_use]
    pub fn expired(&self, received: &[u8]) -> IdentifyError {
        self.fail(IdentifyReason::Timeout, received.len(), received)
    }

    /// Refuses an identity whose client address cannot be true; see [`ClientIdentity::check_plausible`].
    /// [`HeaderReader::advance`] has done so already; this is for what becomes of an identity afterwards, as by
    /// [`ClientIdentity::with_nat64`].
    ///
    /// # Errors
    /// [`IdentifyReason::Implausible`].
    pub fn check_plausible(&self, identity: &ClientIdentity, own: &NetworkSet) -> Result<(), IdentifyError> {
        identity.check_plausible(own).map_err(|implausible| self.disbelieve(identity, implausible))
    }

    /// The error for an identity that is not believed for a reason of the caller's own.
    #[must_use]
    pub fn disbelieve(&self, identity: &ClientIdentity, why: Implausible) -> IdentifyError {
        // Where the client's address stands in a header.
        let at = match identity.source() {
            IdentitySource::Direct => 0,
            IdentitySource::Header(Version::V1) => V1_CLIENT_AT,
            IdentitySource::Header(Version::V2) => V2_CLIENT_AT,
        };
        self.fail(IdentifyReason::Implausible(why), at, &[])
    }

    fn fail(&self, reason: IdentifyReason, at: usize, received: &[u8]) -> IdentifyError {
        IdentifyError { reason, peer: self.peer, at, seen: Seen::new(received) }
    }
}

/// Why there is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentifyReason {
    /// The peer closed without a byte: a probe, usually.
    Empty,
    /// The peer closed inside the header.
    Truncated,
    /// The whole header did not come in time.
    Timeout,
    /// What came is no header at all.
    NotAHeader(DecodeError),
    /// A header of a version that this receiver does not accept.
    Version(DecodeError),
    /// A header longer than the cap.
    TooLong(DecodeError),
    /// The CRC32C does not match.
    Checksum(DecodeError),
    /// A header that breaks the specification.
    Malformed(DecodeError),
    /// The client address cannot be true.
    Implausible(Implausible),
}

impl IdentifyReason {
    fn of(error: DecodeError) -> Self {
        match error.kind() {
            DecodeErrorKind::BadSignature => Self::NotAHeader(error),
            DecodeErrorKind::VersionNotAccepted => Self::Version(error),
            DecodeErrorKind::TooLong | DecodeErrorKind::V1TooLong => Self::TooLong(error),
            DecodeErrorKind::TlvChecksum => Self::Checksum(error),
            _ => Self::Malformed(error),
        }
    }

    /// Short stable token, the same in logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "header_empty",
            Self::Truncated => "header_truncated",
            Self::Timeout => "header_timeout",
            Self::NotAHeader(_) => "header_missing",
            Self::Version(_) => "header_version",
            Self::TooLong(_) => "header_too_long",
            Self::Checksum(_) => "header_checksum",
            Self::Malformed(_) => "header_malformed",
            Self::Implausible(_) => "client_implausible",
        }
    }
}

/// Who has to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The other end of our socket, or its configuration.
    Peer,
    /// The client.
    Client,
    /// The backend, or its configuration.
    Backend,
    /// Our own configuration.
    Operator,
    /// This program.
    Us,
    /// Nobody: an ordinary end.
    Nobody,
}

/// A trusted peer that could not be turned into an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifyError {
    reason: IdentifyReason,
    peer: PeerAddress,
    at: usize,
    seen: Seen,
}

impl IdentifyError {
    /// What went wrong.
    #[must_use]
    pub fn reason(&self) -> &IdentifyReason {
        &self.reason
    }

    /// Whose fault it is: the peer's, which we were told to trust. A probe that sends nothing is no fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.reason {
            IdentifyReason::Empty => Fault::Nobody,
            _ => Fault::Peer,
        }
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        self.peer
    }

    /// Offset of the first byte that is wrong or that did not come.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The first bytes that it sent.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl fmt::Display for IdentifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, peer, at, seen } = self;
        match reason {
            IdentifyReason::Empty => {
                write!(f, "{peer} is trusted to send a header and closed without sending a byte")
            }
            IdentifyReason::Truncated => {
                write!(f, "{peer} closed inside its header, of which \"{seen}\" had come (byte {at})")
            }
            IdentifyReason::Timeout if seen.as_bytes().is_empty() => {
                write!(f, "{peer} is trusted to send a header and sent nothing before the deadline")
            }
            IdentifyReason::Timeout => write!(
                f,
                "{peer} did not finish its header before the deadline; so far \"{seen}\" (byte {at})"
            ),
            IdentifyReason::NotAHeader(_) => write!(
                f,
                "{peer} is trusted to send a header and sent \"{seen}\", which looks like {} (byte {at})",
                seen.likely(),
            ),
            IdentifyReason::Implausible(implausible) => write!(f, "{peer}: {implausible} (byte {at})"),
            IdentifyReason::Version(error)
            | IdentifyReason::TooLong(error)
            | IdentifyReason::Checksum(error)
            | IdentifyReason::Malformed(error) => write!(f, "{peer} sent a bad header: {error}"),
        }
    }
}

impl core::error::Error for IdentifyError {}

/// The kind that a socket would give: the end of it, the time, or data that is no good. The cause is the error itself.
impl From<IdentifyError> for io::Error {
    fn from(error: IdentifyError) -> Self {
        let kind = match error.reason {
            IdentifyReason::Empty | IdentifyReason::Truncated => io::ErrorKind::UnexpectedEof,
            IdentifyReason::Timeout => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests;
