//! Who was turned away in the last hour, by cause: how many, from how many addresses, when last, and what to change.
//!
//! Told of each refusal that leaves a record; read by the status page. Pure but for its lock: times are arguments. Whether
//! addresses in its words may be shown is for whoever shows them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::observe::folding::Cause;
use crate::rooms::record::{Explanation, Record};

/// The refusals of the last hour.
///
/// Memory: at most 12 KiB for each cause that occurred, 256 of them at most.
#[derive(Debug)]
pub struct TurnedAway {
    /// Minutes are counted from here.
    began: Instant,
    tallies: Mutex<HashMap<Cause, Tally>>,
}

/// What refusals have in common, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalsOfCause {
    /// The listener, the outcome, and the rule where one decided.
    pub cause: Cause,
    /// Of each of the last minutes, the present one last.
    pub minutes: [u32; TurnedAway::MINUTES],
    /// Addresses that they came from: of clients where those are known, otherwise of peers.
    pub addresses: Addresses,
    /// When the latest one was.
    pub last: SystemTime,
    /// What the record of a late one says of its reason.
    pub why: Explanation,
}

/// How many addresses there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// So many; a UNIX socket has none.
    Exactly(usize),
    /// More than that.
    MoreThan(usize),
}

#[derive(Debug)]
struct Tally {
    /// The present minute's is the one of `minute`, the others before it, in a ring.
    counts: [u32; TurnedAway::MINUTES],
    minute: u64,
    addresses: HashMap<IpAddr, u64>,
    /// The minute in which an address found no room.
    overflowed: Option<u64>,
    last: SystemTime,
    why: Explanation,
    why_at: Instant,
}

impl TurnedAway {
    /// Minutes that are kept.
    pub const MINUTES: usize = 60;
    /// Causes that are kept; the one that was quiet longest makes room.
    pub const CAUSES: usize = 256;
    /// Addresses that are counted for one cause, about 24 bytes each.
    pub const ADDRESSES: usize = 256;
    /// How long the reason of one refusal stands before that of another takes its place: a flood is not read anyway.
    const REASON_STANDS: Duration = Duration::from_millis(500);

    /// Nobody yet, at `began`.
    #[must_use]
    pub fn since(began: Instant) -> Self {
        Self { began, tallies: Mutex::default() }
    }

    /// Notes one more.
    pub fn note(&self, cause: &Cause, record: &Record, now: Instant, wall: SystemTime) {
        let minute = self.minute_of(now);
        let mut all = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = all.get_mut(cause) {
            tally.note(record, minute, now, wall);
            return;
        }
        if all.len() >= Self::CAUSES {
            let quiet = all.iter().min_by_key(|(_, tally)| tally.minute).map(|(cause, _)| cause.clone());
            quiet.map(|quiet| all.remove(&quiet));
        }
        let mut tally = Tally {
            counts: [0; Self::MINUTES],
            minute,
            addresses: HashMap::new(),
            overflowed: None,
            last: wall,
            why: record.explanation().clone(),
            why_at: now,
        };
        tally.note(record, minute, now, wall);
        all.insert(cause.clone(), tally);
    }

    /// Those of the last hour, most first.
    #[must_use]
    pub fn of_last_hour(&self, now: Instant) -> Vec<RefusalsOfCause> {
        let minute = self.minute_of(now);
        let mut all = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, tally| minute.saturating_sub(tally.minute) < HOUR);
        let mut found: Vec<_> = all.iter_mut().map(|(cause, tally)| tally.report(cause, minute)).collect();
        drop(all);
        found.sort_by(|a, b| {
            (b.count(), a.cause.listener.as_ref(), a.cause.outcome.facts().code).cmp(&(
                a.count(),
                b.cause.listener.as_ref(),
                b.cause.outcome.facts().code,
            ))
        });
        found
    }

    fn minute_of(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / 60
    }
}

/// The same number for what is counted in minutes.
const HOUR: u64 = 60;

impl RefusalsOfCause {
    /// All of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.minutes.iter().map(|count| u64::from(*count)).sum()
    }
}

impl Tally {
    fn note(&mut self, record: &Record, minute: u64, now: Instant, wall: SystemTime) {
        self.go_on_to(minute);
        if let Some(count) = self.counts.last_mut() {
            *count = count.saturating_add(1);
        }
        self.last = wall;
        if now.saturating_duration_since(self.why_at) >= TurnedAway::REASON_STANDS {
            (self.why, self.why_at) = (record.explanation().clone(), now);
        }
        let who = record.entry.client().map(|client| client.ip).or(record.entry.peer().ip());
        let Some(who) = who.map(|ip| ip.to_canonical()) else { return };
        if let Some(seen) = self.addresses.get_mut(&who) {
            *seen = minute;
            return;
        }
        // Once a minute: in a flood there is a new one each time.
        if self.addresses.len() >= TurnedAway::ADDRESSES && self.overflowed != Some(minute) {
            self.forget_addresses(minute);
        }
        if self.addresses.len() < TurnedAway::ADDRESSES {
            self.addresses.insert(who, minute);
        } else {
            self.overflowed = Some(minute);
        }
    }

    /// Moves the ring on, so that its last place is that of `minute`.
    fn go_on_to(&mut self, minute: u64) {
        let passed = usize::try_from(minute.saturating_sub(self.minute)).unwrap_or(usize::MAX);
        if passed == 0 {
            return;
        }
        let gone = passed.min(TurnedAway::MINUTES);
        self.counts.rotate_left(gone);
        self.counts.iter_mut().rev().take(gone).for_each(|count| *count = 0);
        self.minute = minute;
    }

    fn forget_addresses(&mut self, minute: u64) {
        self.addresses.retain(|_, seen| minute.saturating_sub(*seen) < HOUR);
    }

    fn report(&mut self, cause: &Cause, minute: u64) -> RefusalsOfCause {
        self.forget_addresses(minute);
        let overflowed = self.overflowed.is_some_and(|at| minute.saturating_sub(at) < HOUR);
        let addresses = match (overflowed, self.addresses.len()) {
            (true, _) => Addresses::MoreThan(TurnedAway::ADDRESSES),
            (false, known) => Addresses::Exactly(known),
        };
        // The ring stands where the last refusal was; what passed since has none.
        let mut minutes = self.counts;
        let passed = usize::try_from(minute.saturating_sub(self.minute)).unwrap_or(usize::MAX);
        let passed = passed.min(TurnedAway::MINUTES);
        minutes.rotate_left(passed);
        minutes.iter_mut().rev().take(passed).for_each(|count| *count = 0);
        let (last, why) = (self.last, self.why.clone());
        RefusalsOfCause { cause: cause.clone(), minutes, addresses, last, why }
    }
}

#[cfg(test)]
mod tests;
