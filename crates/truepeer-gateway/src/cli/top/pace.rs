//! When to look again: often enough to be live, and never so often that looking costs the server much.

use std::time::{Duration, Instant};

/// The time between looks.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    /// `None` while an answer is awaited.
    due: Option<Instant>,
    /// Whether what was asked for is not what is looked for any more.
    again: bool,
}

/// A look that takes the server a second is followed by nine seconds of rest: it never looks for more than a tenth of
/// the time.
const REST: u32 = 9;

impl Pace {
    /// Looks every so often, at once to begin with.
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self { every, due: Some(now), again: false }
    }

    /// Whether to look now.
    pub(super) fn is_due(&self, now: Instant, is_frozen: bool) -> bool {
        self.due.is_some_and(|due| due <= now && (self.again || !is_frozen))
    }

    /// A look was asked for.
    pub(super) fn asked(&mut self) {
        (self.due, self.again) = (None, false);
    }

    /// Something else is looked for: at once, or as soon as the answer that is on its way is there.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.again = true;
        self.due = self.due.map(|_| now);
    }

    /// A look is answered and took so long.
    pub(super) fn answered(&mut self, took: Duration, now: Instant) {
        let rest = if self.again { Duration::ZERO } else { self.every.max(took.saturating_mul(REST)) };
        self.due = now.checked_add(rest);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers in tests are small")]
mod tests {
    use super::*;

    #[test]
    fn it_looks_every_so_often_and_rests_longer_where_looking_is_dear() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(Duration::from_secs(1), start);
        assert!(pace.is_due(start, false));
        pace.asked();
        assert!(!pace.is_due(at(60_000), false), "one question at a time");
        pace.answered(Duration::from_millis(5), at(5));
        assert!(!pace.is_due(at(1004), false) && pace.is_due(at(1005), false));
        assert!(!pace.is_due(at(1005), true), "frozen");
        pace.asked();
        pace.answered(Duration::from_secs(2), at(3000));
        assert!(!pace.is_due(at(20_999), false) && pace.is_due(at(21_000), false));
    }

    #[test]
    fn what_was_changed_is_asked_at_once_even_while_frozen() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(60), start);
        pace.asked();
        pace.hurry(start);
        assert!(!pace.is_due(start, true), "an answer is on its way");
        pace.answered(Duration::from_secs(1), start);
        assert!(pace.is_due(start, true));
        pace.asked();
        pace.answered(Duration::ZERO, start);
        assert!(!pace.is_due(start, false));
        pace.hurry(start);
        assert!(pace.is_due(start, true));
    }
}
