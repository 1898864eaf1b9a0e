//! An accepted connection that its server identifies by itself, in a task of its own.
//!
//! Made by the listener, or by a server with an accept loop of its own.

use core::fmt;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;
use tokio::time::{Instant, timeout_at};

use super::options::{Decider, Deciding};
use super::read_header::{ReadHeader, check};
use super::{Connection, ListenerOptions, Refusal};
use crate::{Arrival, ClientIdentity, PeerAddress, TrustDecision, TrustPolicy};

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
    Undecided(Box<Undecided<S>>),
    Expected(ReadHeader<S>),
    Known(Connection<S>),
}

/// A connection about which the caller has to look something up.
struct Undecided<S> {
    io: S,
    arrival: Arrival,
    deciding: Deciding,
    deadline: Instant,
    options: ListenerOptions,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    /// Decides about `io` before one byte is read, as `policy` says, and as
    /// [`decide_with`](ListenerOptions::decide_with) or [`decide_later`](ListenerOptions::decide_later) of `options` do
    /// where there is one.
    ///
    /// `peer`: the other end of the socket. `reached`: our end, what a direct client connected to.
    ///
    /// # Errors
    /// [`Refusal::Unlisted`] if `policy` has no place for this peer, [`Refusal::Denied`] if `decide_with` refuses it,
    /// [`Refusal::Rejected`] if a check does not let a direct client in.
    pub fn new(
        io: S,
        peer: PeerAddress,
        reached: Option<SocketAddr>,
        policy: &TrustPolicy,
        options: &ListenerOptions,
    ) -> Result<Self, Refusal> {
        let (arrival, decision) = (Arrival::new(peer, reached), policy.decide(peer));
        match &options.decider {
            Decider::Policy if decision == TrustDecision::Refuse => Err(Refusal::Unlisted(peer)),
            Decider::Policy => Self::decided(io, arrival, decision, deadline(options), options),
            Decider::Now(decide) => {
                Self::decided(io, arrival, decide(&arrival, decision), deadline(options), options)
            }
            Decider::Later(decide) => {
                let undecided = Undecided {
                    io,
                    arrival,
                    deciding: decide(arrival, decision),
                    deadline: deadline(options),
                    options: options.clone(),
                };
                Ok(Self { peer, stage: Stage::Undecided(Box::new(undecided)) })
            }
        }
    }

    /// As [`Incoming::new`], by a decision of the caller's own, whatever a policy or `options` would say.
    ///
    /// # Errors
    /// [`Refusal::Denied`] for [`TrustDecision::Refuse`]; [`Refusal::Unlisted`] for [`TrustDecision::Direct`] of a UNIX
    /// peer, which has no address that could be the client's; [`Refusal::Rejected`] as with [`Incoming::new`].
    pub fn with_decision(
        io: S,
        peer: PeerAddress,
        reached: Option<SocketAddr>,
        decision: TrustDecision,
        options: &ListenerOptions,
    ) -> Result<Self, Refusal> {
        Self::decided(io, Arrival::new(peer, reached), decision, deadline(options), options)
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
            // On the heap, so that only those pay for it who look something up.
            Stage::Undecided(undecided) => Box::pin(undecided.identify()).await,
        }
    }

    /// The other end of the socket: a proxy or a client, not known which before [`Incoming::identify`].
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        self.peer
    }

    fn decided(
        io: S,
        Arrival { peer, reached }: Arrival,
        decision: TrustDecision,
        deadline: Instant,
        options: &ListenerOptions,
    ) -> Result<Self, Refusal> {
        let stage = match decision {
            TrustDecision::ExpectHeader => Stage::Expected(ReadHeader::new(io, peer, deadline, options)),
            TrustDecision::Direct => {
                let identity = ClientIdentity::direct(peer, reached).ok_or(Refusal::Unlisted(peer))?;
                check(options.check.as_ref(), &identity)?;
                Stage::Known(Connection::new(io, identity, Vec::new()))
            }
            TrustDecision::Refuse => return Err(Refusal::Denied(peer)),
        };
        Ok(Self { peer, stage })
    }

    /// The connection, if its caller is known already: it is direct, or its header has come.
    pub(super) fn now(self, cx: &mut Context<'_>) -> Now<S> {
        let mut read = match self.stage {
            Stage::Known(connection) => return Now::Known(Ok(connection)),
            Stage::Expected(read) => read,
            undecided @ Stage::Undecided(_) => return Now::Later(Self { peer: self.peer, stage: undecided }),
        };
        match read.poll(cx) {
            Poll::Ready(whole) => Now::Known(whole.map(|whole| read.into_connection(whole))),
            Poll::Pending => Now::Later(Self { peer: self.peer, stage: Stage::Expected(read) }),
        }
    }
}

impl<S: AsyncRead + Unpin> Undecided<S> {
    async fn identify(self) -> Result<Connection<S>, Refusal> {
        let Self { io, arrival, deciding, deadline, options } = self;
        let Ok(decision) = timeout_at(deadline, deciding).await else {
            return Err(Refusal::Undecided(arrival.peer));
        };
        match Incoming::decided(io, arrival, decision, deadline, &options)?.stage {
            Stage::Expected(read) => read.finish().await,
            Stage::Known(connection) => Ok(connection),
            // Decided is decided.
            Stage::Undecided(_) => Err(Refusal::Undecided(arrival.peer)),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Undecided<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecided")
            .field("io", &self.io)
            .field("arrival", &self.arrival)
            .finish_non_exhaustive()
    }
}

/// From now on, which is accept.
fn deadline(options: &ListenerOptions) -> Instant {
    let now = Instant::now();
    // Not beyond what the clock can count, since options have a longest timeout.
    now.checked_add(options.header_timeout).unwrap_or(now)
}

/// What can be said without waiting.
#[derive(Debug)]
pub(super) enum Now<S> {
    /// Everything.
    Known(Result<Connection<S>, Refusal>),
    /// Nothing: bytes are missing, or a decision.
    Later(Incoming<S>),
}
