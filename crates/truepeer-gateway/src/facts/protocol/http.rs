//! HTTP/1, as far as refusals and checks go: one whole response, then close.
//!
//! Refusals are written without waiting for the request: RFC 9110 15.5.4 (403), 15.6.4 (503), 10.2.3 (Retry-After), RFC
//! 6585 section 4 (429), RFC 9112 9.6 (close). An answer to a request that was not read yet ends the connection, so a
//! HEAD that gets a body harms nobody.
//! Checks: RFC 9112 sections 2 and 3 (the request's lines), RFC 9110 section 9 (methods) and 15 (status codes).

use super::language::{Checks, FirstSpeaker, Language, MINUTE, Method, Unanswered};
use super::refusal::{Permanence, Reason, Refusal};
use super::script::{Script, Then};
use crate::facts::lines::ConnectionLines;

/// HTTP/1 and HTTP/2 in clear text.
pub(super) const HTTP: Language = Language {
    name: "http",
    first_speaker: FirstSpeaker::Client,
    is_mail: false,
    idle_timeout: 5 * MINUTE,
    lines: ConnectionLines::End,
    at_once: None,
    question: b"GET / HTTP/1.1\r\nHost: demo.invalid\r\nConnection: close\r\n\r\n",
    manners: None,
    refuse,
    checks: Checks { greeting: |_| None, answer, is_clients: |_| false, give_up: |_, why| give_up(why) },
};

/// The seconds until a client that heard a temporary no may come back.
const RETRY_AFTER: &str = "Retry-After: 30\r\n";

/// The response that turns a client away.
fn refuse(refusal: &Refusal<'_>) -> Option<Vec<u8>> {
    let status = match refusal.why {
        Reason::BackendUnavailable | Reason::Draining => "503 Service Unavailable",
        Reason::LimitReached => "429 Too Many Requests",
        Reason::Denied | Reason::SecureRequired => "403 Forbidden",
    };
    let fields = match refusal.why.permanence() {
        Permanence::Temporary => RETRY_AFTER,
        Permanence::Permanent => "",
    };
    let body = format!("{}\n", refusal.sentence());
    Some(Response { status, fields, body }.text(Method::Get).into_bytes())
}

/// Takes one line; the empty one that ends the request brings the answer.
fn answer(pending: &mut Unanswered, script: &Script, line: &[u8]) -> (String, Then) {
    match *pending {
        // RFC 9112 2.2: an empty line before the request is no request.
        Unanswered::Nothing if line.is_empty() => (String::new(), Then::GoOn),
        Unanswered::Nothing => match method(line) {
            Some(method) => {
                *pending = Unanswered::Request(method);
                (String::new(), Then::GoOn)
            }
            None => {
                let body = "an HTTP/1 request is due\n".to_owned();
                (Response { status: "400 Bad Request", fields: "", body }.text(Method::Get), Then::Close)
            }
        },
        Unanswered::Request(_) if !line.is_empty() => (String::new(), Then::GoOn),
        Unanswered::Request(method) => (Response::to(method, script).text(method), Then::Close),
    }
}

struct Response {
    status: &'static str,
    /// Header lines that only this response has, each with its end.
    fields: &'static str,
    body: String,
}

impl Response {
    fn to(method: Method, script: &Script) -> Self {
        match method {
            Method::Get | Method::Head => Self { status: "200 OK", fields: "", body: script.page() },
            Method::Other => Self {
                status: "405 Method Not Allowed",
                fields: "Allow: GET, HEAD, OPTIONS\r\n",
                body: format!("{}\n", script.no),
            },
        }
    }

    fn text(&self, method: Method) -> String {
        let Self { status, fields, body } = self;
        let shown = if method == Method::Head { "" } else { body };
        format!(
            "HTTP/1.1 {status}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\
             Cache-Control: no-store\r\n\
             {fields}\
             Connection: close\r\n\
             \r\n\
             {shown}",
            body.len()
        )
    }
}

/// The answer when a bound is reached.
fn give_up(why: &str) -> String {
    let status = "431 Request Header Fields Too Large";
    Response { status, fields: "", body: format!("{why}\n") }.text(Method::Get)
}

/// The method of a request line `METHOD target HTTP/1.x`.
fn method(line: &[u8]) -> Option<Method> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let whole = words.next().is_none() && !target.is_empty() && version.starts_with(b"HTTP/1.");
    match method {
        _ if !whole => None,
        b"GET" | b"OPTIONS" => Some(Method::Get),
        b"HEAD" => Some(Method::Head),
        _ if !method.is_empty() && method.iter().all(u8::is_ascii_uppercase) => Some(Method::Other),
        _ => None,
    }
}
