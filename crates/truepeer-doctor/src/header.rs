//! A header, field by field: where each stands, what it says, which clause asks for it, and who would take it.
//!
//! Bytes in, an account out. The verdict is that of truepeer's strict profile; what other receivers do with the same
//! header is data, see `receivers`.

mod broken;
mod fields;
mod notes;
mod receivers;
mod tlvs;

use serde::Serialize;
use truepeer_proto::{Addresses, Command, Decode, Header, Transport, Version, decode};

use crate::{Finding, Opening};

pub use broken::BrokenHeader;
pub use fields::Field;
pub use receivers::{Reception, Taken};
pub use tlvs::{TlsNote, TlvNote, TlvText};

/// What bytes are that should begin with a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Explained {
    /// A header.
    Header(Box<HeaderNote>),
    /// None, or one that is broken or unfinished.
    Broken(Box<BrokenHeader>),
}

/// A header, as JSON an object with these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeaderNote {
    /// 1 or 2.
    pub version: u8,
    /// `PROXY` or `LOCAL`; `UNKNOWN` for a version 1 line without addresses.
    pub command: &'static str,
    /// The client, `address:port` (`unix:PATH`); null where none is named.
    pub source: Option<String>,
    /// Where the client connected to.
    pub destination: Option<String>,
    /// `stream`, `datagram` or `unspecified`.
    pub transport: &'static str,
    /// Bytes of the whole header.
    pub length: usize,
    /// The TLVs in their order.
    pub tlvs: Vec<TlvNote>,
    /// `accepted`: names a client. `accepted-own`: the proxy speaks for itself, there is no client.
    pub verdict: &'static str,
    /// Why there is no client: `local`, `unknown`, `unspecified`, `unix_client`, `datagram`.
    pub own: Option<&'static str>,
    /// What each known receiver does with it.
    pub receivers: Vec<Reception>,
    /// What will go wrong with it at some receivers, best first.
    pub findings: Vec<Finding>,
    /// What is remarkable, a sentence each.
    pub notes: Vec<String>,
    /// What follows the header, if anything: `an SMTP command`, ...
    pub behind: Option<&'static str>,
    /// Every field in its place.
    pub fields: Vec<Field>,
}

/// Explains the header that `bytes` begin with; what is behind it is the client's.
#[must_use]
pub fn explain(bytes: &[u8]) -> Explained {
    match decode(bytes) {
        Ok(Decode::Complete { header, len }) => {
            let behind = bytes.get(len..).unwrap_or_default();
            Explained::Header(Box::new(note(&header, behind)))
        }
        Ok(Decode::Incomplete { at_least }) => {
            Explained::Broken(Box::new(BrokenHeader::unfinished(bytes, at_least)))
        }
        Err(error) => Explained::Broken(Box::new(BrokenHeader::wrong(bytes, &error))),
    }
}

impl Explained {
    /// Whether it is a header that truepeer takes.
    #[must_use]
    pub fn is_header(&self) -> bool {
        matches!(self, Self::Header(_))
    }
}

fn note(header: &Header<'_>, behind: &[u8]) -> HeaderNote {
    let raw = header.as_bytes();
    let own = own(header);
    HeaderNote {
        version: version(header.version()),
        command: match (header.version(), header.command(), header.addresses()) {
            (Version::V1, _, Addresses::Unspecified) => "UNKNOWN",
            (_, Command::Proxy, _) => "PROXY",
            (_, Command::Local, _) => "LOCAL",
        },
        source: fields::ends(header.addresses()).map(|(source, _)| source),
        destination: fields::ends(header.addresses()).map(|(_, destination)| destination),
        transport: match header.transport() {
            Transport::Stream => "stream",
            Transport::Datagram => "datagram",
            Transport::Unspecified => "unspecified",
        },
        length: raw.len(),
        tlvs: tlvs::of(header),
        verdict: if own.is_some() { "accepted-own" } else { "accepted" },
        own,
        receivers: receivers::of(&receivers::Facts::of(header)),
        findings: notes::findings(header, behind),
        notes: notes::of(header, behind),
        behind: (!behind.is_empty()).then(|| Opening::of(behind).name()),
        fields: fields::of(raw),
    }
}

fn own(header: &Header<'_>) -> Option<&'static str> {
    if header.command() == Command::Local {
        return Some("local");
    }
    match (header.addresses(), header.version()) {
        (Addresses::Unspecified, Version::V1) => Some("unknown"),
        (Addresses::Unspecified, Version::V2) => Some("unspecified"),
        (Addresses::Unix { .. }, _) => Some("unix_client"),
        _ if header.transport() == Transport::Datagram => Some("datagram"),
        _ => None,
    }
}

const fn version(version: Version) -> u8 {
    match version {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}

#[cfg(test)]
mod tests;
