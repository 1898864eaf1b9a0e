//! HTTP/1, as far as checks go: one request, one answer, close.
//!
//! RFC 9112 sections 2 and 3 (the request's lines), RFC 9110 section 9 (methods) and 15 (status codes).

use super::{Script, Then};

/// The request so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Request {
    /// The request line is due.
    #[default]
    Line,
    /// Its header lines are being read.
    Fields(Method),
}

/// What is asked, as far as the answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// The page.
    Get,
    /// The page without its body.
    Head,
    /// Something that would change or carry something.
    Other,
}

impl Request {
    /// Takes one line; the empty one that ends the request brings the answer.
    pub(super) fn answer(&mut self, script: &Script, line: &[u8]) -> (String, Then) {
        match *self {
            // RFC 9112 2.2: an empty line before the request is no request.
            Self::Line if line.is_empty() => (String::new(), Then::GoOn),
            Self::Line => match method(line) {
                Some(method) => {
                    *self = Self::Fields(method);
                    (String::new(), Then::GoOn)
                }
                None => {
                    let body = "an HTTP/1 request is due\n".to_owned();
                    (Response { status: "400 Bad Request", fields: "", body }.text(Method::Get), Then::Close)
                }
            },
            Self::Fields(_) if !line.is_empty() => (String::new(), Then::GoOn),
            Self::Fields(method) => (Response::to(method, script).text(method), Then::Close),
        }
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
            Method::Get | Method::Head => Self { status: "200 OK", fields: "", body: page(script) },
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

/// The welcome and the facts, one a line.
pub(super) fn page(script: &Script) -> String {
    let facts: String = script.facts.iter().map(|fact| format!("{fact}\n")).collect();
    format!("{} {}\n{facts}", script.host, script.welcome)
}

/// The answer when a bound is reached.
pub(super) fn give_up(why: &str) -> String {
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
