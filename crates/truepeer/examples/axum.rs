//! The client's address in an axum handler: `ConnectInfo<Client>`, and health checks that are nobody's visit.
use std::io;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use truepeer::{Caller, Client, ProxyListener, TrustedNetworks};

/// Clients only: health checks by LOCAL header are closed.
pub(crate) async fn serve(listener: ProxyListener) -> io::Result<()> {
    let app = Router::new().route("/", get(hello));
    axum::serve(listener, app.into_make_service_with_connect_info::<Client>()).await
}

async fn hello(ConnectInfo(client): ConnectInfo<Client>) -> String {
    let via = client.identity().peer();
    format!("hello {client}, through {via}\n")
}

/// Clients and health checks; the handler has to look which it is.
pub(crate) async fn serve_all(listener: ProxyListener) -> io::Result<()> {
    let app = Router::new().route("/", get(hello_all));
    axum::serve(listener.with_proxy_own(), app.into_make_service_with_connect_info::<Caller>()).await
}

async fn hello_all(ConnectInfo(caller): ConnectInfo<Caller>) -> String {
    match caller {
        Caller::Client(client) => format!("hello {client}\n"),
        Caller::ProxyOwn(own) => format!("healthy, {own}\n"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let trusted = TrustedNetworks::parse(["192.0.2.10"])?; // your proxy, not your network
    let clients = ProxyListener::bind("0.0.0.0:8080", trusted.clone()).await?;
    let clients_and_checks = ProxyListener::bind("0.0.0.0:8081", trusted).await?;
    tokio::try_join!(serve(clients), serve_all(clients_and_checks))?;
    Ok(())
}
