//! hyper without a framework: HTTP/1 and HTTP/2 on an identified connection.
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
    let trusted = TrustedNetworks::parse(["192.0.2.10"])?;
    serve(ProxyListener::bind("0.0.0.0:8080", trusted).await?).await;
    Ok(())
}
