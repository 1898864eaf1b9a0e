//! Every codec behind one shape: what it can do, on the same inputs.
mod haprox_rs;
mod haproxy_protocol;
mod ppp;
mod proxy_header;
mod proxy_protocol;
mod proxy_protocol_codec;
mod proxy_protocol_rs;
mod proxyproto;
mod truepeer;

use std::hint::black_box;
use std::net::SocketAddr;

use crate::inputs;

/// What a codec makes of some bytes, everything it offers having been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Length of the header, where the interface tells it, and the source.
    Accept(Option<usize>, Option<SocketAddr>),
    Incomplete,
    Reject,
}

pub type Decode = fn(&[u8]) -> u64;
pub type Encode = fn() -> u64;

/// One codec; `None` where it does not offer something.
pub struct Peer {
    pub name: &'static str,
    pub verdict: fn(&[u8]) -> Verdict,
    /// To the addresses.
    pub v1: Option<Decode>,
    pub v2: Option<Decode>,
    /// Every rule it has, for a header with TLVs, at its default entry point; its CRC set aside, and with it.
    pub checked: Option<Decode>,
    pub checked_crc: Option<Decode>,
    /// The same and every TLV and sub-TLV looked at.
    pub walked: Option<Decode>,
    pub walked_crc: Option<Decode>,
    pub write_v1_tcp4: Option<Encode>,
    pub write_v1_tcp6: Option<Encode>,
    pub write_v2_tcp4: Option<Encode>,
    pub write_v2_tcp6: Option<Encode>,
    pub write_full: Option<Encode>,
    /// The same from TLVs that the caller holds as they go on the wire.
    pub write_held: Option<Encode>,
    /// What the full header of `write_full` lacks.
    pub lacks: &'static str,
}

impl Peer {
    const fn named(name: &'static str, verdict: fn(&[u8]) -> Verdict) -> Self {
        Self {
            name,
            verdict,
            v1: None,
            v2: None,
            checked: None,
            checked_crc: None,
            walked: None,
            walked_crc: None,
            write_v1_tcp4: None,
            write_v1_tcp6: None,
            write_v2_tcp4: None,
            write_v2_tcp6: None,
            write_full: None,
            write_held: None,
            lacks: "",
        }
    }
}

pub const PEERS: [Peer; 9] = [
    truepeer::PEER,
    ppp::PEER,
    proxy_header::PEER,
    proxy_protocol::PEER,
    proxy_protocol_rs::PEER,
    proxy_protocol_codec::PEER,
    haproxy_protocol::PEER,
    proxyproto::PEER,
    haprox_rs::PEER,
];

/// Something to run once.
pub enum Work {
    Decode(Decode, Vec<u8>),
    Encode(Encode),
}

impl Work {
    #[inline]
    pub fn run(&self) -> u64 {
        match self {
            Self::Decode(decode, bytes) => decode(black_box(bytes)),
            Self::Encode(encode) => encode(),
        }
    }
}

pub struct Job {
    pub peer: &'static str,
    pub case: &'static str,
    pub work: Work,
}

/// Columns of the tables, in order.
pub const DECODE: [&str; 8] = [
    "v1 TCP4",
    "v1 TCP6",
    "v2 TCP4",
    "v2 TCP6",
    "v2 full",
    "v2 full + CRC",
    "v2 full, walked",
    "v2 full, walked + CRC",
];
pub const ENCODE: [&str; 6] =
    ["v1 TCP4 out", "v1 TCP6 out", "v2 TCP4 out", "v2 TCP6 out", "v2 full out", "v2 full out, TLVs held"];

/// All that is measured.
pub fn jobs() -> Vec<Job> {
    let full = inputs::v2_full();
    let mut jobs = Vec::new();
    for peer in &PEERS {
        let decode: [(Option<Decode>, &[u8]); 8] = [
            (peer.v1, inputs::V1_TCP4),
            (peer.v1, inputs::V1_TCP6),
            (peer.v2, &inputs::v2_tcp4()),
            (peer.v2, &inputs::v2_tcp6()),
            (peer.checked, &full),
            (peer.checked_crc, &full),
            (peer.walked, &full),
            (peer.walked_crc, &full),
        ];
        for (case, (decode, bytes)) in DECODE.into_iter().zip(decode) {
            let work = decode.map(|decode| Work::Decode(decode, bytes.to_vec()));
            jobs.extend(work.map(|work| Job { peer: peer.name, case, work }));
        }
        let encode = [
            peer.write_v1_tcp4,
            peer.write_v1_tcp6,
            peer.write_v2_tcp4,
            peer.write_v2_tcp6,
            peer.write_full,
            peer.write_held,
        ];
        for (case, encode) in ENCODE.into_iter().zip(encode) {
            jobs.extend(encode.map(|encode| Job { peer: peer.name, case, work: Work::Encode(encode) }));
        }
    }
    jobs
}

/// Uses a source, so that it must have been read.
#[inline]
fn use_source(source: Option<SocketAddr>) -> u64 {
    match source {
        Some(SocketAddr::V4(source)) => u64::from(source.ip().to_bits()) + u64::from(source.port()),
        Some(SocketAddr::V6(source)) => source.ip().to_bits() as u64 + u64::from(source.port()),
        None => 1,
    }
}

/// Uses an item, so that it must have been found.
#[inline]
fn use_item(kind: u8, value: &[u8]) -> u64 {
    u64::from(kind) + value.len() as u64 + value.first().copied().map_or(0, u64::from)
}

/// Uses what was written.
#[inline]
fn use_bytes(bytes: &[u8]) -> u64 {
    black_box(bytes).len() as u64
}
