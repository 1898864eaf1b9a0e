//! QUIC (quinn) behind a proxy that puts a header in front of each datagram: every connection is greeted with its client.
//!
//! `cargo run -p truepeer --example quic -- 127.0.0.1:4433 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, reason = "a small server has no other log")]
use std::sync::{Arc, PoisonError};
use std::{error::Error, io, pin::Pin, task::Context, task::Poll};

use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use quinn::{Endpoint, ServerConfig, TokioRuntime};
use tokio::{net::UdpSocket, task::JoinSet};
use truepeer::{TrustPolicy, TrustedNetworks};

#[path = "quic/socket.rs"]
mod socket;
pub(crate) use socket::Proxied;

/// Nobody waits for room in the socket's queue: see `try_send`.
#[derive(Debug)]
struct Always;

impl quinn::UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(crate) async fn serve(socket: Arc<Proxied>, tls: ServerConfig) -> Result<(), Box<dyn Error>> {
    let rt = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new_with_abstract_socket(Default::default(), Some(tls), socket.clone(), rt)?;
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        connections.spawn(greet(socket.clone(), incoming));
        while connections.try_join_next().is_some() {}
    }
    Ok(())
}

async fn greet(socket: Arc<Proxied>, incoming: quinn::Incoming) -> Option<()> {
    let connection = incoming.await.ok()?;
    let peer = connection.remote_address(); // the proxy, where there is one
    let client = socket.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).copied()?;
    let mut stream = connection.open_uni().await.ok()?;
    stream.write_all(format!("hello {client}\n").as_bytes()).await.ok()?;
    stream.finish().ok()?;
    connection.closed().await;
    socket.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    Some(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let socket = UdpSocket::bind(args.next().unwrap_or("127.0.0.1:4433".into())).await?;
    let policy = TrustPolicy::from(TrustedNetworks::parse(args)?); // your proxies, never your network
    println!("listening on {}", socket.local_addr()?);
    let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<_, _>>()?;
    let tls = ServerConfig::with_single_cert(chain, PrivateKeyDer::from_pem_file("key.pem")?)?;
    serve(Arc::new(Proxied { socket, policy, clients: Default::default() }), tls).await
}
