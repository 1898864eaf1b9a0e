//! LMTP: RFC 2033 section 4 takes the greeting and the reply codes over from SMTP, and has LHLO instead of EHLO and HELO.

use super::language::{Checks, Language, Unanswered};
use super::smtp::{self, Dialect, SMTP};

/// Local delivery.
pub(super) const LMTP: Language = Language {
    name: "lmtp",
    at_once: None,
    question: b"LHLO demo.invalid\r\nQUIT\r\n",
    checks: Checks {
        greeting: |script| Some(smtp::greeting(Dialect::Lmtp, script)),
        answer: |_: &mut Unanswered, script, line| smtp::answer(Dialect::Lmtp, script, line),
        is_clients: smtp::is_clients,
        give_up: smtp::give_up,
    },
    ..SMTP
};
