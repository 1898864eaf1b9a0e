//! IPv6 addresses as text.
//!
//! Called by `v1.rs`. Reads groups through windows of four bytes, so that a digit costs no
//! bounds check of its own.
use super::line::{Line, Stop};
use crate::MixedFamilies;

/// Which kind of literal an address was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    Ip4,
    Ip6,
}

impl Line<'_> {
    /// Hexadecimal groups with at most one `::`, perhaps a dotted tail, and the space behind them.
    /// `after`: as for `ip4`. Source: PROXY protocol 2.1; the dotted tail is what HAProxy prints.
    #[inline(always)]
    pub(super) fn ip6(&mut self, after: usize, mixed: MixedFamilies) -> Result<(u128, Literal), Stop> {
        // A copy is lent, so that this one can stay in registers.
        let line = *self;
        let (address, literal, at) = ip6(&line, after, mixed)?;
        self.at = at;
        Ok((address, literal))
    }
}

/// As `Line::ip6`, with the index behind the address.
fn ip6(line: &Line<'_>, after: usize, mixed: MixedFamilies) -> Result<(u128, Literal, usize), Stop> {
    let mut groups = Groups { tail: 0, room: 8, gap: false, head: 0 };
    let mut rest = line.bytes.get(line.at..).unwrap_or(&[]);
    // True directly behind "::", where the address may end.
    let mut may_end = false;
    if let [b':', behind @ ..] = rest {
        let [b':', behind @ ..] = behind else {
            return Err(line.refuse(behind, after.wrapping_add(1)));
        };
        rest = behind;
        groups.open_gap();
        may_end = true;
    }
    loop {
        let (value, digits) = group(rest);
        let behind = rest.get(digits..).unwrap_or(&[]);
        // A fifth digit is wrong, and so is the first of a group for which there is no room.
        if digits > 0 && groups.room == 0 {
            return Err(line.refuse(rest, 0));
        }
        let Some((end, next)) = behind.split_first() else {
            return Err(line.refuse(behind, after.wrapping_add(groups.missing(digits > 0, may_end))));
        };
        match end {
            b':' if digits > 0 => {
                groups.push(value);
                rest = next;
                may_end = false;
                if groups.room == 0 {
                    return Err(line.refuse(behind, 0));
                }
                if let [b':', beyond @ ..] = next {
                    if groups.gap {
                        return Err(line.refuse(next, 0));
                    }
                    groups.open_gap();
                    rest = beyond;
                    may_end = true;
                }
            }
            b' ' if digits > 0 || may_end => {
                if digits > 0 {
                    groups.push(value);
                }
                let Some(address) = groups.finish() else {
                    return Err(line.refuse(behind, 0));
                };
                return Ok((address, Literal::Ip6, line.bytes.len().wrapping_sub(next.len())));
            }
            b'.' if digits > 0 => {
                let is_plain = mixed == MixedFamilies::Accept && groups.room == 8;
                if !is_plain && !groups.takes_dotted_tail() {
                    return Err(line.refuse(behind, 0));
                }
                let (tail, at) = dotted_tail(line, rest, digits, after)?;
                if is_plain {
                    return Ok((0xffff_0000_0000 | u128::from(tail), Literal::Ip4, at));
                }
                return Ok((groups.head | groups.tail << 32 | u128::from(tail), Literal::Ip6, at));
            }
            _ => return Err(line.refuse(behind, 0)),
        }
    }
}

/// Value and number of the hexadecimal digits that `text` begins with; four at most are taken.
#[inline(always)]
fn group(text: &[u8]) -> (u32, usize) {
    let window = match text.first_chunk::<4>() {
        Some(window) => *window,
        None => padded(text),
    };
    let (mut value, mut digits) = (0u32, 0usize);
    for byte in window {
        let digit = HEX.get(usize::from(byte)).copied().unwrap_or(NO_HEX);
        if digit == NO_HEX {
            break;
        }
        value = value << 4 | u32::from(digit);
        digits = digits.wrapping_add(1);
    }
    (value, digits)
}

/// The last bytes received, and then what is no digit.
fn padded(text: &[u8]) -> [u8; 4] {
    let mut window = [0; 4];
    for (place, byte) in window.iter_mut().zip(text) {
        *place = *byte;
    }
    window
}

/// The four bytes that an address ends with as in IPv4, and the index behind them.
/// `rest`: the line from its first number on, of which `digits` were read as hexadecimal.
#[cold]
fn dotted_tail(line: &Line<'_>, rest: &[u8], digits: usize, after: usize) -> Result<(u32, usize), Stop> {
    let mut line = Line { at: line.bytes.len().wrapping_sub(rest.len()), ..*line };
    // That number is read once more as decimal; what is wrong with it then is wrong since the dot.
    let dot = line.at.wrapping_add(digits);
    match line.ip4(after) {
        Ok(tail) => Ok((tail, line.at)),
        Err(Stop::Wrong(kind, at)) => Err(Stop::Wrong(kind, at.max(dot))),
        Err(short) => Err(short),
    }
}

/// The groups of an IPv6 address read so far.
#[derive(Clone, Copy)]
struct Groups {
    /// Groups since `::`, or since the beginning.
    tail: u128,
    /// Groups that still fit; `::` stands for one at least.
    room: u32,
    /// `::` has been seen.
    gap: bool,
    /// Groups before `::`, in their final place.
    head: u128,
}

impl Groups {
    #[inline(always)]
    fn push(&mut self, group: u32) {
        self.tail = self.tail << 16 | u128::from(group);
        self.room = self.room.wrapping_sub(1);
    }

    #[inline(always)]
    fn open_gap(&mut self) {
        // Nothing is shifted where nothing came before.
        self.head = self.tail.checked_shl(self.room.wrapping_mul(16)).unwrap_or(0);
        self.tail = 0;
        self.gap = true;
        self.room = self.room.wrapping_sub(1);
    }

    /// Two more groups fit, and without `::` complete the address.
    fn takes_dotted_tail(&self) -> bool {
        if self.gap { self.room >= 2 } else { self.room == 2 }
    }

    #[inline(always)]
    fn finish(&self) -> Option<u128> {
        (self.gap || self.room == 0).then_some(self.head | self.tail)
    }

    /// Fewest bytes that complete the address. A guess too high would make readers over-read.
    #[inline(always)]
    fn missing(&self, has_digits: bool, may_end: bool) -> usize {
        match (self.gap, has_digits) {
            (true, true) => 0,
            (true, false) => usize::from(!may_end),
            (false, true) if self.room == 1 => 0,
            (false, true) => 2,
            // At the very beginning "::", behind a colon another one or a digit.
            (false, false) if self.room == 8 => 2,
            (false, false) => 1,
        }
    }
}

/// Marks a byte that is no hexadecimal digit.
const NO_HEX: u8 = 0xff;

/// Value of each hexadecimal digit.
static HEX: [u8; 256] = {
    let mut table = [NO_HEX; 256];
    let mut byte = 0u8;
    while byte < 128 {
        if let Some(digit) = (byte as char).to_digit(16) {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            (table[byte as usize] = digit as u8);
        }
        byte = byte.wrapping_add(1);
    }
    table
};
