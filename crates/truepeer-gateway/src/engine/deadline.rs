//! Deadlines: an instant and how long from there, what time it is, and waiting for it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use super::run::here;
use super::timers::Key;
use crate::facts::instant::CompactInstant;

/// `instant` and `by` later. A wait too long for the clock ends at once instead of never.
#[must_use]
pub fn later(instant: Instant, by: Duration) -> Instant {
    instant.checked_add(by).unwrap_or(instant)
}

/// What time it is: in a worker's loop when the present turn began, so that a turn reads the clock once.
#[must_use]
pub fn now() -> Instant {
    here(|here| here.timers.now()).unwrap_or_else(Instant::now)
}

/// The same, to count with.
#[must_use]
pub fn moment() -> CompactInstant {
    here(|here| here.timers.moment()).unwrap_or_else(|| Instant::now().into())
}

/// The same on the clock that people read.
#[must_use]
pub fn wall() -> SystemTime {
    here(|here| here.timers.wall()).unwrap_or_else(SystemTime::now)
}

/// Waits until `due` has passed.
pub fn until(due: impl Into<CompactInstant>) -> Sleep {
    Sleep(Waits::NotYet(due.into()))
}

/// Gives `future` until `due`; `None` if it took longer.
///
/// # Cancel safety
/// That of `future`, which is dropped when time is over.
pub async fn in_time<T>(due: impl Into<CompactInstant>, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut sleep) = (pin!(future), until(due));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| None),
    })
    .await
}

/// Ends when its time has come; nothing is set up before somebody waits.
#[derive(Debug)]
#[must_use]
pub struct Sleep(Waits);

/// When it ends, and who says so. 16 bytes, since every connection has one.
#[derive(Debug)]
enum Waits {
    NotYet(CompactInstant),
    InLoop(CompactInstant, Key),
    /// On the threads of slow things.
    InRuntime(Pin<Box<tokio::time::Sleep>>),
}

impl Sleep {
    /// When it ends.
    pub(super) fn due(&self) -> CompactInstant {
        match &self.0 {
            Waits::NotYet(due) | Waits::InLoop(due, _) => *due,
            Waits::InRuntime(sleep) => sleep.deadline().into_std().into(),
        }
    }

    /// Ends at another time.
    pub(super) fn reset(&mut self, due: CompactInstant) {
        self.stop();
        self.0 = Waits::NotYet(due);
    }

    fn stop(&mut self) {
        let due = self.due();
        if let Waits::InLoop(_, key) = std::mem::replace(&mut self.0, Waits::NotYet(due)) {
            here(|here| here.timers.remove(key));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due();
        if moment() >= due {
            self.stop();
            return Poll::Ready(());
        }
        if let Waits::NotYet(due) = self.0 {
            let in_loop = here(|here| here.timers.insert(due, here.current()));
            self.0 = match in_loop {
                Some(key) => Waits::InLoop(due, key),
                None => Waits::InRuntime(Box::pin(tokio::time::sleep_until(Instant::from(due).into()))),
            };
        }
        match &mut self.0 {
            Waits::InRuntime(sleep) => sleep.as_mut().poll(cx),
            Waits::InLoop(..) | Waits::NotYet(_) => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.stop();
    }
}
