//! The IO of the built-in backend: accept, read one header, let the session speak, close so that the text arrives.
//!
//! Decides nothing about words; every wait has a deadline and every buffer a bound.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use truepeer::{ClientIdentity, HeaderReader, HeaderRules, NetworkSet, PeerAddress, Progress};

use super::session::Session;
use crate::facts::protocol::Protocol;
use crate::rooms::own::{Reply, Then};

/// The bounds of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Wall time for the whole header.
    pub(super) header: Duration,
    /// How long the other end may be silent afterwards.
    pub(super) idle: Duration,
    /// Wall time for the whole conversation after the header.
    pub(super) session: Duration,
    /// Wall time for discarding what still arrives after the last word.
    pub(super) linger: Duration,
    /// Connections at once; further ones wait in the socket's queue.
    pub(super) at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            idle: Duration::from_secs(120),
            session: Duration::from_secs(900),
            linger: Duration::from_secs(2),
            at_once: 64,
        }
    }
}

/// Bytes read at once.
const READ: usize = 2048;
/// The most that is discarded after the last word.
const MAX_DISCARDED: usize = 64 * 1024;
/// The pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `protocol` on `listener` until it is dropped, which ends its connections, too.
///
/// Only peers on loopback are served; each must begin with a header, and none is greeted before.
///
/// # Cancel safety
/// Dropping it closes the listener and every connection at once; nothing else is lost.
pub(super) async fn serve(listener: TcpListener, protocol: Protocol, limits: Limits) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= limits.at_once.max(1) {
            connections.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, peer)) if peer.ip().to_canonical().is_loopback() => {
                connections.spawn(async move {
                    if let Err(error) = connection(stream, peer, protocol, limits).await {
                        tracing::debug!(%peer, %protocol, %error, "built-in backend closed a connection");
                    }
                });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "built-in backend could not accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    protocol: Protocol,
    limits: Limits,
) -> io::Result<()> {
    let deadline = Instant::now().checked_add(limits.header).unwrap_or_else(Instant::now);
    let (identity, early) = read_header(&mut stream, peer, deadline).await?;
    let session = Session::new(protocol, &identity);
    timeout(limits.session, converse(&mut stream, session, early, limits.idle)).await??;
    stream.shutdown().await?;
    // Closing with unread bytes would reset the connection and take the last words with it.
    let _ = timeout(limits.linger, discard(&mut stream)).await;
    Ok(())
}

/// The identity that the header gives, and the bytes of the client that came with it.
async fn read_header(
    stream: &mut TcpStream,
    peer: SocketAddr,
    deadline: Instant,
) -> io::Result<(ClientIdentity, Vec<u8>)> {
    let reader = HeaderReader::new(HeaderRules::default(), PeerAddress::tcp(peer), deadline.into_std());
    let mut received = Vec::with_capacity(READ);
    loop {
        match reader.advance(&received).map_err(io::Error::other)? {
            Progress::Done { identity, header_len } => {
                reader.check_plausible(&identity, &NetworkSet::default()).map_err(io::Error::other)?;
                let early = received.get(header_len..).unwrap_or_default().to_vec();
                return Ok((identity, early));
            }
            Progress::NeedMore { .. } => {}
        }
        let mut piece = [0; READ];
        let Ok(read) = timeout_at(deadline, stream.read(&mut piece)).await else {
            return Err(io::Error::other(reader.expired(&received)));
        };
        match piece.get(..read?) {
            None | Some([]) => return Err(io::Error::other(reader.ended(&received))),
            Some(piece) => received.extend_from_slice(piece),
        }
    }
}

/// Greets, then answers until either side ends it.
async fn converse(
    stream: &mut TcpStream,
    mut session: Session,
    early: Vec<u8>,
    idle: Duration,
) -> io::Result<()> {
    let mut reply = session.greet();
    if !early.is_empty() && reply.then == Then::GoOn {
        let Reply { bytes, then } = session.receive(&early);
        reply.bytes.extend(bytes);
        reply.then = then;
    }
    loop {
        stream.write_all(&reply.bytes).await?;
        if reply.then == Then::Close {
            return Ok(());
        }
        let mut piece = [0; READ];
        let read = timeout(idle, stream.read(&mut piece)).await??;
        match piece.get(..read) {
            None | Some([]) => return Ok(()),
            Some(piece) => reply = session.receive(piece),
        }
    }
}

async fn discard(stream: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; READ];
    let mut left = MAX_DISCARDED;
    while left > 0 {
        match stream.read(&mut piece).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}
