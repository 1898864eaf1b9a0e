//! The no of HTTP: one whole response, written without waiting for the request.
//!
//! RFC 9110 15.5.4 (403), 15.6.4 (503), 10.2.3 (Retry-After), RFC 6585 section 4 (429), RFC 9112 9.6 (close).
//! An answer to a request that was not read yet ends the connection, so a HEAD that gets a body harms nobody.

use super::{Permanence, Reason, Refusal};

/// Seconds until a client that heard a temporary no may come back.
const RETRY_AFTER: u32 = 30;

/// The response that turns a client away.
pub(super) fn refuse(refusal: &Refusal<'_>) -> Vec<u8> {
    let status = match refusal.why {
        Reason::BackendUnavailable | Reason::Draining => "503 Service Unavailable",
        Reason::LimitReached => "429 Too Many Requests",
        Reason::Denied | Reason::SecureRequired => "403 Forbidden",
    };
    let retry = match refusal.why.permanence() {
        Permanence::Temporary => format!("Retry-After: {RETRY_AFTER}\r\n"),
        Permanence::Permanent => String::new(),
    };
    let body = format!("{}\n", refusal.sentence());
    format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\
         {retry}\
         Connection: close\r\n\
         \r\n\
         {body}",
        body.len()
    )
    .into_bytes()
}
