//! Tokens of configurations in braces that no tree of lines fits: Varnish's VCL and sslh's libconfig.

use super::Place;

/// A word, a string or a mark, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: String,
    /// Whether it stood in quotes, so that it is no mark.
    pub(super) quoted: bool,
    pub(super) place: Place,
}

impl Token {
    /// Whether it is this mark.
    pub(super) fn is(&self, mark: &str) -> bool {
        !self.quoted && self.text == mark
    }
}

/// The most that are read of one text.
const MAX: usize = 200_000;
/// What stands for itself.
const MARKS: &str = "{}()[];,=:";

/// The tokens of a text; `#`, `//` and `/* */` are comments.
pub(super) fn tokens(name: &str, text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut in_comment = false;
    for (index, raw) in text.lines().enumerate() {
        let place = || Place::new(name, index.saturating_add(1), raw);
        let mut rest = raw;
        while let Some(first) = rest.chars().next() {
            if found.len() >= MAX {
                return found;
            }
            if in_comment {
                let Some((_, behind)) = rest.split_once("*/") else { break };
                (rest, in_comment) = (behind, false);
                continue;
            }
            if let Some(behind) = rest.strip_prefix("/*") {
                (rest, in_comment) = (behind, true);
                continue;
            }
            if first == '#' || rest.starts_with("//") {
                break;
            }
            if first.is_whitespace() {
                rest = rest.trim_start();
                continue;
            }
            if first == '"' {
                let inner = rest.get(1..).unwrap_or_default();
                let (text, behind) = inner.split_once('"').unwrap_or((inner, ""));
                found.push(Token { text: text.to_owned(), quoted: true, place: place() });
                rest = behind;
                continue;
            }
            let ends = |c: char| c.is_whitespace() || c == '"' || c == '#' || MARKS.contains(c);
            let len =
                if MARKS.contains(first) { first.len_utf8() } else { rest.find(ends).unwrap_or(rest.len()) };
            let (word, behind) = rest.split_at(len);
            found.push(Token { text: word.to_owned(), quoted: false, place: place() });
            rest = behind;
        }
    }
    found
}

/// The values of a group, each behind its key, up to the mark that closes it: `key: value;`, `key = value,`.
///
/// `from` is behind the mark that opens it. Inner groups are passed over. Returns where it ends.
pub(super) fn values(tokens: &[Token], from: usize) -> (Vec<(&str, &Token)>, usize) {
    let mut found = Vec::new();
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(token) = tokens.get(at) {
        if ["{", "(", "["].iter().any(|mark| token.is(mark)) {
            depth = depth.saturating_add(1);
        } else if ["}", ")", "]"].iter().any(|mark| token.is(mark)) {
            let Some(outer) = depth.checked_sub(1) else { break };
            depth = outer;
        } else if depth == 0
            && let [key, mark, value, ..] = tokens.get(at..).unwrap_or_default()
            && !key.quoted
            && (mark.is(":") || mark.is("="))
            && (value.quoted || !MARKS.contains(value.text.as_str()))
        {
            found.push((key.text.as_str(), value));
            at = at.saturating_add(2);
        }
        at = at.saturating_add(1);
    }
    (found, at)
}
