//! A header that is none, or is broken or unfinished: where, what was expected, and the usual cause.

use serde::Serialize;
use truepeer_proto::{
    Checksum, Decode, DecodeError, DecodeErrorKind as Kind, Decoder, MixedFamilies, V2_MAX_LEN,
};

use super::fields::{self, Field};
use super::receivers::{self, Facts, Reception};
use crate::{Finding, Opening, excerpt};

/// What is wrong with a header, as JSON an object with these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BrokenHeader {
    /// A stable word: `bad_signature`, `v1_address`, ...; `incomplete` where bytes are missing.
    pub error: &'static str,
    /// The first byte that is wrong, or that is missing.
    pub offset: usize,
    /// The sentence.
    pub message: String,
    /// What would be right there.
    pub expected: String,
    /// The bytes, as far as they tell.
    pub seen: String,
    /// What came: `an HTTP request`, `a broken PROXY header`, ...
    pub opening: &'static str,
    /// Always `refused`, or `incomplete`.
    pub verdict: &'static str,
    /// What it usually means, and the line to change.
    pub finding: Option<Finding>,
    /// What each known receiver does with it, where that is known.
    pub receivers: Vec<Reception>,
    /// The fields as far as they can be read.
    pub fields: Vec<Field>,
}

impl BrokenHeader {
    /// Whether it begins as a header does: then it is one that is broken or unfinished, not something else.
    #[must_use]
    pub fn is_header(&self) -> bool {
        !self.fields.is_empty()
    }

    pub(super) fn wrong(bytes: &[u8], error: &DecodeError) -> Self {
        let opening = Opening::of(bytes);
        let is_header = opening == Opening::BrokenHeader;
        Self {
            error: error.kind().code(),
            offset: error.at(),
            message: error.to_string(),
            expected: error.kind().allowed().to_owned(),
            seen: excerpt(bytes.get(..bytes.len().min(64)).unwrap_or(bytes)),
            opening: opening.name(),
            verdict: "refused",
            finding: opening.finding(bytes),
            receivers: receivers_of(bytes, error.kind()),
            fields: if is_header { fields::of(bytes) } else { Vec::new() },
        }
    }

    pub(super) fn unfinished(bytes: &[u8], at_least: usize) -> Self {
        let opening = Opening::of(bytes);
        Self {
            error: "incomplete",
            offset: bytes.len(),
            message: format!(
                "right so far, and {at_least} more bytes are missing at least (byte {})",
                bytes.len()
            ),
            expected: format!("{at_least} more bytes at least"),
            seen: excerpt(bytes.get(..bytes.len().min(64)).unwrap_or(bytes)),
            opening: opening.name(),
            verdict: "incomplete",
            finding: opening.finding(bytes),
            receivers: Vec::new(),
            fields: if bytes.is_empty() { Vec::new() } else { fields::of(bytes) },
        }
    }
}

/// What receivers do with faults that some of them do not look for.
fn receivers_of(bytes: &[u8], kind: Kind) -> Vec<Reception> {
    let lenient =
        Decoder::new().max_len(V2_MAX_LEN).checksum(Checksum::Skip).mixed_families(MixedFamilies::Accept);
    let decoded = match kind {
        Kind::TlvChecksum | Kind::V1Address | Kind::TooLong => lenient.decode(bytes),
        Kind::TlvTruncated | Kind::TlvDuplicateChecksum => lenient.frame(bytes),
        _ => return Vec::new(),
    };
    let Ok(Decode::Complete { header, .. }) = decoded else { return Vec::new() };
    let facts = Facts {
        mixed: kind == Kind::V1Address,
        checksum_wrong: matches!(kind, Kind::TlvChecksum | Kind::TlvDuplicateChecksum),
        tlv_wrong: kind == Kind::TlvTruncated,
        ..Facts::of(&header)
    };
    receivers::of(&facts)
}
