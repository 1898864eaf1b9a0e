//! The latest refusals, each with its cause as the record has it, in a ring that forgets the oldest.
//!
//! Not folded as in the log: whoever looks sees each one, unless more come between two looks than are kept; how many
//! those were is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::facts::outcome::Outcome;
use crate::rooms::record::{Entry, Explanation, Record};

/// One refused connection.
#[derive(Debug)]
pub struct RefusedConnection {
    /// When it ended.
    pub at: SystemTime,
    /// How it ended.
    pub outcome: Outcome,
    /// Its id, listener and peer, and whom it was for, if that was known.
    pub entry: Arc<Entry>,
    /// What its record says of the reason.
    pub why: Explanation,
}

impl RefusedConnection {
    /// Takes the reasons out of a record whose line is written, so that nothing is copied.
    #[must_use]
    pub fn take(record: &mut Record, outcome: Outcome, at: SystemTime) -> Self {
        let why = record.take_explanation();
        Self { at, outcome, entry: Arc::clone(&record.entry), why }
    }
}

/// The ring; shared by all workers, and locked for one push.
///
/// Memory: [`LatestRefusals::KEPT`] times what a record says of its reason, which is under 2 KiB, and the TLVs of
/// its header, which are under 4.
#[derive(Debug, Default)]
pub struct LatestRefusals(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// How many there were; the number of the latest.
    last: u64,
    kept: VecDeque<Arc<RefusedConnection>>,
}

/// Those that somebody has not seen yet.
#[derive(Debug)]
pub struct Unseen {
    /// Each with its number, the oldest first.
    pub refusals: Vec<(u64, Arc<RefusedConnection>)>,
    /// How many were forgotten before they were seen.
    pub missed: u64,
    /// The number of the latest of all.
    pub last: u64,
}

impl LatestRefusals {
    /// How many are kept.
    pub const KEPT: usize = 256;

    /// Keeps one more.
    pub fn keep(&self, refusal: RefusedConnection) {
        let refusal = Arc::new(refusal);
        let mut ring = self.ring();
        ring.last = ring.last.saturating_add(1);
        let oldest = if ring.kept.len() >= Self::KEPT { ring.kept.pop_front() } else { None };
        ring.kept.push_back(refusal);
        drop(ring);
        // Freed where nobody waits for it.
        drop(oldest);
    }

    /// Those behind the one of number `after`, which this server may never have had: it has them all behind 0.
    #[must_use]
    pub fn after(&self, after: u64) -> Unseen {
        let ring = self.ring();
        let after = if after > ring.last { 0 } else { after };
        let kept = u64::try_from(ring.kept.len()).unwrap_or(u64::MAX);
        let forgotten = ring.last.saturating_sub(kept);
        let numbered = ring.kept.iter().zip(forgotten.saturating_add(1)..);
        let refusals = numbered.filter(|(_, number)| *number > after);
        let refusals = refusals.map(|(refusal, number)| (number, Arc::clone(refusal))).collect();
        // Whoever has seen nothing yet misses nothing.
        let missed = if after == 0 { 0 } else { forgotten.saturating_sub(after) };
        Unseen { refusals, missed, last: ring.last }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers in tests are small")]
mod tests {
    use std::time::{Instant, UNIX_EPOCH};

    use truepeer::PeerAddress;

    use super::*;
    use crate::rooms::record::Explanation;

    fn refusal(number: u64) -> RefusedConnection {
        let peer = PeerAddress::tcp(([192, 0, 2, 7], 4711).into());
        let mut record = Record::new(Entry::sample("smtp", number, peer), Instant::now());
        record.explained(Explanation::cause(format!("cause {number}"), None));
        RefusedConnection::take(&mut record, Outcome::HeaderMissing, UNIX_EPOCH)
    }

    #[test]
    fn each_is_seen_once_in_its_order_and_what_was_forgotten_is_counted() {
        let refusals = LatestRefusals::default();
        assert!(refusals.after(0).refusals.is_empty());
        (1..=3).for_each(|number| refusals.keep(refusal(number)));
        let seen = refusals.after(0);
        let causes: Vec<_> = seen.refusals.iter().map(|(_, one)| one.why.cause.clone().unwrap()).collect();
        assert_eq!(
            (causes, seen.missed, seen.last),
            (vec!["cause 1".into(), "cause 2".into(), "cause 3".into()], 0, 3)
        );
        assert_eq!(refusals.after(2).refusals.first().map(|(number, _)| *number), Some(3));
        assert!(refusals.after(3).refusals.is_empty());

        let kept = u64::try_from(LatestRefusals::KEPT).unwrap();
        (4..=kept + 10).for_each(|number| refusals.keep(refusal(number)));
        let seen = refusals.after(3);
        assert_eq!((seen.refusals.len(), seen.missed, seen.last), (LatestRefusals::KEPT, 7, kept + 10));
        assert_eq!(
            seen.refusals.first().map(|(number, one)| (*number, one.entry.id().to_string())),
            Some((11, "id-b".into()))
        );
        // A number from before a restart: everything is new.
        let seen = refusals.after(1_000_000);
        assert_eq!((seen.refusals.len(), seen.missed), (LatestRefusals::KEPT, 0));
    }
}
