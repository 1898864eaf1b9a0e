//! SMTP and submission.
//!
//! RFC 5321 3.1 and 4.3.2 (554 and 421 as greeting), RFC 6409 (submission says the same), RFC 3463 and 5248 (enhanced
//! codes). The enhanced code stands in the greeting although RFC 2034 only asks for it later: senders show the line
//! to people, and the code sorts their logs.
//! Checks are answered as far as they go (RFC 5321 section 4, RFC 2920 pipelining): hello, NOOP, RSET, QUIT. No mail is
//! taken.

use std::num::NonZeroU32;

use super::language::{Checks, FirstSpeaker, Language, MINUTE, Manners, Part, Unanswered};
use super::lines::verb;
use super::refusal::{Reason, Refusal};
use super::script::{Script, Then};
use crate::facts::lines::ConnectionLines;

/// Mail servers seldom open more than a handful of connections to one host.
const AT_ONCE: Option<NonZeroU32> = NonZeroU32::new(50);

/// Mail between servers.
pub(super) const SMTP: Language = Language {
    name: "smtp",
    first_speaker: FirstSpeaker::Server,
    is_mail: true,
    // RFC 5321 4.5.3.2 asks for 5 to 10 minutes between commands.
    idle_timeout: 15 * MINUTE,
    lines: ConnectionLines::End,
    at_once: AT_ONCE,
    question: b"EHLO demo.invalid\r\nQUIT\r\n",
    manners: Some(MANNERS),
    refuse,
    checks: Checks {
        greeting: |script| Some(greeting(Dialect::Smtp, script)),
        answer: |_: &mut Unanswered, script, line| answer(Dialect::Smtp, script, line),
        is_clients,
        give_up,
    },
};

/// Mail from users, who sit behind one address by the hundred.
pub(super) const SUBMISSION: Language = Language { name: "submission", at_once: None, ..SMTP };

/// How servers greet and take leave. LMTP has the same manners.
pub(super) const MANNERS: Manners = Manners {
    // `220-` lines go on.
    ends: |_: Part, line| line.get(3) != Some(&b'-'),
    is_greeting: |heard| heard.starts_with(b"220"),
    goodbye: b"QUIT\r\n",
    is_goodbye: |heard| heard.starts_with(b"221"),
    is_complaint: |heard| COMPLAINTS.iter().any(|code| heard.starts_with(code)),
};

/// Errors about a command (RFC 5321 4.2.2, RFC 3463 3.6). Others that follow a greeting are about the client: policy, a
/// list.
const COMPLAINTS: &[&[u8]] = &[b"500", b"501", b"502", b"503", b"521 5.5.", b"554 5.5."];

/// The greeting that turns a client away.
pub(super) fn refuse(refusal: &Refusal<'_>) -> Option<Vec<u8>> {
    Some(format!("{} {} {}\r\n", codes(refusal.why), refusal.host(), refusal.sentence()).into_bytes())
}

/// Reply code and enhanced code.
const fn codes(why: Reason) -> &'static str {
    match why {
        Reason::BackendUnavailable | Reason::Draining => "421 4.3.2",
        Reason::LimitReached => "421 4.7.0",
        Reason::Denied => "554 5.7.1",
        // 530 answers commands only; in the place of a greeting RFC 5321 knows 421 and 554.
        Reason::SecureRequired => "554 5.7.0",
    }
}

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
