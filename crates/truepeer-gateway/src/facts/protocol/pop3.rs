//! POP3.
//!
//! Refusals: RFC 1939 section 4 shows only positive greetings; `-ERR` there is what servers do. RFC 2449 section 8
//! (response codes), RFC 3206 (SYS/TEMP, SYS/PERM).
//! Checks are answered as far as they go: CAPA, NOOP, QUIT (RFC 1939 sections 3 and 4, RFC 2449 section 5). The greeting
//! carries no timestamp, so that nobody tries APOP. Nobody logs in.

use super::language::{Checks, FirstSpeaker, Language, MINUTE, Manners, Part, Unanswered};
use super::lines::verb;
use super::refusal::{Permanence, Refusal};
use super::script::{Script, Then};
use crate::facts::lines::ConnectionLines;

/// Ports 110 and 995.
pub(super) const POP3: Language = Language {
    name: "pop3",
    first_speaker: FirstSpeaker::Server,
    is_mail: true,
    idle_timeout: 15 * MINUTE,
    lines: ConnectionLines::Both,
    at_once: None,
    question: b"CAPA\r\nQUIT\r\n",
    manners: Some(Manners {
        ends: |_: Part, _| true,
        is_greeting: |heard| heard.starts_with(b"+OK"),
        goodbye: b"QUIT\r\n",
        is_goodbye: |heard| heard.starts_with(b"+OK"),
        is_complaint,
    }),
    refuse,
    checks: Checks {
        greeting: |script| Some(greeting(script)),
        answer: |_: &mut Unanswered, script, line| answer(script, line),
        is_clients,
        give_up: |_, why| give_up(why),
    },
};

/// An error about a command. What servers say of themselves to a client that has said nothing is none: they are full, or
/// going (Dovecot's words), or name a response code.
fn is_complaint(heard: &[u8]) -> bool {
    const OF_THEMSELVES: &[&[u8]] =
        &[b"[", b"Connection queue full", b"Shutting down", b"Server shutting down", b"Disconnected"];
    heard
        .strip_prefix(b"-ERR ")
        .is_some_and(|rest| !OF_THEMSELVES.iter().any(|words| rest.starts_with(words)))
}

/// The greeting that turns a client away.
fn refuse(refusal: &Refusal<'_>) -> Option<Vec<u8>> {
    let code = match refusal.why.permanence() {
        Permanence::Temporary => "SYS/TEMP",
        Permanence::Permanent => "SYS/PERM",
    };
    Some(format!("-ERR [{code}] {}\r\n", refusal.sentence()).into_bytes())
}

/// The greeting.
fn greeting(script: &Script) -> String {
    format!("+OK {} {}\r\n", script.host, script.welcome)
}

/// The answer to one command.
fn answer(script: &Script, line: &[u8]) -> (String, Then) {
    let (verb, _) = verb(line);
    let text = match verb.as_slice() {
        b"CAPA" => {
            let facts: String = script.facts.iter().map(|fact| format!("{fact}\r\n")).collect();
            format!("+OK capabilities follow\r\n{facts}PIPELINING\r\nRESP-CODES\r\n.\r\n")
        }
        // RFC 1939 has NOOP for those who logged in only; checks send it before.
        b"NOOP" => "+OK\r\n".to_owned(),
        b"QUIT" => return ("+OK goodbye\r\n".to_owned(), Then::Close),
        // RFC 3206: nothing is wrong with the client's name or password.
        b"USER" | b"PASS" | b"APOP" | b"AUTH" => format!("-ERR [SYS/TEMP] {}\r\n", script.no),
        _ => format!("-ERR {}\r\n", script.no),
    };
    (text, Then::GoOn)
}

/// Whether a client says this, and no check.
fn is_clients(line: &[u8]) -> bool {
    matches!(verb(line).0.as_slice(), b"USER" | b"PASS" | b"APOP" | b"AUTH")
}

/// The last words when a bound is reached.
fn give_up(why: &str) -> String {
    format!("-ERR {why}\r\n")
}
