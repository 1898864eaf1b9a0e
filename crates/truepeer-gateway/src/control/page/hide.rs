//! Addresses in texts, and a text without them. Pure.
//!
//! Causes and remedies name whom they are about. Where the page may not, what stands there instead is a word.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// What stands where an address stood.
pub(super) const INSTEAD: &str = "ADDRESS";

/// `text` with [`INSTEAD`] for each address, socket address and network in it. Loopback and the unspecified address are
/// nobody's, and stay.
pub(super) fn addresses(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    let mut is_changed = false;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (run, behind) = from.split_at(end);
        shown.push_str(before);
        // A sentence may end behind an address, and an address may end with a colon.
        let words = [run, run.trim_end_matches('.'), run.trim_end_matches(['.', ':'])];
        let (word, found) = words
            .into_iter()
            .find_map(|word| address(word).map(|ip| (word, Some(ip))))
            .unwrap_or((run, None));
        // In the middle of a word it is none: `v1.2`.
        let is_begun = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        match found.filter(|_| !is_begun) {
            Some(ip) if !ip.is_loopback() && !ip.is_unspecified() => {
                is_changed = true;
                shown.push_str(INSTEAD);
                shown.push_str(run.get(word.len()..).unwrap_or_default());
                rest = without_prefix_length(run.len() == word.len(), behind);
                continue;
            }
            _ => shown.push_str(run),
        }
        rest = behind;
    }
    if !is_changed {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// What addresses are written with.
fn is_part(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '.' || c == ':'
}

fn address(word: &str) -> Option<IpAddr> {
    let alone = word.parse().ok();
    alone.or_else(|| word.parse::<SocketAddr>().ok().map(|addr| addr.ip()))
}

/// A network is one word.
fn without_prefix_length(is_next: bool, behind: &str) -> &str {
    let Some(length) = behind.strip_prefix('/').filter(|_| is_next) else { return behind };
    let end = length.find(|c: char| !c.is_ascii_digit()).unwrap_or(length.len());
    if end == 0 { behind } else { length.get(end..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_and_what_only_looks_like_one_stays() {
        for (text, shown) in [
            ("203.0.113.7", "ADDRESS"),
            ("if 10.0.0.5 is your proxy: x = [\"10.0.0.5\"]", "if ADDRESS is your proxy: x = [\"ADDRESS\"]"),
            ("from 203.0.113.7:4711, and [2001:db8::7]:25.", "from ADDRESS, and [ADDRESS]:25."),
            ("2001:db8::/32 and 192.0.2.0/24; 192.0.2.66.", "ADDRESS and ADDRESS; ADDRESS."),
            ("::ffff:203.0.113.7 came", "ADDRESS came"),
            ("PROXY TCP4 203.0.113.7 198.51.100.25 4711 25", "PROXY TCP4 ADDRESS ADDRESS 4711 25"),
            ("127.0.0.2 and ::1 and [::]:25 stay", "127.0.0.2 and ::1 and [::]:25 stay"),
            ("at 12:30:45, version 1.2.3, v1.2.3.4x", "at 12:30:45, version 1.2.3, v1.2.3.4x"),
            ("dead: beef. 554 5.7.1 added", "dead: beef. 554 5.7.1 added"),
            ("\u{fc}ber 203.0.113.7\u{fc}", "\u{fc}ber ADDRESS\u{fc}"),
            ("", ""),
        ] {
            assert_eq!(addresses(text), shown);
        }
    }
}
