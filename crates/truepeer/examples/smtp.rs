//! A server that speaks first, such as SMTP. It offers AUTH only to clients that came over TLS.
//!
//! `cargo run -p truepeer --example smtp -- 127.0.0.1:2525 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, reason = "a small server has no other log")]
use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use truepeer::{ClientStream, ProxyListener, TrustedNetworks};

pub(crate) async fn serve(mut listener: ProxyListener) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            stream = listener.accept() => { sessions.spawn(session(stream)); }
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn session(stream: ClientStream<TcpStream>) -> io::Result<()> {
    let client = stream.client().clone();
    let mut stream = BufStream::new(stream);
    stream.write_all(b"220 mx.example.org ESMTP\r\n").await?;
    loop {
        stream.flush().await?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            // TLS ended at the proxy: only the header can tell whether there was any.
            "EHLO" if client.identity().is_secure() => {
                format!("250-mx.example.org greets {}\r\n250 AUTH PLAIN\r\n", client.ip())
            }
            "EHLO" => format!("250 mx.example.org greets {}\r\n", client.ip()),
            "AUTH" if !client.identity().is_secure() => "538 5.7.11 encryption required\r\n".into(),
            "QUIT" => "221 bye\r\n".into(),
            _ => "502 5.5.1 not here\r\n".into(),
        };
        stream.write_all(reply.as_bytes()).await?;
        if verb == "QUIT" {
            return stream.flush().await;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:2525".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener).await;
    Ok(())
}
