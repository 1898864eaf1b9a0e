//! IMAP, as far as checks go: CAPABILITY, NOOP, LOGOUT. Nobody logs in.
//!
//! RFC 3501 and 9051: 2.2.1 (tags), 6.1 (the three commands), 7.1 (greeting, OK, NO, BAD, BYE).

use super::lines::verb;
use super::{Script, Then};

/// No login in any state, so that no client tries.
const CAPABILITY: &str = "CAPABILITY IMAP4rev1 LOGINDISABLED";
/// The longest tag that is repeated.
const MAX_TAG: usize = 64;

/// The greeting.
pub(super) fn greeting(script: &Script) -> String {
    format!("* OK [{CAPABILITY}] {} {}\r\n", script.host, script.welcome)
}

/// The answer to one command.
pub(super) fn answer(script: &Script, line: &[u8]) -> (String, Then) {
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let Some(tag) = words.next().and_then(tag) else {
        return ("* BAD a tag and a command are due\r\n".to_owned(), Then::GoOn);
    };
    let Some(command) = words.next() else {
        return (format!("{tag} BAD a command is due\r\n"), Then::GoOn);
    };
    let (verb, _) = verb(command);
    let text = match verb.as_slice() {
        b"CAPABILITY" => format!("* {CAPABILITY}\r\n{}{tag} OK done\r\n", facts(script)),
        b"NOOP" => format!("{}{tag} OK done\r\n", facts(script)),
        b"LOGOUT" => return (format!("* BYE goodbye\r\n{tag} OK done\r\n"), Then::Close),
        // RFC 5530: a client may try again.
        b"LOGIN" | b"AUTHENTICATE" => format!("{tag} NO [UNAVAILABLE] {}\r\n", script.no),
        _ => format!("{tag} NO {}\r\n", script.no),
    };
    (text, Then::GoOn)
}

/// Whether a client says this, and no check.
pub(super) fn is_clients(line: &[u8]) -> bool {
    matches!(verb(verb(line).1).0.as_slice(), b"LOGIN" | b"AUTHENTICATE")
}

/// The last words when a bound is reached.
pub(super) fn give_up(why: &str) -> String {
    format!("* BYE {why}\r\n")
}

/// A server may tell something at any time: one untagged OK each.
fn facts(script: &Script) -> String {
    script.facts.iter().map(|fact| format!("* OK {fact}\r\n")).collect()
}

/// The tag, if it is one that may be repeated in an answer.
fn tag(word: &[u8]) -> Option<&str> {
    let fits = |byte: &u8| byte.is_ascii_graphic() && !br#"(){%*"\]+"#.contains(byte);
    if word.is_empty() || word.len() > MAX_TAG || !word.iter().all(fits) {
        return None;
    }
    std::str::from_utf8(word).ok()
}
