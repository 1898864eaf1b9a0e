//! The client as a request extension, and no forged `X-Forwarded-For`: one layer for axum, tonic and hyper.
//!
//! `cargo run -p truepeer --features axum,tower --example tower -- 127.0.0.1:8080 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, reason = "a small server has no other log")]
use std::io;

use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Extension, Router};
use truepeer::{Client, ClientLayer, ProxyListener, TrustedNetworks};

pub(crate) async fn serve(listener: ProxyListener) -> io::Result<()> {
    let app = Router::new().route("/", get(hello)).layer(ClientLayer::new());
    axum::serve(listener, app.into_make_service_with_connect_info::<Client>()).await
}

/// Code that still reads `X-Forwarded-For` finds nothing that a client could have written there.
async fn hello(Extension(client): Extension<Client>, headers: HeaderMap) -> String {
    let forged = headers.get("x-forwarded-for").is_some();
    format!("hello {client}, forged: {forged}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8080".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener).await?;
    Ok(())
}
