//! What an order to ban is made of: how long and why, as values that are right by construction.
//!
//! Parsed at the border (`truepeer deny`, the feed, the state file); the table takes nothing else.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// An order to keep a network out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanOrder {
    /// Whom.
    pub network: IpNet,
    /// How long from now on.
    pub lasts: BanDuration,
    /// Why.
    pub reason: BanReason,
}

/// A change of the table: what a command or a line of a feed orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanChange {
    /// Keep a network out.
    Add(BanOrder),
    /// Lift the ban of exactly this network.
    Remove(IpNet),
}

/// How long a ban lasts: whole seconds, at least one, at most [`BanDuration::MAX`]. There is no ban without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BanDuration(u64);

/// Why a client was banned: one line of visible text, at most [`BanReason::MAX_LEN`] bytes.
///
/// The text comes from programs that read what strangers send: control characters are escaped, the rest is cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct BanReason(Arc<str>);

/// Why a text is no duration of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BanDurationError {
    /// It is not made of numbers with units, the larger unit first.
    Syntax,
    /// It is zero or longer than [`BanDuration::MAX`].
    Range,
}

impl BanDuration {
    /// The longest ban: 365 days.
    pub const MAX: Self = Self(365 * 24 * 3600);

    /// Whole seconds; a part of one counts as one.
    ///
    /// # Errors
    /// [`BanDurationError::Range`].
    pub fn from_duration(duration: Duration) -> Result<Self, BanDurationError> {
        let part = u64::from(duration.subsec_nanos() > 0);
        Self::from_secs(duration.as_secs().saturating_add(part))
    }

    fn from_secs(secs: u64) -> Result<Self, BanDurationError> {
        if (1..=Self::MAX.0).contains(&secs) { Ok(Self(secs)) } else { Err(BanDurationError::Range) }
    }

    /// In seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

/// `90s`, `10m`, `1h`, `7d`, `2w` and combinations with the larger unit first: `1h30m`.
impl FromStr for BanDuration {
    type Err = BanDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut secs: u64 = 0;
        loop {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or(BanDurationError::Syntax)?;
            let mut tail_chars = tail.chars();
            let unit = tail_chars.next().ok_or(BanDurationError::Syntax)?;
            // Each unit is searched behind the one before: repeated and rising units are not found.
            let (_, len) = units.find(|(name, _)| *name == unit).ok_or(BanDurationError::Syntax)?;
            if number.is_empty() {
                return Err(BanDurationError::Syntax);
            }
            // A number that does not fit is out of range, not badly written.
            let number: u64 = number.parse().map_err(|_| BanDurationError::Range)?;
            secs = secs.saturating_add(number.saturating_mul(*len));
            rest = tail_chars.as_str();
            if rest.is_empty() {
                return Self::from_secs(secs);
            }
        }
    }
}

impl fmt::Display for BanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        // Weeks are for writing; read back, `365d` says more than `52w1d`.
        for (unit, len) in UNITS.into_iter().skip(1) {
            let (count, left) = (rest.checked_div(len).unwrap_or(0), rest.checked_rem(len).unwrap_or(0));
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
            rest = left;
        }
        Ok(())
    }
}

impl BanReason {
    /// The most bytes that are kept.
    pub const MAX_LEN: usize = 120;

    /// Takes a text over, escaped and cut.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut kept = String::new();
        for c in text.trim().chars() {
            let before = kept.len();
            if c.is_control() || is_invisible(c) {
                kept.extend(c.escape_default());
            } else {
                kept.push(c);
            }
            if kept.len() > Self::MAX_LEN {
                kept.truncate(before);
                break;
            }
        }
        Self(kept.into())
    }

    /// The text; may be empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("no reason given") } else { f.write_str(&self.0) }
    }
}

impl fmt::Display for BanDurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "a ban lasts numbers with units: 90s, 10m, 1h, 7d, 2w or 1h30m",
            Self::Range => "a ban lasts at least 1s and at most 365d",
        })
    }
}

impl std::error::Error for BanDurationError {}

/// Units and their lengths in seconds, in the order in which they are written.
const UNITS: [(char, u64); 5] = [('w', 7 * 24 * 3600), ('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

/// Whether a character that is no control character breaks lines, turns the direction of text on a terminal, or cannot
/// be seen there.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, secs, shown) in [
            ("1s", 1, "1s"),
            ("90s", 90, "1m30s"),
            ("10m", 600, "10m"),
            ("1h", 3600, "1h"),
            ("1h30m", 5400, "1h30m"),
            ("3h59m58s", 14398, "3h59m58s"),
            ("7d", 604_800, "7d"),
            ("1w", 604_800, "7d"),
            ("365d", 31_536_000, "365d"),
            ("31536000s", 31_536_000, "365d"),
            ("0h5m", 300, "5m"),
        ] {
            let duration: BanDuration = text.parse().unwrap();
            assert_eq!((duration.as_secs(), duration.to_string().as_str()), (secs, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for (text, error) in [
            ("", BanDurationError::Syntax),
            ("3600", BanDurationError::Syntax),
            ("1", BanDurationError::Syntax),
            ("h", BanDurationError::Syntax),
            ("1h30", BanDurationError::Syntax),
            ("1y", BanDurationError::Syntax),
            ("1H", BanDurationError::Syntax),
            ("1 h", BanDurationError::Syntax),
            ("-1s", BanDurationError::Syntax),
            ("+1s", BanDurationError::Syntax),
            ("1.5h", BanDurationError::Syntax),
            ("30m1h", BanDurationError::Syntax),
            ("1h1h", BanDurationError::Syntax),
            ("1\u{e9}", BanDurationError::Syntax),
            ("forever", BanDurationError::Syntax),
            ("0s", BanDurationError::Range),
            ("365d1s", BanDurationError::Range),
            ("53w", BanDurationError::Range),
            ("99999999999999999999s", BanDurationError::Range),
            ("18446744073709551615w", BanDurationError::Range),
        ] {
            assert_eq!(text.parse::<BanDuration>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_part_of_a_second_counts_as_one() {
        for (duration, secs) in [
            (Duration::from_millis(1), Ok(1)),
            (Duration::from_secs(60), Ok(60)),
            (Duration::from_millis(60_001), Ok(61)),
            (Duration::ZERO, Err(BanDurationError::Range)),
            (Duration::MAX, Err(BanDurationError::Range)),
        ] {
            assert_eq!(BanDuration::from_duration(duration).map(BanDuration::as_secs), secs, "{duration:?}");
        }
    }

    #[test]
    fn a_reason_is_one_visible_line_of_bounded_length() {
        let long = "x".repeat(BanReason::MAX_LEN + 1);
        let wide = "\u{e9}".repeat(BanReason::MAX_LEN);
        for (text, kept) in [
            ("", ""),
            ("  fail2ban sshd \n", "fail2ban sshd"),
            ("a\tb\nc\u{1b}[31m", "a\\tb\\nc\\u{1b}[31m"),
            ("x\u{202e}y\u{2028}z", "x\\u{202e}y\\u{2028}z"),
            ("\u{2067}a\u{2068}b\u{2069}c\u{61c}", "\\u{2067}a\\u{2068}b\\u{2069}c\\u{61c}"),
            ("192.0.2\u{200b}.7\u{2060}", "192.0.2\\u{200b}.7\\u{2060}"),
            ("M\u{fc}ller", "M\u{fc}ller"),
            (long.as_str(), &long[..BanReason::MAX_LEN]),
            (wide.as_str(), &wide[..BanReason::MAX_LEN]),
        ] {
            assert_eq!(BanReason::new(text).as_str(), kept);
            // Reading back what was written changes nothing.
            assert_eq!(BanReason::new(kept).as_str(), kept);
        }
        assert_eq!(BanReason::new(" ").to_string(), "no reason given");
    }
}
