//! Waking somebody who waits, so that the rooms need not name the runtime.

use tokio::sync::Notify;

/// A bell: rung once, it wakes one waiter, now or later.
#[derive(Debug, Default)]
pub struct Wake(Notify);

impl Wake {
    /// Rings; any number of rings before the next wait count as one.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits for the next ring.
    ///
    /// # Cancel safety
    /// Dropping the future loses no ring.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}
