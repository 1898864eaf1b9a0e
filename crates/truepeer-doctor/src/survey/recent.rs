//! The end of a log that is not older than a given time.
//!
//! Logs say local time, mostly without a zone and often without a year, so lines are compared with the last line that
//! has a time instead of with a clock.

/// How far into a line its time is looked for.
const LOOK: usize = 48;
/// The seconds of the leap year that stands for an unknown one.
const YEAR: i64 = 366 * DAY;
const DAY: i64 = 86_400;

/// The lines at the end of `log` that are at most `seconds` older than its last one; lines without a time belong to the
/// one before them. `None` if no line has a time, or where there is no line.
#[must_use]
pub fn recent(log: &[u8], seconds: u64) -> Option<&[u8]> {
    let oldest_age = i64::try_from(seconds).unwrap_or(i64::MAX);
    let mut newest = None;
    // Where the oldest line begins that is still kept.
    let (mut kept, mut end) = (log.len(), log.len());
    while end > 0 {
        let before = log.get(..end)?;
        let line_end = before.strip_suffix(b"\n").unwrap_or(before);
        let start = memchr::memrchr(b'\n', line_end).map_or(0, |at| at.saturating_add(1));
        if let Some(time) = line_end.get(start..).and_then(time) {
            if newest.get_or_insert(time).since(time) > oldest_age {
                break;
            }
            kept = start;
        }
        end = start;
    }
    newest.and_then(|_| log.get(kept..))
}

/// A time as a log says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    /// Seconds since some beginning; within an unknown year where the line has none.
    seconds: i64,
    has_year: bool,
}

impl Time {
    /// How many seconds after `earlier` it is.
    fn since(self, earlier: Self) -> i64 {
        let age = self.seconds.saturating_sub(earlier.seconds);
        // Lines before New Year seem to be late in the same one.
        if !self.has_year && age < -DAY { age.saturating_add(YEAR) } else { age }
    }
}

/// The time near the beginning of `line`: `2026-11-30T13:17:36`, with blanks or slashes as well, or `Nov 30 13:17:36`.
fn time(line: &[u8]) -> Option<Time> {
    let head = line.get(..LOOK).unwrap_or(line);
    (0..head.len()).find_map(|at| {
        let text = head.get(at..)?;
        let begins = at == 0 || !head.get(at.saturating_sub(1)).is_some_and(u8::is_ascii_alphanumeric);
        begins.then(|| with_year(text).or_else(|| with_month(text))).flatten()
    })
}

fn with_year(text: &[u8]) -> Option<Time> {
    let [y @ .., b'-' | b'/', m1, m2, b'-' | b'/', d1, d2, b'T' | b' '] = text.get(..11)? else {
        return None;
    };
    let year = number(y)?;
    let (month, day) = (number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    (1970..=9999).contains(&year).then_some(())?;
    Some(Time {
        seconds: days(year, month, day)?.checked_mul(DAY)?.checked_add(clock(text.get(11..)?)?)?,
        has_year: true,
    })
}

fn with_month(text: &[u8]) -> Option<Time> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let (name, rest) = text.split_at_checked(3)?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let [b' ', d1, d2, b' '] = rest.get(..4)? else { return None };
    let day = number(&[if *d1 == b' ' { b'0' } else { *d1 }, *d2])?;
    let month = i64::try_from(month).ok()?.checked_add(1)?;
    // Any leap year, so that the 29th of February exists.
    Some(Time {
        seconds: days(2024, month, day)?.checked_mul(DAY)?.checked_add(clock(rest.get(4..)?)?)?,
        has_year: false,
    })
}

/// `13:17:36` as seconds.
fn clock(text: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = text.get(..8)? else { return None };
    let (h, m, s) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    (h < 24 && m < 60 && s <= 60).then_some(())?;
    h.checked_mul(3600)?.checked_add(m.checked_mul(60)?)?.checked_add(s)
}

/// Days of the calendar since its beginning.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(())?;
    // Years that begin in March end with the day that some of them have more.
    let (year, month) = match month.checked_sub(3) {
        Some(month @ 0..) => (year, month),
        _ => (year.checked_sub(1)?, month.checked_add(9)?),
    };
    let leap = (year / 4).checked_sub(year / 100)?.checked_add(year / 400)?;
    let of_months = month.checked_mul(153)?.checked_add(2)? / 5;
    year.checked_mul(365)?.checked_add(leap)?.checked_add(of_months)?.checked_add(day)
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(log: &str, seconds: u64) -> Option<String> {
        recent(log.as_bytes(), seconds).map(|kept| String::from_utf8_lossy(kept).into_owned())
    }

    #[test]
    fn only_the_end_of_a_log_is_recent_in_every_way_to_write_a_time() {
        for (old, new) in [
            ("Nov 30 12:17:35 mx postfix", "Nov 30 13:17:36 mx postfix"),
            ("Nov  9 13:17:36 mx postfix", "Nov 10 13:17:36 mx postfix"),
            ("Dec 31 22:00:00 mx postfix", "Jan  1 00:30:00 mx postfix"),
            ("Feb 28 23:59:59 mx postfix", "Mar  1 00:30:00 mx postfix"),
            ("2026-11-30T12:17:35.1+01:00 mx x", "2026-11-30T13:17:36.1+01:00 mx x"),
            ("2026/11/30 12:17:35 [error] 7#7: x", "2026/11/30 13:17:36 [error] 7#7: x"),
            ("[2025-12-31 22:00:00.123][7][info] x", "[2026-01-01 00:30:00.123][7][info] x"),
            ("time=\"2026-11-30T12:17:35Z\" level=error", "time=\"2026-11-30T13:17:36Z\" level=error"),
        ] {
            let log = format!("{old} 1\nits second line\n{new} 2\n  at somewhere\n{new} 3\n");
            assert_eq!(kept(&log, 3600), Some(format!("{new} 2\n  at somewhere\n{new} 3\n")), "{old}");
            assert_eq!(kept(&log, 1_000_000), Some(log.clone()), "{old}");
        }
    }

    #[test]
    fn a_log_without_times_says_nothing_about_its_age() {
        for log in ["", "\n", "x\ny", "99/99/9999", "Nov 30", "2026-13-40T13:17:36 x", "Nov 3\u{e4} 13:17:36"]
        {
            assert_eq!(kept(log, 3600), None, "{log:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_hides_nothing_new() {
        let log = "2026-11-30T13:00:00 a\n2026-11-30T12:59:00 b\n";
        assert_eq!(kept(log, 3600), Some(log.to_owned()));
    }
}
