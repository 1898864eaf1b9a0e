//! ManageSieve.
//!
//! Refusals: RFC 5804 1.2 (BYE) and 1.3 (TRYLATER). ENCRYPT-NEEDED is defined for AUTHENTICATE only, so a client
//! without TLS gets the sentence without a code.
//! Checks are answered as far as they go: CAPABILITY, NOOP, LOGOUT (RFC 5804: 1.2 responses, 1.7 capabilities, 2.3, 2.4
//! and 2.13 the three commands). Nobody logs in.

use super::language::{Checks, FirstSpeaker, Language, MINUTE, Manners, Part, Unanswered};
use super::lines::verb;
use super::refusal::{Permanence, Refusal};
use super::script::{Script, Then};
use crate::facts::lines::ConnectionLines;

/// Port 4190.
pub(super) const MANAGE_SIEVE: Language = Language {
    name: "managesieve",
    first_speaker: FirstSpeaker::Server,
    is_mail: true,
    // A session stays open in an editor for as long.
    idle_timeout: 35 * MINUTE,
    lines: ConnectionLines::Both,
    at_once: None,
    question: b"CAPABILITY\r\nLOGOUT\r\n",
    manners: Some(Manners {
        // Capabilities end with a line that begins with OK.
        ends: |part, line| {
            part == Part::Answer || ["OK", "NO", "BYE"].iter().any(|word| line.starts_with(word.as_bytes()))
        },
        is_greeting: |heard| heard.starts_with(b"\"") || heard.starts_with(b"OK"),
        goodbye: b"LOGOUT\r\n",
        is_goodbye: |heard| heard.starts_with(b"OK"),
        is_complaint: |heard| heard.starts_with(b"NO"),
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
    let code = match refusal.why.permanence() {
        Permanence::Temporary => "(TRYLATER) ",
        Permanence::Permanent => "",
    };
    Some(format!("BYE {code}\"{}\"\r\n", refusal.sentence()).into_bytes())
}

/// The greeting: the capabilities, then OK.
fn greeting(script: &Script) -> String {
    format!("{}OK \"{} {}\"\r\n", capabilities(script), script.host, script.welcome)
}

/// The answer to one command.
fn answer(script: &Script, line: &[u8]) -> (String, Then) {
    let (verb, _) = verb(line);
    let text = match verb.as_slice() {
        b"CAPABILITY" => format!("{}OK \"done\"\r\n", capabilities(script)),
        b"NOOP" => "OK \"done\"\r\n".to_owned(),
        b"LOGOUT" => return ("OK \"goodbye\"\r\n".to_owned(), Then::Close),
        b"AUTHENTICATE" => format!("NO (TRYLATER) \"{}\"\r\n", script.no),
        _ => format!("NO \"{}\"\r\n", script.no),
    };
    (text, Then::GoOn)
}

/// Whether a client says this, and no check.
fn is_clients(line: &[u8]) -> bool {
    verb(line).0.as_slice() == b"AUTHENTICATE"
}

/// The last words when a bound is reached.
fn give_up(why: &str) -> String {
    format!("BYE \"{why}\"\r\n")
}

/// The mandatory ones, with no way to log in and no extension, and the facts in one of our own.
fn capabilities(script: &Script) -> String {
    let mut text =
        "\"IMPLEMENTATION\" \"truepeer\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"VERSION\" \"1.0\"\r\n"
            .to_owned();
    if !script.facts.is_empty() {
        text.push_str(&format!("\"XWHOAMI\" \"{}\"\r\n", script.facts.join(" ")));
    }
    text
}
