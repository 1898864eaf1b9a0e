//! hyper-util's own client towards a server that expects a header.
#![cfg(feature = "hyper-util")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../examples/hyper.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use truepeer::proto::Version;
use truepeer::{HeaderConnector, OutgoingHeader, ProxyListener, TrustedNetworks};

async fn get(client: &str, backend: std::net::SocketAddr) -> String {
    let header = OutgoingHeader::for_client(Version::V2, (client.parse().unwrap(), backend)).unwrap();
    let http: HttpClient<_, Empty<Bytes>> =
        HttpClient::builder(TokioExecutor::new()).build(HeaderConnector::new(header));
    let answer = http.get(format!("http://{backend}/").parse().unwrap()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_backend_knows_whom_each_request_is_for() {
    let mut server = JoinSet::new();
    let (listener, backend) = common::net::bind().await;
    server.spawn(example::serve(listener));
    for client in ["203.0.113.5:40000", "198.51.100.7:1"] {
        assert_eq!(get(client, backend).await, format!("hello {client}\n"));
    }
    // An address of IPv6, where this machine has one.
    let trusted = TrustedNetworks::parse(["::1"]).unwrap();
    if let Ok(listener) = ProxyListener::bind("[::1]:0", trusted).await {
        let backend = listener.local_addr().unwrap();
        server.spawn(example::serve(listener));
        assert_eq!(get("[2001:db8::5]:40000", backend).await, "hello [2001:db8::5]:40000\n");
    }
}

#[tokio::test]
async fn a_uri_without_a_host_is_said_to_be_one() {
    use tower_service::Service;

    let mut connector = HeaderConnector::new(OutgoingHeader::local().unwrap());
    let error = connector.call("/path".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "/path names no host");
}
