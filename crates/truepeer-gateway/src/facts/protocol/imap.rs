//! IMAP.
//!
//! Refusals: RFC 3501 and RFC 9051, 7.1.5 (BYE as greeting) and 7.1 (ALERT must be shown to the user), RFC 5530
//! (UNAVAILABLE, PRIVACYREQUIRED). Its LIMIT speaks of limits like the number of flags and says nothing about coming
//! back later, so too many connections are UNAVAILABLE as well.
//! Checks are answered as far as they go: CAPABILITY, NOOP, LOGOUT (RFC 3501 and 9051: 2.2.1 tags, 6.1 the three
//! commands, 7.1 greeting, OK, NO, BAD, BYE). Nobody logs in.

use super::language::{Checks, FirstSpeaker, Language, MINUTE, Manners, Part, Unanswered};
use super::lines::verb;
use super::refusal::{Reason, Refusal};
use super::script::{Script, Then};
use crate::facts::lines::ConnectionLines;

/// Ports 143 and 993.
pub(super) const IMAP: Language = Language {
    name: "imap",
    first_speaker: FirstSpeaker::Server,
    is_mail: true,
    // Clients renew IDLE every 29 minutes (RFC 2177).
    idle_timeout: 35 * MINUTE,
    lines: ConnectionLines::Both,
    at_once: None,
    question: b"a1 NOOP\r\na2 LOGOUT\r\n",
    manners: Some(Manners {
        ends: |_: Part, _| true,
        is_greeting: |heard| heard.starts_with(b"* OK") || heard.starts_with(b"* PREAUTH"),
        goodbye: b"a LOGOUT\r\n",
        is_goodbye: |heard| heard.starts_with(b"* BYE"),
        // It takes the first word of a version 1 header for the tag.
        is_complaint: |heard| heard.starts_with(b"* BAD") || heard.starts_with(b"PROXY "),
    }),
    refuse,
    checks: Checks {
        greeting: |script| Some(greeting(script)),
        answer: |_: &mut Unanswered, script, line| answer(script, line),
        is_clients,
        give_up: |_, why| give_up(why),
    },
};

/// The greeting that turns a client away.
fn refuse(refusal: &Refusal<'_>) -> Option<Vec<u8>> {
    let code = match refusal.why {
        Reason::BackendUnavailable | Reason::LimitReached | Reason::Draining => "UNAVAILABLE",
        Reason::Denied => "ALERT",
        Reason::SecureRequired => "PRIVACYREQUIRED",
    };
    Some(format!("* BYE [{code}] {}\r\n", refusal.sentence()).into_bytes())
}

/// No login in any state, so that no client tries.
const CAPABILITY: &str = "CAPABILITY IMAP4rev1 LOGINDISABLED";
/// The longest tag that is repeated.
const MAX_TAG: usize = 64;

/// The greeting.
fn greeting(script: &Script) -> String {
    format!("* OK [{CAPABILITY}] {} {}\r\n", script.host, script.welcome)
}

/// The answer to one command.
fn answer(script: &Script, line: &[u8]) -> (String, Then) {
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
fn is_clients(line: &[u8]) -> bool {
    matches!(verb(verb(line).1).0.as_slice(), b"LOGIN" | b"AUTHENTICATE")
}

/// The last words when a bound is reached.
fn give_up(why: &str) -> String {
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
