//! tonic on our listener: the interceptor judges the client, not the proxy.
#![cfg(feature = "tonic")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../examples/tonic.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use std::net::SocketAddr;

use common::net::{bind, dial_as, silent_crowd};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use truepeer::IpNet;

/// A channel whose one connection begins with a header.
async fn channel(addr: SocketAddr, client: &'static str) -> Channel {
    let connector = Connector { addr, client };
    Endpoint::from_static("http://health.example").connect_with_connector(connector).await.unwrap()
}

#[derive(Clone)]
struct Connector {
    addr: SocketAddr,
    client: &'static str,
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = TokioIo<tokio::net::TcpStream>;
    type Error = std::io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let Self { addr, client } = *self;
        Box::pin(async move { Ok(TokioIo::new(dial_as(addr, client).await)) })
    }
}

#[tokio::test]
async fn requests_carry_the_client() {
    let (listener, addr) = bind().await;
    let welcome = ["203.0.113.0/24".parse::<IpNet>().unwrap()].into_iter().collect();
    let mut server = JoinSet::new();
    server.spawn(example::serve(listener, welcome));
    let crowd = silent_crowd(addr, 100).await;

    let mut health = HealthClient::new(channel(addr, "203.0.113.5:40000").await);
    let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    assert_eq!(answer.into_inner().status, 1, "serving");

    let mut health = HealthClient::new(channel(addr, "198.51.100.7:40000").await);
    let error = health.check(HealthCheckRequest { service: String::new() }).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::PermissionDenied, "198.51.100.7 is not welcome here"));
    drop(crowd);
}
