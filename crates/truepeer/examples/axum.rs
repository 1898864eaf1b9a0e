//! The client's address in an axum handler: `ConnectInfo<Client>`. Health checks by LOCAL header are closed.
//!
//! `cargo run -p truepeer --features axum --example axum -- 127.0.0.1:8080 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a small server has no other log")]
use std::io;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use truepeer::{Client, ListenerOptions, ProxyListener, TrustedNetworks};

pub(crate) async fn serve(listener: ProxyListener) -> io::Result<()> {
    let app = Router::new().route("/", get(hello));
    axum::serve(listener, app.into_make_service_with_connect_info::<Client>()).await
}

async fn hello(ConnectInfo(client): ConnectInfo<Client>) -> String {
    let via = client.identity().peer();
    format!("hello {client}, through {via}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8080".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    let options = ListenerOptions::new().on_event(|event| eprintln!("{}: {event}", event.code()));
    serve(listener.with_options(options)).await?;
    Ok(())
}
