//! A cursor over one line, and the fields that both families share.
//!
//! Called by `v1.rs` and `ip6.rs`. Knows bytes and fields, not what a whole line consists of.
use crate::{DecodeErrorKind, V1_MAX_LEN};

/// Why reading ended before the line did.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// Bytes that must follow at least, CRLF included.
    Short(usize),
    /// A byte that no valid line has there.
    Wrong(DecodeErrorKind, usize),
}

/// The fields whose wrong bytes are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Address,
    SourcePort,
    DestinationPort,
}

/// A position in the line, and how far the current field may reach.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Index by which the current field's end must have come.
    pub(super) last: usize,
}

impl<'a> Line<'a> {
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    pub(super) fn step(&mut self) {
        self.at = self.at.wrapping_add(1);
    }

    /// Cuts the line where at least `after` bytes must still follow within 107.
    #[inline(always)]
    pub(super) fn limit(&mut self, whole: &'a [u8], after: usize) {
        self.last = V1_MAX_LEN.wrapping_sub(after);
        self.bytes = whole.get(..self.last.wrapping_add(1)).unwrap_or(whole);
    }

    /// A port and the byte `end` behind it. `after`: fewest bytes that follow the port.
    #[inline(always)]
    pub(super) fn port(&mut self, field: Field, after: usize, end: u8) -> Result<u16, Stop> {
        let (port, found) = self.decimal::<65_535>(field, after)?;
        if found != end {
            return Err(wrong(*self, field));
        }
        self.step();
        Ok(port as u16)
    }

    #[inline(always)]
    pub(super) fn line_feed(&mut self) -> Result<(), Stop> {
        match self.peek() {
            Some(b'\n') => {
                self.step();
                Ok(())
            }
            Some(_) => Err(Stop::Wrong(DecodeErrorKind::V1Eol, self.at)),
            None => Err(short(*self, 1)),
        }
    }

    /// A decimal number up to `MAX` without leading zeros, and the byte that ended it.
    /// `after`: fewest bytes that follow the number.
    #[inline(always)]
    pub(super) fn decimal<const MAX: u32>(&mut self, field: Field, after: usize) -> Result<(u32, u8), Stop> {
        let Some(byte) = self.peek() else {
            return Err(short(*self, after.wrapping_add(1)));
        };
        let first = byte.wrapping_sub(b'0');
        if first > 9 {
            return Err(wrong(*self, field));
        }
        let mut value = u32::from(first);
        loop {
            self.step();
            let Some(byte) = self.peek() else {
                return Err(short(*self, after));
            };
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Ok((value, byte));
            }
            value = value.wrapping_mul(10).wrapping_add(u32::from(digit));
            if first == 0 || value > MAX {
                return Err(wrong(*self, field));
            }
        }
    }

    /// Four octets and the space behind them.
    /// `after`: fewest bytes that follow the address, that space included.
    #[inline(always)]
    pub(super) fn ip4(&mut self, after: usize) -> Result<u32, Stop> {
        let mut address = 0u32;
        let mut rest = 6;
        loop {
            let (octet, end) = self.decimal::<255>(Field::Address, after.wrapping_add(rest))?;
            address = address << 8 | octet;
            if end != (if rest == 0 { b' ' } else { b'.' }) {
                return Err(wrong(*self, Field::Address));
            }
            self.step();
            if rest == 0 {
                return Ok(address);
            }
            rest = rest.wrapping_sub(2);
        }
    }

    /// What is wrong with an address at the first byte of `rest`, or that `missing` bytes are.
    #[cold]
    pub(super) fn refuse(&self, rest: &[u8], missing: usize) -> Stop {
        let line = Line { at: self.bytes.len().wrapping_sub(rest.len()), ..*self };
        if rest.is_empty() { short(line, missing) } else { wrong(line, Field::Address) }
    }
}

/// The bytes ended: more are needed, unless the field already had all it may have.
// Takes the line by value, as `wrong` does, so that the straight path can keep it in registers.
#[cold]
pub(super) fn short(line: Line<'_>, missing: usize) -> Stop {
    if line.bytes.len() > line.last {
        Stop::Wrong(DecodeErrorKind::V1TooLong, line.last)
    } else {
        Stop::Short(missing)
    }
}

/// The byte here cannot stand in this field; says which rule it breaks.
#[cold]
pub(super) fn wrong(line: Line<'_>, field: Field) -> Stop {
    let starts = line.at.checked_sub(1).and_then(|before| line.bytes.get(before)) == Some(&b' ');
    let kind = match (field, line.peek()) {
        (_, Some(b'\n')) => DecodeErrorKind::V1Eol,
        // The line ends, or a field is empty, where another field belongs.
        (Field::Address | Field::SourcePort, Some(b'\r')) => DecodeErrorKind::V1Fields,
        (Field::Address, Some(b' ')) if starts => DecodeErrorKind::V1Fields,
        // A seventh field, or a space before the line end.
        (Field::DestinationPort, Some(b' ')) if !starts => DecodeErrorKind::V1Fields,
        (Field::Address, _) => DecodeErrorKind::V1Address,
        (Field::SourcePort | Field::DestinationPort, _) => DecodeErrorKind::V1Port,
    };
    Stop::Wrong(kind, line.at)
}
