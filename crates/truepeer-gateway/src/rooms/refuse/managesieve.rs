//! The no of ManageSieve: a BYE in the place of the greeting.
//!
//! RFC 5804 1.2 (BYE) and 1.3 (TRYLATER). ENCRYPT-NEEDED is defined for AUTHENTICATE only, so a client without TLS
//! gets the sentence without a code.

use super::{Permanence, Refusal};

/// The greeting that turns a client away.
pub(super) fn refuse(refusal: &Refusal<'_>) -> Vec<u8> {
    let code = match refusal.why.permanence() {
        Permanence::Temporary => "(TRYLATER) ",
        Permanence::Permanent => "",
    };
    format!("BYE {code}\"{}\"\r\n", refusal.sentence()).into_bytes()
}
