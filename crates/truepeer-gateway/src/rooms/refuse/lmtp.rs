//! The no of LMTP: RFC 2033 section 4 takes the greeting and the reply codes over from SMTP.

use super::{Refusal, smtp};

/// The greeting that turns a client away.
pub(super) fn refuse(refusal: &Refusal<'_>) -> Vec<u8> {
    smtp::refuse(refusal)
}
