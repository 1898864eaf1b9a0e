//! A line-based TCP server: one task for each client, greeted by its real address.
//!
//! `cargo run -p truepeer --example line -- 127.0.0.1:7007 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a small server has no other log")]
use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use truepeer::{ClientStream, ListenerOptions, ProxyListener, TrustedNetworks};

pub(crate) async fn serve(mut listener: ProxyListener) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            stream = listener.accept() => { clients.spawn(echo(stream)); }
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn echo(stream: ClientStream<TcpStream>) -> io::Result<()> {
    let greeting = format!("hello {}\n", stream.client());
    let mut stream = BufStream::new(stream);
    stream.write_all(greeting.as_bytes()).await?;
    stream.flush().await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(line.as_bytes()).await?;
        stream.flush().await?;
        line.clear();
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:7007".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    let options = ListenerOptions::new().on_event(|event| eprintln!("{}: {event}", event.code()));
    serve(listener.with_options(options)).await;
    Ok(())
}
