//! The record: the one line that a connection leaves, filled along the way and written at the end, whatever happens.
//!
//! Peer and client are always two fields. Text from the wire is escaped before it gets here or by the writer.

mod ended;
mod entry;
mod id;
mod words;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use truepeer::{ClientIdentity, Endpoint};

use crate::engine::CompactInstant;
use crate::facts::program::Exit;
use crate::rooms::backend::Backend;
use crate::rooms::handoff::{Handoff, Substituted};

pub use ended::{Ended, Explanation, Way};
pub use entry::{Entrance, Entry};
pub use id::ConnectionId;
pub use words::{RefusedBy, Scope, Source};

/// Proxies behind proxies, the nearest first. Few connections have one, and each holds this as long as it lasts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "one word where there is none, instead of three")]
pub struct Hops(Option<Box<Vec<Endpoint>>>);

impl Hops {
    /// One more, farther away than those before.
    pub fn push(&mut self, hop: Endpoint) {
        self.0.get_or_insert_default().push(hop);
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Endpoint] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// What a connection leaves.
#[derive(Debug)]
pub struct Record {
    /// The connection as others may see it while it is open: id, listener, peer, identity, backend, bytes.
    pub entry: Arc<Entry>,
    /// Listed proxies that headers named before the last one, the nearest first.
    pub hops: Hops,
    /// Whether a trusted peer is taken for the client itself, since no header came.
    pub presumed: bool,
    /// How it was told.
    pub handoff: Option<Handoff>,
    /// What the backend was told that the proxy did not say.
    pub substituted: Substituted,
    /// How the program ended that the connection was given to.
    pub exit: Option<Exit>,
    /// What there is to say of a misfit or a refusal. In a box, since most connections have none.
    pub why: Option<Box<Explanation>>,
    /// How long each room took.
    pub times: Times,
    accepted: CompactInstant,
}

/// Wall time per room; `None` for rooms that were not entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// From accept to identity.
    pub identify: Option<Took>,
    /// Choosing and connecting to a backend, our header included.
    pub handoff: Option<Took>,
    /// From the first to the last byte.
    pub relay: Option<Took>,
}

/// How long something took; at most 584 years, in half the memory of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took(NonZeroU64);

impl From<Duration> for Took {
    fn from(took: Duration) -> Self {
        // One more, so that nothing is something.
        Self(
            u64::try_from(took.as_nanos())
                .map_or(NonZeroU64::MAX, |nanos| NonZeroU64::MIN.saturating_add(nanos)),
        )
    }
}

impl From<Took> for Duration {
    fn from(took: Took) -> Self {
        Self::from_nanos(took.0.get().saturating_sub(1))
    }
}

impl Record {
    /// The record of a connection that has just arrived.
    #[must_use]
    pub fn new(entry: Arc<Entry>, accepted: Instant) -> Self {
        Self {
            entry,
            hops: Hops::default(),
            presumed: false,
            handoff: None,
            substituted: Substituted::default(),
            exit: None,
            why: None,
            times: Times::default(),
            accepted: accepted.into(),
        }
    }

    /// When the connection was accepted.
    #[must_use]
    pub fn accepted(&self) -> Instant {
        self.accepted.into()
    }

    /// Notes who the client is.
    pub fn identified(&mut self, identity: ClientIdentity, now: Instant) {
        self.entry.identified(identity);
        self.times.identify = Some(now.saturating_duration_since(self.accepted()).into());
    }

    /// Notes what the backend is told.
    pub fn handed(&mut self, backend: &Backend, substituted: Substituted) {
        (self.handoff, self.substituted) = (Some(backend.handoff), substituted);
    }

    /// Whom it is for, if that was found out.
    #[must_use]
    pub fn identity(&self) -> Option<&ClientIdentity> {
        self.entry.identity()
    }
}
