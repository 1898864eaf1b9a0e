//! What a listener has to tell besides connections: whom it sent away, and why.
//!
//! Made by the shell, read by logs and counters.

use core::fmt;
use std::io;
use std::time::Duration;

use crate::{Endpoint, Fault, IdentifyError, PeerAddress, ProxyOwn};

/// Why a connection was closed before anybody saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer is in no trusted network, and this listener is for proxies only; or it came over a UNIX socket whose
    /// peers are not trusted.
    Unlisted(PeerAddress),
    /// The caller's own decision was [`TrustDecision::Refuse`](crate::TrustDecision::Refuse).
    Denied(PeerAddress),
    /// A trusted peer without a good header.
    Header(IdentifyError),
    /// Too many headers were awaited at once; this one had waited longest of those of the peer that had most.
    Evicted(PeerAddress),
    /// The caller's own look-up did not decide about this peer in time; see
    /// [`ListenerOptions::decide_later`](super::ListenerOptions::decide_later).
    Undecided(PeerAddress),
    /// The caller's own check does not let this identity in; see
    /// [`ListenerOptions::check_identity`](super::ListenerOptions::check_identity).
    Rejected {
        /// The peer.
        peer: PeerAddress,
        /// The client; `None` for a proxy's own connection.
        client: Option<Endpoint>,
        /// Why not, as the rest of a sentence.
        because: &'static str,
    },
    /// The connection broke before its header was complete.
    Broken {
        /// The peer.
        peer: PeerAddress,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
}

impl Refusal {
    /// Short stable token, for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unlisted(_) => "peer_unlisted",
            Self::Denied(_) => "peer_denied",
            Self::Header(error) => error.reason().code(),
            Self::Evicted(_) => "header_evicted",
            Self::Undecided(_) => "peer_undecided",
            Self::Rejected { .. } => "identity_rejected",
            Self::Broken { .. } => "header_broken",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Header(error) => error.fault(),
            // A UNIX peer cannot be the client: nobody may use this socket until the policy says who.
            Self::Unlisted(PeerAddress::Unix { .. }) | Self::Undecided(_) => Fault::Operator,
            Self::Rejected { client: Some(_), .. } => Fault::Client,
            Self::Unlisted(_)
            | Self::Denied(_)
            | Self::Evicted(_)
            | Self::Broken { .. }
            | Self::Rejected { .. } => Fault::Peer,
        }
    }

    /// The peer that was sent away.
    #[must_use]
    pub fn peer(&self) -> PeerAddress {
        match self {
            Self::Unlisted(peer)
            | Self::Denied(peer)
            | Self::Evicted(peer)
            | Self::Undecided(peer)
            | Self::Rejected { peer, .. }
            | Self::Broken { peer, .. } => *peer,
            Self::Header(error) => error.peer(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted(peer @ PeerAddress::Unix { .. }) => write!(
                f,
                "{peer} has no address that could be the client's, and the policy does not trust UNIX peers"
            ),
            Self::Unlisted(peer) => {
                write!(f, "{peer} is in no trusted network, and this listener accepts proxies only")
            }
            Self::Denied(peer) => write!(f, "{peer} is refused by a decision of this server's own"),
            Self::Header(error) => error.fmt(f),
            Self::Evicted(peer) => {
                write!(f, "{peer} had not sent its header when newer peers needed the place")
            }
            Self::Undecided(peer) => {
                write!(f, "whether {peer} is trusted was not decided before the deadline")
            }
            Self::Rejected { peer, client: Some(client), because } => {
                write!(f, "client {client} through {peer} is not let in: {because}")
            }
            Self::Rejected { peer, client: None, because } => {
                write!(f, "{peer} for itself is not let in: {because}")
            }
            Self::Broken { peer, kind } => {
                write!(f, "{peer} broke off before its header was complete: {kind}")
            }
        }
    }
}

impl core::error::Error for Refusal {}

/// As for an [`IdentifyError`]; a connection that broke has the kind that the system gave, and anyone who is not let in
/// is
/// [`io::ErrorKind::PermissionDenied`].
impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Header(error) => return error.into(),
            Refusal::Broken { kind, .. } => kind,
            Refusal::Undecided(_) => io::ErrorKind::TimedOut,
            Refusal::Evicted(_) => io::ErrorKind::ConnectionAborted,
            Refusal::Unlisted(_) | Refusal::Denied(_) | Refusal::Rejected { .. } => {
                io::ErrorKind::PermissionDenied
            }
        };
        Self::new(kind, refusal)
    }
}

/// What happened at the door besides a connection that was handed out.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenerEvent {
    /// A connection was closed before anybody saw it.
    Refused(Refusal),
    /// A proxy's own connection was closed, because the server asked for clients only.
    ProxyOwnClosed(ProxyOwn),
    /// The operating system could not hand out a connection.
    AcceptFailed {
        /// What it said.
        error: io::Error,
        /// How long the listener waits before it asks again. Headers are read on meanwhile.
        pause: Duration,
    },
    /// A TLS handshake failed, took too long, or had to make room.
    #[cfg(feature = "tokio-rustls")]
    TlsFailed {
        /// A client, or a proxy itself where its own connections are let in.
        caller: crate::Caller,
        /// What rustls said, or which bound was reached.
        error: io::Error,
    },
}

impl ListenerEvent {
    /// Short stable token, for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::ProxyOwnClosed(_) => "own_refused",
            Self::AcceptFailed { .. } => "accept_failed",
            #[cfg(feature = "tokio-rustls")]
            Self::TlsFailed { .. } => "tls_failed",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            // Broken before it was accepted.
            Self::AcceptFailed { pause, .. } if pause.is_zero() => Fault::Peer,
            // The machine has no room for it; or this server has no answer for health checks.
            Self::AcceptFailed { .. } | Self::ProxyOwnClosed(_) => Fault::Operator,
            #[cfg(feature = "tokio-rustls")]
            Self::TlsFailed { caller: crate::Caller::Client(_), .. } => Fault::Client,
            #[cfg(feature = "tokio-rustls")]
            Self::TlsFailed { .. } => Fault::Peer,
        }
    }
}

impl From<Refusal> for ListenerEvent {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Display for ListenerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::ProxyOwnClosed(own) => write!(f, "{own} was closed: this server accepts clients only"),
            Self::AcceptFailed { error, pause } => {
                write!(f, "no connection could be accepted: {error}; the next try is in {pause:?}")
            }
            #[cfg(feature = "tokio-rustls")]
            Self::TlsFailed { caller: crate::Caller::Client(client), error } => {
                write!(f, "no TLS with client {client}: {error}")
            }
            #[cfg(feature = "tokio-rustls")]
            Self::TlsFailed { caller, error } => write!(f, "no TLS with {caller}: {error}"),
        }
    }
}
