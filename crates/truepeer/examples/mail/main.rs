//! The front of a mail server: what SMTP and IMAP need of the real client, in one place.
//!
//! `cargo run -p truepeer --example mail -- 127.0.0.1:2525 smtp 127.0.0.1`: where to listen, the protocol, and which
//! peers are proxies. `docs/embed-in-a-mail-server.md` explains it step by step.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a small server has no other log")]
pub(crate) mod door;
mod imap;
mod smtp;

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use truepeer::{Connection, ListenerOptions, ProxyListener, TrustedNetworks};

use door::Door;

/// What differs between the two; everything about clients is the same.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Smtp,
    Imap,
}

pub(crate) async fn serve(mut listener: ProxyListener, protocol: Protocol, door: Arc<Door>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.accept_any() => { sessions.spawn(session(connection, protocol, door.clone())); }
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn session(connection: Connection<TcpStream>, protocol: Protocol, door: Arc<Door>) -> io::Result<()> {
    let mut stream = match connection {
        Connection::Client(stream) => stream,
        // A health check: it hears that we are there, and can do nothing else. Its address is the proxy's.
        Connection::ProxyOwn(stream) => match protocol {
            Protocol::Smtp => return smtp::check(stream).await,
            Protocol::Imap => return imap::check(stream).await,
        },
    };
    let client = stream.client().clone();
    // Before a byte is said: lists and limits judge the client, so that no proxy is ever shut out for one.
    let _place = match door.enter(client.ip()) {
        Ok(place) => place,
        Err(refusal) => {
            println!("{client} through {}: {refusal:?}", client.identity().peer());
            let words = match protocol {
                Protocol::Smtp => smtp::refusal(refusal),
                Protocol::Imap => imap::refusal(refusal),
            };
            stream.write_all(words.as_bytes()).await?;
            return stream.shutdown().await;
        }
    };
    match protocol {
        Protocol::Smtp => smtp::session(stream, client).await,
        Protocol::Imap => imap::session(stream, client).await,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:2525".into());
    let protocol = match args.next().as_deref() {
        None | Some("smtp") => Protocol::Smtp,
        Some("imap") => Protocol::Imap,
        Some(other) => return Err(format!("\"{other}\" is neither smtp nor imap").into()),
    };
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let options = ListenerOptions::new().on_event(|event| eprintln!("{}: {event}", event.code()));
    let listener = ProxyListener::bind(addr, trusted).await?.with_options(options);
    println!("listening on {}", listener.local_addr()?);
    serve(listener, protocol, Arc::new(Door::new(truepeer::NetworkSet::parse(["203.0.113.66"])?))).await;
    Ok(())
}
