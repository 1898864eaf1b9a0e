//! ManageSieve, as far as checks go: CAPABILITY, NOOP, LOGOUT. Nobody logs in.
//!
//! RFC 5804: 1.2 (responses), 1.7 (capabilities), 2.3, 2.4 and 2.13 (the three commands).

use super::lines::verb;
use super::{Script, Then};

/// The greeting: the capabilities, then OK.
pub(super) fn greeting(script: &Script) -> String {
    format!("{}OK \"{} {}\"\r\n", capabilities(script), script.host, script.welcome)
}

/// The answer to one command.
pub(super) fn answer(script: &Script, line: &[u8]) -> (String, Then) {
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
pub(super) fn is_clients(line: &[u8]) -> bool {
    verb(line).0.as_slice() == b"AUTHENTICATE"
}

/// The last words when a bound is reached.
pub(super) fn give_up(why: &str) -> String {
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
