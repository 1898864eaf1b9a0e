//! IPv6 addresses as text.
//!
//! Called by `v1.rs` through the cursor of `line.rs`.
use core::net::Ipv6Addr;

use super::line::{Line, Stop};

impl Line<'_> {
    /// Hexadecimal groups with at most one `::`, perhaps a dotted tail, and the space behind them.
    /// `missing`: from that space on.
    ///
    /// Source: PROXY protocol 2.1; the dotted tail is what HAProxy prints.
    pub(super) fn ip6(&mut self, missing: usize) -> Result<Ipv6Addr, Stop> {
        let mut groups = Groups { head: 0, tail: 0, room: 8, gap: false };
        // True directly behind "::", where the address may end.
        let mut open = false;
        if self.peek() == Some(b':') {
            self.step();
            self.expect(b':', missing.wrapping_add(1))?;
            groups.open_gap();
            open = true;
        }
        loop {
            let begin = *self;
            let (value, digits) = group(self.bytes.get(self.at..).unwrap_or(&[]));
            self.at = self.at.wrapping_add(digits);
            if digits > 0 {
                if groups.room == 0 {
                    return Err(begin.stop(0));
                }
                groups.push(value);
            }
            let may_end = (digits > 0 || open) && (groups.gap || groups.room == 0);
            match self.peek() {
                Some(b':') if digits > 0 && groups.room > 0 => {
                    self.step();
                    open = !groups.gap && self.peek() == Some(b':');
                    if open {
                        self.step();
                        groups.open_gap();
                    }
                }
                Some(b' ') if may_end => {
                    self.step();
                    return Ok(Ipv6Addr::from_bits(groups.head | groups.tail));
                }
                // Two groups, of which the first has just been taken for a hexadecimal one.
                Some(b'.') if digits > 0 && (groups.room == 1 || groups.gap && groups.room > 1) => {
                    let dot = self.at;
                    *self = begin;
                    let tail = self.ip4(missing).map_err(|stop| match stop {
                        // As a hexadecimal one it was right.
                        Stop::Wrong(at) => Stop::Wrong(at.max(dot)),
                        short @ Stop::Short(_) => short,
                    })?;
                    let tail = groups.tail >> 16 << 32 | u128::from(tail.to_bits());
                    return Ok(Ipv6Addr::from_bits(groups.head | tail));
                }
                _ => {
                    // "::" ends an address that is not begun or is in a group, a digit any other.
                    let own = match may_end {
                        true => 0,
                        false if digits > 0 || groups.room == 8 => 2,
                        false => 1,
                    };
                    return Err(self.stop(missing.wrapping_add(own)));
                }
            }
        }
    }
}

/// Value and number of the hexadecimal digits that `text` begins with; four at most are taken.
#[inline(always)]
fn group(text: &[u8]) -> (u32, usize) {
    // A window of fixed size, so that a digit costs no bounds check of its own.
    let window = match *text {
        [a, b, c, d, ..] => [a, b, c, d],
        [a, b, c] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        [a] => [a, 0, 0, 0],
        [] => [0; 4],
    };
    let (mut value, mut digits) = (0, 0usize);
    for byte in window {
        let digit = match byte {
            b'0'..=b'9' => byte.wrapping_sub(b'0'),
            b'a'..=b'f' => byte.wrapping_sub(b'a' - 10),
            b'A'..=b'F' => byte.wrapping_sub(b'A' - 10),
            _ => break,
        };
        value = value << 4 | u32::from(digit);
        digits = digits.wrapping_add(1);
    }
    (value, digits)
}

/// The groups of an IPv6 address read so far.
struct Groups {
    /// Groups before `::`, in their final place.
    head: u128,
    /// Groups since `::`, or since the beginning.
    tail: u128,
    /// Groups that still fit; `::` stands for one at least.
    room: u32,
    /// `::` has been seen.
    gap: bool,
}

impl Groups {
    fn push(&mut self, group: u32) {
        self.tail = self.tail << 16 | u128::from(group);
        self.room = self.room.wrapping_sub(1);
    }

    fn open_gap(&mut self) {
        // Nothing is shifted where nothing came before.
        self.head = self.tail.checked_shl(self.room.wrapping_mul(16)).unwrap_or(0);
        self.tail = 0;
        self.gap = true;
        self.room = self.room.wrapping_sub(1);
    }
}
