//! Deadlines: an instant and how long from there.

use std::time::{Duration, Instant};

/// `instant` and `by` later. A wait too long for the clock ends at once instead of never.
#[must_use]
pub fn later(instant: Instant, by: Duration) -> Instant {
    instant.checked_add(by).unwrap_or(instant)
}
