//! What one worker counts for one listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::facts::outcome::Outcome;
use crate::observe::metrics::histogram::{Histogram, Sum};
use crate::observe::metrics::label::{Direction, HealthAnswer, TimedRoom};
use crate::rooms::record::{RefusedBy, Scope, Source};

/// The counters of one listener in one worker.
///
/// Counting is one relaxed addition to a cache line that no other core writes; any thread may read.
/// Memory: at most 1280 bytes.
#[derive(Debug)]
#[repr(align(128))] // Two cache lines: the hardware fetches them in pairs.
pub struct Shard {
    listener: Arc<str>,
    accepted: AtomicU64,
    accept_failures: AtomicU64,
    accept_pauses: AtomicU64,
    identified: [[AtomicU64; Scope::ALL.len()]; Source::ALL.len()],
    own: AtomicU64,
    health: [AtomicU64; HealthAnswer::ALL.len()],
    refused: [AtomicU64; RefusedBy::ALL.len()],
    would_refuse: [AtomicU64; RefusedBy::ALL.len()],
    ended: [AtomicU64; Outcome::ALL.len()],
    folded: AtomicU64,
    bytes: [AtomicU64; Direction::ALL.len()],
    durations: [Histogram; TimedRoom::ALL.len()],
}

impl Shard {
    /// Counters at zero.
    #[must_use]
    pub fn new(listener: Arc<str>) -> Self {
        Self {
            listener,
            accepted: AtomicU64::default(),
            accept_failures: AtomicU64::default(),
            accept_pauses: AtomicU64::default(),
            identified: Default::default(),
            own: AtomicU64::default(),
            health: Default::default(),
            refused: Default::default(),
            would_refuse: Default::default(),
            ended: std::array::from_fn(|_| AtomicU64::default()),
            folded: AtomicU64::default(),
            bytes: Default::default(),
            durations: Default::default(),
        }
    }

    /// The listener's name.
    #[must_use]
    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// A connection was accepted. Exactly one [`Shard::ended`] must follow, whatever happens.
    pub fn accepted(&self) {
        self.count(Counter::Accepted, 1);
    }

    /// The system refused to accept a connection.
    pub fn accept_failed(&self) {
        self.count(Counter::AcceptFailures, 1);
    }

    /// Accepting paused because the server is full.
    pub fn accept_paused(&self) {
        self.count(Counter::AcceptPauses, 1);
    }

    /// A client is known, by `source`, and its address lies in `scope`.
    pub fn identified(&self, source: Source, scope: Scope) {
        self.count(Counter::Identified(source, scope), 1);
    }

    /// A proxy made this connection for itself.
    pub fn own(&self) {
        self.count(Counter::Own, 1);
    }

    /// A check of the listener's health port was answered.
    pub fn health_checked(&self, answer: HealthAnswer) {
        self.count(Counter::HealthChecked(answer), 1);
    }

    /// A client was refused.
    pub fn refused(&self, refusal: RefusedBy) {
        self.count(Counter::Refused(refusal), 1);
    }

    /// A client was admitted although a rule that only observes is against it.
    pub fn would_refuse(&self, refusal: RefusedBy) {
        self.count(Counter::WouldRefuse(refusal), 1);
    }

    /// A connection ended.
    pub fn ended(&self, outcome: Outcome) {
        self.count(Counter::Ended(outcome), 1);
    }

    /// A record of a connection was not written but counted into a summary.
    pub fn folded(&self) {
        self.count(Counter::Folded, 1);
    }

    /// `bytes` were relayed.
    pub fn relayed(&self, direction: Direction, bytes: u64) {
        self.count(Counter::Relayed(direction), bytes);
    }

    /// A connection spent `duration` in `room`.
    pub fn spent(&self, room: TimedRoom, duration: Duration) {
        if let Some(histogram) = of(&TimedRoom::ALL, &self.durations, room) {
            histogram.add(room, duration);
        }
    }

    /// The value of one counter.
    pub(super) fn read(&self, counter: Counter) -> u64 {
        self.cell(counter).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Adds the durations of `room` to `sum`.
    pub(super) fn sum_into(&self, room: TimedRoom, sum: &mut Sum) {
        if let Some(histogram) = of(&TimedRoom::ALL, &self.durations, room) {
            histogram.sum_into(sum);
        }
    }

    fn count(&self, counter: Counter, by: u64) {
        if let Some(cell) = self.cell(counter) {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// `None` only if a code were missing in the list of its set.
    fn cell(&self, counter: Counter) -> Option<&AtomicU64> {
        Some(match counter {
            Counter::Accepted => &self.accepted,
            Counter::AcceptFailures => &self.accept_failures,
            Counter::AcceptPauses => &self.accept_pauses,
            Counter::Identified(source, scope) => {
                of(&Scope::ALL, of(&Source::ALL, &self.identified, source)?, scope)?
            }
            Counter::Own => &self.own,
            Counter::HealthChecked(answer) => of(&HealthAnswer::ALL, &self.health, answer)?,
            Counter::Refused(refusal) => of(&RefusedBy::ALL, &self.refused, refusal)?,
            Counter::WouldRefuse(refusal) => of(&RefusedBy::ALL, &self.would_refuse, refusal)?,
            Counter::Ended(outcome) => of(&Outcome::ALL, &self.ended, outcome)?,
            Counter::Folded => &self.folded,
            Counter::Relayed(direction) => of(&Direction::ALL, &self.bytes, direction)?,
        })
    }
}

/// One counter of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    Accepted,
    AcceptFailures,
    AcceptPauses,
    Identified(Source, Scope),
    Own,
    HealthChecked(HealthAnswer),
    Refused(RefusedBy),
    WouldRefuse(RefusedBy),
    Ended(Outcome),
    Folded,
    Relayed(Direction),
}

/// The value that belongs to `key`, where `values` are in the order of `keys`.
fn of<'a, K: PartialEq, T, const N: usize>(keys: &[K; N], values: &'a [T; N], key: K) -> Option<&'a T> {
    keys.iter().zip(values).find(|(other, _)| **other == key).map(|(_, value)| value)
}

#[cfg(test)]
impl Shard {
    /// Connections that have ended so.
    pub(crate) fn ended_as(&self, outcome: Outcome) -> u64 {
        self.read(Counter::Ended(outcome))
    }

    /// Connections that were accepted.
    pub(crate) fn accepted_so_far(&self) -> u64 {
        self.read(Counter::Accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_shard_is_what_is_documented() {
        assert!(size_of::<Shard>() <= 1280, "{}", size_of::<Shard>());
    }

    #[test]
    fn every_outcome_has_a_counter_of_its_own() {
        let shard = Shard::new("smtp".into());
        for (times, outcome) in (1..).zip(Outcome::ALL) {
            (0..times).for_each(|_| shard.ended(outcome));
        }
        for (times, outcome) in (1..).zip(Outcome::ALL) {
            assert_eq!(shard.read(Counter::Ended(outcome)), times, "{outcome:?}");
        }
    }
}
