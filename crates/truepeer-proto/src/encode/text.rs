//! The text of a version 1 line.
//!
//! Made in a buffer of its own first, so that its length is known before a byte of the
//! caller's slice changes. Numbers are written as blocks of fixed size, of which the next
//! one overwrites what was too much: that costs a fifth of copying the right number of digits.
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use super::Encoder;
use crate::{Addresses, EncodeError, Transport};

/// Writes the whole line to the front of `out`.
// Apart, so that writing version 2 does not pay for its buffer.
#[inline(never)]
pub(super) fn encode(header: &Encoder<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    let mut buf = [0; CAPACITY];
    let len = write(header, &mut buf)?;
    let (Some(place), Some(line)) = (out.get_mut(..len), buf.get(..len)) else {
        return Err(EncodeError::BufferTooSmall { needed: len });
    };
    place.copy_from_slice(line);
    Ok(len)
}

/// Length of the whole line.
pub(super) fn encoded_len(header: &Encoder<'_>) -> Result<usize, EncodeError> {
    write(header, &mut [0; CAPACITY])
}

/// Writes the whole line and returns its length. Source: PROXY protocol 2.1.
fn write(header: &Encoder<'_>, buf: &mut [u8; CAPACITY]) -> Result<usize, EncodeError> {
    let plain = header.tlvs.is_empty() && header.ssl.is_none() && !header.checksum;
    if !plain || header.transport == Transport::Datagram {
        return Err(EncodeError::NotInV1);
    }
    let mut line = Line { buf, len: 0 };
    let (from, to) = match header.addresses {
        Addresses::Unspecified => {
            line.put(*b"PROXY UNKNOWN\r\n");
            return Ok(line.len);
        }
        Addresses::Inet { source, destination } => {
            line.put(*b"PROXY TCP4 ");
            line.ip4(*source.ip());
            line.ip4(*destination.ip());
            (source.port(), destination.port())
        }
        Addresses::Inet6 { source, destination } => {
            line.put(*b"PROXY TCP6 ");
            line.ip6(*source.ip());
            line.ip6(*destination.ip());
            (source.port(), destination.port())
        }
        Addresses::Unix { .. } => return Err(EncodeError::NotInV1),
    };
    line.decimal(from, b' ');
    line.decimal(to, b'\r');
    line.put(*b"\n");
    Ok(line.len)
}

/// The longest line has 104 bytes, the last block may reach eight further.
const CAPACITY: usize = 128;

/// A line in the making.
// It borrows its bytes, so that `len` stays in a register while they are written.
struct Line<'a> {
    buf: &'a mut [u8; CAPACITY],
    len: usize,
}

impl Line<'_> {
    fn put<const N: usize>(&mut self, text: [u8; N]) {
        self.put_some(text, N);
    }

    /// Writes all of `block` but counts `used` bytes of it.
    fn put_some<const N: usize>(&mut self, block: [u8; N], used: usize) {
        if let Some(place) = self.buf.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<N>()) {
            *place = block;
            self.len = self.len.wrapping_add(used);
        }
    }

    /// Four octets and a space.
    fn ip4(&mut self, address: Ipv4Addr) {
        let [a, b, c, d] = address.octets();
        self.decimal(a.into(), b'.');
        self.decimal(b.into(), b'.');
        self.decimal(c.into(), b'.');
        self.decimal(d.into(), b' ');
    }

    fn decimal(&mut self, value: u16, end: u8) {
        let digits = [value / 10_000, value / 1000 % 10, value / 100 % 10, value / 10 % 10, value % 10];
        let [a, b, c, d, e] = digits.map(|digit| digit as u8 | b'0');
        self.number(u64::from_le_bytes([a, b, c, d, e, end, 0, 0]));
    }

    /// The shortest form of RFC 5952 and a space; in hexadecimal throughout, since the
    /// specification knows no dotted tail.
    fn ip6(&mut self, address: Ipv6Addr) {
        let groups = address.segments().map(hexadecimal);
        let zeros = longest_zeros(address.segments());
        self.groups(groups.get(..zeros.start).unwrap_or(&groups));
        if !zeros.is_empty() {
            self.put(*b"::");
        }
        self.groups(groups.get(zeros.end..).unwrap_or(&[]));
        self.put(*b" ");
    }

    /// Groups with colons between them.
    fn groups(&mut self, groups: &[u32]) {
        for digits in groups {
            // With a zero before them they are five.
            self.number(u64::from(*digits) << 8 | u64::from_le_bytes(*b"0\0\0\0\0:\0\0"));
        }
        // The last one's colon.
        self.len = self.len.wrapping_sub(usize::from(!groups.is_empty()));
    }

    /// Five digits without the zeros that lead them, and the byte that ends them; the first one lowest.
    fn number(&mut self, block: u64) {
        // Zeros are empty bytes then, but not the last of the five, which stays in any case.
        let skip = (block ^ u64::from_le_bytes(*b"0000\0\0\0\0")).trailing_zeros() / 8;
        self.put_some((block >> skip.wrapping_mul(8)).to_le_bytes(), 6usize.wrapping_sub(skip as usize));
    }
}

/// Four digits, the first one lowest.
// Free of branches and tables, so that the compiler makes several groups at once.
fn hexadecimal(group: u16) -> u32 {
    let octets = u32::from(group.swap_bytes());
    let apart = (octets | octets << 8) & 0x00ff_00ff;
    let nibbles = (apart >> 4 | apart << 8) & 0x0f0f_0f0f;
    // A byte above nine carries into its high half when six is added.
    let letters = nibbles.wrapping_add(0x0606_0606) >> 4 & 0x0101_0101;
    nibbles.wrapping_add(0x3030_3030).wrapping_add(letters.wrapping_mul(u32::from(b'a' - b'0' - 10)))
}

/// The first longest run of two zero groups or more; empty, and behind all groups, without one.
fn longest_zeros(groups: [u16; 8]) -> Range<usize> {
    // Bit n stands for a run of `len` zero groups that begins with group n.
    let mut runs = (0u32..).zip(groups).fold(0u32, |bits, (at, group)| bits | u32::from(group == 0) << at);
    let mut len = 1usize;
    while runs & runs >> 1 != 0 {
        runs &= runs >> 1;
        len = len.wrapping_add(1);
    }
    let begin = runs.trailing_zeros() as usize;
    if len > 1 { begin..begin.wrapping_add(len) } else { 8..8 }
}
