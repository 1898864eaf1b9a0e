//! actix-web behind a proxy: handlers see the client, actix's own address is the client's, silent peers stop nobody.
#![cfg(feature = "actix")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../examples/actix.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use std::net::{SocketAddr, TcpListener};

use actix_http::HttpService;
use actix_server::{Server, ServerHandle};
use actix_service::{ServiceFactoryExt, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, HttpRequest, web};
use common::net::{dial, http_get, silent_crowd};
use common::{Events, LOCAL, V1, V2};
use tokio::io::AsyncReadExt;
use truepeer::{Caller, Client, IdentifyForActix, ListenerOptions, TrustedNetworks};

/// A server with a thread of its own, as actix wants it; ends with the value.
struct Running {
    handle: ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(server: impl FnOnce() -> Server + Send + 'static) -> Self {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let server = server();
                tell.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { handle: told.recv().unwrap(), thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The order is given when it is called; the answer is the thread's end.
        drop(self.handle.stop(false));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn example(options: ListenerOptions) -> (Running, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let trusted = TrustedNetworks::parse(["127.0.0.1"]).unwrap();
    let identify = IdentifyForActix::new(trusted, options);
    (Running::start(move || example::server(listener, identify).unwrap()), addr)
}

#[tokio::test]
async fn the_handler_sees_the_client_and_the_proxy() {
    let events = Events::default();
    let (_server, addr) = example(events.observe(ListenerOptions::new()));
    for header in [V1, V2] {
        let proxy = dial(addr, header).await;
        let via = proxy.local_addr().unwrap();
        let answer = http_get(proxy, "/", "X-Forwarded-For: 192.0.2.66\r\n").await;
        assert_eq!(answer, format!("HTTP/1.1 200 OK hello 203.0.113.5:40000, through {via}\n"));
    }
    assert!(events.take().is_empty());
}

#[tokio::test]
async fn behind_a_thousand_silent_peers_actix_serves_the_good_client() {
    let events = Events::default();
    let (_server, addr) =
        example(events.observe(ListenerOptions::new().header_timeout(ListenerOptions::LONGEST_TIMEOUT)));
    let crowd = silent_crowd(addr, 1000).await;
    let answer = http_get(dial(addr, V2).await, "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK hello 203.0.113.5:40000"), "{answer}");
    assert!(events.take().is_empty());
    drop(crowd);
}

#[tokio::test]
async fn what_is_no_client_is_closed_and_reported() {
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let options = ListenerOptions::new().on_event(move |event| tell.try_send(event.code()).unwrap());
    let (_server, addr) = example(options);
    for (sent, code) in [(LOCAL, "own_refused"), (b"GET / HTTP/1.1\r\n\r\n".as_slice(), "header_missing")] {
        let mut peer = dial(addr, sent).await;
        // What it had sent was not all read, so the end may be a reset; no byte comes in any case.
        let mut answer = Vec::new();
        drop(peer.read_to_end(&mut answer).await);
        assert_eq!((answer, told.recv().await.unwrap()), (Vec::new(), code));
    }
}

#[tokio::test]
async fn a_health_check_is_answered_where_it_is_asked_for_and_is_no_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let trusted = TrustedNetworks::parse(["127.0.0.1"]).unwrap();
    let identify = IdentifyForActix::new(trusted, ListenerOptions::new()).with_proxy_own();
    let _server = Running::start(move || {
        let http = move || {
            let app = App::new()
                .route("/any", web::get().to(async |caller: Caller| caller.to_string()))
                // What actix itself takes for the client's address.
                .route(
                    "/addr",
                    web::get().to(async |request: HttpRequest| format!("{:?}", request.peer_addr())),
                )
                .route("/client", web::get().to(async |client: Client| client.to_string()));
            let http = HttpService::build()
                .on_connect_ext(IdentifyForActix::on_connect)
                .finish(map_config(app, |_| AppConfig::default()));
            identify.clone().and_then(http)
        };
        Server::build().workers(1).listen("web", listener, http).unwrap().run()
    });
    let check = dial(addr, LOCAL).await;
    let peer = check.local_addr().unwrap();
    assert_eq!(http_get(check, "/any", "").await, format!("HTTP/1.1 200 OK proxy {peer} itself (local)"));
    let answer = http_get(dial(addr, LOCAL).await, "/client", "").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden"), "{answer}");
    assert_eq!(http_get(dial(addr, LOCAL).await, "/addr", "").await, "HTTP/1.1 200 OK None");
    assert_eq!(http_get(dial(addr, V2).await, "/addr", "").await, "HTTP/1.1 200 OK Some(203.0.113.5:40000)");
    assert_eq!(http_get(dial(addr, V1).await, "/any", "").await, "HTTP/1.1 200 OK 203.0.113.5:40000");
}
