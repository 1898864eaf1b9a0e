//! `axum::serve` on our listener: the handler sees the client, and silent peers stop nobody.
#![cfg(feature = "axum")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../examples/axum.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;
#[cfg(feature = "tower")]
#[path = "../examples/tower.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod tower_example;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::serve::ListenerExt;
use common::net::{bind, bind_with, dial, http_get, silent_crowd};
use common::{Events, LOCAL, V1, V2};
use tokio::task::JoinSet;
use truepeer::{Client, ListenerOptions};

#[tokio::test]
async fn the_handler_sees_the_client_and_the_proxy() {
    let (listener, addr) = bind().await;
    let mut server = JoinSet::new();
    server.spawn(example::serve(listener));
    for header in [V1, V2] {
        let proxy = dial(addr, header).await;
        let via = proxy.local_addr().unwrap();
        let answer = http_get(proxy, "/", "").await;
        assert_eq!(answer, format!("HTTP/1.1 200 OK hello 203.0.113.5:40000, through {via}\n"));
    }
}

/// The known failure of listeners that read the header inside accept, through `axum::serve` itself.
#[tokio::test]
async fn behind_a_thousand_silent_peers_axum_serves_the_good_client() {
    let events = Events::default();
    let (listener, addr) = bind_with(events.observe(ListenerOptions::new())).await;
    let mut server = JoinSet::new();
    server.spawn(example::serve(listener));
    let crowd = silent_crowd(addr, 1000).await;
    let answer = http_get(dial(addr, V2).await, "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK hello 203.0.113.5:40000"), "{answer}");
    // Nobody had to be closed, and no deadline had to pass, for that.
    assert!(events.take().is_empty());
    drop(crowd);
}

#[tokio::test]
async fn a_health_check_is_answered_where_it_is_asked_for_and_is_no_client() {
    let (listener, addr) = bind().await;
    let mut server = JoinSet::new();
    server.spawn(example::serve_all(listener));
    let check = dial(addr, LOCAL).await;
    let peer = check.local_addr().unwrap();
    let answer = http_get(check, "/", "").await;
    assert_eq!(answer, format!("HTTP/1.1 200 OK healthy, proxy {peer} itself (local)\n"));
    let answer = http_get(dial(addr, V1).await, "/", "").await;
    assert_eq!(answer, "HTTP/1.1 200 OK hello 203.0.113.5:40000\n");
}

#[tokio::test]
async fn tap_io_keeps_the_client() {
    let (listener, addr) = bind().await;
    let listener = listener.tap_io(|stream| stream.as_io().set_nodelay(true).unwrap());
    let app =
        Router::new().route("/", get(async |ConnectInfo(client): ConnectInfo<Client>| client.to_string()));
    let mut server = JoinSet::new();
    server.spawn(async { axum::serve(listener, app.into_make_service_with_connect_info::<Client>()).await });
    assert_eq!(http_get(dial(addr, V1).await, "/", "").await, "HTTP/1.1 200 OK 203.0.113.5:40000");
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn forged_forwarding_fields_do_not_reach_the_handler() {
    let forged = "x-forwarded-for: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n";
    let (listener, addr) = bind().await;
    let mut server = JoinSet::new();
    server.spawn(tower_example::serve(listener));
    let answer = http_get(dial(addr, V1).await, "/", forged).await;
    assert_eq!(answer, "HTTP/1.1 200 OK hello 203.0.113.5:40000, forged: false\n");

    let (listener, addr) = common::net::bind_untrusting().await;
    server.spawn(tower_example::serve(listener));
    let direct = dial(addr, b"").await;
    let us = direct.local_addr().unwrap();
    let answer = http_get(direct, "/", forged).await;
    assert_eq!(answer, format!("HTTP/1.1 200 OK hello {us}, forged: false\n"));
}
