//! The layer by itself: whose forwarding fields go, whose stay, and where the client comes from.
#![cfg(all(feature = "tower", feature = "tokio"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};

use common::{PROXY, STRANGER, V1, bytes, listener};
use http::Request;
use tower_layer::Layer;
use tower_service::Service;
use truepeer::{Client, ClientLayer, ListenerOptions};

/// Every way to name a client that is taken out, and fields that are none.
const FIELDS: [&str; 34] = [
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Anything",
    "X-Original-Forwarded-For",
    "x_forwarded_for",
    "X-Real-IP",
    "x_real-ip",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "Fly-Client-IP",
    "CloudFront-Viewer-Address",
    "X-Vercel-Forwarded-For",
    "DO-Connecting-IP",
    "X-NF-Client-Connection-IP",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    "WL_Proxy_Client_IP",
    "Incap-Client-IP",
    "X-Sucuri-ClientIP",
    "Ali-CDN-Real-IP",
    "X-ProxyUser-Ip",
    // Of proxies that nobody has heard of.
    "Acme-Client-IP",
    "X-Acme-Remote_Addr",
    "Acme-Forwarded-For",
    KEPT[0],
    KEPT[1],
    KEPT[2],
    KEPT[3],
    KEPT[4],
];
/// Names that are near, and name no client.
const KEPT: [&str; 5] = ["client-ip-policy", "forwarded-form", "x-real", "x-request-id", "x.real.ip"];

/// Answers with the client it found and the fields that were left.
#[derive(Clone)]
struct Show;

impl Service<Request<()>> for Show {
    type Response = (Option<String>, Vec<String>);
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let client = request.extensions().get::<Client>().map(ToString::to_string);
        let mut left: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        left.sort();
        ready(Ok((client, left)))
    }
}

async fn client(peer: &str) -> Client {
    let (mut listener, door, _) = listener(ListenerOptions::new());
    door.connect(peer, [bytes(&[V1])]);
    listener.accept().await.client().clone()
}

async fn call(layer: ClientLayer, extension: Option<Client>) -> (Option<String>, Vec<String>) {
    let mut request = Request::new(());
    for name in FIELDS {
        let name = http::HeaderName::try_from(name).unwrap();
        request.headers_mut().append(&name, "10.0.0.1".parse().unwrap());
        request.headers_mut().append(name, "10.0.0.2".parse().unwrap());
    }
    if let Some(client) = extension {
        request.extensions_mut().insert(client);
    }
    layer.layer(Show).call(request).await.unwrap()
}

#[tokio::test]
async fn forwarding_fields_go_whoever_sent_them() {
    for peer in [PROXY, STRANGER] {
        let client = client(peer).await;
        let (seen, left) = call(ClientLayer::new(), Some(client.clone())).await;
        assert_eq!((seen, left), (Some(client.to_string()), KEPT.map(str::to_owned).to_vec()));
    }
    // A server without our listener: no client, and nothing to be forged either.
    let (seen, left) = call(ClientLayer::new(), None).await;
    assert_eq!((seen, left), (None, KEPT.map(str::to_owned).to_vec()));
}

/// What the documentation lists is what goes, each by itself.
#[tokio::test]
async fn every_field_and_ending_of_the_lists_is_taken_out() {
    let endings = ClientLayer::CLIENT_FIELD_ENDINGS.iter().map(|ending| format!("acme-{ending}"));
    let names: Vec<String> =
        ClientLayer::CLIENT_FIELDS.iter().map(ToString::to_string).chain(endings).collect();
    for name in names {
        let mut request = Request::new(());
        request.headers_mut().append(http::HeaderName::try_from(&name).unwrap(), "10.0.0.1".parse().unwrap());
        let (_, left) = ClientLayer::new().layer(Show).call(request).await.unwrap();
        assert!(left.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn fields_of_http_proxies_stay_where_that_was_asked_for_and_only_theirs() {
    let layer = ClientLayer::new().keep_fields_of_proxies();
    let (_, left) = call(layer.clone(), Some(client(PROXY).await)).await;
    assert_eq!(left.len(), FIELDS.len());
    let (_, left) = call(layer.clone(), Some(client(STRANGER).await)).await;
    assert_eq!(left, KEPT);
    let (_, left) = call(layer, None).await;
    assert_eq!(left, KEPT);
}

#[tokio::test]
async fn a_layer_for_one_connection_needs_no_extension() {
    let (seen, _) = call(ClientLayer::for_client(client(PROXY).await), None).await;
    assert_eq!(seen.as_deref(), Some("203.0.113.5:40000"));
}

/// Not ready yet.
struct Busy;

impl Service<Request<()>> for Busy {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(()))
    }
}

#[test]
fn a_layer_is_ready_when_what_is_below_it_is() {
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(ClientLayer::new().layer(Busy).poll_ready(cx).is_pending());
    assert!(ClientLayer::new().layer(Show).poll_ready(cx).is_ready());
}
