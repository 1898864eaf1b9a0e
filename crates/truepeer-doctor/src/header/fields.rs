//! The fields of a header in their places, also of one that goes wrong later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use truepeer_proto::{Addresses, UnixAddress, V1_MAX_LEN, V2_SIGNATURE};

use crate::excerpt;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Field {
    /// Its first byte, counted from the header's.
    pub offset: usize,
    /// How many bytes it has.
    pub length: usize,
    /// What it is.
    pub name: &'static str,
    /// What it says.
    pub value: String,
    /// Where the specification (`doc/proxy-protocol.txt` of HAProxy) asks for it.
    pub clause: &'static str,
}

/// Source and destination as text.
pub(super) fn ends(addresses: Addresses<'_>) -> Option<(String, String)> {
    if let Addresses::Unix { source, destination } = addresses {
        return Some((unix(&source), unix(&destination)));
    }
    Some((addresses.source()?.to_string(), addresses.destination()?.to_string()))
}

fn unix(address: &UnixAddress<'_>) -> String {
    let sign = if address.is_abstract() { "@" } else { "" };
    format!("unix:{sign}{}", excerpt(address.name()))
}

/// The fields of `raw`, as far as there are bytes for them.
pub(super) fn of(raw: &[u8]) -> Vec<Field> {
    if raw.starts_with(b"\r") { v2(raw) } else { v1(raw) }
}

fn v1(raw: &[u8]) -> Vec<Field> {
    const NAMES: [(&str, &str); 6] = [
        ("signature", "2.1"),
        ("family", "2.1"),
        ("source address", "2.1"),
        ("destination address", "2.1"),
        ("source port", "2.1"),
        ("destination port", "2.1"),
    ];
    let line = raw.get(..raw.len().min(V1_MAX_LEN)).unwrap_or(raw);
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(line.len());
    let (text, behind) = line.split_at_checked(end).unwrap_or((line, &[]));
    let mut fields = Vec::new();
    let mut offset = 0_usize;
    let mut names = NAMES.iter();
    for word in text.split(|byte| *byte == b' ') {
        let (name, clause) = names.next().copied().unwrap_or(("a field too many", "2.1"));
        fields.push(Field { offset, length: word.len(), name, value: excerpt(word), clause });
        offset = offset.saturating_add(word.len()).saturating_add(1);
        if name == "family" && word == b"UNKNOWN" && offset < end {
            let rest = text.get(offset..).unwrap_or_default();
            let value = excerpt(rest);
            fields.push(Field { offset, length: rest.len(), name: "skipped, unread", value, clause: "2.1" });
            break;
        }
    }
    let line_end: Vec<u8> =
        behind.iter().copied().take_while(|byte| matches!(byte, b'\r' | b'\n')).take(2).collect();
    if !line_end.is_empty() {
        fields.push(Field {
            offset: end,
            length: line_end.len(),
            name: "line end",
            value: excerpt(&line_end),
            clause: "2.1",
        });
    }
    fields
}

fn v2(raw: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut add = |offset: usize, length: usize, name, clause, value: &dyn Fn(&[u8]) -> String| {
        let bytes = raw.get(offset..offset.saturating_add(length))?;
        fields.push(Field { offset, length, name, value: value(bytes), clause });
        Some(())
    };
    let half = |bytes: &[u8]| bytes.first().map_or((0, 0), |byte| (byte >> 4, byte & 15));
    let mut all = || {
        add(0, V2_SIGNATURE.len(), "signature", "2.2", &hex)?;
        add(12, 1, "version and command", "2.2, byte 12", &|bytes| {
            let (version, command) = half(bytes);
            let command = match command {
                0 => "LOCAL".to_owned(),
                1 => "PROXY".to_owned(),
                other => format!("command {other:#x}, not defined"),
            };
            format!("{}: version {version}, {command}", hex(bytes))
        })?;
        add(13, 1, "family and transport", "2.2, byte 13", &|bytes| {
            let (family, transport) = half(bytes);
            let family = match family {
                0 => "UNSPEC".to_owned(),
                1 => "INET".to_owned(),
                2 => "INET6".to_owned(),
                3 => "UNIX".to_owned(),
                other => format!("family {other:#x}, not defined"),
            };
            let transport = match transport {
                0 => "UNSPEC".to_owned(),
                1 => "STREAM".to_owned(),
                2 => "DGRAM".to_owned(),
                other => format!("transport {other:#x}, not defined"),
            };
            format!("{}: {family}, {transport}", hex(bytes))
        })?;
        add(14, 2, "length of what follows", "2.2, bytes 14-15", &|bytes| {
            format!("{}: {}", hex(bytes), number(bytes))
        })?;
        let family = raw.get(13).copied().unwrap_or(0) >> 4;
        let local = raw.get(12).copied().unwrap_or(0) & 15 == 0;
        let len = raw.get(14..16).map_or(0, number);
        let (address, ports): (usize, _) = match family {
            1 if len >= 12 => (4, true),
            2 if len >= 36 => (16, true),
            3 if len >= 216 => (108, false),
            _ => (0, false),
        };
        if local && (address > 0 || family != 0) {
            return add(16, usize::from(len), "skipped, since LOCAL", "2.2", &hex);
        }
        let text: &dyn Fn(&[u8]) -> String = match address {
            4 | 16 => &ip,
            _ => &|bytes| excerpt(bytes.split(|byte| *byte == 0).next().unwrap_or_default()),
        };
        if address > 0 {
            let second = 16_usize.saturating_add(address);
            add(16, address, "source address", "2.2", text)?;
            add(second, address, "destination address", "2.2", text)?;
            if ports {
                let port = second.saturating_add(address);
                add(port, 2, "source port", "2.2", &|bytes| number(bytes).to_string())?;
                add(port.saturating_add(2), 2, "destination port", "2.2", &|bytes| {
                    number(bytes).to_string()
                })?;
            }
        }
        Some(())
    };
    let _ = all();
    fields
}

fn number(bytes: &[u8]) -> u16 {
    bytes.first_chunk::<2>().map_or(0, |pair| u16::from_be_bytes(*pair))
}

fn ip(bytes: &[u8]) -> String {
    let four = bytes.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)));
    let sixteen = bytes.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
    sixteen.or(four).map_or_else(String::new, |addr| addr.to_string())
}

/// Bytes in base 16, cut where they are many.
pub(super) fn hex(bytes: &[u8]) -> String {
    const MOST: usize = 64;
    let mut text: String = bytes.iter().take(MOST).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > MOST {
        text.push_str("...");
    }
    text
}
