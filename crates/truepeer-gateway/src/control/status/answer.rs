//! What is answered to which request. Pure: a request and a view in, a response out.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

use crate::config::StatusPage;
use crate::control::page::{POLICY, Seat};
use crate::control::status::StatusContext;
use crate::observe::metrics::Format;
use crate::server::View;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// By which names the page may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// By an address or `localhost`: a web page elsewhere could give this machine a name of its own, and read on.
    OfThisMachine,
    /// By any.
    Any,
}

/// An answer that is there, or one that goes on.
pub(super) type Answer = Response<Either<Full<Bytes>, Events>>;

/// A page's seat, and where its news go.
pub(super) type News = (Seat, mpsc::Sender<Bytes>);

/// News as they come.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|news| news.map(|news| Ok(Frame::data(news))))
    }
}

/// The answer to `request`, whose body is never read, and for a page that stays open where its news go.
pub(super) fn to<B>(request: &Request<B>, context: &StatusContext) -> (Answer, Option<News>) {
    let is_head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return (whole(refusal), None);
        }
    };
    let view = &context.view;
    let answer = match request.uri().path() {
        // That this is answered at all says that the process lives.
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(view),
        "/metrics" => {
            // A header that is no text asks for nothing that we have.
            let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
            let mut answer = response(
                StatusCode::OK,
                HeaderValue::from_static(format.content_type()),
                view.metrics(format),
            );
            answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
            answer
        }
        path @ ("/" | "/events") if context.pages.page() != StatusPage::None => {
            if context.hosts == Hosts::OfThisMachine && !names_this_machine(request) {
                plain(
                    StatusCode::MISDIRECTED_REQUEST,
                    "ask for this page by an address or `localhost`: it is served on loopback, and by another name a foreign web page could read it\n",
                )
            } else if path == "/" {
                page(context)
            } else if is_head {
                response(StatusCode::OK, EVENTS, "")
            } else {
                return events(context);
            }
        }
        path => match path.strip_prefix("/readyz/") {
            Some(listener) => listener_readiness(view, listener),
            None => plain(
                StatusCode::NOT_FOUND,
                match context.pages.page() {
                    StatusPage::None => "there are /metrics, /healthz, /readyz and /readyz/LISTENER\n",
                    StatusPage::WithoutAddresses | StatusPage::WithAddresses => {
                        "there are /, /metrics, /healthz, /readyz and /readyz/LISTENER\n"
                    }
                },
            ),
        },
    };
    (whole(answer), None)
}

fn whole(answer: Response<Full<Bytes>>) -> Answer {
    answer.map(Either::Left)
}

fn page(context: &StatusContext) -> Response<Full<Bytes>> {
    let mut page = response(StatusCode::OK, HTML, context.pages.document());
    let headers = page.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page
}

fn events(context: &StatusContext) -> (Answer, Option<News>) {
    let Some(seat) = context.pages.seat() else {
        let refusal = plain(StatusCode::SERVICE_UNAVAILABLE, "as many pages are open as there may be\n");
        return (whole(refusal), None);
    };
    // Of news that were not taken there is one.
    let (sender, receiver) = mpsc::channel(1);
    let answer = response(StatusCode::OK, EVENTS, "").map(|_| Either::Right(Events(receiver)));
    (answer, Some((seat, sender)))
}

/// Whether the request names an address or `localhost`, or nothing, which no browser does.
fn names_this_machine<B>(request: &Request<B>) -> bool {
    let Some(host) = request.headers().get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Ready means that clients of every listener would be served.
fn readiness(view: &View) -> Response<Full<Bytes>> {
    if view.is_draining() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if view.awaits_store() {
        let text = "what other front doors share is not known yet: the store of `[shared]` was not read\n";
        return plain(StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let unready = view.unready();
    if unready.is_empty() {
        return plain(StatusCode::OK, "ready\n");
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("no backend is ready for: {}\n", unready.join(", ")))
}

fn listener_readiness(view: &View, listener: &str) -> Response<Full<Bytes>> {
    match view.is_ready(listener) {
        Some(true) => plain(StatusCode::OK, "ready\n"),
        Some(false) if view.is_draining() => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Some(false) if view.awaits_store() => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "the store of `[shared]` was not read yet\n")
        }
        Some(false) => plain(StatusCode::SERVICE_UNAVAILABLE, "no backend is ready\n"),
        None => plain(StatusCode::NOT_FOUND, "there is no such listener\n"),
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, PLAIN, body)
}

fn response(status: StatusCode, content: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content);
    // What was true a moment ago helps nobody.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_name_is_not_this_machine() {
        let named = |host: Option<&str>| {
            let request = Request::builder().uri("/");
            let request = host.into_iter().fold(request, |request, host| request.header(HOST, host));
            names_this_machine(&request.body(()).unwrap())
        };
        for host in [None, Some("127.0.0.1:9470"), Some("[::1]:9470"), Some("LocalHost:9470"), Some("::1")] {
            assert_eq!(named(host), host != Some("::1"), "{host:?}");
        }
        for host in ["evil.example:9470", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            assert!(!named(Some(host)), "{host}");
        }
    }
}
