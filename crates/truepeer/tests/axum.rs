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
use axum::serve::{Listener, ListenerExt};
use common::net::{bind, bind_with, dial, http_get, silent_crowd};
use common::{Events, LOCAL, PROXY, V1, V2, bytes, drop_after, listener};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use truepeer::{Caller, Client, ListenerOptions, PeerAddress};
use truepeer_testkit::scripted::Step;

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
    let hello = get(async |ConnectInfo(caller): ConnectInfo<Caller>| match caller {
        Caller::Client(client) => format!("hello {client}\n"),
        Caller::ProxyOwn(own) => format!("healthy, {own}\n"),
    });
    let app = Router::new().route("/", hello).into_make_service_with_connect_info::<Caller>();
    let mut server = JoinSet::new();
    server.spawn(async { axum::serve(listener.with_proxy_own(), app).await });
    let check = dial(addr, LOCAL).await;
    let peer = check.local_addr().unwrap();
    let answer = http_get(check, "/", "").await;
    assert_eq!(answer, format!("HTTP/1.1 200 OK healthy, proxy {peer} itself (local)\n"));
    let answer = http_get(dial(addr, V1).await, "/", "").await;
    assert_eq!(answer, "HTTP/1.1 200 OK hello 203.0.113.5:40000\n");
}

#[tokio::test]
async fn axum_is_told_where_it_listens() {
    let (listener, addr) = bind().await;
    assert_eq!(Listener::local_addr(&listener).unwrap(), PeerAddress::tcp(addr));
    assert_eq!(Listener::local_addr(&listener.with_socket_addr()).unwrap(), addr);
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

/// Cancel safety through axum's trait, which `axum::serve` drops when it shuts down: no connection and no byte is lost.
#[tokio::test(start_paused = true)]
async fn accept_dropped_at_any_point_loses_nobody() {
    let slow = || [Step::Yield, Step::Bytes(V1[..9].to_vec()), Step::Yield, bytes(&[&V1[9..], b"tail"])];
    for times in 0..6 {
        let (clients, door, _) = listener(ListenerOptions::new());
        door.connect(PROXY, slow());
        assert_eq!(accepted(times, clients).await, b"tail");
        let (all, door, _) = listener(ListenerOptions::new());
        door.connect(PROXY, slow());
        assert_eq!(accepted(times, all.with_proxy_own()).await, b"tail");
    }
}

/// The first four bytes of the next connection, by an accept that is dropped after `times` polls, over and over.
async fn accepted(times: usize, mut listener: impl Listener<Addr = PeerAddress>) -> Vec<u8> {
    loop {
        if let Some((mut io, peer)) = drop_after(times, listener.accept()).await {
            assert_eq!(peer, PeerAddress::tcp(PROXY.parse().unwrap()));
            let mut tail = vec![0; 4];
            io.read_exact(&mut tail).await.unwrap();
            return tail;
        }
    }
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

/// A real rate limiter, which knows one type of address: without it, it answers 500 to everybody.
#[tokio::test]
async fn a_rate_limiter_counts_clients_and_not_their_proxy() {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};

    // One request, and the next in an hour.
    let limit = || {
        let config = GovernorConfigBuilder::default().per_second(3600).burst_size(1).finish().unwrap();
        GovernorLayer::new(Arc::new(config))
    };
    let hello = get(async |ConnectInfo(client): ConnectInfo<SocketAddr>| format!("hello {client}"));
    let mut server = JoinSet::new();
    let mut addrs = Vec::new();
    let (listener, addr) = bind().await;
    addrs.push(addr);
    let app = Router::new().route("/", hello.clone()).layer(limit());
    server.spawn(async {
        axum::serve(listener.with_socket_addr(), app.into_make_service_with_connect_info::<SocketAddr>())
            .await
    });
    // Both: the client for us, its address for others.
    #[cfg(feature = "tower")]
    {
        let (listener, addr) = bind().await;
        addrs.push(addr);
        let both = get(async |client: Client, ConnectInfo(addr): ConnectInfo<SocketAddr>| {
            assert_eq!(client.endpoint().to_socket_addr(0), addr);
            format!("hello {client}")
        });
        let app = Router::new().route("/", both).layer(limit()).layer(truepeer::ClientLayer::new());
        let app = app.into_make_service_with_connect_info::<Client>();
        server.spawn(async { axum::serve(listener, app).await });
    }
    for addr in addrs {
        for (client, status) in [
            ("203.0.113.5:1", "200 OK"),
            ("203.0.113.5:2", "429 Too Many Requests"),
            ("203.0.113.6:1", "200 OK"),
        ] {
            let answer = http_get(common::net::dial_as(addr, client).await, "/", "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{client}: {answer}");
            assert_eq!(answer.ends_with(&format!("hello {client}")), status == "200 OK", "{answer}");
        }
        // A health check is no client that could be counted.
        let mut check = dial(addr, LOCAL).await;
        assert_eq!(common::net::read_all(&mut check).await, "");
    }
}

#[tokio::test]
async fn handlers_may_simply_ask_for_the_client() {
    let client = get(async |client: Client| client.to_string());
    let maybe =
        get(async |client: Option<Client>| client.map_or("nobody".into(), |client| client.to_string()));
    let caller = get(async |caller: Caller| caller.to_string());
    let app = Router::new().route("/", client).route("/maybe", maybe).route("/caller", caller);
    let mut server = JoinSet::new();
    let (clients, clients_addr) = bind().await;
    let service = app.clone().into_make_service_with_connect_info::<Client>();
    server.spawn(async { axum::serve(clients, service).await });
    let (callers, callers_addr) = bind().await;
    let service = app.clone().into_make_service_with_connect_info::<Caller>();
    server.spawn(async { axum::serve(callers.with_proxy_own(), service).await });
    let (forgotten, forgotten_addr) = bind().await;
    server.spawn(async { axum::serve(forgotten, app.into_make_service()).await });
    let own = "HTTP/1.1 403 Forbidden this is for clients, and the proxy is calling for itself";
    let forgot = "HTTP/1.1 500 Internal Server Error nobody told who is calling: serve a ProxyListener with \
                  into_make_service_with_connect_info::<Client>()";
    for (addr, header, path, expected) in [
        (clients_addr, V1, "/", "HTTP/1.1 200 OK 203.0.113.5:40000"),
        (clients_addr, V1, "/maybe", "HTTP/1.1 200 OK 203.0.113.5:40000"),
        (clients_addr, V1, "/caller", "HTTP/1.1 200 OK 203.0.113.5:40000"),
        (callers_addr, V1, "/", "HTTP/1.1 200 OK 203.0.113.5:40000"),
        (callers_addr, LOCAL, "/", own),
        (callers_addr, LOCAL, "/maybe", "HTTP/1.1 200 OK nobody"),
        (forgotten_addr, V1, "/", forgot),
        (forgotten_addr, V1, "/maybe", forgot),
        (forgotten_addr, V1, "/caller", forgot),
    ] {
        assert_eq!(http_get(dial(addr, header).await, path, "").await, expected);
    }
}
