//! What is answered to which request. Pure: a request and a view in, a response out.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, VARY};
use hyper::http::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};

use crate::observe::metrics::Format;
use crate::server::View;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The answer to `request`; its body is never read.
pub(super) fn to<B>(request: &Request<B>, view: &View) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
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
        path => match path.strip_prefix("/readyz/") {
            Some(listener) => listener_readiness(view, listener),
            None => {
                plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz, /readyz and /readyz/LISTENER\n")
            }
        },
    }
}

/// Ready means that clients of every listener would be served.
fn readiness(view: &View) -> Response<Full<Bytes>> {
    if view.is_draining() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
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
