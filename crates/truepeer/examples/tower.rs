//! The client as a request extension, and no forged `X-Forwarded-For`: one layer for axum, tonic and hyper.
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
    let trusted = TrustedNetworks::parse(["192.0.2.10"])?;
    serve(ProxyListener::bind("0.0.0.0:8080", trusted).await?).await?;
    Ok(())
}
