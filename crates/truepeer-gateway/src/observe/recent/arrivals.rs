//! Who came how often in the last minute, counted only while somebody wants to know.
//!
//! Noted when a connection ends, in the ten seconds in which it was accepted; those that are still open are counted by
//! whoever asks, from the registry. While nobody asks, a connection costs one look at an atomic.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::facts::address::ClientIp;
use crate::facts::instant::CompactInstant;
use crate::rooms::limits::Prefixes;

/// What counts as one client: an IPv4 address, or the /64 of IPv6 that one host can use as it likes.
#[must_use]
pub fn client_of(client: ClientIp) -> IpNet {
    Prefixes::DEFAULT.group(client)
}

/// The counts; shared by all workers, locked for one addition.
///
/// Memory: at most [`Arrivals::STEPS`] times [`Arrivals::CLIENTS`] of 48 bytes, and nothing before somebody has asked.
#[derive(Debug)]
pub struct Arrivals {
    start: CompactInstant,
    /// In seconds since the start; 0 while nobody has ever asked.
    watched_until: AtomicU64,
    watch: Mutex<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    /// In seconds since the start.
    since: u64,
    /// By the ten seconds in which they began.
    steps: BTreeMap<u64, HashMap<IpNet, u64>>,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Over how long up to now, at least a second.
    pub span: Duration,
    /// Ended connections of each client that were accepted in that time.
    pub ended: HashMap<IpNet, u64>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { start: Instant::now().into(), watched_until: AtomicU64::default(), watch: Mutex::default() }
    }
}

impl Arrivals {
    /// Seconds that are counted together.
    const STEP: u64 = 10;
    /// So many of them are kept: a minute.
    pub const STEPS: u64 = 6;
    /// Clients that are counted in one step; who comes often is among the first.
    pub const CLIENTS: usize = 1024;
    /// Counting goes on for so many seconds after the last question.
    const WATCH: u64 = 30;

    /// Counts a connection of `client` that has ended and was accepted at `accepted`.
    pub fn note(&self, client: ClientIp, accepted: CompactInstant, now: CompactInstant) {
        let now = self.seconds(now);
        if now >= self.watched_until.load(Ordering::Relaxed) {
            return;
        }
        let step = self.seconds(accepted) / Self::STEP;
        if step < first_step(now) {
            return;
        }
        let mut watch = self.watch();
        watch.forget(now);
        let counts = watch.steps.entry(step).or_default();
        let client = client_of(client);
        if counts.len() < Self::CLIENTS || counts.contains_key(&client) {
            let count = counts.entry(client).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// What was counted, and counts on for a while.
    #[must_use]
    pub fn ask(&self, now: CompactInstant) -> Counted {
        let now = self.seconds(now);
        let mut watch = self.watch();
        if now >= self.watched_until.load(Ordering::Relaxed) {
            *watch = Watch { since: now, steps: BTreeMap::new() };
        }
        self.watched_until.store(now.saturating_add(Self::WATCH), Ordering::Relaxed);
        watch.forget(now);
        let mut ended: HashMap<IpNet, u64> = HashMap::new();
        for (client, count) in watch.steps.values().flatten() {
            let sum = ended.entry(*client).or_default();
            *sum = sum.saturating_add(*count);
        }
        let from = watch.since.max(first_step(now).saturating_mul(Self::STEP));
        Counted { span: Duration::from_secs(now.saturating_sub(from).max(1)), ended }
    }

    /// Whole seconds since the start, from 1 on.
    fn seconds(&self, at: CompactInstant) -> u64 {
        at.since(self.start).as_secs().saturating_add(1)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest step that counts.
const fn first_step(now: u64) -> u64 {
    (now / Arrivals::STEP).saturating_sub(Arrivals::STEPS.saturating_sub(1))
}

impl Watch {
    fn forget(&mut self, now: u64) {
        self.steps = self.steps.split_off(&first_step(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> ClientIp {
        ClientIp::from(std::net::IpAddr::from([203, 0, 113, last]))
    }

    #[test]
    fn what_ends_is_counted_where_it_began_while_somebody_looks_and_for_a_minute() {
        let arrivals = Arrivals::default();
        let at = |seconds| arrivals.start.later(Duration::from_secs(seconds));
        let count = |now, last| arrivals.ask(at(now)).ended.get(&client_of(client(last))).copied();

        arrivals.note(client(1), at(100), at(101));
        assert_eq!(count(102, 1), None, "nobody looked");
        (0..5).for_each(|_| arrivals.note(client(1), at(103), at(104)));
        arrivals.note(client(2), at(20), at(105));
        assert_eq!((count(106, 1), count(106, 2)), (Some(5), None), "the second began too long ago");
        assert_eq!(arrivals.ask(at(112)).span, Duration::from_secs(10), "since somebody looks");
        for now in (112..160).step_by(8) {
            assert_eq!(count(now, 1), Some(5));
        }
        assert_eq!(count(165, 1), None);
        assert!((50..60).contains(&arrivals.ask(at(190)).span.as_secs()));
        arrivals.note(client(3), at(191), at(250));
        assert_eq!(count(251, 3), None, "nobody looked for too long");
    }

    #[test]
    fn a_flood_of_strangers_takes_a_bounded_place_and_hides_nobody_who_was_there() {
        let arrivals = Arrivals::default();
        let at = arrivals.start;
        let _ = arrivals.ask(at);
        arrivals.note(client(1), at, at);
        for number in 0..10_000_u32 {
            arrivals.note(std::net::IpAddr::from(number.to_be_bytes()).into(), at, at);
        }
        arrivals.note(client(1), at, at);
        let counted = arrivals.ask(at);
        assert_eq!(counted.ended.len(), Arrivals::CLIENTS);
        assert_eq!(counted.ended.get(&client_of(client(1))), Some(&2));
    }

    #[test]
    fn a_host_with_a_whole_64_is_one_client() {
        let ip = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    }
}
