//! hyper without a framework: HTTP/1 and HTTP/2 on an identified connection.
//!
//! `cargo run -p truepeer --example hyper -- 127.0.0.1:8080 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, reason = "a small server has no other log")]
use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::task::JoinSet;
use truepeer::{ProxyListener, TrustedNetworks};

pub(crate) async fn serve(mut listener: ProxyListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = listener.accept() => {
                let client = stream.client().clone();
                connections.spawn(async move {
                    let service = service_fn(move |_: Request<Incoming>| {
                        let hello = format!("hello {client}\n");
                        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(hello)))) }
                    });
                    // A connection that ends badly is the client's affair.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8080".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener).await;
    Ok(())
}
