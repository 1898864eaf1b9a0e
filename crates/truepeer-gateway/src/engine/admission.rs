//! How many connections there may be at once, over all workers.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Counts open connections; when there are too many, accepting pauses.
///
/// The bound may be passed by one connection for each accepting socket, since each asks before it accepts, and by what
/// was queued at an address that is given up or shut: whoever has got that far is served.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: u32,
    open: AtomicU32,
    freed: Notify,
}

impl Admission {
    /// At most `max` connections at once.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self(Arc::new(Inner { max, open: AtomicU32::new(0), freed: Notify::new() }))
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Connections at which accepting pauses.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.0.max
    }

    /// Whether there is no room now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open() >= self.0.max
    }

    /// Waits until there is room.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn room(&self) {
        let mut freed = pin!(self.0.freed.notified());
        loop {
            // Registered before asking, so that no release in between is missed.
            freed.as_mut().enable();
            if !self.is_full() {
                return;
            }
            freed.as_mut().await;
            freed.set(self.0.freed.notified());
        }
    }

    /// Counts a connection in; [`Admission::leave`] must follow.
    pub fn enter(&self) {
        self.0.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it out.
    pub fn leave(&self) {
        let before = self.0.open.fetch_sub(1, Ordering::Relaxed);
        if before >= self.0.max {
            self.0.freed.notify_waiters();
        }
    }
}
