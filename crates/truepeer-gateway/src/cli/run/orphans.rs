//! Orphans: as PID 1 we inherit every process whose parent has ended, and none would ever go away.
//!
//! truepeer starts no programs; but in a container whatever `docker exec` left behind becomes a child of PID 1.

use std::convert::Infallible;
use std::io;

use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The orphans of this process, if it is PID 1.
#[derive(Debug)]
pub(super) struct Orphans(Option<Signal>);

impl Orphans {
    pub(super) fn watch() -> io::Result<Self> {
        let ours = std::process::id() == 1;
        Ok(Self(if ours { Some(signal(SignalKind::child())?) } else { None }))
    }

    /// Buries those that have ended, for ever.
    ///
    /// # Cancel safety
    /// Dropping the future loses none: the next call begins with those that are there.
    pub(super) async fn reap(&mut self) -> Infallible {
        let Some(ended) = &mut self.0 else { return std::future::pending().await };
        loop {
            // One signal may stand for many.
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            if ended.recv().await.is_none() {
                return std::future::pending().await;
            }
        }
    }
}
