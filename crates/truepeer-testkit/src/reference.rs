//! A second PROXY protocol decoder, slow and obvious, to judge the fast one by.
//!
//! Used by tests only. It shares no code, no types and no method with the codec: it copies
//! everything, asks the standard library what an address is, finds the byte where a line went
//! wrong by trying prefixes, and computes CRC32C bit by bit.
//! Its answers are the profile of `vectors/`, in the words of `vectors/`.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a judge that is wrong should fall over in the test that asks it"
)]

pub mod generate;
mod v1;
mod v2;

pub use v2::crc32c_of;

/// What a receiver may conclude from the bytes it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A whole header.
    Accept(Box<Accepted>),
    /// A prefix of valid headers, the shortest of which has this many bytes more.
    NeedMore(usize),
    /// No header, whatever follows: the reason, and the byte that decides.
    Reject(&'static str, usize),
}

/// Everything that a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Length of the header.
    pub consumed: usize,
    /// 1 or 2.
    pub version: u8,
    /// `PROXY`, `LOCAL` or `UNKNOWN`.
    pub command: &'static str,
    /// 0 unspecified, 1 stream, 2 datagram.
    pub transport: u8,
    /// Both ends as text, UNIX ends as 108 bytes in hexadecimal.
    pub ends: Option<(String, String)>,
    /// Type and value of each TLV.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

/// The switches that the judge knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Literals of the other family in v1 lines.
    pub mixed_families: bool,
    /// The longest v2 header.
    pub max_len: usize,
}

impl Default for Profile {
    fn default() -> Self {
        Self { mixed_families: false, max_len: 4112 }
    }
}

/// Judges the bytes received so far on a stream.
#[must_use]
pub fn judge(bytes: &[u8], profile: Profile) -> Verdict {
    match bytes.first() {
        None => Verdict::NeedMore(15),
        Some(b'P') => v1::judge(bytes, profile.mixed_families),
        Some(b'\r') => v2::judge(bytes, profile.max_len),
        Some(_) => Verdict::Reject("bad_signature", 0),
    }
}
