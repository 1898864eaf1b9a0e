//! Header first, then TLS: neither a silent proxy nor a client that dawdles over its handshake stops the others.
//! A proxy's health checks over TLS (HAProxy: `send-proxy-v2 ssl verify none check`) are answered, too.
//!
//! `cargo run -p truepeer --features tokio-rustls --example tls -- 127.0.0.1:4433 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, reason = "a small server has no other log")]
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use truepeer::{Caller, ProxyListener, TlsListener, TrustedNetworks};

pub(crate) async fn serve(mut listener: TlsListener) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.accept_any() => {
                let caller = connection.caller();
                clients.spawn(greet(connection, caller));
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn greet(mut stream: impl AsyncWrite + Unpin, caller: Caller) -> io::Result<()> {
    stream.write_all(format!("hello {caller}\n").as_bytes()).await?;
    stream.shutdown().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:4433".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file("key.pem")?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(TlsListener::new(listener, acceptor)).await;
    Ok(())
}
