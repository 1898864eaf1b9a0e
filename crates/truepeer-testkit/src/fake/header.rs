//! A PROXY header off a blocking stream, byte for byte and no byte more.
//!
//! Strict on purpose: it takes what the gateway may write, in canonical form, and nothing else. It shares nothing with
//! the codec or with the reference decoder, which judge what strangers write.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header as a backend receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeHeader {
    /// Every byte of it.
    pub raw: Vec<u8>,
    /// 1 or 2.
    pub version: u8,
    /// Client and destination; `None` for LOCAL and UNKNOWN.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// Type and value of each TLV, in order.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

impl FakeHeader {
    /// The client that it names.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.ends.map(|(client, _)| client)
    }

    /// The value of the first TLV of this type.
    #[must_use]
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs.iter().find(|(of, _)| *of == kind).map(|(_, value)| value.as_slice())
    }
}

/// Reads one header and stops behind its last byte.
///
/// # Errors
/// What was read, and what is wrong with it.
pub fn read_header(stream: &mut impl Read) -> Result<FakeHeader, (Vec<u8>, String)> {
    let mut raw = Vec::new();
    read(stream, &mut raw).map_err(|why| (raw, why))
}

fn read(stream: &mut impl Read, raw: &mut Vec<u8>) -> Result<FakeHeader, String> {
    more(stream, raw, 1)?;
    match raw[0] {
        b'P' => {
            while !raw.ends_with(b"\n") {
                more(stream, raw, 1)?;
                if raw.len() > 107 {
                    return Err("v1 line over 107 bytes".to_owned());
                }
            }
            Ok(FakeHeader { ends: v1(raw)?, raw: raw.clone(), version: 1, tlvs: Vec::new() })
        }
        b'\r' => {
            more(stream, raw, 15)?;
            if &raw[..12] != V2_START {
                return Err("no v2 signature".to_owned());
            }
            more(stream, raw, usize::from(u16::from_be_bytes([raw[14], raw[15]])))?;
            let (ends, tlvs) = v2(raw)?;
            Ok(FakeHeader { ends, raw: raw.clone(), version: 2, tlvs })
        }
        _ => Err("neither version's first byte".to_owned()),
    }
}

/// Exactly `count` more bytes; what came of them is kept even if they are not all.
fn more(stream: &mut impl Read, raw: &mut Vec<u8>, count: usize) -> Result<(), String> {
    let before = raw.len();
    stream.by_ref().take(count as u64).read_to_end(raw).map_err(|error| error.to_string())?;
    if raw.len() - before == count { Ok(()) } else { Err("ended inside the header".to_owned()) }
}

type Ends = Option<(SocketAddr, SocketAddr)>;
type Items = Vec<(u8, Vec<u8>)>;

/// The line is canonical if it is what its own meaning would be written as.
fn v1(raw: &[u8]) -> Result<Ends, String> {
    let line = std::str::from_utf8(raw).map_err(|error| error.to_string())?;
    if line == "PROXY UNKNOWN\r\n" {
        return Ok(None);
    }
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let &[_, family, source, destination, source_port, destination_port] = words.as_slice() else {
        return Err(format!("{} words in {line:?}", words.len()));
    };
    let end = |ip: &str, port: &str| -> Result<SocketAddr, String> {
        Ok(SocketAddr::new(
            ip.parse().map_err(|_| format!("address {ip:?}"))?,
            port.parse().map_err(|_| format!("port {port:?}"))?,
        ))
    };
    let (source, destination) = (end(source, source_port)?, end(destination, destination_port)?);
    let canonical = format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    if fits && canonical == line {
        Ok(Some((source, destination)))
    } else {
        Err(format!("not canonical: {line:?}"))
    }
}

fn v2(raw: &[u8]) -> Result<(Ends, Items), String> {
    let body = &raw[16..];
    let (ends, mut rest) = match (raw[12], raw[13]) {
        (0x20, 0x00) => (None, body),
        (0x21, 0x11) if body.len() >= 12 => {
            let ip = |at: usize| IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&body[at..at + 4]).unwrap()));
            (
                Some((SocketAddr::new(ip(0), port(body, 8)), SocketAddr::new(ip(4), port(body, 10)))),
                &body[12..],
            )
        }
        (0x21, 0x21) if body.len() >= 36 => {
            let ip =
                |at: usize| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&body[at..at + 16]).unwrap()));
            (
                Some((SocketAddr::new(ip(0), port(body, 32)), SocketAddr::new(ip(16), port(body, 34)))),
                &body[36..],
            )
        }
        (command, family) => return Err(format!("command {command:#04x} with family {family:#04x}")),
    };
    let mut tlvs = Vec::new();
    while !rest.is_empty() {
        if rest.len() < 3 {
            return Err("a TLV without its length".to_owned());
        }
        let end = 3 + usize::from(u16::from_be_bytes([rest[1], rest[2]]));
        let value = rest.get(3..end).ok_or("a TLV over the end")?;
        tlvs.push((rest[0], value.to_vec()));
        rest = &rest[end..];
    }
    Ok((ends, tlvs))
}

fn port(body: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([body[at], body[at + 1]])
}
