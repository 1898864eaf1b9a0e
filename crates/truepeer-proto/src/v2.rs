//! The binary block of version 2: signature, fixed part, addresses.
//!
//! Called by `decode.rs` for bytes that begin with CR. TLVs are checked in `tlv/check.rs`.
//!
//! The straight path only asks whether the fixed part is one of the defined ones; a cold
//! function explains what is wrong, byte by byte in order, for whole and for partial input
//! alike, so that a verdict never depends on how the bytes arrived.
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::{
    Addresses, Checksum, Command, Decode, DecodeError, DecodeErrorKind, Header, Transport, UnixAddress,
    V2_MIN_LEN, V2_SIGNATURE, Version, tlv::check,
};

/// Version and command. Source: PROXY protocol 2.2, byte 12.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Address block lengths. Source: PROXY protocol 2.2, byte 13.
const INET_LEN: u16 = 12;
const INET6_LEN: u16 = 36;
const UNIX_LEN: u16 = 216;

/// Every rule: the frame, then the TLVs.
pub(crate) fn decode(bytes: &[u8], max_len: usize, checksum: Checksum) -> Result<Decode<'_>, DecodeError> {
    let mut result = frame(bytes, max_len);
    // In place, since a header is not copied for nothing.
    if let Ok(Decode::Complete { header, .. }) = &mut result
        && !header.tlvs.is_empty()
        && let Err(error) = check::check(header, checksum)
    {
        result = Err(error);
    }
    result
}

/// Signature, fixed part, length and addresses. Source: PROXY protocol 2.2.
#[inline]
pub(crate) fn frame(bytes: &[u8], max_len: usize) -> Result<Decode<'_>, DecodeError> {
    let Some(fixed) = bytes.first_chunk::<V2_MIN_LEN>() else {
        return explain(bytes, max_len);
    };
    let [.., version_command, family_transport, high, low] = *fixed;
    let length = u16::from_be_bytes([high, low]);
    let len = V2_MIN_LEN.wrapping_add(usize::from(length));
    let Some((enough, transport)) = defined(version_command, family_transport) else {
        return explain(bytes, max_len);
    };
    if !fixed.starts_with(&V2_SIGNATURE) || length < enough || len > max_len {
        return explain(bytes, max_len);
    }
    let Some((raw, _)) = bytes.split_at_checked(len) else {
        return Ok(Decode::Incomplete { at_least: len.wrapping_sub(bytes.len()) });
    };
    let body = raw.get(V2_MIN_LEN..).unwrap_or(&[]);
    let block = match enough {
        INET_LEN => inet(body),
        INET6_LEN => inet6(body),
        UNIX_LEN => unix(body),
        // Only 0x00 says where TLVs would begin.
        _ if family_transport == 0x00 => Some((Addresses::Unspecified, body)),
        _ => None,
    };
    let (addresses, tlvs) = block.unwrap_or((Addresses::Unspecified, &[]));
    let command = if version_command == LOCAL { Command::Local } else { Command::Proxy };
    let header = Header { raw, version: Version::V2, command, transport, addresses, tlvs };
    Ok(Decode::Complete { header, len })
}

/// Length of the address block and kind of socket that bytes 12 and 13 stand for.
#[inline(always)]
fn defined(version_command: u8, family_transport: u8) -> Option<(u16, Transport)> {
    Some(match (version_command, family_transport) {
        // Under LOCAL the family octet is ignored.
        (LOCAL, _) | (PROXY, 0x00) => (0, Transport::Unspecified),
        (PROXY, 0x11) => (INET_LEN, Transport::Stream),
        (PROXY, 0x12) => (INET_LEN, Transport::Datagram),
        (PROXY, 0x21) => (INET6_LEN, Transport::Stream),
        (PROXY, 0x22) => (INET6_LEN, Transport::Datagram),
        (PROXY, 0x31) => (UNIX_LEN, Transport::Stream),
        (PROXY, 0x32) => (UNIX_LEN, Transport::Datagram),
        _ => return None,
    })
}

/// The IPv4 block and what follows it.
#[inline]
fn inet(body: &[u8]) -> Option<(Addresses<'_>, &[u8])> {
    let (&[a, b, c, d, e, f, g, h, s0, s1, d0, d1], rest) = body.split_first_chunk::<12>()?;
    let source = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([s0, s1]));
    let destination = SocketAddrV4::new(Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([d0, d1]));
    Some((Addresses::Inet { source, destination }, rest))
}

/// The IPv6 block and what follows it.
#[inline]
pub(crate) fn inet6(body: &[u8]) -> Option<(Addresses<'_>, &[u8])> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (&[s0, s1, d0, d1], rest) = rest.split_first_chunk::<4>()?;
    let source = SocketAddrV6::new(Ipv6Addr::from(*source), u16::from_be_bytes([s0, s1]), 0, 0);
    let destination = SocketAddrV6::new(Ipv6Addr::from(*destination), u16::from_be_bytes([d0, d1]), 0, 0);
    Some((Addresses::Inet6 { source, destination }, rest))
}

/// The UNIX block and what follows it.
fn unix(body: &[u8]) -> Option<(Addresses<'_>, &[u8])> {
    let (source, rest) = body.split_first_chunk::<108>()?;
    let (destination, rest) = rest.split_first_chunk::<108>()?;
    Some((Addresses::Unix { source: UnixAddress(source), destination: UnixAddress(destination) }, rest))
}

/// What the first bytes of a block lack or have wrong, at the first byte that decides.
#[cold]
fn explain(bytes: &[u8], max_len: usize) -> Result<Decode<'_>, DecodeError> {
    let wrong = |kind, at| Err(DecodeError::new(kind, at, bytes));
    if let Some(at) = V2_SIGNATURE.iter().zip(bytes).position(|(expected, byte)| expected != byte) {
        return wrong(DecodeErrorKind::BadSignature, at);
    }
    match bytes.get(12) {
        Some(octet) if octet >> 4 != 2 => return wrong(DecodeErrorKind::V2Version, 12),
        Some(octet) if octet & 15 > 1 => return wrong(DecodeErrorKind::V2Command, 12),
        _ => {}
    }
    let enough = match (bytes.get(12), bytes.get(13)) {
        (Some(version_command), Some(octet)) => match defined(*version_command, *octet) {
            Some((enough, _)) => enough,
            None if *octet >= 0x40 => return wrong(DecodeErrorKind::V2Family, 13),
            None if octet & 15 > 2 => return wrong(DecodeErrorKind::V2Protocol, 13),
            None => return wrong(DecodeErrorKind::V2Combination, 13),
        },
        _ => 0,
    };
    if let (Some(high), Some(low)) = (bytes.get(14), bytes.get(15)) {
        let length = u16::from_be_bytes([*high, *low]);
        if length < enough {
            return wrong(DecodeErrorKind::V2Length, 14);
        }
        if V2_MIN_LEN.saturating_add(usize::from(length)) > max_len {
            return wrong(DecodeErrorKind::TooLong, 14);
        }
    }
    Ok(Decode::Incomplete { at_least: V2_MIN_LEN.saturating_sub(bytes.len()).max(1) })
}
