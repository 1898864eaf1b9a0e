//! Work on files off the main thread: signals are heard meanwhile, and a disk that does not answer holds up nobody.
//!
//! A disk behind a dead network lets an open or a read hang for ever, and no deadline of ours can end it. So a thread
//! of its own does it; the caller gives up, and later work is done all the same, until too many such threads
//! hang.

use std::time::Duration;

use tokio::sync::oneshot::{self, error::TryRecvError};

/// Threads that may hang before no more is begun.
const MOST_HANGING: usize = 8;

/// The threads that have not answered yet.
#[derive(Debug, Default)]
pub(super) struct Aside(Vec<oneshot::Receiver<()>>);

/// A piece of work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    /// What was not done if it takes too long, as the beginning of a sentence.
    pub(super) what: &'static str,
    /// How long it may take.
    pub(super) limit: Duration,
}

/// A million entries take a second.
pub(super) const CONFIG: Errand = Errand {
    what: "the configuration, or one of its list files, was not read",
    limit: Duration::from_secs(30),
};
pub(super) const STATE: Errand =
    Errand { what: "the state file of `admin.state` was not read", limit: Duration::from_secs(30) };
pub(super) const LOG: Errand =
    Errand { what: "the file of `log.file` was not opened", limit: Duration::from_secs(5) };
/// Longer than they are waited for.
pub(super) const BEFORE: Errand =
    Errand { what: "the processes before this one did not answer", limit: Duration::from_secs(30) };

impl Aside {
    /// Does `work` on a thread of its own.
    ///
    /// # Errors
    /// Why there is no result, in words.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the thread behind; its result is lost.
    pub(super) async fn run<T: Send + 'static>(
        &mut self,
        errand: Errand,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let Errand { what, limit } = errand;
        self.0.retain_mut(|hanging| matches!(hanging.try_recv(), Err(TryRecvError::Empty)));
        if self.0.len() >= MOST_HANGING {
            return Err(format!(
                "{what}: {MOST_HANGING} threads still wait for files that do not answer; see that the configuration, its list files, the state file and the log are on disks that work, and restart truepeer if they stay stuck"
            ));
        }
        let (tell, answer) = oneshot::channel();
        let (alive, hanging) = oneshot::channel();
        self.0.push(hanging);
        let body = move || {
            let done = work();
            // Before the answer, so that the caller finds the thread gone.
            drop(alive);
            // Nobody listens any more if it took too long.
            let _ = tell.send(done);
        };
        let started = std::thread::Builder::new().name("file".to_owned()).spawn(body);
        started.map_err(|error| format!("{what}: the system refused a thread: {error}"))?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(done)) => Ok(done),
            // It has panicked, and said so.
            Ok(Err(_)) => Err(format!("{what}: a mistake in truepeer")),
            Err(_) => Err(format!(
                "{what} within {} s: is it a pipe, or on a disk that does not answer?",
                limit.as_secs()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    const SHORT: Errand = Errand { what: "it was not read", limit: Duration::from_millis(20) };
    const LONG: Errand = Errand { what: "it was not read", limit: Duration::from_secs(20) };

    /// Work that hangs until the first value is dropped.
    fn hanging() -> (SyncSender<()>, impl FnOnce() + Send + 'static) {
        let (end, ended) = sync_channel(0);
        (end, move || {
            let _ = ended.recv();
        })
    }

    #[tokio::test]
    async fn what_hangs_is_given_up_and_holds_up_nothing_that_comes_later() {
        let mut aside = Aside::default();
        let mut ends = Vec::new();
        for _ in 0..MOST_HANGING {
            let (end, work) = hanging();
            ends.push(end);
            let said = aside.run(SHORT, work).await.unwrap_err();
            assert!(said.contains("it was not read within 0 s") && said.contains("a pipe"), "{said}");
            if ends.len() < MOST_HANGING {
                assert_eq!(aside.run(LONG, || 7).await, Ok(7));
            }
        }
        let said = aside.run(LONG, || 7).await.unwrap_err();
        assert!(said.contains("8 threads still wait for files"), "{said}");
        // One of the disks works again.
        ends.pop();
        while aside.run(LONG, || 7).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
