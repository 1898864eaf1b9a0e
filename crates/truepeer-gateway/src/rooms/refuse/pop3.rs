//! The no of POP3: an error in the place of the greeting.
//!
//! RFC 1939 section 4 shows only positive greetings; `-ERR` there is what servers do. RFC 2449 section 8 (response
//! codes), RFC 3206 (SYS/TEMP, SYS/PERM).

use super::{Permanence, Refusal};

/// The greeting that turns a client away.
pub(super) fn refuse(refusal: &Refusal<'_>) -> Vec<u8> {
    let code = match refusal.why.permanence() {
        Permanence::Temporary => "SYS/TEMP",
        Permanence::Permanent => "SYS/PERM",
    };
    format!("-ERR [{code}] {}\r\n", refusal.sentence()).into_bytes()
}
