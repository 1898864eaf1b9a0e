//! How often: the arithmetic of a rate with a burst, in one number per client.
//!
//! This is the generic cell rate algorithm (ITU-T I.371): a client's state is the time at which its whole allowance
//! is back. A crate for it would bring a keyed store without a bound; these are the lines that are left without one.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many new connections in a period, and so many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    connections: NonZeroU32,
    period: Duration,
    burst: NonZeroU32,
    /// Nanoseconds until one more connection is allowed; never zero.
    interval: u64,
}

impl Rate {
    /// The longest period: a client is remembered for as long.
    pub const MAX_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

    /// `connections` in `period`, all of which may come at once; `None` if `period` is longer than
    /// [`Rate::MAX_PERIOD`], or so short that there is less than a nanosecond between two connections.
    #[must_use]
    pub fn new(connections: NonZeroU32, period: Duration) -> Option<Self> {
        if period > Self::MAX_PERIOD {
            return None;
        }
        let nanos = u64::try_from(period.as_nanos()).ok()?;
        let interval = nanos.checked_div(u64::from(connections.get()))?;
        (interval > 0).then_some(Self { connections, period, burst: connections, interval })
    }

    /// The same rate, of which at most `burst` connections may come at once.
    #[must_use]
    pub fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// Connections in one period.
    #[must_use]
    pub fn connections(self) -> NonZeroU32 {
        self.connections
    }

    /// The period.
    #[must_use]
    pub fn period(self) -> Duration {
        self.period
    }

    /// How many may come at once.
    #[must_use]
    pub fn burst(self) -> NonZeroU32 {
        self.burst
    }

    /// Uses one connection of the allowance that is whole again at `whole_at`.
    ///
    /// Returns when it is whole then.
    ///
    /// # Errors
    /// Nothing is left; nothing is used.
    pub(super) fn take(self, whole_at: Nanos, now: Nanos) -> Result<Nanos, UsedUp> {
        let used = whole_at.0.saturating_sub(now.0);
        let all_but_one = u64::from(self.burst.get()).saturating_sub(1).saturating_mul(self.interval);
        if used > all_but_one {
            return Err(UsedUp {
                seen: u32::try_from(used.div_ceil(self.interval)).unwrap_or(u32::MAX),
                wait: Duration::from_nanos(used.saturating_sub(all_but_one)),
            });
        }
        Ok(Nanos(whole_at.0.max(now.0).saturating_add(self.interval)))
    }
}

/// An allowance of which nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsedUp {
    /// Connections that count against it now.
    pub(super) seen: u32,
    /// Until the next one is allowed.
    pub(super) wait: Duration,
}

/// Nanoseconds since the start of the table; enough for 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Nanos(u64);

impl Nanos {
    /// The start itself; also "never used anything".
    pub(super) const START: Self = Self(0);

    /// `now` as counted from `start`; a clock read before it counts as the start.
    pub(super) fn since(start: Instant, now: Instant) -> Self {
        Self(u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The allowance of one thing that many use, whatever the rate.
#[derive(Debug)]
pub struct Allowance {
    start: Instant,
    whole_at: Mutex<Nanos>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { start: Instant::now(), whole_at: Mutex::new(Nanos::START) }
    }
}

impl Allowance {
    /// Uses one of it at `now`; false if nothing is left.
    #[must_use]
    pub fn take(&self, rate: Rate, now: Instant) -> bool {
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = rate.take(*whole_at, Nanos::since(self.start, now));
        taken.is_ok_and(|then| {
            *whole_at = then;
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(connections: u32, seconds: u64, burst: u32) -> Rate {
        let number = |value| NonZeroU32::new(value).unwrap();
        Rate::new(number(connections), Duration::from_secs(seconds)).unwrap().with_burst(number(burst))
    }

    #[test]
    fn a_burst_comes_at_once_and_the_rest_at_the_rate() {
        // Rate, then at which second a connection arrives and whether it is allowed.
        let cases: [(Rate, &[(u64, bool)]); 4] = [
            (rate(1, 10, 1), &[(0, true), (0, false), (9, false), (10, true), (19, false), (20, true)]),
            (
                rate(6, 60, 3),
                &[(0, true), (0, true), (0, true), (0, false), (10, true), (10, false), (20, true)],
            ),
            // Saved up allowance never exceeds the burst.
            (rate(60, 60, 2), &[(100, true), (100, true), (100, false), (101, true), (101, false)]),
            // A refused connection uses nothing up.
            (rate(1, 2, 1), &[(0, true), (1, false), (1, false), (1, false), (2, true)]),
        ];
        for (rate, arrivals) in cases {
            let mut whole_at = Nanos::START;
            for (second, allowed) in arrivals {
                let taken = rate.take(whole_at, Nanos(second * SECOND));
                assert_eq!(taken.is_ok(), *allowed, "{rate:?} at {second} s");
                whole_at = taken.unwrap_or(whole_at);
            }
        }
    }

    #[test]
    fn what_is_used_up_says_how_much_and_for_how_long() {
        let rate = rate(6, 60, 3);
        let used = rate.take(Nanos(30 * SECOND), Nanos(4 * SECOND));
        assert_eq!(used, Err(UsedUp { seen: 3, wait: Duration::from_secs(6) }));
    }

    #[test]
    fn over_a_long_time_the_rate_holds_exactly() {
        let rate = rate(7, 60, 5);
        let (mut whole_at, mut allowed) = (Nanos::START, 0);
        // Every 100 ms for an hour: the burst, and 7 a minute after that.
        for tenth in 0..36_000 {
            if let Ok(next) = rate.take(whole_at, Nanos(tenth * SECOND / 10)) {
                (whole_at, allowed) = (next, allowed + 1);
            }
        }
        assert_eq!(allowed, 5 + 7 * 60 - 1);
    }

    #[test]
    fn rates_that_cannot_be_kept_are_refused() {
        let one = NonZeroU32::MIN;
        assert_eq!(Rate::new(one, Duration::ZERO), None);
        assert_eq!(Rate::new(NonZeroU32::MAX, Duration::from_secs(1)), None);
        assert_eq!(Rate::new(one, Rate::MAX_PERIOD + Duration::from_secs(1)), None);
        assert!(Rate::new(one, Rate::MAX_PERIOD).is_some());
    }
}
