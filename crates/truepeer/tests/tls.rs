//! TLS above the header: silent proxies and silent clients stop nobody, and a header inside TLS is data.
#![cfg(feature = "tokio-rustls")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../examples/tls.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use std::sync::Arc;
use std::time::Duration;

use common::net::{bind_with, dial, silent_crowd};
use common::{Events, LOCAL, PROXY, V1, V2, bytes, drop_after, listener};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use truepeer::{ListenerOptions, TlsListener};
use truepeer_testkit::scripted::Handle;

/// One certificate for `mx.example.org`, and both sides' views of it.
fn pair() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
}

async fn secure(connector: &TlsConnector, stream: TcpStream) -> client::TlsStream<TcpStream> {
    connector.connect("mx.example.org".try_into().unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn behind_silent_proxies_and_silent_clients_the_good_one_is_greeted() {
    let events = Events::default();
    let (listener, addr) = bind_with(events.observe(ListenerOptions::new())).await;
    let (acceptor, connector) = pair();
    let mut server = JoinSet::new();
    server.spawn(example::serve(TlsListener::new(listener, acceptor)));

    let silent_proxies = silent_crowd(addr, 100).await;
    let mut silent_clients = Vec::new();
    for _ in 0..100 {
        silent_clients.push(dial(addr, V1).await);
    }
    let mut stream = secure(&connector, dial(addr, V2).await).await;
    let mut hello = String::new();
    stream.read_to_string(&mut hello).await.unwrap();
    assert_eq!(hello, "hello 203.0.113.5:40000\n");
    assert!(events.take().is_empty());
    drop((silent_proxies, silent_clients));
}

#[tokio::test]
async fn a_header_inside_tls_is_the_clients_own_words() {
    let (listener, addr) = bind_with(ListenerOptions::new()).await;
    let (acceptor, connector) = pair();
    let mut listener = TlsListener::new(listener, acceptor);
    let (client, server) = tokio::join!(
        async {
            let mut stream = secure(&connector, dial(addr, V1).await).await;
            stream.write_all(b"PROXY TCP4 198.51.100.66 198.51.100.2 1 25\r\n").await.unwrap();
            stream
        },
        async {
            let mut stream = listener.accept().await;
            let mut data = [0; 44];
            stream.read_exact(&mut data).await.unwrap();
            assert!(data.starts_with(b"PROXY TCP4 198.51.100.66"));
            stream
        }
    );
    assert_eq!(server.get_ref().0.client().to_string(), "203.0.113.5:40000");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_fails_or_dawdles_is_reported_and_costs_nobody_else() {
    let (listener, door, events) = listener(ListenerOptions::new());
    let listener = TlsListener::new(listener, pair().0).max_handshakes(2);
    let mut listener = listener.handshake_timeout(Duration::from_secs(7));
    let plain = door.connect(PROXY, [bytes(&[V1, b"EHLO client\r\n"])]);
    assert!(drop_after(3, listener.accept()).await.is_none());
    assert!(plain.is_closed());
    let texts = events.texts();
    assert!(
        texts[0].starts_with("no TLS with client 203.0.113.5:40000: received corrupt message"),
        "{texts:?}"
    );
    assert_eq!(texts.len(), 1);

    let silent = door.connect(PROXY, [bytes(&[V1])]);
    let start = tokio::time::Instant::now();
    tokio::select! {
        _ = listener.accept() => panic!("nobody is ready"),
        () = silent.closed() => assert_eq!(start.elapsed().as_secs(), 7),
    }
    assert!(drop_after(1, listener.accept()).await.is_none());
    let client = "no TLS with client 203.0.113.5:40000: its handshake was";
    assert_eq!(events.texts(), [format!("{client} not finished within 7s")]);

    let crowd: Vec<_> = (0..3).map(|_| door.connect(PROXY, [bytes(&[V1])])).collect();
    assert!(drop_after(3, listener.accept()).await.is_none());
    assert_eq!(crowd.iter().map(Handle::is_closed).collect::<Vec<_>>(), [true, false, false]);
    // Its header was good: that it was the oldest is said of its handshake.
    assert_eq!(
        events.texts(),
        [format!("{client} the oldest of the peer that held most of 2 when a newer client needed the place")]
    );
    let check = door.connect(PROXY, [bytes(&[LOCAL])]);
    assert!(drop_after(1, listener.accept()).await.is_none());
    assert!(check.is_closed());
}

/// 100 silent clients from one address while the good ones, far away, have said nothing yet: the flood makes room for
/// itself.
#[tokio::test]
async fn a_flood_of_silent_clients_takes_no_place_from_others() {
    let (seen, mut evicted) = tokio::sync::mpsc::channel(100);
    let options = ListenerOptions::new().on_event(move |event| seen.try_send(event.to_string()).unwrap());
    let (listener, addr) = bind_with(options).await;
    let (acceptor, connector) = pair();
    let mut server = JoinSet::new();
    server.spawn(example::serve(TlsListener::new(listener, acceptor).max_handshakes(8)));

    let mut far = Vec::new();
    for n in 1..=4 {
        far.push(dial(addr, format!("PROXY TCP4 198.51.100.{n} 192.0.2.2 {n} 443\r\n").as_bytes()).await);
    }
    let mut crowd = Vec::new();
    for port in 1..=100 {
        crowd.push(dial(addr, format!("PROXY TCP4 203.0.113.66 192.0.2.2 {port} 443\r\n").as_bytes()).await);
    }
    for _ in 0..96 {
        let text = evicted.recv().await.unwrap();
        assert!(text.starts_with("no TLS with client 203.0.113.66:"), "{text}");
    }
    for (n, stream) in (1..).zip(far) {
        let mut hello = String::new();
        secure(&connector, stream).await.read_to_string(&mut hello).await.unwrap();
        assert_eq!(hello, format!("hello 198.51.100.{n}:{n}\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_timeout_beyond_all_bounds_is_a_day() {
    let (listener, door, events) = listener(ListenerOptions::new());
    let mut listener = TlsListener::new(listener, pair().0).handshake_timeout(Duration::MAX);
    let silent = door.connect(PROXY, [bytes(&[V1])]);
    let start = tokio::time::Instant::now();
    let two_days = tokio::time::sleep(Duration::from_secs(2 * 86_400));
    tokio::select! {
        _ = listener.accept() => panic!("nobody is ready"),
        () = silent.closed() => assert_eq!(start.elapsed().as_secs(), 86_400),
        () = two_days => panic!("it never ends"),
    }
    assert!(drop_after(1, listener.accept()).await.is_none());
    assert_eq!(events.take(), ["tls_failed"]);
}

/// As HAProxy does with `send-proxy-v2 ssl check`: a header for nobody, and then TLS.
#[tokio::test]
async fn a_proxys_own_connection_shakes_hands_where_it_is_let_in() {
    let events = Events::default();
    let (listener, addr) = bind_with(events.observe(ListenerOptions::new())).await;
    let (acceptor, connector) = pair();
    let mut listener = TlsListener::new(listener, acceptor);
    for (header, says) in [(LOCAL, "itself (local)"), (V1, "203.0.113.5:40000")] {
        let client = async { secure(&connector, dial(addr, header).await).await };
        let (mut client, mut server) = tokio::join!(client, listener.accept_any());
        assert!(server.caller().to_string().ends_with(says), "{}", server.caller());
        assert_eq!(server.peer().to_string(), client.get_ref().0.local_addr().unwrap().to_string());
        assert!(server.session().protocol_version().is_some());
        client.write_all(b"ping").await.unwrap();
        let mut ping = [0; 4];
        server.read_exact(&mut ping).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        server.shutdown().await.unwrap();
        let mut pong = String::new();
        client.read_to_string(&mut pong).await.unwrap();
        assert_eq!((&ping, pong.as_str()), (b"ping", "pong"));
    }
    assert!(events.take().is_empty());

    // Whoever asks for clients is given none, and told, even if hands were shaken already.
    let stream = dial(addr, LOCAL).await;
    assert!(drop_after(8, listener.accept_any()).await.is_none(), "its handshake waits for its first word");
    let check = async {
        let mut stream = secure(&connector, stream).await;
        stream.read(&mut [0; 1]).await.unwrap_or(0)
    };
    tokio::select! {
        _ = listener.accept() => panic!("a client out of nothing"),
        read = check => assert_eq!(read, 0),
    }
    assert_eq!(events.take(), ["own_refused"]);
}

/// What the socket did not take yet is waited for by a flush.
#[tokio::test]
async fn a_flush_ends_when_everything_is_sent() {
    let (listener, addr) = bind_with(ListenerOptions::new()).await;
    let (acceptor, connector) = pair();
    let mut listener = TlsListener::new(listener, acceptor);
    let client = async { secure(&connector, dial(addr, V1).await).await };
    let (mut client, mut server) = tokio::join!(client, listener.accept_any());
    assert!(AsyncWrite::is_write_vectored(&server), "TLS takes several buffers at once");
    let mut sent = 0;
    while let Some(written) = drop_after(0, server.write(&[0; 1 << 16])).await {
        sent += written.unwrap();
    }
    assert!(drop_after(2, server.flush()).await.is_none(), "nobody reads");
    let mut received = vec![0; sent];
    let (flushed, read) = tokio::join!(server.flush(), client.read_exact(&mut received));
    flushed.unwrap();
    assert_eq!(read.unwrap(), sent);
}

/// Whose handshake failed is told of proxies as well.
#[tokio::test(start_paused = true)]
async fn a_proxys_own_handshake_that_fails_is_the_proxys_fault() {
    let (seen, mut events) = tokio::sync::mpsc::channel(1);
    let options = ListenerOptions::new().on_event(move |event| seen.try_send(event).unwrap());
    let (_, door, _) = listener(ListenerOptions::new());
    let listener = truepeer::ProxyListener::new(door.clone(), common::trusted(), options);
    let mut listener = TlsListener::new(listener, pair().0);
    door.connect(PROXY, [bytes(&[LOCAL, b"GET / HTTP/1.1\r\n\r\n"])]);
    assert!(drop_after(3, listener.accept_any()).await.is_none());
    let event = events.recv().await.unwrap();
    assert_eq!((event.code(), event.fault()), ("tls_failed", truepeer::Fault::Peer));
    assert!(event.to_string().starts_with("no TLS with proxy 192.0.2.10:1000 itself (local): "), "{event}");
}

/// A source that ends: every handshake that has begun is waited for.
#[tokio::test(start_paused = true)]
async fn the_end_comes_after_the_last_handshake() {
    let (listener, door, events) = listener(ListenerOptions::new());
    let mut listener = TlsListener::new(listener, pair().0);
    door.connect(PROXY, [bytes(&[V1])]);
    door.end();
    assert!(drop_after(4, listener.next()).await.is_none());
    assert!(listener.next().await.is_none());
    assert_eq!(events.take(), ["tls_failed"]);
    assert!(listener.next_any().await.is_none());
}

/// Cancel safety: an accept that is dropped at any point loses no handshake.
#[tokio::test]
async fn accept_dropped_at_any_point_loses_no_client() {
    let (listener, addr) = bind_with(ListenerOptions::new()).await;
    let (acceptor, connector) = pair();
    let mut listener = TlsListener::new(listener, acceptor);
    for times in 0..3 {
        let client = async { secure(&connector, dial(addr, V1).await).await };
        let accept = async {
            loop {
                if let Some(stream) = drop_after(times, listener.accept()).await {
                    return stream;
                }
                tokio::task::yield_now().await;
            }
        };
        let (_client, stream) = tokio::join!(client, accept);
        assert_eq!(stream.get_ref().0.client().to_string(), "203.0.113.5:40000");
    }
}

/// The same of every other way to accept.
#[tokio::test]
async fn accept_any_next_and_next_any_dropped_at_any_point_lose_no_client() {
    let (listener, addr) = bind_with(ListenerOptions::new()).await;
    let (acceptor, connector) = pair();
    let mut listener = TlsListener::new(listener, acceptor);
    for times in 0..3 {
        for way in 0..3 {
            let client = async { secure(&connector, dial(addr, V1).await).await };
            let accept = async {
                loop {
                    let caller = match way {
                        0 => drop_after(times, listener.accept_any()).await.map(|any| any.caller()),
                        1 => drop_after(times, listener.next())
                            .await
                            .map(|next| truepeer::Caller::Client(next.unwrap().get_ref().0.client().clone())),
                        _ => drop_after(times, listener.next_any()).await.map(|next| next.unwrap().caller()),
                    };
                    if let Some(caller) = caller {
                        return caller;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let (_client, caller) = tokio::join!(client, accept);
            assert_eq!(caller.to_string(), "203.0.113.5:40000");
        }
    }
}

/// Header, then TLS, then HTTP, and the handler sees the client; with axum's way to reach each connection in between.
#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_sees_the_client_through_tls() {
    use axum::serve::ListenerExt;
    use axum::{Router, extract::ConnectInfo, routing::get};
    use truepeer::Client;

    let app = || {
        let hello = get(async |ConnectInfo(client): ConnectInfo<Client>| client.to_string());
        Router::new().route("/", hello).into_make_service_with_connect_info::<Client>()
    };
    let mut servers = JoinSet::new();
    let mut answers = Vec::new();
    for tapped in [false, true] {
        let (listener, addr) = bind_with(ListenerOptions::new()).await;
        let (acceptor, connector) = pair();
        let listener = TlsListener::new(listener, acceptor);
        if tapped {
            let listener = listener.tap_io(|stream| {
                let _ = stream.get_ref().0.as_io().set_nodelay(true);
            });
            servers.spawn(async move { axum::serve(listener, app()).await });
        } else {
            servers.spawn(async move { axum::serve(listener, app()).await });
        }
        let mut stream = secure(&connector, dial(addr, V2).await).await;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answers.push(answer.rsplit("\r\n").next().unwrap().to_owned());
    }
    assert_eq!(answers, ["203.0.113.5:40000", "203.0.113.5:40000"]);
}

/// A health check over HTTPS, which the handler tells from a client.
#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_answers_health_checks_through_tls() {
    use axum::serve::ListenerExt;
    use axum::{Router, extract::ConnectInfo, routing::get};
    use truepeer::Caller;

    let app = || {
        let hello = get(async |ConnectInfo(caller): ConnectInfo<Caller>| match caller {
            Caller::Client(client) => format!("hello {client}"),
            Caller::ProxyOwn(own) => format!("healthy, {}", own.why().code()),
        });
        Router::new().route("/", hello).into_make_service_with_connect_info::<Caller>()
    };
    let mut servers = JoinSet::new();
    for tapped in [false, true] {
        let (listener, addr) = bind_with(ListenerOptions::new()).await;
        let (acceptor, connector) = pair();
        let listener = TlsListener::new(listener, acceptor).with_proxy_own();
        if tapped {
            let listener = listener.tap_io(|_| ());
            servers.spawn(async move { axum::serve(listener, app()).await });
        } else {
            servers.spawn(async move { axum::serve(listener, app()).await });
        }
        for (header, answer) in [(LOCAL, "healthy, local"), (V2, "hello 203.0.113.5:40000")] {
            let mut stream = secure(&connector, dial(addr, header).await).await;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).await.unwrap();
            assert_eq!(all.rsplit("\r\n").next().unwrap(), answer);
        }
    }
}
