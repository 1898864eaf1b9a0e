//! The line of version 1.
//!
//! Called by `decode.rs` for bytes that begin with `P`. One pass, no look-ahead for the line
//! end: every byte is judged where it stands, so that a wrong line is refused as soon as it is
//! wrong, however slowly it arrives, and its verdict is the same in one piece and in many.
mod ip6;
mod line;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use self::{
    ip6::Literal,
    line::{Field, Line, Stop, short},
};
use crate::{
    Addresses, Command, Decode, DecodeError, DecodeErrorKind, Header, MixedFamilies, Transport, V1_SIGNATURE,
    Version,
};

/// The fewest bytes a line has: `PROXY UNKNOWN` and CRLF.
pub(crate) const SHORTEST: usize = 15;

/// Decodes one line. Source: PROXY protocol 2.1.
pub(crate) fn decode(bytes: &[u8], mixed: MixedFamilies) -> Result<Decode<'_>, DecodeError> {
    match line(bytes, mixed) {
        Ok((addresses, len)) => {
            let raw = bytes.get(..len).unwrap_or(bytes);
            let transport = match addresses {
                Addresses::Unspecified => Transport::Unspecified,
                _ => Transport::Stream,
            };
            let header = Header {
                raw,
                version: Version::V1,
                command: Command::Proxy,
                transport,
                addresses,
                tlvs: &[],
            };
            Ok(Decode::Complete { header, len })
        }
        Err(Stop::Short(at_least)) => Ok(Decode::Incomplete { at_least }),
        Err(Stop::Wrong(kind, at)) => Err(DecodeError::new(kind, at, bytes)),
    }
}

/// Index of the first byte after the family and its space.
const ADDRESSES_AT: usize = 11;
/// Fewest bytes from behind a field to the end of the line, CRLF included.
const AFTER_SOURCE: usize = " :: 0 0\r\n".len();
const AFTER_SOURCE4: usize = " 0.0.0.0 0 0\r\n".len();
const AFTER_DESTINATION: usize = " 0 0\r\n".len();
const AFTER_SOURCE_PORT: usize = " 0\r\n".len();
const AFTER_DESTINATION_PORT: usize = "\r\n".len();

/// The addresses and the length of the line.
fn line(bytes: &[u8], mixed: MixedFamilies) -> Result<(Addresses<'_>, usize), Stop> {
    let Some(opening) = bytes.first_chunk::<ADDRESSES_AT>() else {
        return Err(explain_opening(bytes, mixed));
    };
    match (opening, mixed) {
        (b"PROXY TCP4 ", MixedFamilies::Refuse) => tcp4(bytes),
        (b"PROXY TCP6 ", MixedFamilies::Refuse) => tcp6(bytes),
        (b"PROXY TCP4 " | b"PROXY TCP6 ", MixedFamilies::Accept) => tcp_mixed(bytes),
        (b"PROXY UNKNO", _) => unknown(bytes, mixed),
        _ => Err(explain_opening(bytes, mixed)),
    }
}

/// At most 56 bytes long by its fields alone, so that it needs no other limit.
fn tcp4(bytes: &[u8]) -> Result<(Addresses<'_>, usize), Stop> {
    let mut line = Line { bytes, at: ADDRESSES_AT, last: usize::MAX };
    let source = line.ip4(AFTER_SOURCE4)?;
    let destination = line.ip4(AFTER_DESTINATION)?;
    let source_port = line.port(Field::SourcePort, AFTER_SOURCE_PORT, b' ')?;
    let destination_port = line.port(Field::DestinationPort, AFTER_DESTINATION_PORT, b'\r')?;
    line.line_feed()?;
    let source = SocketAddrV4::new(Ipv4Addr::from_bits(source), source_port);
    let destination = SocketAddrV4::new(Ipv4Addr::from_bits(destination), destination_port);
    Ok((Addresses::Inet { source, destination }, line.at))
}

fn tcp6(bytes: &[u8]) -> Result<(Addresses<'_>, usize), Stop> {
    let (ends, len) = ends6(bytes, MixedFamilies::Refuse)?;
    let (source, destination) = (ends.0.socket(), ends.1.socket());
    Ok((Addresses::Inet6 { source, destination }, len))
}

/// Either family name with literals of either family, as nginx writes them.
#[cold]
fn tcp_mixed(bytes: &[u8]) -> Result<(Addresses<'_>, usize), Stop> {
    let ((source, destination), len) = ends6(bytes, MixedFamilies::Accept)?;
    let addresses = match (source.plain_ip4(), destination.plain_ip4()) {
        (Some(source), Some(destination)) if bytes.starts_with(b"PROXY TCP4") => {
            Addresses::Inet { source, destination }
        }
        _ => Addresses::Inet6 { source: source.socket(), destination: destination.socket() },
    };
    Ok((addresses, len))
}

/// Both ends, IPv6 or v4-mapped, and the length of the line.
#[inline(always)]
fn ends6(bytes: &[u8], mixed: MixedFamilies) -> Result<((End, End), usize), Stop> {
    let mut line = Line { bytes, at: ADDRESSES_AT, last: usize::MAX };
    let (source, source_literal) = line.ip6(AFTER_SOURCE, mixed)?;
    line.limit(bytes, AFTER_DESTINATION);
    let (destination, destination_literal) = line.ip6(AFTER_DESTINATION, mixed)?;
    line.limit(bytes, AFTER_SOURCE_PORT);
    let source_port = line.port(Field::SourcePort, AFTER_SOURCE_PORT, b' ')?;
    line.limit(bytes, AFTER_DESTINATION_PORT);
    let destination_port = line.port(Field::DestinationPort, AFTER_DESTINATION_PORT, b'\r')?;
    line.limit(bytes, 1);
    line.line_feed()?;
    let source = End { address: source, literal: source_literal, port: source_port };
    let destination = End { address: destination, literal: destination_literal, port: destination_port };
    Ok(((source, destination), line.at))
}

/// One end of a `TCP6` line.
struct End {
    address: u128,
    literal: Literal,
    port: u16,
}

impl End {
    fn socket(&self) -> SocketAddrV6 {
        SocketAddrV6::new(Ipv6Addr::from_bits(self.address), self.port, 0, 0)
    }

    fn plain_ip4(&self) -> Option<SocketAddrV4> {
        let is_plain = self.literal == Literal::Ip4;
        is_plain.then(|| SocketAddrV4::new(Ipv4Addr::from_bits(self.address as u32), self.port))
    }
}

/// Skips whatever stands before the line end, unread.
fn unknown(bytes: &[u8], mixed: MixedFamilies) -> Result<(Addresses<'_>, usize), Stop> {
    const NAME: &[u8] = b"PROXY UNKNOWN";
    let Some(rest) = bytes.strip_prefix(NAME) else {
        return Err(explain_opening(bytes, mixed));
    };
    if let Some(byte) = rest.first()
        && !matches!(byte, b' ' | b'\r')
    {
        let kind = if *byte == b'\n' { DecodeErrorKind::V1Eol } else { DecodeErrorKind::V1Family };
        return Err(Stop::Wrong(kind, NAME.len()));
    }
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
    let mut line = Line { bytes, at: NAME.len().saturating_add(end), last: usize::MAX };
    line.limit(bytes, AFTER_DESTINATION_PORT);
    match line.peek() {
        Some(b'\r') => line.step(),
        Some(_) => return Err(Stop::Wrong(DecodeErrorKind::V1Eol, line.at)),
        None => return Err(short(line, AFTER_DESTINATION_PORT)),
    }
    line.limit(bytes, 1);
    line.line_feed()?;
    Ok((Addresses::Unspecified, line.at))
}

/// What `PROXY `, the family and its space lack or have wrong.
#[cold]
fn explain_opening(bytes: &[u8], mixed: MixedFamilies) -> Stop {
    if let Some(at) = V1_SIGNATURE.iter().zip(bytes).position(|(expected, byte)| expected != byte) {
        return Stop::Wrong(DecodeErrorKind::BadSignature, at);
    }
    let family = bytes.get(V1_SIGNATURE.len()..).unwrap_or(&[]);
    let shortest4 = match mixed {
        MixedFamilies::Refuse => ADDRESSES_AT.saturating_add("0.0.0.0".len()).saturating_add(AFTER_SOURCE4),
        MixedFamilies::Accept => SHORTEST6,
    };
    let (mut common, mut shortest) = (0, usize::MAX);
    for (name, least) in [(&b"UNKNOWN"[..], SHORTEST), (b"TCP6 ", SHORTEST6), (b"TCP4 ", shortest4)] {
        let same = name.iter().zip(family).take_while(|(expected, byte)| expected == byte).count();
        if same > common || shortest == usize::MAX {
            (common, shortest) = (same, least);
        }
    }
    let at = V1_SIGNATURE.len().saturating_add(common);
    match bytes.get(at) {
        None => Stop::Short(shortest.saturating_sub(bytes.len()).max(1)),
        Some(b'\n') => Stop::Wrong(DecodeErrorKind::V1Eol, at),
        // The name is whole, and the line ends where its space belongs.
        Some(b'\r') if common == 4 && family.first() == Some(&b'T') => {
            Stop::Wrong(DecodeErrorKind::V1Fields, at)
        }
        Some(_) => Stop::Wrong(DecodeErrorKind::V1Family, at),
    }
}

/// `PROXY TCP6 :: :: 0 0` and CRLF.
const SHORTEST6: usize = 22;
