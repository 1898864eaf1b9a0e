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
    let Line { bytes, len } = Line::new(header)?;
    let (Some(place), Some(line)) = (out.get_mut(..len), bytes.get(..len)) else {
        return Err(EncodeError::BufferTooSmall { needed: len });
    };
    place.copy_from_slice(line);
    Ok(len)
}

/// Length of the whole line.
pub(super) fn encoded_len(header: &Encoder<'_>) -> Result<usize, EncodeError> {
    Ok(Line::new(header)?.len)
}

/// A line in the making; 136 bytes on the stack.
struct Line {
    bytes: [u8; CAPACITY],
    len: usize,
}

/// The longest line has 104 bytes, the last block may reach eight further.
const CAPACITY: usize = 128;

impl Line {
    /// The whole line. Source: PROXY protocol 2.1.
    #[inline(always)]
    fn new(header: &Encoder<'_>) -> Result<Self, EncodeError> {
        let plain = header.tlvs.is_empty() && header.ssl.is_none() && !header.checksum;
        if !plain || header.transport == Transport::Datagram {
            return Err(EncodeError::NotInV1);
        }
        let mut line = Self { bytes: [0; CAPACITY], len: 0 };
        let (from, to) = match header.addresses {
            Addresses::Unspecified => {
                line.put(*b"PROXY UNKNOWN\r\n");
                return Ok(line);
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
        Ok(line)
    }

    fn put<const N: usize>(&mut self, text: [u8; N]) {
        self.put_some(text, N);
    }

    /// Writes all of `block` but counts `used` bytes of it.
    fn put_some<const N: usize>(&mut self, block: [u8; N], used: usize) {
        if let Some(place) = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<N>()) {
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

    #[inline(always)]
    fn decimal(&mut self, value: u16, end: u8) {
        let digits = [value / 10_000, value / 1000 % 10, value / 100 % 10, value / 10 % 10, value % 10];
        let [a, b, c, d, e] = digits.map(|digit| digit as u8 | b'0');
        let skip = [10_000, 1000, 100, 10].map(|least| u32::from(value < least)).iter().sum::<u32>();
        let block = u64::from_le_bytes([a, b, c, d, e, end, 0, 0]) >> skip.wrapping_mul(8);
        self.put_some(block.to_le_bytes(), 6usize.wrapping_sub(skip as usize));
    }

    /// The shortest form of RFC 5952 and a space; in hexadecimal throughout, since the
    /// specification knows no dotted tail.
    #[inline(always)]
    fn ip6(&mut self, address: Ipv6Addr) {
        let groups = address.segments();
        let zeros = longest_zeros(groups);
        self.groups(groups.get(..zeros.start).unwrap_or(&groups));
        if !zeros.is_empty() {
            self.put(*b"::");
        }
        self.groups(groups.get(zeros.end..).unwrap_or(&[]));
        self.put(*b" ");
    }

    /// Groups with colons between them.
    fn groups(&mut self, groups: &[u16]) {
        for group in groups {
            self.hexadecimal(*group);
        }
        // The last one's colon.
        self.len = self.len.wrapping_sub(usize::from(!groups.is_empty()));
    }

    /// A group and a colon.
    fn hexadecimal(&mut self, group: u16) {
        // One nibble in each byte, the first one lowest.
        let bytes = (u32::from(group) << 8 | u32::from(group)) & 0x00ff_00ff;
        let nibbles = ((bytes << 4 | bytes) & 0x0f0f_0f0f).swap_bytes();
        // A byte above nine carries into its high half when six is added.
        let letters = nibbles.wrapping_add(0x0606_0606) >> 4 & 0x0101_0101;
        let text =
            nibbles.wrapping_add(0x3030_3030).wrapping_add(letters.wrapping_mul(u32::from(b'a' - b'0' - 10)));
        let skip = (group | 1).leading_zeros() / 4;
        let block = (u64::from(text) | u64::from(b':') << 32) >> skip.wrapping_mul(8);
        self.put_some(block.to_le_bytes(), 5usize.wrapping_sub(skip as usize));
    }
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
