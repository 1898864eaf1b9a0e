//! An accepted connection that its server identifies by itself, in a task of its own.
//!
//! Made by the listener, or by a server with an accept loop of its own.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;

use super::read_header::ReadHeader;
use super::{Connection, ListenerOptions, Refusal};
use crate::{ClientIdentity, PeerAddress, TrustDecision, TrustPolicy};

/// A connection whose caller is not known yet. Identify it in a task of its own, never in the accept loop.
///
/// Its deadline has begun: a header has `header_timeout` from accept on, not from [`Incoming::identify`] on. Whoever
/// keeps these bounds their number; [`ProxyListener::accept`](super::ProxyListener::accept) does that by itself.
///
/// Memory: under 300 bytes besides the socket; while it is identified, see [`ListenerOptions`].
#[derive(Debug)]
#[must_use = "dropping it closes the connection"]
pub struct Incoming<S> {
    peer: PeerAddress,
    stage: Stage<S>,
}

#[derive(Debug)]
enum Stage<S> {
    Expected(ReadHeader<S>),
    Known(Connection<S>),
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    /// Decides about `io` by its peer alone, before one byte is read.
    ///
    /// `peer`: the other end of the socket. `reached`: our end, what a direct client connected to.
    ///
    /// # Errors
    /// [`Refusal::Unlisted`] if `policy` has no place for this peer.
    pub fn new(
        io: S,
        peer: PeerAddress,
        reached: Option<SocketAddr>,
        policy: &TrustPolicy,
        options: &ListenerOptions,
    ) -> Result<Self, Refusal> {
        let stage = match policy.decide(peer) {
            TrustDecision::ExpectHeader => Stage::Expected(ReadHeader::new(io, peer, options)),
            TrustDecision::Direct => {
                let identity = ClientIdentity::direct(peer, reached).ok_or(Refusal::Unlisted(peer))?;
                Stage::Known(Connection::new(io, identity, Vec::new()))
            }
            TrustDecision::Refuse => return Err(Refusal::Unlisted(peer)),
        };
        Ok(Self { peer, stage })
    }

    /// Reads the header if one is due.
    ///
    /// # Errors
    /// A [`Refusal`]; the connection is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes this connection, which nobody has seen yet; nothing else is lost.
    pub async fn identify(self) -> Result<Connection<S>, Refusal> {
        match self.stage {
            Stage::Expected(read) => read.finish().await,
            Stage::Known(connection) => Ok(connection),
        }
    }

    /// The other end of the socket: a proxy or a client, not known which before [`Incoming::identify`].
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        self.peer
    }

    /// The connection, if its caller is known already: it is direct, or its header has come.
    pub(super) fn now(self, cx: &mut Context<'_>) -> Now<S> {
        let mut read = match self.stage {
            Stage::Known(connection) => return Now::Known(Ok(connection)),
            Stage::Expected(read) => read,
        };
        match read.poll(cx) {
            Poll::Ready(whole) => Now::Known(whole.map(|whole| read.into_connection(whole))),
            Poll::Pending => Now::Later(Self { peer: self.peer, stage: Stage::Expected(read) }),
        }
    }
}

/// What can be said without waiting.
#[derive(Debug)]
pub(super) enum Now<S> {
    /// Everything.
    Known(Result<Connection<S>, Refusal>),
    /// Nothing: bytes are missing.
    Later(Incoming<S>),
}
