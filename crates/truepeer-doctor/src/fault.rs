//! What is wrong with a header, as far as its bytes tell more than the decoder's error: one row each.
//!
//! Asked by the account of a header and by the front door's records, so that each sentence exists once.

use std::net::IpAddr;

use truepeer_proto::{DecodeError, DecodeErrorKind as Kind, V2_SIGNATURE};

use crate::Class;
use crate::change::FAMILIES;

/// A fault of a sender.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    pub(crate) cause: &'static str,
    pub(crate) change: &'static str,
}

/// The fault in `received`, which `wrong` was found in; none where nothing more can be said.
pub(crate) fn of(wrong: &DecodeError, received: &[u8]) -> Option<&'static Fault> {
    let is_word = received.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"PROXY"));
    match wrong.kind() {
        Kind::BadSignature if is_word && !received.starts_with(b"PROXY") => Some(&CAPITALS),
        Kind::V1Address => v1_address(received),
        Kind::V1Eol if wrong.seen() == Some(u16::from(b'\n')) => Some(&LINE_FEED),
        _ if is_mixed_v2(received) => Some(&MIXED_V2),
        Kind::TlvChecksum | Kind::TlvDuplicateChecksum => Some(&CHECKSUM),
        Kind::TlvTruncated | Kind::TlvSsl | Kind::TlvUniqueId => Some(&TLV),
        Kind::V2Length => Some(&LENGTH),
        Kind::V2Version | Kind::V2Command | Kind::V2Family | Kind::V2Protocol | Kind::V2Combination => {
            Some(&UNDEFINED)
        }
        Kind::V1TooLong => Some(&NO_END),
        Kind::TooLong => Some(&TOO_LONG),
        _ => None,
    }
}

fn v1_address(received: &[u8]) -> Option<&'static Fault> {
    let line = received.split(|byte| *byte == b'\r').next()?;
    let words: Vec<_> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [_, family, source, destination, ..] = words[..] else { return None };
    if source.contains('%') || destination.contains('%') {
        return Some(&SCOPE);
    }
    let (source, destination) = (source.parse::<IpAddr>().ok()?, destination.parse::<IpAddr>().ok()?);
    if source.is_ipv4() != destination.is_ipv4() {
        return Some(&MIXED_V1);
    }
    (source.is_ipv4() != (family == "TCP4")).then_some(&FAMILY)
}

/// Room for exactly one address of each family and two ports.
fn is_mixed_v2(received: &[u8]) -> bool {
    const MIXED: [u8; 2] = [0, 4 + 16 + 2 + 2];
    let inet = matches!(received.get(13), Some(0x11 | 0x12 | 0x21 | 0x22));
    received.starts_with(&V2_SIGNATURE) && inet && received.get(14..16) == Some(&MIXED)
}

const CAPITALS: Fault = Fault {
    class: Class::Syn,
    cause: "the word PROXY is not in capital letters",
    change: "write `PROXY TCP4 ...` in capitals, with single spaces and \\r\\n at the end",
};
const LINE_FEED: Fault = Fault {
    class: Class::Syn,
    cause: "the line ends in LF alone, which is mostly a check written by hand",
    change: "end it with \\r\\n (`printf 'PROXY ... 25\\r\\n'`)",
};
const SCOPE: Fault = Fault {
    class: Class::Fam,
    cause: "a scope id such as `%eth0` is no part of the protocol",
    change: "give the proxy an address that is not link-local, or have it leave the scope out",
};
const MIXED_V1: Fault = Fault {
    class: Class::Fam,
    cause: "the line mixes IPv4 and IPv6 (nginx writes that after `set_real_ip_from`)",
    change: "give nginx a listener of each family, or let truepeer take it: `proxy.mixed-families = \"accept\"`",
};
const MIXED_V2: Fault = Fault {
    class: Class::Fam,
    cause: "the header has one IPv4 and one IPv6 address, and no family of version 2 holds both",
    change: FAMILIES,
};
const FAMILY: Fault = Fault {
    class: Class::Fam,
    cause: "the family and the addresses of the line disagree",
    change: "let the sender write TCP4 with IPv4 addresses and TCP6 with IPv6 ones, or version 2",
};
const CHECKSUM: Fault = Fault {
    class: Class::Unex,
    cause: "something between the proxy and here changes the header, or the proxy computes its CRC32C wrongly",
    change: "find what rewrites the bytes; update the proxy, or switch `crc32c` off there (HAProxy: `proxy-v2-options`)",
};
const TLV: Fault = Fault {
    class: Class::Unex,
    cause: "a TLV does not fit: the proxy writes it wrongly, or a program in between cut it",
    change: "update the proxy, or switch that TLV off there (HAProxy: `proxy-v2-options`)",
};
const LENGTH: Fault = Fault {
    class: Class::Unex,
    cause: "the length has no room for the addresses of the family",
    change: "update the proxy, or report these bytes to its maintainers",
};
const UNDEFINED: Fault = Fault {
    class: Class::Unex,
    cause: "the proxy writes a version, command or family that is not defined",
    change: "update the proxy, or report these bytes to its maintainers",
};
const NO_END: Fault = Fault {
    class: Class::Unex,
    cause: "no line end came within 107 bytes",
    change: "let the proxy end the line with \\r\\n, or let it send version 2",
};
const TOO_LONG: Fault = Fault {
    class: Class::Unex,
    cause: "the header is longer than the receiver takes; a client certificate is the usual reason",
    change: "let the proxy send fewer TLVs",
};
