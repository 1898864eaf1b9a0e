//! Real sockets on loopback: clients with and without headers, and crowds of silent ones.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use truepeer::{ListenerOptions, OutgoingHeader, ProxyListener, connect};

/// A listener on a free port that trusts loopback.
pub(crate) async fn bind() -> (ProxyListener, SocketAddr) {
    bind_with(ListenerOptions::new()).await
}

pub(crate) async fn bind_with(options: ListenerOptions) -> (ProxyListener, SocketAddr) {
    let listener = ProxyListener::bind("127.0.0.1:0", super::trusted()).await.unwrap().with_options(options);
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A listener that trusts nobody, so that we are the client.
pub(crate) async fn bind_untrusting() -> (ProxyListener, SocketAddr) {
    let listener = ProxyListener::bind("127.0.0.1:0", truepeer::TrustPolicy::off()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A connection whose first write is `bytes`.
pub(crate) async fn dial(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// A connection with the header that a real sender of this library writes.
pub(crate) async fn dial_as(addr: SocketAddr, client: &str) -> TcpStream {
    let pair = truepeer::ClientPair { client: client.parse().unwrap(), destination: addr };
    let header = OutgoingHeader::for_client(truepeer::proto::Version::V2, pair).unwrap();
    connect(addr, &header).await.unwrap()
}

/// Connections that never say a word. Each needs two descriptors of this process.
pub(crate) async fn silent_crowd(addr: SocketAddr, size: usize) -> Vec<TcpStream> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut crowd = Vec::with_capacity(size);
    for _ in 0..size {
        crowd.push(TcpStream::connect(addr).await.unwrap());
    }
    crowd
}

/// Everything until the other side ends its half.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// One answer to `GET path` on a connection that is closed afterwards: status line and body.
pub(crate) async fn http_get(mut stream: TcpStream, path: &str, fields: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {body}", head.lines().next().unwrap())
}
