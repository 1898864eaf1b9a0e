//! The other side: a small proxy that tells a backend who the client is, in one write, and relays.
//!
//! `cargo run -p truepeer --example backend -- 127.0.0.1:8080 127.0.0.1:7007 127.0.0.1`: where to listen, the backend,
//! and which peers are proxies. The example `line` is such a backend.
#![allow(clippy::print_stdout, reason = "a small server has no other log")]
use std::io;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use truepeer::proto::Version;
use truepeer::{ClientStream, OutgoingHeader, ProxyListener, TrustedNetworks, connect};

pub(crate) async fn serve(mut listener: ProxyListener, backend: String) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = listener.accept() => { connections.spawn(relay(stream, backend.clone())); }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A server that relays to something which reads headers looks at the client's first bytes before: see `FirstBytes`.
/// Here our own header comes first, so that the backend takes nothing of the client's for one.
async fn relay(mut stream: ClientStream<TcpStream>, backend: String) -> io::Result<()> {
    // Addresses, and every TLV that came; a destination that was not told is not made up.
    let header =
        OutgoingHeader::for_identity(Version::V2, stream.client().identity()).map_err(io::Error::other)?;
    let mut backend = connect(backend, &header).await?;
    copy_bidirectional(&mut stream, &mut backend).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8080".into());
    let backend = args.next().unwrap_or("127.0.0.1:7007".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, backend).await;
    Ok(())
}
