//! Orphans: as PID 1 we inherit every process whose parent has ended, and none would ever go away.
//!
//! In a container whatever `docker exec` left behind becomes a child of PID 1, and what a program of `handoff = "exec"`
//! leaves behind as well.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::engine::program::bury;

/// When they are looked at again, if a program was just being started.
const AGAIN: Duration = Duration::from_millis(100);

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
            if !bury() {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            if ended.recv().await.is_none() {
                return std::future::pending().await;
            }
        }
    }
}
