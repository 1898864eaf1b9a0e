//! Backends that fail in the ways that networks and servers do.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::header::read_header;
use super::inbox::Inbox;
use super::server::{Conversation, Loopback, Server, Session};

/// Accepts, listens, and never says a word. Dropping it ends it.
#[derive(Debug)]
pub struct SilentServer {
    /// Every byte of each connection, at its end.
    pub sessions: Inbox<Session>,
    server: Server,
}

impl SilentServer {
    /// Starts one.
    #[must_use]
    pub fn start(loopback: Loopback) -> Self {
        let (ended, sessions) = Inbox::new("the end of a silent connection");
        let server = Server::start(loopback, move |stream: Arc<TcpStream>| {
            let _ = ended.try_send(Conversation::new(stream).drain());
        });
        Self { sessions, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// When a [`ResettingServer`] resets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetWhen {
    /// At the first byte, which for the gateway is its header.
    FirstByte,
    /// At the first byte behind the header, which it read and answered with these bytes.
    BehindHeader(Vec<u8>),
}

/// Resets each connection instead of closing it. Dropping it ends it.
#[derive(Debug)]
pub struct ResettingServer {
    /// Who was reset, just before it happens.
    pub reset: Inbox<SocketAddr>,
    server: Server,
}

impl ResettingServer {
    /// Starts one.
    #[must_use]
    pub fn start(loopback: Loopback, when: ResetWhen) -> Self {
        let (tell, reset) = Inbox::new("a connection to reset");
        let server = Server::start(loopback, move |stream: Arc<TcpStream>| {
            if let ResetWhen::BehindHeader(greeting) = &when {
                if read_header(&mut &*stream).is_err() {
                    return;
                }
                Conversation::new(Arc::clone(&stream)).send(greeting);
            }
            // The kernel resets a connection that is closed while received bytes are unread.
            if matches!(stream.peek(&mut [0]), Ok(1..))
                && let Ok(peer) = stream.peer_addr()
            {
                let _ = tell.try_send(peer);
            }
        });
        Self { reset, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// Says its piece, finishes its direction at once, and goes on receiving to the end. Dropping it ends it.
#[derive(Debug)]
pub struct HalfClosingServer {
    /// Every byte of each connection, its header included, at its end.
    pub sessions: Inbox<Session>,
    server: Server,
}

impl HalfClosingServer {
    /// Starts one that says `piece`.
    #[must_use]
    pub fn start(loopback: Loopback, piece: &[u8]) -> Self {
        let (ended, sessions) = Inbox::new("the end of a half-closed connection");
        let piece = piece.to_vec();
        let server = Server::start(loopback, move |stream: Arc<TcpStream>| {
            let conversation = Conversation::new(stream);
            conversation.send(&piece);
            conversation.finish_sending();
            let _ = ended.try_send(conversation.drain());
        });
        Self { sessions, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
