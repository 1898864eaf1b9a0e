//! The name of one connection in logs and towards backends.

use std::fmt;
use std::ops::Deref;

use arrayvec::ArrayString;

/// A connection's id, without memory of its own: every connection has one. What is longer than [`ConnectionId::MAX`]
/// bytes is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId(ArrayString<{ ConnectionId::MAX }>);

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
            // There is no room for more.
            let _ = id.0.try_push(letter.saturating_add(digit).into());
        }
        id
    }
}

impl From<&str> for ConnectionId {
    fn from(text: &str) -> Self {
        let end = (0..=Self::MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Self(text.get(..end).and_then(|text| ArrayString::from(text).ok()).unwrap_or_default())
    }
}

impl Deref for ConnectionId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
