//! An instant in half the memory, for what thousands of idle connections hold.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// An instant, to the nanosecond: counted from a day before this process asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompactInstant(u64);

static BASE: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(86_400)).unwrap_or(now)
});

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
}
