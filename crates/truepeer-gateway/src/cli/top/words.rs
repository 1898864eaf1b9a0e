//! Numbers, times and texts as they fit into columns.

/// A count or a number of bytes in at most five characters: `99999`, `1.2M`.
pub(super) fn short(number: u64) -> String {
    const UNITS: [(u64, char); 5] = [
        (1_000_000_000_000_000, 'P'),
        (1_000_000_000_000, 'T'),
        (1_000_000_000, 'G'),
        (1_000_000, 'M'),
        (1_000, 'k'),
    ];
    if number < 100_000 {
        return number.to_string();
    }
    let Some((unit, letter)) = UNITS.into_iter().find(|(unit, _)| number >= *unit) else {
        return number.to_string();
    };
    let tenths = number.checked_div(unit / 10).unwrap_or_default();
    match tenths {
        0..100 => format!("{}.{}{letter}", tenths / 10, tenths % 10),
        _ => format!("{}{letter}", tenths / 10),
    }
}

/// A number with a comma behind thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The time of day of an RFC 3339 time.
pub(super) fn time_of_day(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// At most `width` characters that a terminal shows and does not obey; what is cut ends in `~`.
pub(super) fn fitted(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.chars().map(visible).collect();
    }
    let kept = text.chars().map(visible).take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('~')).collect()
}

/// Neither what a terminal obeys, nor what turns the direction of writing round.
fn visible(c: char) -> char {
    let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { '?' } else { c }
}

/// Lines of at most `width` characters, broken at spaces where there are some.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut rest: Vec<char> = word.chars().map(visible).collect();
            if !line.is_empty() && line.chars().count().saturating_add(1).saturating_add(rest.len()) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            while rest.len() > width {
                let tail = rest.split_off(width);
                lines.push(rest.into_iter().collect());
                rest = tail;
            }
            line.extend(rest);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_into_five_columns() {
        for (number, text) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (1_250_000, "1.2M"),
            (12_500_000, "12M"),
            (999_999_999, "999M"),
            (1_000_000_000, "1.0G"),
            (u64::MAX, "18446P"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(
            (grouped(7), grouped(100_000), grouped(1_234_567)),
            ("7".into(), "100,000".into(), "1,234,567".into())
        );
        assert_eq!(time_of_day("2026-11-30T08:09:10.123Z"), "08:09:10");
    }

    #[test]
    fn text_is_cut_and_broken_and_never_obeyed() {
        assert_eq!(
            (fitted("abc", 3), fitted("abcd", 3), fitted("a\u{1b}[", 9)),
            ("abc".into(), "ab~".into(), "a?[".into())
        );
        assert_eq!(fitted("abc", 0), "");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("x abcdefghij", 4), ["x", "abcd", "efgh", "ij"]);
        assert_eq!(wrapped("a\nb", 10), ["a", "b"]);
        assert_eq!(wrapped("", 10), [""]);
    }
}
