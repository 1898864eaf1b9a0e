//! POP3, as far as checks go: CAPA, NOOP, QUIT. Nobody logs in.
//!
//! RFC 1939 sections 3 and 4, RFC 2449 section 5 (CAPA). The greeting carries no timestamp, so that nobody tries APOP.

use super::lines::verb;
use super::{Script, Then};

/// The greeting.
pub(super) fn greeting(script: &Script) -> String {
    format!("+OK {} {}\r\n", script.host, script.welcome)
}

/// The answer to one command.
pub(super) fn answer(script: &Script, line: &[u8]) -> (String, Then) {
    let (verb, _) = verb(line);
    let text = match verb.as_slice() {
        b"CAPA" => {
            let facts: String = script.facts.iter().map(|fact| format!("{fact}\r\n")).collect();
            format!("+OK capabilities follow\r\n{facts}PIPELINING\r\nRESP-CODES\r\n.\r\n")
        }
        // RFC 1939 has NOOP for those who logged in only; checks send it before.
        b"NOOP" => "+OK\r\n".to_owned(),
        b"QUIT" => return ("+OK goodbye\r\n".to_owned(), Then::Close),
        _ => format!("-ERR {}\r\n", script.no),
    };
    (text, Then::GoOn)
}

/// The last words when a bound is reached.
pub(super) fn give_up(why: &str) -> String {
    format!("-ERR {why}\r\n")
}
