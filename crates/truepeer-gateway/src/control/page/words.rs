//! Numbers and times as people read them. Pure.

use std::time::{Duration, SystemTime};

/// `1,204`; from ten thousand on `12.3 k`, and so on.
pub(super) fn count(number: u64) -> String {
    for (unit, word) in [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")] {
        if number >= unit && number >= 10_000 {
            let (whole, tenth) = tenths(number, unit);
            return if whole < 100 { format!("{whole}.{tenth} {word}") } else { format!("{whole} {word}") };
        }
    }
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

/// Whole units, and tenths of one.
fn tenths(number: u64, unit: u64) -> (u64, u64) {
    let whole = number.checked_div(unit).unwrap_or_default();
    let rest = number.saturating_sub(whole.saturating_mul(unit));
    (whole, rest.saturating_mul(10).checked_div(unit).unwrap_or_default())
}

/// `1 connection`, `12 connections`.
pub(super) fn of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Two digits, with the unit that leaves few before the point.
pub(super) fn time(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let said = |unit: u64, word| {
        let (whole, tenth) = tenths(micros, unit);
        if whole < 10 { format!("{whole}.{tenth} {word}") } else { format!("{whole} {word}") }
    };
    match micros {
        // Clocks are read once for each turn of a worker.
        0..100 => "< 0.1 ms".to_owned(),
        100..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => said(1_000, "ms"),
        _ => said(1_000_000, "s"),
    }
}

/// Bytes in units of a thousand.
pub(super) fn bytes(number: u64) -> String {
    if number < 10_000 { of(number, "byte", "bytes") } else { format!("{}B", count(number)) }
}

/// `20:44:05`, in UTC.
pub(super) fn clock(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.get(11..19).unwrap_or_default().to_owned()
}

/// `2026-11-30 20:44`, in UTC.
pub(super) fn date(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.get(..16).unwrap_or_default().replace('T', " ")
}

/// How many of a hundred; none and all only where it is none and all.
pub(super) fn share(part: u64, all: u64) -> String {
    let half = all / 2;
    let percent = part.saturating_mul(100).saturating_add(half).checked_div(all).unwrap_or(0);
    match percent {
        _ if all == 0 => "–".to_owned(),
        0 if part > 0 => "< 1 %".to_owned(),
        100 if part < all => "> 99 %".to_owned(),
        _ => format!("{percent} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_where_they_are_small() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_204, "1,204"),
            (9_999, "9,999"),
            (12_345, "12.3 k"),
            (600_000, "600 k"),
            (1_500_000, "1.5 M"),
            (u64::MAX, "18446744073 G"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!((of(1, "a", "b"), bytes(12_345)), ("1 a".to_owned(), "12.3 kB".to_owned()));
    }

    #[test]
    fn times_and_shares() {
        for (micros, text) in
            [(1, "< 0.1 ms"), (340, "340 µs"), (1_250, "1.2 ms"), (45_000, "45 ms"), (2_500_000, "2.5 s")]
        {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
        for (part, all, text) in [
            (0, 0, "–"),
            (0, 9, "0 %"),
            (1, 1000, "< 1 %"),
            (999, 1000, "> 99 %"),
            (2, 3, "67 %"),
            (1, 3, "33 %"),
            (41, 100, "41 %"),
            (9, 9, "100 %"),
        ] {
            assert_eq!(share(part, all), text);
        }
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1_700_000_000)).unwrap();
        assert_eq!((clock(at), date(at)), ("22:13:20".to_owned(), "2023-11-14 22:13".to_owned()));
    }
}
