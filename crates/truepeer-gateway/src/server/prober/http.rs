//! The question to an HTTP backend: a request behind our header, and the same without it if that one is refused.
//!
//! A server that does not read headers takes ours for a broken request: it answers 400, or ends the connection. Others
//! do the same for reasons of their own, so that only the two answers together prove it.

use std::time::{Duration, Instant};

use super::{End, Still, describe, dial, hear, introduction, later, say, unreached};
use crate::engine::{Address, DialError};
use crate::facts::manners::Part;
use crate::facts::protocol::Protocol;
use crate::rooms::backend::{Pool, Readiness, Unready};

/// How long an answer is waited for: without one nothing is proved, and clients are served meanwhile.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What a server says to what it cannot read.
const BAD_REQUEST: u16 = 400;

/// Whether our header precedes the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Sent,
    LeftOut,
}

/// What became of a request.
enum Answer {
    /// It was understood.
    Taken,
    /// It was called broken, or the connection was ended; what was said.
    Refused(Vec<u8>),
    /// No answer in time.
    Late,
}

/// Asks `address`.
pub(super) async fn ask(pool: &Pool, address: &Address) -> Readiness {
    let refused = match request(pool, address, Header::Sent).await {
        Ok(Answer::Taken) => return Readiness::Proved,
        Ok(Answer::Late) => return Readiness::Unproven,
        Ok(Answer::Refused(said)) => said,
        Err(error) => return unreached(&error),
    };
    match request(pool, address, Header::LeftOut).await {
        Ok(Answer::Taken) => {
            let saw =
                describe("it takes requests without a header, and to one behind a header it said", &refused);
            Readiness::Unready(Unready::IgnoresHeader { saw })
        }
        Ok(Answer::Refused(_) | Answer::Late) => Readiness::Unproven,
        Err(error) => unreached(&error),
    }
}

/// Whether it still answers as it did.
pub(super) async fn still_serves(pool: &Pool, address: &Address) -> Still {
    match request(pool, address, Header::Sent).await {
        Ok(Answer::Taken | Answer::Late) => Still::Serves,
        Ok(Answer::Refused(_)) | Err(_) => Still::Differs,
    }
}

async fn request(pool: &Pool, address: &Address, header: Header) -> Result<Answer, DialError> {
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
        Address::Unix(_) => "localhost".to_owned(),
    };
    let request = format!(
        "HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: truepeer (check)\r\nConnection: close\r\n\r\n"
    );
    bytes.extend_from_slice(request.as_bytes());
    // A server that ends the connection at our header may have said why.
    let _ = say(&socket, &bytes, deadline).await;
    let (heard, end) = hear(&socket, Protocol::Http, Part::Answer, deadline, Vec::new()).await;
    Ok(match (end, status(&heard)) {
        (End::Late, _) => Answer::Late,
        (_, Some(status)) if status != BAD_REQUEST => Answer::Taken,
        _ => Answer::Refused(heard),
    })
}

/// The status of an answer that is HTTP/1.
fn status(heard: &[u8]) -> Option<u16> {
    let rest = heard.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}
