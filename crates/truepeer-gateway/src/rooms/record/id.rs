//! The name of one connection in logs and towards backends.

use std::fmt;
use std::ops::Deref;

/// A connection's id, without memory of its own: every connection has one. What is longer than [`ConnectionId::MAX`]
/// bytes is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl ConnectionId {
    /// Our own are shorter: when this process began in 14 digits, which worker in 3, and a number in 12.
    pub const MAX: usize = 31;

    /// `prefix`, and `number` in hexadecimal, without a formatter.
    #[must_use]
    pub fn numbered(prefix: &str, number: u64) -> Self {
        let mut id = Self::from(prefix);
        let digits = u64::BITS.saturating_sub(number.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            let digit = u8::try_from(number >> place.saturating_mul(4) & 0xf).unwrap_or(0);
            let letter = if digit < 10 { b'0' } else { b'a' - 10 };
            id.push(letter.saturating_add(digit));
        }
        id
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len = self.len.saturating_add(1);
        }
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl From<&str> for ConnectionId {
    fn from(text: &str) -> Self {
        let mut id = Self { len: 0, bytes: [0; Self::MAX] };
        let is_whole = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=Self::MAX.min(text.len())).rev().find(is_whole).unwrap_or(0);
        text.bytes().take(end).for_each(|byte| id.push(byte));
        id
    }
}

impl Deref for ConnectionId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_a_formatter_would() {
        for number in [0, 9, 10, 15, 16, 0x1234_5678_9abc_def0, u64::MAX] {
            assert_eq!(&*ConnectionId::numbered("652f-1-", number), format!("652f-1-{number:x}"));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(&*ConnectionId::from(&*"ä".repeat(30)), "ä".repeat(ConnectionId::MAX / 2));
    }
}
