//! Version 2, one question after the other.
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Accepted, Verdict};

const SIGNATURE: [u8; 12] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

pub(super) fn judge(bytes: &[u8], max_len: usize) -> Verdict {
    for at in 0..bytes.len().min(12) {
        if bytes[at] != SIGNATURE[at] {
            return Verdict::Reject("bad_signature", at);
        }
    }
    let mut is_local = false;
    let mut needed = 0;
    if bytes.len() > 12 {
        if bytes[12] / 16 != 2 {
            return Verdict::Reject("v2_version", 12);
        }
        if bytes[12] % 16 > 1 {
            return Verdict::Reject("v2_command", 12);
        }
        is_local = bytes[12] == 0x20;
    }
    if bytes.len() > 13 && !is_local {
        let (family, transport) = (bytes[13] / 16, bytes[13] % 16);
        if family > 3 {
            return Verdict::Reject("v2_family", 13);
        }
        if transport > 2 {
            return Verdict::Reject("v2_protocol", 13);
        }
        if (family == 0) != (transport == 0) {
            return Verdict::Reject("v2_combination", 13);
        }
        needed = [0, 12, 36, 216][usize::from(family)];
    }
    if bytes.len() < 16 {
        return Verdict::NeedMore(16 - bytes.len());
    }
    let length = usize::from(bytes[14]) * 256 + usize::from(bytes[15]);
    if length < needed {
        return Verdict::Reject("v2_length", 14);
    }
    if 16 + length > max_len {
        return Verdict::Reject("too_long", 14);
    }
    if bytes.len() < 16 + length {
        return Verdict::NeedMore(16 + length - bytes.len());
    }
    let header = bytes[..16 + length].to_vec();
    let block = header[16..16 + needed].to_vec();
    let tlvs = match tlvs(&header, 16 + needed, is_local) {
        Ok(tlvs) => tlvs,
        Err((reason, at)) => return Verdict::Reject(reason, at),
    };
    Verdict::Accept(Box::new(Accepted {
        consumed: header.len(),
        version: 2,
        command: if is_local { "LOCAL" } else { "PROXY" },
        transport: if is_local { 0 } else { header[13] % 16 },
        ends: ends(&block),
        tlvs,
    }))
}

/// Both ends; the length of the block says its family.
fn ends(block: &[u8]) -> Option<(String, String)> {
    let port = |at: usize| u16::from(block[at]) * 256 + u16::from(block[at + 1]);
    match block.len() {
        12 => {
            let ip = |at: usize| Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]);
            Some((
                SocketAddr::from((ip(0), port(8))).to_string(),
                SocketAddr::from((ip(4), port(10))).to_string(),
            ))
        }
        36 => {
            let ip = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&block[at..at + 16]).unwrap());
            Some((
                SocketAddr::from((ip(0), port(32))).to_string(),
                SocketAddr::from((ip(16), port(34))).to_string(),
            ))
        }
        216 => Some((in_hex(&block[..108]), in_hex(&block[108..]))),
        _ => None,
    }
}

/// Two digits for each byte.
pub(super) fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Offset, type and value of each item.
type Items = Vec<(usize, u8, Vec<u8>)>;

/// A reason and the byte that decides.
type Wrong = (&'static str, usize);

/// Items with their offsets, or the offset of the first that does not fit.
fn items(area: &[u8], offset: usize) -> Result<Items, usize> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < area.len() {
        if area.len() - at < 3 {
            return Err(offset + at);
        }
        let len = usize::from(area[at + 1]) * 256 + usize::from(area[at + 2]);
        if at + 3 + len > area.len() {
            return Err(offset + at + 1);
        }
        items.push((offset + at, area[at], area[at + 3..at + 3 + len].to_vec()));
        at += 3 + len;
    }
    Ok(items)
}

fn tlvs(header: &[u8], begin: usize, is_local: bool) -> Result<Vec<(u8, Vec<u8>)>, Wrong> {
    // Under LOCAL the block is opaque unless it says 0x00 and is well formed.
    if is_local && (header[13] != 0 || items(&header[begin..], begin).is_err()) {
        return Ok(Vec::new());
    }
    let (items, broken) = match items(&header[begin..], begin) {
        Ok(items) => (items, None),
        Err(at) => (items_before(header, begin, at), Some(at)),
    };
    let mut checksum = None;
    for (at, kind, value) in &items {
        match kind {
            3 if checksum.is_some() => return Err(("tlv_duplicate_crc", *at)),
            3 if value.len() != 4 => return Err(("tlv_crc32c", at + 1)),
            3 => checksum = Some(at + 3),
            5 if value.len() > 128 && !is_local => return Err(("tlv_unique_id", at + 1)),
            0x20 if !is_local => check_ssl(value, *at)?,
            _ => {}
        }
    }
    if let Some(at) = broken {
        return Err(("tlv_truncated", at));
    }
    if let Some(at) = checksum {
        let mut zeroed = header.to_vec();
        zeroed[at..at + 4].fill(0);
        if crc32c_of(&zeroed).to_be_bytes() != header[at..at + 4] {
            return Err(("tlv_crc32c", at));
        }
    }
    Ok(items.into_iter().map(|(_, kind, value)| (kind, value)).collect())
}

/// The items that stand whole before the one that does not fit.
fn items_before(header: &[u8], begin: usize, broken: usize) -> Items {
    for end in (begin..=broken).rev() {
        if let Ok(items) = items(&header[begin..end], begin) {
            return items;
        }
    }
    Vec::new()
}

fn check_ssl(value: &[u8], at: usize) -> Result<(), Wrong> {
    if value.len() < 5 {
        return Err(("tlv_ssl", at + 1));
    }
    match items(&value[5..], at + 8) {
        Ok(_) => Ok(()),
        // The codec names the sub-TLV, not the field inside it.
        Err(inner) => {
            let begin = at + 8;
            let whole = items_before_in(&value[5..], inner - begin);
            Err(("tlv_ssl", begin + whole))
        }
    }
}

/// Where the item that does not fit begins.
fn items_before_in(area: &[u8], broken: usize) -> usize {
    (0..=broken).rev().find(|end| items(&area[..*end], 0).is_ok()).unwrap_or(0)
}

/// CRC32C bit by bit.
#[must_use]
pub fn crc32c_of(bytes: &[u8]) -> u32 {
    let mut state = 0xffff_ffff_u32;
    for byte in bytes {
        for bit in 0..8 {
            let top = (state ^ u32::from(byte >> bit)) & 1;
            state = (state / 2) ^ (top * 0x82f6_3b78);
        }
    }
    !state
}
