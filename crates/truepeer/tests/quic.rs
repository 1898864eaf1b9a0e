//! QUIC by the real quinn, with a proxy in between that puts a header in front of each datagram.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

#[path = "../examples/quic.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use truepeer::{TrustPolicy, TrustedNetworks};

/// The running example, and how clients know it.
struct House {
    server: SocketAddr,
    trusting: ClientConfig,
    tasks: JoinSet<()>,
}

impl House {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let trusting = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let policy = TrustPolicy::from(TrustedNetworks::parse(["127.0.0.2"]).unwrap());
        let proxied = example::Proxied { socket, policy, clients: Default::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { example::serve(Arc::new(proxied), tls).await.unwrap() });
        Self { server, trusting, tasks }
    }

    /// A proxy at the trusted address for one client, whom its headers name; returns where that client connects to.
    async fn proxy(&mut self, header: Vec<u8>) -> SocketAddr {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.2:0").await.unwrap();
        back.connect(self.server).await.unwrap();
        let addr = front.local_addr().unwrap();
        self.tasks.spawn(async move {
            let (mut up, mut down) = (vec![0; 65_535], vec![0; 65_535]);
            let mut client = None;
            loop {
                tokio::select! {
                    received = front.recv_from(&mut up) => {
                        let (len, from) = received.unwrap();
                        client = Some(from);
                        // Health checks and half a header in between are nobody's.
                        back.send(&[&header[..12], b"\x20\0\0\0"].concat()).await.unwrap();
                        back.send(&header[..20]).await.unwrap();
                        back.send(&[&header, &up[..len]].concat()).await.unwrap();
                    }
                    received = back.recv(&mut down) => {
                        front.send_to(&down[..received.unwrap()], client.unwrap()).await.unwrap();
                    }
                }
            }
        });
        addr
    }

    /// What a client hears that comes from `from` and connects to `to`.
    async fn hear(&self, from: &str, to: SocketAddr) -> String {
        let endpoint = Endpoint::client(from.parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(self.trusting.clone(), to, "mx.example.org").unwrap();
        let connection = connecting.await.unwrap();
        let mut stream = connection.accept_uni().await.unwrap();
        let heard = String::from_utf8(stream.read_to_end(100).await.unwrap()).unwrap();
        connection.close(0_u32.into(), b"");
        endpoint.wait_idle().await;
        heard
    }
}

/// A version 2 header for a client at 203.0.113.5, UDP over IPv4.
fn header(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c".to_vec();
    header.extend([203, 0, 113, 5, 198, 51, 100, 2, high, low, 0x01, 0xBB]);
    header
}

#[tokio::test]
async fn every_quic_connection_knows_its_client_behind_the_proxy() {
    let mut house = House::start().await;
    let (one, other) = (house.proxy(header(40_001)).await, house.proxy(header(40_002)).await);
    let (one, other) = tokio::join!(house.hear("127.0.0.1:0", one), house.hear("127.0.0.1:0", other));
    assert_eq!((one.as_str(), other.as_str()), ("hello 203.0.113.5:40001\n", "hello 203.0.113.5:40002\n"));
}

#[tokio::test]
async fn a_quic_client_that_comes_directly_is_itself_and_its_header_gets_it_nothing() {
    let mut house = House::start().await;
    let heard = house.hear("127.0.0.3:0", house.server).await;
    assert!(heard.starts_with("hello 127.0.0.3:"), "{heard}");
    // One who is no proxy puts a header in front: no QUIC datagram begins so, and no server answers it.
    let forger = UdpSocket::bind("127.0.0.3:0").await.unwrap();
    forger.send_to(&[&header(40_001)[..], &[0xC0; 1200]].concat(), house.server).await.unwrap();
    let proxy = house.proxy(header(40_003)).await;
    assert_eq!(house.hear("127.0.0.1:0", proxy).await, "hello 203.0.113.5:40003\n");
    let mut answer = [0; 1500];
    assert!(forger.try_recv(&mut answer).is_err());
}
