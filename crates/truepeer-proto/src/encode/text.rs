//! The text of a version 1 line.
//!
//! Made in a buffer of its own first, so that its length is known before a byte of the
//! caller's slice changes. Numbers are written as blocks of fixed size, of which the next
//! one overwrites what was too much: that costs a fifth of copying the right number of digits.
use core::net::{Ipv4Addr, Ipv6Addr};

use super::Encoder;
use crate::{Addresses, EncodeError, Transport};

/// Writes the whole line to the front of `out`.
// Apart, so that writing version 2 does not pay for its buffer.
#[inline(never)]
pub(super) fn encode(header: &Encoder<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    let mut line = Line::empty();
    line.fill(header)?;
    line.copy_to(out)
}

/// Length of the whole line.
pub(super) fn encoded_len(header: &Encoder<'_>) -> Result<usize, EncodeError> {
    let mut line = Line::empty();
    line.fill(header)?;
    Ok(line.len)
}

/// A line in the making; 136 bytes on the stack.
struct Line {
    bytes: [u8; CAPACITY],
    len: usize,
}

/// The longest line has 104 bytes, the last block may reach eight further.
const CAPACITY: usize = 128;

impl Line {
    fn empty() -> Self {
        Self { bytes: [0; CAPACITY], len: 0 }
    }

    /// The whole line. Source: PROXY protocol 2.1.
    #[inline(always)]
    fn fill(&mut self, header: &Encoder<'_>) -> Result<(), EncodeError> {
        if !header.tlvs.is_empty() || header.checksum || header.transport == Transport::Datagram {
            return Err(EncodeError::NotInV1);
        }
        match header.addresses {
            Addresses::Unspecified => self.put(*b"PROXY UNKNOWN"),
            Addresses::Inet { source, destination } => {
                self.put(*b"PROXY TCP4 ");
                self.ip4(*source.ip());
                self.ip4(*destination.ip());
                self.decimal(source.port());
                self.put(*b" ");
                self.decimal(destination.port());
            }
            Addresses::Inet6 { source, destination } => {
                self.put(*b"PROXY TCP6 ");
                self.ip6(*source.ip());
                self.ip6(*destination.ip());
                self.decimal(source.port());
                self.put(*b" ");
                self.decimal(destination.port());
            }
            Addresses::Unix { .. } => return Err(EncodeError::NotInV1),
        }
        self.put(*b"\r\n");
        Ok(())
    }

    fn copy_to(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let (Some(place), Some(line)) = (out.get_mut(..self.len), self.bytes.get(..self.len)) else {
            return Err(EncodeError::BufferTooSmall { needed: self.len });
        };
        place.copy_from_slice(line);
        Ok(self.len)
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, text: [u8; N]) {
        self.put_some(text, N);
    }

    /// Writes all of `block` but counts `used` bytes of it.
    #[inline(always)]
    fn put_some<const N: usize>(&mut self, block: [u8; N], used: usize) {
        if let Some(place) = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<N>()) {
            *place = block;
            self.len = self.len.wrapping_add(used);
        }
    }

    /// Four octets and a space.
    #[inline(always)]
    fn ip4(&mut self, address: Ipv4Addr) {
        let [a, b, c, d] = address.octets();
        self.octet(a, b'.');
        self.octet(b, b'.');
        self.octet(c, b'.');
        self.octet(d, b' ');
    }

    #[inline(always)]
    fn octet(&mut self, value: u8, end: u8) {
        let digits = [value / 100, value / 10 % 10, value % 10].map(|digit| digit | b'0');
        let [hundreds, tens, ones] = digits;
        let skip = u32::from(value < 100).wrapping_add(u32::from(value < 10));
        let block = u32::from_le_bytes([hundreds, tens, ones, end]) >> skip.wrapping_mul(8);
        self.put_some(block.to_le_bytes(), 4usize.wrapping_sub(skip as usize));
    }

    #[inline(always)]
    fn decimal(&mut self, value: u16) {
        let digits = [value / 10_000, value / 1000 % 10, value / 100 % 10, value / 10 % 10, value % 10];
        let [e, d, c, b, a] = digits.map(|digit| digit as u8 | b'0');
        let skip = [10_000, 1000, 100, 10].map(|least| u32::from(value < least)).iter().sum::<u32>();
        let block = u64::from_le_bytes([e, d, c, b, a, 0, 0, 0]) >> skip.wrapping_mul(8);
        self.put_some(block.to_le_bytes(), 5usize.wrapping_sub(skip as usize));
    }

    /// The shortest form of RFC 5952 and a space; in hexadecimal throughout, since the
    /// specification knows no dotted tail.
    #[inline(always)]
    fn ip6(&mut self, address: Ipv6Addr) {
        let groups = address.segments();
        let zeros = longest_zeros(groups);
        for (at, group) in (0u32..).zip(groups) {
            if at == zeros.begin {
                // The colon before it is the one that ended the last group.
                if at == 0 {
                    self.put(*b":");
                }
                self.put(*b":");
            }
            if at < zeros.begin || at >= zeros.end {
                self.hexadecimal(group);
            }
        }
        if zeros.end != 8 {
            // In place of the colon behind the last group.
            self.len = self.len.wrapping_sub(1);
        }
        self.put(*b" ");
    }

    /// A group and a colon.
    #[inline(always)]
    fn hexadecimal(&mut self, group: u16) {
        let [high, low] = group.to_be_bytes();
        let nibbles = u32::from_le_bytes([high >> 4, high & 15, low >> 4, low & 15]);
        // A byte above nine carries into its high half when six is added.
        let letters = nibbles.wrapping_add(0x0606_0606) >> 4 & 0x0101_0101;
        let text =
            nibbles.wrapping_add(0x3030_3030).wrapping_add(letters.wrapping_mul(u32::from(b'a' - b'0' - 10)));
        let skip = (group | 1).leading_zeros() / 4;
        let block = (u64::from(text) | u64::from(b':') << 32) >> skip.wrapping_mul(8);
        self.put_some(block.to_le_bytes(), 5usize.wrapping_sub(skip as usize));
    }
}

/// A run of groups, from `begin` to before `end`.
#[derive(Clone, Copy)]
struct Run {
    begin: u32,
    end: u32,
}

/// The first longest run of two zero groups or more; `begin` is 8 without one.
#[inline(always)]
fn longest_zeros(groups: [u16; 8]) -> Run {
    // Bit n stands for a run of `len` zero groups that begins with group n.
    let mut runs = (0u32..).zip(groups).fold(0u32, |bits, (at, group)| bits | u32::from(group == 0) << at);
    let mut len = 1u32;
    while runs & runs >> 1 != 0 {
        runs &= runs >> 1;
        len = len.wrapping_add(1);
    }
    let begin = if len > 1 { runs.trailing_zeros() } else { 8 };
    Run { begin, end: begin.wrapping_add(len) }
}
