//! SMTP, submission and LMTP, as far as checks go: hello, NOOP, RSET, QUIT. No mail is taken.
//!
//! RFC 5321 section 4 (commands and replies), RFC 2033 (LMTP: LHLO instead of EHLO and HELO), RFC 2034 and 3463
//! (enhanced codes), RFC 2920 (pipelining; LMTP asks for it).

use super::lines::verb;
use super::{Script, Then};

/// Which of the two languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// SMTP and submission.
    Smtp,
    /// LMTP.
    Lmtp,
}

/// The greeting.
pub(super) fn greeting(dialect: Dialect, script: &Script) -> String {
    let name = match dialect {
        Dialect::Smtp => "ESMTP",
        Dialect::Lmtp => "LMTP",
    };
    format!("220 {} {name} {}\r\n", script.host, script.welcome)
}

/// The answer to one command.
pub(super) fn answer(dialect: Dialect, script: &Script, line: &[u8]) -> (String, Then) {
    let (verb, _) = verb(line);
    let text = match (verb.as_slice(), dialect) {
        (b"EHLO", Dialect::Smtp) | (b"LHLO", Dialect::Lmtp) => hello(script),
        (b"HELO", Dialect::Smtp) => format!("250 {}\r\n", script.host),
        (b"NOOP" | b"RSET", _) => "250 2.0.0 ok\r\n".to_owned(),
        (b"QUIT", _) => return (format!("221 2.0.0 {} goodbye\r\n", script.host), Then::Close),
        // Temporary: a permanent no would bounce the mail of a client whom a proxy failed to name.
        (b"MAIL" | b"RCPT", _) => format!("451 4.7.1 {}\r\n", script.no),
        (b"AUTH", _) => format!("454 4.7.0 {}\r\n", script.no),
        // STARTTLS, DATA, the other dialect's hello, and whatever is no command at all.
        _ => format!("502 5.5.1 {}\r\n", script.no),
    };
    (text, Then::GoOn)
}

/// Whether a client says this, and no check.
pub(super) fn is_clients(line: &[u8]) -> bool {
    matches!(verb(line).0.as_slice(), b"MAIL" | b"RCPT" | b"AUTH")
}

/// The last words when a bound is reached.
pub(super) fn give_up(script: &Script, why: &str) -> String {
    format!("421 4.7.0 {} {why}\r\n", script.host)
}

fn hello(script: &Script) -> String {
    let mut text = format!("250-{}\r\n", script.host);
    for fact in &script.facts {
        text.push_str(&format!("250-{fact}\r\n"));
    }
    text.push_str("250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n");
    text
}
