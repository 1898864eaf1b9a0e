//! The record: the one line that a connection leaves, filled along the way and written at the end, whatever happens.
//!
//! Peer and client are always two fields. Text from the wire is escaped before it gets here or by the writer.

mod ended;
mod entry;
mod id;
mod words;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use truepeer::{ClientIdentity, Endpoint};

use crate::facts::address::Family;
use crate::facts::instant::CompactInstant;
use crate::facts::program::Exit;
use crate::rooms::backend::Backend;
use crate::rooms::handoff::{Handoff, Substituted};

pub use ended::{Ended, Explanation, Way};
pub use entry::{Entrance, Entry};
pub use id::ConnectionId;
pub use words::{RefusedBy, Scope, Source};

/// What a connection leaves.
#[derive(Debug)]
pub struct Record {
    /// The connection as others may see it while it is open: id, listener, peer, identity, backend, bytes.
    pub entry: Arc<Entry>,
    /// Whether a trusted peer is taken for the client itself, since no header came.
    pub presumed: bool,
    /// How it was told.
    pub handoff: Option<Handoff>,
    /// What the backend was told that the proxy did not say.
    pub substituted: Substituted,
    /// The family of the client that the backend was told.
    pub family: Option<Family>,
    /// How long each room took.
    pub times: Times,
    accepted: CompactInstant,
    /// In a box, since most connections have none of it, and each holds this as long as it lasts.
    rare: Option<Box<Rare>>,
}

/// What few connections have.
#[derive(Debug, Default)]
struct Rare {
    /// Listed proxies that headers named before the last one, the nearest first.
    hops: Vec<Endpoint>,
    /// How the program ended that the connection was given to.
    exit: Option<Exit>,
    /// What there is to say of a misfit or a refusal.
    why: Explanation,
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

/// How long something took, in a quarter of the memory of a duration: to the microsecond up to 17 minutes, to the
/// millisecond up to 12 days, to the second up to 34 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took(NonZeroU32);

impl Took {
    /// Nanoseconds of each unit, the finest first; the number of the unit is in the two highest bits.
    const UNITS: [u64; 3] = [1_000, 1_000_000, 1_000_000_000];
    const UNIT_AT: u32 = 30;
    const MOST: u32 = (1 << Self::UNIT_AT) - 1;
}

impl From<Duration> for Took {
    fn from(took: Duration) -> Self {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let in_unit = |(number, unit): (u32, u64)| {
            let count = u32::try_from(nanos.checked_div(unit)?).ok().filter(|count| *count < Self::MOST)?;
            // One more, so that nothing is something.
            NonZeroU32::new(number << Self::UNIT_AT | count.saturating_add(1))
        };
        Self((0..).zip(Self::UNITS).find_map(in_unit).unwrap_or(NonZeroU32::MAX))
    }
}

impl From<Took> for Duration {
    fn from(took: Took) -> Self {
        let (number, count) = (took.0.get() >> Took::UNIT_AT, took.0.get() & Took::MOST);
        let unit = Took::UNITS.get(number as usize).copied().unwrap_or(1_000_000_000);
        Self::from_nanos(u64::from(count.saturating_sub(1)).saturating_mul(unit))
    }
}

impl Record {
    /// The record of a connection that has just arrived.
    #[must_use]
    pub fn new(entry: Arc<Entry>, accepted: impl Into<CompactInstant>) -> Self {
        Self {
            entry,
            presumed: false,
            handoff: None,
            substituted: Substituted::default(),
            family: None,
            times: Times::default(),
            accepted: accepted.into(),
            rare: None,
        }
    }

    /// When the connection was accepted.
    #[must_use]
    pub fn accepted(&self) -> CompactInstant {
        self.accepted
    }

    /// Notes by which proxies it came.
    pub fn came_by(&mut self, hops: Vec<Endpoint>) {
        if !hops.is_empty() {
            self.rare.get_or_insert_default().hops = hops;
        }
    }

    /// Listed proxies that headers named before the last one, the nearest first.
    #[must_use]
    pub fn hops(&self) -> &[Endpoint] {
        self.rare.as_deref().map_or(&[], |rare| &rare.hops)
    }

    /// Notes how the program ended that the connection was given to.
    pub fn exited(&mut self, exit: Exit) {
        self.rare.get_or_insert_default().exit = Some(exit);
    }

    /// How the program ended that the connection was given to, if it was given to one.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.rare.as_ref()?.exit
    }

    /// Notes who the client is.
    pub fn identified(&mut self, identity: ClientIdentity, now: CompactInstant) {
        self.entry.identified(identity);
        self.times.identify = Some(now.since(self.accepted).into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_a_while_is_said_as_finely_as_it_matters() {
        for (nanos, kept) in [
            (0, 0),
            (999, 0),
            (1_000, 1_000),
            (1_073_741_821_999, 1_073_741_821_000),
            (1_073_741_823_000, 1_073_741_000_000),
            (86_400_000_999_999, 86_400_000_000_000),
            (40 * 86_400_000_000_000 + 1_000_000, 40 * 86_400_000_000_000),
        ] {
            let took = Took::from(Duration::from_nanos(nanos));
            assert_eq!(Duration::from(took), Duration::from_nanos(kept), "{nanos}");
        }
        // 34 years are as good as any longer time.
        assert!(Duration::from(Took::from(Duration::MAX)) >= Duration::from_secs(34 * 365 * 86_400));
    }
}
