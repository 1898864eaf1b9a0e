//! The no of IMAP: an untagged BYE in the place of the greeting.
//!
//! RFC 3501 and RFC 9051, 7.1.5 (BYE as greeting) and 7.1 (ALERT must be shown to the user), RFC 5530 (UNAVAILABLE,
//! PRIVACYREQUIRED). Its LIMIT speaks of limits like the number of flags and says nothing about coming back later, so
//! too many connections are UNAVAILABLE as well.

use super::{Reason, Refusal};

/// The greeting that turns a client away.
pub(super) fn refuse(refusal: &Refusal<'_>) -> Vec<u8> {
    let code = match refusal.why {
        Reason::BackendUnavailable | Reason::LimitReached | Reason::Draining => "UNAVAILABLE",
        Reason::Denied => "ALERT",
        Reason::SecureRequired => "PRIVACYREQUIRED",
    };
    format!("* BYE [{code}] {}\r\n", refusal.sentence()).into_bytes()
}
