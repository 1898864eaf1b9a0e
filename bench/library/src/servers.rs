//! The servers: each answers one request with the client's address and closes. With the library and by hand they differ
//! in how that address is found, and in nothing else.

use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener as BlockingListener, TcpStream as BlockingStream};
use std::time::Instant;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use truepeer::{
    Client, HeaderReader, HeaderRules, ListenerOptions, PeerAddress, ProxyListener, TrustDecision,
    TrustPolicy, TrustedNetworks, read_header,
};

use crate::byhand;

/// Runs one until the end of its standard input.
pub fn serve(kind: &str, library: bool) {
    let socket = BlockingListener::bind("127.0.0.1:0").unwrap();
    println!("{}", socket.local_addr().unwrap());
    let policy = TrustPolicy::from(TrustedNetworks::parse(["127.0.0.1"]).unwrap());
    match (kind, library) {
        ("blocking", true) => drop(std::thread::spawn(move || blocking_library(&socket, &policy))),
        ("blocking", false) => drop(std::thread::spawn(move || blocking_by_hand(&socket))),
        (kind, library) => {
            let kind = kind.to_owned();
            drop(std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                runtime.unwrap().block_on(async {
                    socket.set_nonblocking(true).unwrap();
                    let socket = TcpListener::from_std(socket).unwrap();
                    // On the worker, where a server's own loop runs.
                    let serving = async move {
                        match (kind.as_str(), library) {
                            ("tokio", true) => tokio_library(listener(socket, policy)).await,
                            ("tokio", false) => tokio_by_hand(socket).await,
                            (_, true) => axum_library(listener(socket, policy)).await,
                            (_, false) => axum_by_hand(socket).await,
                        }
                    };
                    tokio::spawn(serving).await.unwrap();
                });
            }));
        }
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == "cpu" {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            println!("{}", time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
        }
    }
}

fn listener(socket: TcpListener, policy: TrustPolicy) -> ProxyListener {
    ProxyListener::new(socket, policy, ListenerOptions::new())
}

async fn tokio_library(mut listener: ProxyListener) {
    loop {
        let stream = listener.accept().await;
        let client = stream.client().endpoint();
        tokio::spawn(greet(stream, client));
    }
}

async fn tokio_by_hand(listener: TcpListener) {
    loop {
        let Ok((mut stream, peer)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            if let Ok(client) = byhand::read(&mut stream, peer).await {
                greet(stream, client).await;
            }
        });
    }
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin, client: impl std::fmt::Display) {
    let mut request = [0; 64];
    let mut len = 0;
    while !request[..len].contains(&b'\n') {
        match stream.read(&mut request[len..]).await {
            Ok(more @ 1..) => len += more,
            _ => return,
        }
    }
    let _ = stream.write_all(format!("hello {client}\n").as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn axum_library(listener: ProxyListener) {
    let app = Router::new()
        .route("/", get(|ConnectInfo(client): ConnectInfo<Client>| async move { hello(client) }));
    axum::serve(listener, app.into_make_service_with_connect_info::<Client>()).await.unwrap();
}

async fn axum_by_hand(listener: TcpListener) {
    let app = Router::new()
        .route("/", get(|ConnectInfo(At(client)): ConnectInfo<At>| async move { hello(client) }));
    axum::serve(ByHand(listener), app.into_make_service_with_connect_info::<At>()).await.unwrap();
}

fn hello(client: impl std::fmt::Display) -> String {
    format!("hello {client}\n")
}

/// A listener that reads each header before it hands the connection out, as short as can be: a silent peer would keep
/// everybody waiting, so that what it costs is less than what a server in earnest would pay.
struct ByHand(TcpListener);

impl Listener for ByHand {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let Ok((mut stream, peer)) = self.0.accept().await else { continue };
            if let Ok(client) = byhand::read(&mut stream, peer).await {
                return (stream, client);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[derive(Clone)]
struct At(SocketAddr);

impl Connected<IncomingStream<'_, ByHand>> for At {
    fn connect_info(stream: IncomingStream<'_, ByHand>) -> Self {
        Self(*stream.remote_addr())
    }
}

fn blocking_library(listener: &BlockingListener, policy: &TrustPolicy) {
    for stream in listener.incoming().map_while(Result::ok) {
        let (policy, rules) = (policy.clone(), HeaderRules::new());
        std::thread::spawn(move || {
            let peer = PeerAddress::tcp(stream.peer_addr().unwrap());
            if policy.decide(peer) != TrustDecision::ExpectHeader {
                return;
            }
            let reader = HeaderReader::new(rules, peer, Instant::now() + byhand::DEADLINE);
            if let Some(client) = read_header(&stream, &reader).ok().and_then(|identity| identity.client()) {
                greet_blocking(stream, client);
            }
        });
    }
}

fn blocking_by_hand(listener: &BlockingListener) {
    for mut stream in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || {
            let peer = stream.peer_addr().unwrap();
            if let Ok(client) = byhand::read_blocking(&mut stream, peer) {
                greet_blocking(stream, client);
            }
        });
    }
}

fn greet_blocking(mut stream: BlockingStream, client: impl std::fmt::Display) {
    let mut request = [0; 64];
    let mut len = 0;
    while !request[..len].contains(&b'\n') {
        match stream.read(&mut request[len..]) {
            Ok(more @ 1..) => len += more,
            _ => return,
        }
    }
    let _ = stream.write_all(format!("hello {client}\n").as_bytes());
}
