//! Trouble with accepting, said once: every worker at every address meets it at the same moment.
//!
//! Asked by the workers. Knows no socket and writes no line; the time is an argument. Counting is not its work either:
//! metrics stay exact.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What all workers know of it.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Asked at each accept, so that a server without trouble asks no lock.
    failing: AtomicBool,
    failure: Mutex<Failure>,
    said_full: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Failure {
    /// When it began, and was last met; `None` while accepting works.
    met: Option<Met>,
    /// When its beginning was last said.
    said: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Met {
    first: Instant,
    last: Instant,
    /// Whether somebody was told of this one.
    told: bool,
}

impl Trouble {
    /// The same trouble is said at most once in this time, however often it comes and goes.
    pub const QUIET: Duration = Duration::from_secs(60);

    /// Accepting works again when it did not fail for so long. A server at its limit takes one in for each that
    /// leaves, and meets the limit again at once.
    pub const CALM: Duration = Duration::from_secs(2);

    /// Accepting failed, for want of something; returns whether that is to be said.
    #[must_use]
    pub fn failed(&self, now: Instant) -> bool {
        let mut failure = lock(&self.failure);
        self.failing.store(true, Ordering::Relaxed);
        let mut met = failure.met.unwrap_or(Met { first: now, last: now, told: false });
        met.last = now;
        let say = !met.told && is_due(failure.said, now);
        if say {
            met.told = true;
            failure.said = Some(now);
        }
        failure.met = Some(met);
        say
    }

    /// A connection was accepted; returns how long the trouble lasted if it has ended, and somebody was told of it.
    #[must_use]
    pub fn accepted(&self, now: Instant) -> Option<Duration> {
        if !self.failing.load(Ordering::Relaxed) {
            return None;
        }
        let mut failure = lock(&self.failure);
        let over = failure.met.take_if(|met| now.saturating_duration_since(met.last) >= Self::CALM)?;
        self.failing.store(false, Ordering::Relaxed);
        over.told.then(|| over.last.saturating_duration_since(over.first))
    }

    /// There are as many connections as there may be; returns whether that is to be said.
    #[must_use]
    pub fn full(&self, now: Instant) -> bool {
        let mut said = lock(&self.said_full);
        let due = is_due(*said, now);
        if due {
            *said = Some(now);
        }
        due
    }
}

fn is_due(said: Option<Instant>, now: Instant) -> bool {
    said.is_none_or(|said| now.saturating_duration_since(said) >= Trouble::QUIET)
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays what happened at which second; returns what was said.
    fn said(events: &[(u64, &str)]) -> Vec<(u64, String)> {
        let (trouble, start) = (Trouble::default(), Instant::now());
        let mut said = Vec::new();
        for (second, event) in events {
            let now = start.checked_add(Duration::from_secs(*second)).unwrap();
            match *event {
                "fails" if trouble.failed(now) => said.push((*second, "fails".to_owned())),
                "full" if trouble.full(now) => said.push((*second, "full".to_owned())),
                "accepts" => {
                    said.extend(trouble.accepted(now).map(|lasted| (*second, format!("after {lasted:?}"))));
                }
                _ => {}
            }
        }
        said
    }

    fn told(what: &[(u64, &str)]) -> Vec<(u64, String)> {
        what.iter().map(|(second, text)| (*second, (*text).to_owned())).collect()
    }

    #[test]
    fn trouble_is_said_once_and_its_end_is_said_once() {
        let happened = [
            (0, "accepts"),
            (1, "fails"),
            (1, "fails"),
            (2, "fails"),
            (5, "fails"),
            (9, "accepts"),
            (10, "accepts"),
        ];
        assert_eq!(said(&happened), told(&[(1, "fails"), (9, "after 4s")]));
    }

    #[test]
    fn a_server_that_stays_at_its_limit_is_one_trouble() {
        let happened: Vec<_> = (0..50)
            .flat_map(|second| [(second, "fails"), (second, "accepts")])
            .chain([(52, "accepts")])
            .collect();
        assert_eq!(said(&happened), told(&[(0, "fails"), (52, "after 49s")]));
    }

    #[test]
    fn trouble_that_comes_and_goes_is_said_once_a_minute_and_none_that_lasts_is_kept_back() {
        let happened = [
            (0, "fails"),
            (5, "accepts"),
            // Too soon for another line, and over before one is due.
            (10, "fails"),
            (15, "accepts"),
            // Too soon as well, but it lasts.
            (55, "fails"),
            (59, "fails"),
            (60, "fails"),
            (61, "fails"),
            (70, "accepts"),
        ];
        assert_eq!(said(&happened), told(&[(0, "fails"), (5, "after 0ns"), (60, "fails"), (70, "after 6s")]));
    }

    #[test]
    fn that_the_server_is_full_is_said_once_a_minute() {
        let happened = [(0, "full"), (1, "full"), (59, "full"), (60, "full"), (61, "full")];
        assert_eq!(said(&happened), told(&[(0, "full"), (60, "full")]));
    }
}
