//! A listener steered from elsewhere, on real sockets: another policy, and an end at which nobody is cut off.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::net::{bind, bind_with, dial, read_all};
use common::{Events, V1, V2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use truepeer::{ListenerOptions, ProxyListener, TrustPolicy, TrustedNetworks, UnixPeers, Unlisted};

/// Reads one line and answers it, for everybody until the end.
async fn serve(mut listener: ProxyListener) -> usize {
    let mut served = 0;
    while let Some(mut stream) = listener.next().await {
        let mut line = [0; 5];
        stream.read_exact(&mut line).await.unwrap();
        stream.write_all(format!("{} said {line:?}", stream.client().ip()).as_bytes()).await.unwrap();
        served += 1;
    }
    served
}

/// Their header and first command are there, but nobody has accepted them: dropping the listener would reset them.
#[tokio::test]
async fn whoever_had_arrived_is_served_and_nobody_after() {
    let (listener, addr) = bind().await;
    let handle = listener.handle();
    let mut arrived = Vec::new();
    for _ in 0..20 {
        arrived.push(dial(addr, &[V1, b"early"].concat()).await);
    }
    let mut late = dial(addr, &V2[..20]).await;
    handle.stop_accepting();
    let mut server = JoinSet::new();
    server.spawn(serve(listener));
    for stream in &mut arrived {
        assert_eq!(read_all(stream).await, "203.0.113.5 said [101, 97, 114, 108, 121]");
    }
    let refused = TcpStream::connect(addr).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // The rest of a header that had begun is waited for.
    late.write_all(&[&V2[20..], b"later"].concat()).await.unwrap();
    assert_eq!(read_all(&mut late).await, "203.0.113.5 said [108, 97, 116, 101, 114]");
    assert_eq!(server.join_next().await.unwrap().unwrap(), 21);
    handle.drained().await;
    assert_eq!(handle.pending(), 0);
}

#[tokio::test]
async fn a_listener_that_waits_for_nobody_hears_of_the_stop_at_once() {
    let (listener, addr) = bind().await;
    let handle = listener.handle();
    let mut server = JoinSet::new();
    server.spawn(serve(listener));
    let mut one = dial(addr, &[V1, b"early"].concat()).await;
    read_all(&mut one).await;
    // It is idle now. Any clone will do, from any thread.
    let stop = handle.clone();
    std::thread::spawn(move || stop.stop_accepting()).join().unwrap();
    assert_eq!(timeout(Duration::from_secs(10), server.join_next()).await.unwrap().unwrap().unwrap(), 1);
}

/// Silence is not waited for longer than it ever is.
#[tokio::test]
async fn a_drain_ends_with_the_last_headers_deadline() {
    let events = Events::default();
    let options = events.observe(ListenerOptions::new().header_timeout(Duration::from_millis(50)));
    let (mut listener, addr) = bind_with(options).await;
    let handle = listener.handle();
    let silent = dial(addr, b"").await;
    handle.stop_accepting();
    assert!(listener.next().await.is_none());
    assert_eq!(events.take(), ["header_timeout"]);
    assert!(listener.as_listener().is_none());
    assert_eq!(listener.local_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    drop(silent);
}

#[tokio::test]
async fn a_policy_may_change_while_somebody_accepts() {
    let (listener, addr) = bind().await;
    let handle = listener.handle();
    assert!(handle.policy().trusted().contains("127.0.0.1".parse().unwrap()));
    let mut server = JoinSet::new();
    server.spawn(serve(listener));
    let mut proxied = dial(addr, &[V1, b"hello"].concat()).await;
    assert!(read_all(&mut proxied).await.starts_with("203.0.113.5 said"));
    handle.set_policy(TrustPolicy::off());
    let mut direct = dial(addr, b"hello").await;
    assert!(read_all(&mut direct).await.starts_with("127.0.0.1 said"));
}

#[tokio::test]
async fn who_waits_is_counted() {
    let (mut listener, addr) = bind().await;
    let handle = listener.handle();
    let _silent = dial(addr, b"").await;
    let _good = dial(addr, V1).await;
    listener.accept().await;
    assert_eq!((handle.pending(), listener.pending()), (1, 1));
    drop(listener);
    handle.drained().await;
    assert_eq!(handle.pending(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_drained_as_well() {
    let dir = std::env::temp_dir().join(format!("truepeer-test-handle-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("door.sock");
    let policy = TrustPolicy::new(TrustedNetworks::nobody(), UnixPeers::Trusted, Unlisted::Refuse);
    let mut listener = ProxyListener::bind_unix(&path, policy).unwrap();
    let mut proxy = tokio::net::UnixStream::connect(&path).await.unwrap();
    proxy.write_all(V2).await.unwrap();
    listener.handle().stop_accepting();
    assert_eq!(listener.next().await.unwrap().client().to_string(), "203.0.113.5:40000");
    assert!(listener.next().await.is_none());
    std::fs::remove_dir_all(&dir).unwrap();
}

/// `axum::serve` has no end of its own: the drain is its signal.
#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_serves_whoever_had_arrived_and_then_ends() {
    use axum::{Router, extract::ConnectInfo, routing::get};
    use truepeer::Client;

    let (listener, addr) = bind().await;
    let handle = listener.handle();
    let hello = get(async |ConnectInfo(client): ConnectInfo<Client>| client.to_string());
    let app = Router::new().route("/", hello).into_make_service_with_connect_info::<Client>();
    let request = b"GET / HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n";
    let mut arrived = dial(addr, &[V1, request].concat()).await;
    handle.stop_accepting();
    let drained = async move { handle.drained().await };
    axum::serve(listener, app).with_graceful_shutdown(drained).await.unwrap();
    assert!(read_all(&mut arrived).await.ends_with("\r\n\r\n203.0.113.5:40000"));
}

/// A handshake that has begun is part of the drain, and its listener's end is not taken for the end.
#[cfg(feature = "tokio-rustls")]
#[tokio::test]
async fn a_drain_waits_for_handshakes() {
    use std::sync::Arc;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let connector = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(connector));

    let (listener, addr) = bind().await;
    let mut listener = truepeer::TlsListener::new(listener, TlsAcceptor::from(Arc::new(config)));
    let handle = listener.handle();
    let stream = dial(addr, V1).await;
    handle.stop_accepting();
    assert!(common::drop_after(8, listener.next()).await.is_none());
    assert_eq!(handle.pending(), 1);
    assert!(common::drop_after(2, handle.drained()).await.is_none());
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { handle.drained().await });
    let client = async { connector.connect("mx.example.org".try_into().unwrap(), stream).await.unwrap() };
    let (_client, server) = tokio::join!(client, listener.next());
    assert_eq!(server.unwrap().get_ref().0.client().to_string(), "203.0.113.5:40000");
    // Whoever waits hears of it, although the listener is still there and nobody asks it for more.
    timeout(Duration::from_secs(5), waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert!(listener.next().await.is_none());
}
