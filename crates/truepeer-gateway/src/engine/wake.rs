//! Waking somebody who waits, so that the rooms need not name the runtime.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

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

/// A bell that everybody hears who has an [`Ear`] for it.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<watch::Sender<()>>);

/// Hears one bell.
#[derive(Debug)]
pub struct Ear(watch::Receiver<()>);

impl Bell {
    /// Rings; any number of rings before somebody listens again count as one for them.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears every ring from now on.
    #[must_use]
    pub fn ear(&self) -> Ear {
        Ear(self.0.subscribe())
    }
}

impl Ear {
    /// Waits for the next ring; for ever if nobody is left to ring.
    ///
    /// # Cancel safety
    /// Dropping the future loses no ring.
    pub async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
