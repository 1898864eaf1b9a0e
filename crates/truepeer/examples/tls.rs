//! Header first, then TLS: neither a silent proxy nor a client that dawdles over its handshake stops the others.
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use truepeer::{Client, ProxyListener, TlsListener, TrustedNetworks};

pub(crate) async fn serve(mut listener: TlsListener) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            stream = listener.accept() => {
                let client = stream.get_ref().0.client().clone();
                clients.spawn(greet(stream, client));
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn greet(mut stream: impl AsyncWrite + Unpin, client: Client) -> io::Result<()> {
    stream.write_all(format!("hello {client}\n").as_bytes()).await?;
    stream.shutdown().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter("chain.pem")?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file("key.pem")?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let trusted = TrustedNetworks::parse(["192.0.2.10"])?;
    let listener = ProxyListener::bind("0.0.0.0:4433", trusted).await?;
    serve(TlsListener::new(listener, acceptor)).await;
    Ok(())
}
