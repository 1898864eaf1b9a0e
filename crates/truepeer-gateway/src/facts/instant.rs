//! An instant in half the memory, for what thousands of idle connections hold; and one that is compared and counted with
//! in a single step, for what every connection does at each of its turns.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// An instant, to the nanosecond: counted from a day before this process asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompactInstant(u64);

static BASE: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(86_400)).unwrap_or(now)
});

impl CompactInstant {
    /// How long after `earlier` this is; nothing if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same, as a number.
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `by` later. A wait too long for the clock ends at once instead of never.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        let nanos = by
            .as_secs()
            .checked_mul(1_000_000_000)
            .and_then(|secs| secs.checked_add(by.subsec_nanos().into()));
        Self(nanos.and_then(|nanos| self.0.checked_add(nanos)).unwrap_or(self.0))
    }
}

impl From<Instant> for CompactInstant {
    fn from(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(*BASE);
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<CompactInstant> for Instant {
    fn from(moment: CompactInstant) -> Self {
        BASE.checked_add(Duration::from_nanos(moment.0)).unwrap_or(*BASE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_an_instant_is_the_same_again() {
        for by in [0, 1, 999_999_999, 86_400_000_000_000] {
            let instant = Instant::now().checked_add(Duration::from_nanos(by)).unwrap();
            assert_eq!(Instant::from(CompactInstant::from(instant)), instant);
        }
    }

    #[test]
    fn it_counts_as_an_instant_does() {
        let (instant, by) = (Instant::now(), Duration::new(86_399, 999_999_999));
        let compact = CompactInstant::from(instant);
        assert_eq!(Instant::from(compact.later(by)), instant.checked_add(by).unwrap());
        assert_eq!(
            (compact.later(by).since(compact), compact.since(compact.later(by))),
            (by, Duration::ZERO)
        );
        assert_eq!(compact.later(Duration::MAX), compact, "as `later` has it");
    }
}
