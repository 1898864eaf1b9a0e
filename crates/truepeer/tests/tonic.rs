//! tonic on our listener: the interceptor judges the client, not the proxy.
#![cfg(feature = "tonic")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../examples/tonic.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use std::net::SocketAddr;

use common::net::{bind, dial, dial_as, silent_crowd};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use truepeer::IpNet;

/// A channel whose one connection begins with a header: a client's, or `LOCAL`.
async fn channel(addr: SocketAddr, client: &'static str) -> Channel {
    let connector = Connector { addr, client };
    Endpoint::from_static("http://health.example").connect_with_connector(connector).await.unwrap()
}

#[derive(Clone)]
struct Connector {
    addr: SocketAddr,
    client: &'static str,
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = TokioIo<tokio::net::TcpStream>;
    type Error = std::io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let Self { addr, client } = *self;
        Box::pin(async move {
            Ok(TokioIo::new(match client {
                "LOCAL" => dial(addr, common::LOCAL).await,
                client => dial_as(addr, client).await,
            }))
        })
    }
}

#[tokio::test]
async fn requests_carry_the_client() {
    let (listener, addr) = bind().await;
    let welcome = ["203.0.113.0/24".parse::<IpNet>().unwrap()].into_iter().collect();
    let mut server = JoinSet::new();
    server.spawn(example::serve(listener, welcome));
    let crowd = silent_crowd(addr, 100).await;

    let mut health = HealthClient::new(channel(addr, "203.0.113.5:40000").await);
    let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    assert_eq!(answer.into_inner().status, 1, "serving");

    let mut health = HealthClient::new(channel(addr, "198.51.100.7:40000").await);
    let error = health.check(HealthCheckRequest { service: String::new() }).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::PermissionDenied, "198.51.100.7 is not welcome here"));
    drop(crowd);
}

/// Answers "serving" and tells what an interceptor behind `ClientLayer` finds: the client, and both addresses.
#[cfg(all(feature = "tower", feature = "tokio-rustls"))]
mod behind_the_layer {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::server::WebPkiClientVerifier;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector};
    use tonic::Request;
    use tonic::service::interceptor::InterceptedService;
    use tonic::transport::Server;
    use tonic::transport::server::Connected;
    use truepeer::{Client, ClientLayer, TlsCaller, TlsListener};

    use super::*;

    type Found = Arc<Mutex<Vec<String>>>;

    /// Serves `incoming` behind the layer and notes what each request brings.
    fn serve<IO>(
        server: &mut JoinSet<()>,
        incoming: impl futures_core::Stream<Item = Result<IO, std::convert::Infallible>> + Send + 'static,
    ) -> Found
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let found = Found::default();
        let notes = Arc::clone(&found);
        let note = move |request: Request<()>| {
            let extensions = request.extensions();
            let client = extensions.get::<Client>().map(ToString::to_string);
            let certificates = extensions.get::<TlsCaller>().and_then(TlsCaller::peer_certificates);
            notes.lock().unwrap().push(format!(
                "{client:?} {:?} {:?} {:?}",
                request.remote_addr(),
                request.local_addr(),
                certificates.map(<[_]>::len)
            ));
            Ok(request)
        };
        let (_, health) = tonic_health::server::health_reporter();
        server.spawn(async move {
            Server::builder()
                .layer(ClientLayer::new())
                .add_service(InterceptedService::new(health, note))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        found
    }

    async fn check(channel: Channel) {
        let mut health = HealthClient::new(channel);
        health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    }

    #[tokio::test]
    async fn tonics_own_questions_are_answered_with_the_client() {
        let mut server = JoinSet::new();
        let (listener, addr) = bind().await;
        let found = serve(&mut server, listener.into_stream());
        check(channel(addr, "203.0.113.5:40000").await).await;
        let told = format!("Some(\"203.0.113.5:40000\") Some(203.0.113.5:40000) Some({addr}) None");
        assert_eq!(*found.lock().unwrap(), [told]);
    }

    /// TLS of ours, tonic without any: who is calling and the certificates are in one extension.
    #[tokio::test]
    async fn through_a_tls_listener_requests_carry_the_client_and_its_certificates() {
        let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = || PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let roots = Arc::new(roots);
        let verifier =
            WebPkiClientVerifier::builder(Arc::clone(&roots)).allow_unauthenticated().build().unwrap();
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], key())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let anonymous = ClientConfig::builder().with_root_certificates(Arc::clone(&roots));
        let mut anonymous = anonymous.with_no_client_auth();
        let known = ClientConfig::builder().with_root_certificates(roots);
        let mut known = known.with_client_auth_cert(vec![certificate], key()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut server = JoinSet::new();
        for config in [&mut anonymous, &mut known] {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        for any in [false, true] {
            let (listener, addr) = bind().await;
            let listener = TlsListener::new(listener, acceptor.clone());
            let found = match any {
                false => serve(&mut server, listener.into_stream()),
                true => serve(&mut server, listener.into_stream_any()),
            };
            for (config, certificates) in [(&anonymous, "None"), (&known, "Some(1)")] {
                let tls = TlsConnector::from(Arc::new(config.clone()));
                let connector = TlsClient { addr, tls };
                let channel = Endpoint::from_static("http://health.example");
                check(channel.connect_with_connector(connector).await.unwrap()).await;
                let client = "203.0.113.5:40000";
                let told = format!("Some({client:?}) Some({client}) Some({addr}) {certificates}");
                assert_eq!(found.lock().unwrap().pop(), Some(told));
            }
        }
    }

    /// A header, and then TLS.
    #[derive(Clone)]
    struct TlsClient {
        addr: SocketAddr,
        tls: TlsConnector,
    }

    impl tower_service::Service<http::Uri> for TlsClient {
        type Response = TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;
        type Error = std::io::Error;
        type Future = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Uri) -> Self::Future {
            let Self { addr, tls } = self.clone();
            Box::pin(async move {
                let stream = dial_as(addr, "203.0.113.5:40000").await;
                Ok(TokioIo::new(tls.connect("mx.example.org".try_into().unwrap(), stream).await?))
            })
        }
    }

    /// A health check with a LOCAL header is answered, and carries no client.
    #[tokio::test]
    async fn a_proxys_own_requests_are_served_and_carry_no_client() {
        let mut server = JoinSet::new();
        let (listener, addr) = bind().await;
        let found = serve(&mut server, listener.into_stream_any());
        check(channel(addr, "LOCAL").await).await;
        assert_eq!(*found.lock().unwrap(), ["None None None None"]);
    }
}
