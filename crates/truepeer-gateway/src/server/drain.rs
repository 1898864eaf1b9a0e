//! The end of a server: how it went, and what ends it early.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::engine::later;
use crate::server::worker::Stop;

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when it began, and those that waited in the kernel's queue.
    pub open: u32,
    /// Connections that were cut at its end.
    pub cut: u32,
}

impl Drained {
    /// Connections that ended by themselves meanwhile.
    #[must_use]
    pub fn done(&self) -> u32 {
        // One that arrived in the very moment may have been cut without having been counted.
        self.open.saturating_sub(self.cut)
    }
}

/// Ends a drain early.
#[derive(Debug, Clone)]
pub struct Cutter(pub(super) watch::Sender<Stop>);

impl Cutter {
    /// Cuts what is still open.
    pub fn cut(&self) {
        self.within(Duration::ZERO);
    }

    /// Cuts what is still open after `limit`, if the drain was to last longer.
    pub fn within(&self, limit: Duration) {
        let until = later(Instant::now(), limit);
        self.0.send_if_modified(|stop| {
            let sooner = !matches!(stop, Stop::DrainUntil(other) if *other <= until);
            if sooner {
                *stop = Stop::DrainUntil(until);
            }
            sooner
        });
    }
}
