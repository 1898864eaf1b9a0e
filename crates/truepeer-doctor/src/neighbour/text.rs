//! What readers of line-wise configurations share: numbered lines, words with quotes, lists of networks.

use std::net::IpAddr;
use std::time::Duration;

use truepeer::IpNet;

use super::{Entry, File, Patience, Place};

/// A line without its comment, cut into words.
#[derive(Debug, Clone)]
pub(super) struct Line<'t> {
    pub(super) place: Place,
    pub(super) words: Vec<String>,
    /// As it was written.
    pub(super) raw: &'t str,
}

impl Line<'_> {
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// The words behind `keyword`, wherever it stands.
    pub(super) fn behind(&self, keyword: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == keyword)?;
        self.words.get(at.saturating_add(1)).map(String::as_str)
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.words.iter().any(|word| word == keyword)
    }
}

/// The lines of a file that hold words; `#` begins a comment outside of quotes.
pub(super) fn lines<'t>(file: &File<'t>) -> impl Iterator<Item = Line<'t>> {
    let name = file.name.to_owned();
    file.text.lines().enumerate().filter_map(move |(index, raw)| {
        let words = words(raw);
        let place = || Place::new(name.clone(), index.saturating_add(1), raw);
        (!words.is_empty()).then(|| Line { place: place(), words, raw })
    })
}

/// The words of a line: blanks part them, quotes and backslashes join them, `#` ends them.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '#') => break,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => found.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

/// The entries of one list that are kept; every port has a copy.
pub(super) const MAX_ENTRIES: usize = 500;

/// One entry of a list of networks: an address, or one with a prefix, brackets around IPv6 as mail servers have them.
pub(super) fn entry(text: &str, place: &Place) -> Entry {
    Entry { text: text.to_owned(), place: place.clone(), network: network(text) }
}

/// The network that `text` means.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let bare: String = text.chars().filter(|c| !matches!(c, '[' | ']')).collect();
    let network = match bare.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip.to_canonical()),
        Err(_) => bare.parse::<IpNet>().ok()?.trunc(),
    };
    // IPv4 inside IPv6 is IPv4.
    let IpNet::V6(v6) = network else { return Some(network) };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    Some(v4.and_then(|(ip, len)| IpNet::new(ip.into(), len).ok()).unwrap_or(network))
}

/// The entries of a list that blanks and commas part.
pub(super) fn entries(list: &str, place: &Place) -> Vec<Entry> {
    let mut texts = list.split([',', ' ', '\t']).filter(|text| !text.is_empty());
    let mut found: Vec<Entry> = texts.by_ref().take(MAX_ENTRIES).map(|text| entry(text, place)).collect();
    // Anyone who is not among those that were read may be among the rest.
    if texts.next().is_some() {
        found.push(Entry { text: "and more".to_owned(), place: place.clone(), network: None });
    }
    found
}

/// A time, with the line that says it.
pub(super) fn patience(text: &str, unit: Duration, place: &Place) -> Option<Patience> {
    Some(Patience { time: duration(text, unit)?, place: place.clone() })
}

/// `5`, `5s`, `500ms`, `2m`, `2min`, `1 h`: what configurations write; a bare number has `unit`.
pub(super) fn duration(text: &str, unit: Duration) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, word) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    // `0.25s`: thousandths are enough.
    let (thousandths, word) = match word.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (fraction, word) = rest.split_at(end);
            let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
            (padded.parse::<u64>().ok()?, word)
        }
        None => (0, word),
    };
    let unit = match word.trim() {
        "" => unit,
        "us" => Duration::from_micros(1),
        "ms" | "msecs" => Duration::from_millis(1),
        "s" | "sec" | "secs" | "seconds" => Duration::from_secs(1),
        "m" | "min" | "mins" | "minutes" => Duration::from_secs(60),
        "h" | "hour" | "hours" => Duration::from_secs(3600),
        "d" | "day" | "days" => Duration::from_secs(86_400),
        _ => return None,
    };
    let unit = u64::try_from(unit.as_nanos()).ok()?;
    let nanos = unit.checked_mul(number)?.checked_add((unit / 1_000).checked_mul(thousandths)?)?;
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_haproxy_and_nginx_take_for_words() {
        for (line, found) in [
            ("  bind :25 # all", vec!["bind", ":25"]),
            (r#"log-format "a b" 'c"d' e\ f"#, vec!["log-format", "a b", "c\"d", "e f"]),
            (r#"x """#, vec!["x", ""]),
            ("# nothing", vec![]),
            ("a#b", vec!["a"]),
        ] {
            assert_eq!(words(line), found, "{line}");
        }
    }

    #[test]
    fn networks_in_each_spelling_are_one() {
        for (text, means) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("[::1]/128", "::1/128"),
            ("[::1]", "::1/128"),
            ("[::ffff:127.0.0.0]/104", "127.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), means, "{text}");
        }
        assert_eq!(network("hash:/etc/x"), None);
        assert_eq!(network("proxy"), None);
    }

    #[test]
    fn durations_have_the_unit_that_stands_there() {
        let ms = Duration::from_millis(1);
        for (text, means) in
            [("5", 5), ("5s", 5_000), ("2 m", 120_000), ("3 secs", 3_000), ("0.25s", 250), ("1.5 s", 1_500)]
        {
            assert_eq!(duration(text, ms), Some(Duration::from_millis(means)), "{text}");
        }
        assert_eq!(duration("soon", ms), None);
    }
}
