//! The no of SMTP and of submission: a 421 or 554 in the place of the greeting.
//!
//! RFC 5321 3.1 and 4.3.2 (554 and 421 as greeting), RFC 6409 (submission says the same), RFC 3463 and 5248 (enhanced
//! codes). The enhanced code stands in the greeting although RFC 2034 only asks for it later: senders show the line
//! to people, and the code sorts their logs.

use super::{Reason, Refusal};

/// The greeting that turns a client away.
pub(super) fn refuse(refusal: &Refusal<'_>) -> Vec<u8> {
    format!("{} {} {}\r\n", codes(refusal.why), refusal.host(), refusal.sentence()).into_bytes()
}

/// Reply code and enhanced code. LMTP has the same ones.
pub(super) const fn codes(why: Reason) -> &'static str {
    match why {
        Reason::BackendUnavailable | Reason::Draining => "421 4.3.2",
        Reason::LimitReached => "421 4.7.0",
        Reason::Denied => "554 5.7.1",
        // 530 answers commands only; in the place of a greeting RFC 5321 knows 421 and 554.
        Reason::SecureRequired => "554 5.7.0",
    }
}
