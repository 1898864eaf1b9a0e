//! A line-based TCP server: one task for each client, greeted by its real address.
#![allow(clippy::print_stderr, reason = "a small server has no other log")]
use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use truepeer::{ClientStream, ListenerEvent, ListenerOptions, ProxyListener, TrustedNetworks};

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
    let trusted = TrustedNetworks::parse(["192.0.2.10"])?;
    let options = ListenerOptions::new().on_event(|event| {
        if let ListenerEvent::Refused(refusal) = event {
            eprintln!("{}: {refusal}", refusal.code());
        }
    });
    serve(ProxyListener::bind("0.0.0.0:7007", trusted).await?.with_options(options)).await;
    Ok(())
}
