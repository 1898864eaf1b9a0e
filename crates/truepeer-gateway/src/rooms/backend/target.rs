//! One address of a backend, and what is known of it. Shared by connections, which note what they meet, and the keeper,
//! which asks. No socket, no clock.

use std::mem::discriminant;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use super::{Reached, Readiness};
use crate::engine::Address;
use crate::facts::address::Family;

/// So many clients in a row for whom a backend had no byte are worth a line.
pub const MUTE: u32 = 10;

/// So many clients in a row whom an unproven backend answered as if our header were theirs are worth a line.
pub const MISREADS: u32 = 3;

/// One address of a backend.
#[derive(Debug)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// The same as text, for records.
    pub name: Arc<str>,
    /// The same for records, once a client was connected.
    called: OnceLock<Arc<Reached>>,
    readiness: ArcSwap<Readiness>,
    /// Since when it is of this kind, in seconds since 1970; 0 before it was asked.
    since: AtomicU64,
    /// What the log said last: a connection may find out before the keeper does, and says nothing itself.
    said: ArcSwap<Readiness>,
    /// Whether a client was connected since this was last asked.
    reached: AtomicBool,
    /// Whether a client of the family that was not asked about found the end right behind our header.
    suspected: AtomicBool,
    /// Clients in a row for whom it had no byte.
    mute: AtomicU32,
    /// Clients in a row whom it answered as if our header were theirs.
    misreads: AtomicU32,
    /// How long it took of late to connect to it and tell it of a client, in microseconds; 0 before there was one.
    latency: AtomicU32,
}

impl Target {
    /// An address that was not asked yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        let unasked = || ArcSwap::from_pointee(Readiness::Unasked);
        Self {
            name: address.to_string().into(),
            called: OnceLock::new(),
            address,
            readiness: unasked(),
            since: AtomicU64::new(0),
            said: unasked(),
            reached: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            mute: AtomicU32::new(0),
            misreads: AtomicU32::new(0),
            latency: AtomicU32::new(0),
        }
    }

    /// What it is called for the clients of `backend`, or the port that is `lane` behind its first.
    #[must_use]
    pub fn reached_by(&self, backend: &Arc<str>, lane: u16) -> Arc<Reached> {
        if lane != 0 {
            return Reached::new(backend, self.address.further(lane).to_string());
        }
        // A target is one pool's, and so one backend's.
        Arc::clone(self.called.get_or_init(|| Reached::new(backend, Arc::clone(&self.name))))
    }

    /// Whether it may be handed clients.
    #[must_use]
    pub fn readiness(&self) -> Arc<Readiness> {
        self.readiness.load_full()
    }

    /// Whether a client of `family` may be handed to it; `None` is one that it is not told of.
    #[must_use]
    pub fn may_serve_family(&self, family: Option<Family>) -> bool {
        self.readiness.load().may_serve_family(family)
    }

    /// Notes what was found out.
    pub fn set_readiness(&self, readiness: Readiness) {
        let before = self.readiness.swap(Arc::new(readiness));
        if discriminant(&*before) != discriminant(&*self.readiness.load_full()) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.since.store(now.as_secs(), Ordering::Relaxed);
        }
    }

    /// Since when it is as ready, or as little ready, as it is; `None` before it was asked.
    #[must_use]
    pub fn since(&self) -> Option<SystemTime> {
        let seconds = self.since.load(Ordering::Relaxed);
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| seconds != 0)
    }

    /// Notes that a client was connected: the freshest proof that it is there.
    pub fn note_reached(&self) {
        // Mostly it is known already, and what all workers write is slow to write.
        if !self.reached.load(Ordering::Relaxed) {
            self.reached.store(true, Ordering::Relaxed);
        }
    }

    /// Notes how long it took to connect to it and tell it of a client. Of two at once one may be lost.
    pub fn note_latency(&self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let before = self.latency.load(Ordering::Relaxed);
        let next =
            if before == 0 { took } else { before.saturating_sub(before / 8).saturating_add(took / 8) };
        // What all workers write is slow to write: only what would show.
        if before.abs_diff(next) > before / 256 {
            self.latency.store(next.max(1), Ordering::Relaxed);
        }
    }

    /// How long that took of late, if there was a client: each new one counts for an eighth.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let micros = self.latency.load(Ordering::Relaxed);
        (micros != 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Whether a client was connected since the last call.
    #[must_use]
    pub fn take_reached(&self) -> bool {
        self.reached.swap(false, Ordering::Relaxed)
    }

    /// The family in which it was asked whether it reads our header: that of our own connection.
    #[must_use]
    pub fn asked_family(&self) -> Family {
        match &self.address {
            Address::Tcp(addr) => Family::of(addr.ip().to_canonical()),
            Address::Unix(_) | Address::Program(_) => Family::Ipv4,
        }
    }

    /// Notes that a client of the other family found the end right behind our header; true if that was not known yet.
    pub(super) fn suspect(&self) -> bool {
        !self.suspected.swap(true, Ordering::Relaxed)
    }

    /// Whether a client of the other family found the end right behind our header since the last call.
    #[must_use]
    pub fn take_suspicion(&self) -> bool {
        self.suspected.swap(false, Ordering::Relaxed)
    }

    /// Notes how much it had for a client; true when it had nothing for [`MUTE`] in a row.
    #[must_use]
    pub fn note_said(&self, bytes: u64) -> bool {
        is_next(&self.mute, bytes == 0, MUTE)
    }

    /// Notes whether its answer was that of a server which takes our header for its own protocol; true when it was for
    /// [`MISREADS`] in a row.
    #[must_use]
    pub fn note_misread(&self, misread: bool) -> bool {
        is_next(&self.misreads, misread, MISREADS)
    }

    /// What is to be said now, if it was not said yet.
    #[must_use]
    pub fn news(&self) -> Option<Arc<Readiness>> {
        let now = self.readiness();
        (*self.said.swap(Arc::clone(&now)) != *now).then_some(now)
    }
}

/// Counts one more `in_a_row`, or ends the row; true for the one that makes it `most` long.
fn is_next(in_a_row: &AtomicU32, goes_on: bool, most: u32) -> bool {
    if goes_on {
        return in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1) == most;
    }
    // Mostly it is zero already, and what all workers write is slow to write.
    if in_a_row.load(Ordering::Relaxed) != 0 {
        in_a_row.store(0, Ordering::Relaxed);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_follows_what_lasts_and_not_one_outlier() {
        let target = Target::new(Address::Unix("/run/x".into()));
        assert_eq!(target.latency(), None);
        (0..50).for_each(|_| target.note_latency(Duration::from_millis(1)));
        assert_eq!(target.latency(), Some(Duration::from_millis(1)));
        target.note_latency(Duration::from_millis(9));
        assert_eq!(target.latency(), Some(Duration::from_millis(2)));
        (0..50).for_each(|_| target.note_latency(Duration::from_millis(40)));
        let latency = target.latency().unwrap();
        assert!((38..=40).contains(&latency.as_millis()), "{latency:?}");
    }
}
