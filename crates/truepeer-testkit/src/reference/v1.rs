//! Version 1, by prefixes: a line is wrong at the first byte after which no ending makes it right.
//!
//! "Right" is what the standard library's address parsers say after a short list of endings was
//! tried; nothing is read byte by byte.
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Accepted, Verdict};

/// What a string is as the beginning of a line.
#[derive(Debug, PartialEq)]
enum Prefix {
    Whole,
    /// The shortest ending that would make it right.
    Possible(usize),
    Impossible,
    /// Every field is possible, but the line would exceed 107 bytes.
    TooLong,
}

pub(super) fn judge(bytes: &[u8], mixed: bool) -> Verdict {
    // What stands behind the first line end is payload.
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").map_or(bytes.len(), |at| at + 2);
    let line = &bytes[..end.min(107)];
    // A line that went wrong stays wrong, so the first wrong prefix is found by halving.
    let (mut right, mut wrong) = (0, line.len() + 1);
    while right + 1 < wrong {
        let middle = (right + wrong) / 2;
        match look(&line[..middle], mixed) {
            Prefix::Whole | Prefix::Possible(_) => right = middle,
            Prefix::Impossible | Prefix::TooLong => wrong = middle,
        }
    }
    if wrong <= line.len() {
        let reason = match look(&line[..wrong], mixed) {
            Prefix::TooLong => "v1_too_long",
            _ => reason(&line[..wrong]),
        };
        return Verdict::Reject(reason, wrong - 1);
    }
    match look(line, mixed) {
        Prefix::Whole => Verdict::Accept(Box::new(accepted(line, mixed))),
        Prefix::Possible(missing) => Verdict::NeedMore(missing),
        other => panic!("{other:?} for {}", line.escape_ascii()),
    }
}

/// The words of a line, split at every single space.
fn words(line: &[u8]) -> Vec<String> {
    // Latin-1, so that every byte is one character.
    line.split(|byte| *byte == b' ').map(|word| word.iter().map(|byte| char::from(*byte)).collect()).collect()
}

fn look(line: &[u8], mixed: bool) -> Prefix {
    if line.len() <= 6 {
        return if b"PROXY ".starts_with(line) {
            Prefix::Possible(15 - line.len())
        } else {
            Prefix::Impossible
        };
    }
    if !line.starts_with(b"PROXY ") {
        return Prefix::Impossible;
    }
    // A line end in two halves, or one half in the wrong place.
    let body = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\r")).unwrap_or(line);
    if body.contains(&b'\r') || body.contains(&b'\n') {
        return Prefix::Impossible;
    }
    let ending = line.len() - body.len();
    if body.starts_with(b"PROXY UNKNOWN") {
        if body.len() > 13 && body[13] != b' ' {
            return Prefix::Impossible;
        }
        return length(line.len(), ending, 2 - ending, 2);
    }
    let words = words(body);
    let family = words[1].as_str();
    let tcp4_min = if mixed { 22 } else { 32 };
    if words.len() == 2 {
        let names = [("TCP4", tcp4_min), ("TCP6", 22), ("UNKNOWN", 15)];
        let shortest =
            names.iter().filter(|(name, _)| name.starts_with(family)).map(|(_, least)| *least).min();
        return match shortest {
            Some(least) if ending == 0 => Prefix::Possible(least - line.len()),
            _ => Prefix::Impossible,
        };
    }
    if !["TCP4", "TCP6"].contains(&family) || words.len() > 6 {
        return Prefix::Impossible;
    }
    let wants_4 = mixed || family == "TCP4";
    let wants_6 = mixed || family == "TCP6";
    // Every word but the last is finished, and the last one is, too, once the line ends.
    let last = words.len() - 1;
    let mut missing = 0;
    for (at, word) in words.iter().enumerate().skip(2) {
        let is_finished = at < last || ending > 0;
        let shortest = if at < 4 { shortest_address(word, wants_4, wants_6) } else { shortest_port(word) };
        match shortest {
            Some(0) => {}
            Some(more) if !is_finished => missing = more,
            _ => return Prefix::Impossible,
        }
    }
    if ending > 0 && words.len() < 6 {
        return Prefix::Impossible;
    }
    let zero = if wants_6 { 2 } else { 7 };
    let behind = match last {
        2 => 1 + zero + 6,
        3 => 6,
        4 => 4,
        _ => 2,
    };
    length(line.len(), ending, missing + behind - ending, behind)
}

/// A line of which `behind` bytes must come after the current field, `ending` of them there already.
fn length(len: usize, ending: usize, missing: usize, behind: usize) -> Prefix {
    if len - ending + behind > 107 {
        Prefix::TooLong
    } else if ending == 2 {
        Prefix::Whole
    } else {
        Prefix::Possible(missing)
    }
}

/// Bytes that make `word` an address at least, `None` if none do.
fn shortest_address(word: &str, wants_4: bool, wants_6: bool) -> Option<usize> {
    let mut shortest = None;
    let mut consider = |ending: &str| {
        let text = format!("{word}{ending}");
        let is_right =
            (wants_4 && text.parse::<Ipv4Addr>().is_ok()) || (wants_6 && text.parse::<Ipv6Addr>().is_ok());
        if is_right && shortest.is_none_or(|least| ending.len() < least) {
            shortest = Some(ending.len());
        }
    };
    for ending in ["", "0", ".0", "0.0", ".0.0", "0.0.0", ".0.0.0", "0.0.0.0", ":", "::", ":0"] {
        consider(ending);
    }
    shortest
}

/// Bytes that make `word` a port at least.
fn shortest_port(word: &str) -> Option<usize> {
    if word.is_empty() {
        return Some(1);
    }
    let is_plain =
        word.chars().all(|digit| digit.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    (is_plain && word.parse::<u16>().is_ok()).then_some(0)
}

/// Why the last byte of this prefix is the one that went wrong.
fn reason(line: &[u8]) -> &'static str {
    let (byte, before) = line.split_last().unwrap();
    if !b"PROXY ".starts_with(&line[..line.len().min(6)]) {
        return "bad_signature";
    }
    if *byte == b'\n' || before.ends_with(b"\r") {
        return "v1_eol";
    }
    let words = words(before);
    let begun = words.last().unwrap();
    match (words.len() - 1, byte) {
        (1, b'\r') if begun == "TCP4" || begun == "TCP6" => "v1_fields",
        (1, _) => "v1_family",
        (2 | 3, b'\r') => "v1_fields",
        (2 | 3, b' ') if begun.is_empty() => "v1_fields",
        (2 | 3, _) => "v1_address",
        (4, b'\r') => "v1_fields",
        (5, b' ') if !begun.is_empty() => "v1_fields",
        _ => "v1_port",
    }
}

fn accepted(line: &[u8], mixed: bool) -> Accepted {
    let words = words(&line[..line.len() - 2]);
    let mut out = Accepted {
        consumed: line.len(),
        version: 1,
        command: "UNKNOWN",
        transport: 0,
        ends: None,
        tlvs: Vec::new(),
    };
    if words[1] == "UNKNOWN" {
        return out;
    }
    out.command = "PROXY";
    out.transport = 1;
    let all_4 = words[2..4].iter().all(|word| word.parse::<Ipv4Addr>().is_ok());
    let end = |address: &str, port: &str| -> String {
        let port: u16 = port.parse().unwrap();
        match address.parse::<Ipv4Addr>() {
            Ok(address) if words[1] == "TCP4" && all_4 => SocketAddr::from((address, port)).to_string(),
            Ok(address) if mixed => SocketAddr::from((address.to_ipv6_mapped(), port)).to_string(),
            _ => SocketAddr::from((address.parse::<Ipv6Addr>().unwrap(), port)).to_string(),
        }
    };
    out.ends = Some((end(&words[2], &words[4]), end(&words[3], &words[5])));
    out
}
