//! One address of a backend, and what is known of it. Shared by connections, which note what they meet, and the keeper,
//! which asks. No socket, no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwap;

use super::Readiness;
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
    readiness: ArcSwap<Readiness>,
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
}

impl Target {
    /// An address that was not asked yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        let unasked = || ArcSwap::from_pointee(Readiness::Unasked);
        Self {
            address,
            readiness: unasked(),
            said: unasked(),
            reached: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            mute: AtomicU32::new(0),
            misreads: AtomicU32::new(0),
        }
    }

    /// Whether it may be handed clients.
    #[must_use]
    pub fn readiness(&self) -> Arc<Readiness> {
        self.readiness.load_full()
    }

    /// Notes what was found out.
    pub fn set_readiness(&self, readiness: Readiness) {
        self.readiness.store(Arc::new(readiness));
    }

    /// Notes that a client was connected: the freshest proof that it is there.
    pub fn note_reached(&self) {
        // Mostly it is known already, and what all workers write is slow to write.
        if !self.reached.load(Ordering::Relaxed) {
            self.reached.store(true, Ordering::Relaxed);
        }
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
