//! The question to an HTTP backend: a request behind our header, and the same without it if that one is refused.
//!
//! A server that does not read headers takes ours for a broken request, or one with a method or version that it does not
//! know: it says so, or ends the connection. Others do the same for reasons of their own, so that only the two answers
//! together prove it. What was proved holds until there is another answer.

use std::time::{Duration, Instant};

use super::{End, Still, describe, dial, hear, introduction, later, say, unreached};
use crate::engine::{Address, DialError};
use crate::facts::manners::{HTTP_BROKEN, Part, http_status, is_misread};
use crate::facts::protocol::Protocol;
use crate::rooms::backend::{Pool, Readiness, Unready};

/// How long an answer is waited for: without one nothing is proved, and clients are served meanwhile.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Whether our header precedes the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Sent,
    LeftOut,
}

/// What came of a request: it was answered, or the connection was ended.
struct Answer {
    /// All of it.
    heard: Vec<u8>,
    /// Its status, if it is HTTP.
    status: Option<u16>,
}

impl Answer {
    /// Whether the request behind our header was understood.
    fn reads_header(&self) -> bool {
        self.status.is_some_and(|status| !is_misread(status))
    }

    /// Whether this request, which was not understood `behind` our header, is understood without.
    fn understands_more_than(&self, behind: &Self) -> bool {
        // Some know no HEAD, which is the same in both answers.
        self.status.is_some_and(|status| status != HTTP_BROKEN) && self.status != behind.status
    }
}

/// Asks `address`, of which `known` was found out before.
pub(super) async fn ask(pool: &Pool, address: &Address, known: &Readiness) -> Readiness {
    let unanswered = || match known {
        Readiness::Unready(Unready::IgnoresHeader { .. }) => known.clone(),
        _ => Readiness::Unproven,
    };
    let behind = match request(pool, address, Header::Sent).await {
        Ok(Some(answer)) if answer.reads_header() => return Readiness::Proved,
        Ok(Some(answer)) => answer,
        Ok(None) => return unanswered(),
        Err(error) => return unreached(&error),
    };
    match request(pool, address, Header::LeftOut).await {
        Ok(Some(answer)) if answer.understands_more_than(&behind) => {
            let what = "it takes requests without a header, and to one behind a header it said";
            Readiness::Unready(Unready::IgnoresHeader { saw: describe(what, &behind.heard) })
        }
        Ok(Some(_)) => Readiness::Unproven,
        Ok(None) => unanswered(),
        Err(error) => unreached(&error),
    }
}

/// Whether it still answers as it did.
pub(super) async fn still_serves(pool: &Pool, address: &Address) -> Still {
    match request(pool, address, Header::Sent).await {
        Ok(Some(answer)) if !answer.reads_header() => Still::Differs,
        Ok(_) => Still::Serves,
        Err(_) => Still::Differs,
    }
}

/// Sends it; `None` if there is no answer in time.
async fn request(pool: &Pool, address: &Address, header: Header) -> Result<Option<Answer>, DialError> {
    let socket = dial(address, &[], pool.backend.connect_timeout).await?;
    let deadline = later(Instant::now(), pool.backend.proof_timeout.min(PATIENCE));
    let mut bytes = match header {
        Header::Sent => {
            introduction(pool, address, &socket, None).map(|told| told.header.bytes).unwrap_or_default()
        }
        Header::LeftOut => Vec::new(),
    };
    let host = match address {
        Address::Tcp(addr) => addr.to_string(),
        Address::Unix(_) | Address::Program(_) => "localhost".to_owned(),
    };
    let request = format!(
        "HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: truepeer (check)\r\nConnection: close\r\n\r\n"
    );
    bytes.extend_from_slice(request.as_bytes());
    // A server that ends the connection at our header may have said why.
    let _ = say(&socket, &bytes, deadline).await;
    let (heard, end) = hear(&socket, Protocol::Http, Part::Answer, deadline, Vec::new()).await;
    let status = http_status(&heard);
    Ok((end != End::Late).then_some(Answer { heard, status }))
}
