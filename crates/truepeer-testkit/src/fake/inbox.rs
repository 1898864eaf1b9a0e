//! What a fake tells its test, in order.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::WAIT;

/// Reports from a fake to its test. Unread ones beyond [`Inbox::MAX`] are lost.
#[derive(Debug)]
pub struct Inbox<T> {
    what: &'static str,
    reports: Receiver<T>,
}

impl<T> Inbox<T> {
    /// How many reports wait at most.
    pub const MAX: usize = 4096;

    /// An inbox and the end that fills it. `what`: the thing that a test waits for, for the panic's text.
    pub(super) fn new(what: &'static str) -> (SyncSender<T>, Self) {
        let (sender, reports) = sync_channel(Self::MAX);
        (sender, Self { what, reports })
    }

    /// The next report.
    ///
    /// # Panics
    /// When none comes within [`WAIT`].
    #[must_use]
    pub fn next(&self) -> T {
        self.reports.recv_timeout(WAIT).unwrap_or_else(|_| panic!("waited for {} in vain", self.what))
    }

    /// The next report, if it is there already.
    #[must_use]
    pub fn try_next(&self) -> Option<T> {
        self.reports.try_recv().ok()
    }
}
