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
        // RFC 3206: nothing is wrong with the client's name or password.
        b"USER" | b"PASS" | b"APOP" | b"AUTH" => format!("-ERR [SYS/TEMP] {}\r\n", script.no),
        _ => format!("-ERR {}\r\n", script.no),
    };
    (text, Then::GoOn)
}

/// Whether a client says this, and no check.
pub(super) fn is_clients(line: &[u8]) -> bool {
    matches!(verb(line).0.as_slice(), b"USER" | b"PASS" | b"APOP" | b"AUTH")
}

/// The last words when a bound is reached.
pub(super) fn give_up(why: &str) -> String {
    format!("-ERR {why}\r\n")
}
