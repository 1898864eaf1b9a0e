//! The line of version 1.
//!
//! Called by `decode.rs` for bytes that begin with `P`. One pass, no look-ahead for the line
//! end: every byte is judged where it stands, so that a wrong line is refused as soon as it is
//! wrong, however slowly it arrives, and its verdict is the same in one piece and in many.
//! The pass only says where it stopped; a cold function then says why.
mod ip6;
mod line;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use self::line::{Line, Stop};
use crate::{
    Addresses, Command, Decode, DecodeError, DecodeErrorKind, Header, MixedFamilies, Transport, V1_MAX_LEN,
    Version,
};

/// The fewest bytes a line has: `PROXY UNKNOWN` and CRLF.
pub(crate) const SHORTEST: usize = 15;

/// Decodes one line. Source: PROXY protocol 2.1.
pub(crate) fn decode(bytes: &[u8], mixed: MixedFamilies) -> Result<Decode<'_>, DecodeError> {
    let line = bytes.get(..V1_MAX_LEN).unwrap_or(bytes);
    let (addresses, len) = match read(line, mixed) {
        Ok(read) => read,
        Err(stop) => return explain(line, mixed, stop),
    };
    let transport = match addresses {
        Addresses::Unspecified => Transport::Unspecified,
        _ => Transport::Stream,
    };
    let raw = line.get(..len).unwrap_or(line);
    let header =
        Header { raw, version: Version::V1, command: Command::Proxy, transport, addresses, tlvs: &[] };
    Ok(Decode::Complete { header, len })
}

const TCP4: &[u8; 11] = b"PROXY TCP4 ";
const TCP6: &[u8; 11] = b"PROXY TCP6 ";
const UNKNOWN: &[u8; 13] = b"PROXY UNKNOWN";

/// Fewest bytes from behind an address to the end of the line.
const AFTER_SOURCE4: usize = " 0.0.0.0 0 0\r\n".len();
const AFTER_SOURCE: usize = " :: 0 0\r\n".len();
const AFTER_DESTINATION: usize = " 0 0\r\n".len();

/// The addresses and the length of the line.
fn read(line: &[u8], mixed: MixedFamilies) -> Result<(Addresses<'_>, usize), Stop> {
    let mut rest = Line { bytes: line, at: TCP4.len() };
    let addresses = match (line.first_chunk(), mixed) {
        (Some(TCP4), MixedFamilies::Refuse) => {
            let source = rest.ip4(AFTER_SOURCE4)?;
            let destination = rest.ip4(AFTER_DESTINATION)?;
            inet(source, destination, rest.ports()?)
        }
        (Some(TCP6), MixedFamilies::Refuse) => {
            let source = rest.ip6(AFTER_SOURCE)?;
            let destination = rest.ip6(AFTER_DESTINATION)?;
            inet6(source, destination, rest.ports()?)
        }
        // Either name with literals of either family, as nginx writes them.
        (Some(TCP4 | TCP6), MixedFamilies::Accept) => {
            let source = rest.ip4_or_ip6(AFTER_SOURCE)?;
            let destination = rest.ip4_or_ip6(AFTER_DESTINATION)?;
            let ports = rest.ports()?;
            match (source, destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) if line.starts_with(TCP4) => {
                    inet(source, destination, ports)
                }
                _ => inet6(to_ip6(source), to_ip6(destination), ports),
            }
        }
        _ if line.starts_with(UNKNOWN) => {
            rest.at = UNKNOWN.len();
            rest.skip_line()?;
            Addresses::Unspecified
        }
        _ => return Err(opening(line, mixed)),
    };
    rest.expect(b'\n', 1)?;
    Ok((addresses, rest.at))
}

fn inet(source: Ipv4Addr, destination: Ipv4Addr, [from, to]: [u16; 2]) -> Addresses<'static> {
    let (source, destination) = (SocketAddrV4::new(source, from), SocketAddrV4::new(destination, to));
    Addresses::Inet { source, destination }
}

fn inet6(source: Ipv6Addr, destination: Ipv6Addr, [from, to]: [u16; 2]) -> Addresses<'static> {
    let source = SocketAddrV6::new(source, from, 0, 0);
    let destination = SocketAddrV6::new(destination, to, 0, 0);
    Addresses::Inet6 { source, destination }
}

/// IPv4 beside IPv6 is v4-mapped.
fn to_ip6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// What `PROXY `, the family and its space lack or have wrong.
#[cold]
fn opening(line: &[u8], mixed: MixedFamilies) -> Stop {
    let shortest4 = if mixed == MixedFamilies::Accept { 22 } else { 32 };
    let mut common = 0;
    let mut shortest = usize::MAX;
    for (name, least) in [(&UNKNOWN[..], SHORTEST), (TCP6, 22), (TCP4, shortest4)] {
        let same = name.iter().zip(line).take_while(|(expected, byte)| expected == byte).count();
        common = same.max(common);
        if same == line.len() {
            shortest = least.min(shortest);
        }
    }
    if common < line.len() { Stop::Wrong(common) } else { Stop::Short(shortest.wrapping_sub(line.len())) }
}

/// Why there is no header (yet).
#[cold]
fn explain(line: &[u8], mixed: MixedFamilies, stop: Stop) -> Result<Decode<'_>, DecodeError> {
    // A line is too long at its first byte after which no ending fits, even if all of it is there.
    // The longest ending that this can be about is `:: 0 0` and CRLF.
    for end in V1_MAX_LEN.wrapping_sub(8)..=line.len() {
        if let Some(begun) = line.get(..end)
            && let Err(Stop::Short(missing)) = read(begun, mixed)
            && end.wrapping_add(missing) > V1_MAX_LEN
        {
            return Err(DecodeError::new(DecodeErrorKind::V1TooLong, end.wrapping_sub(1), line));
        }
    }
    match stop {
        Stop::Short(at_least) => Ok(Decode::Incomplete { at_least }),
        Stop::Wrong(at) => Err(DecodeError::new(reason(line, at), at, line)),
    }
}

/// Which rule the byte at `at` breaks, all before it being right.
fn reason(line: &[u8], at: usize) -> DecodeErrorKind {
    let before = line.get(..at).unwrap_or(line);
    let spaces = before.iter().filter(|byte| **byte == b' ').count();
    match (spaces, before.last(), line.get(at)) {
        (0, ..) => DecodeErrorKind::BadSignature,
        (_, Some(b'\r'), _) | (_, _, Some(b'\n')) => DecodeErrorKind::V1Eol,
        // The line ends where another field belongs, a field is empty, or there is a seventh.
        (1, Some(b'4' | b'6'), Some(b'\r'))
        | (2..=4, _, Some(b'\r'))
        | (2 | 3, Some(b' '), Some(b' '))
        | (5, Some(b'0'..=b'9'), Some(b' ')) => DecodeErrorKind::V1Fields,
        (1, ..) => DecodeErrorKind::V1Family,
        (2 | 3, ..) => DecodeErrorKind::V1Address,
        _ => DecodeErrorKind::V1Port,
    }
}
