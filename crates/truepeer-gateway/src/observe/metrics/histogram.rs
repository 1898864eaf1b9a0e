//! Durations in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::observe::metrics::label::TimedRoom;
use crate::observe::metrics::micros;

/// The most bounds that a histogram has.
const MAX_BOUNDS: usize = 14;

/// Bounds in microseconds of what takes milliseconds, up to the longest deadline.
const SHORT: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Bounds in microseconds of what takes as long as a session: from a probe to a day.
const LONG: [u64; 12] = [
    100_000,
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    1_800_000_000,
    3_600_000_000,
    14_400_000_000,
    86_400_000_000,
];

impl TimedRoom {
    /// Upper bounds of the buckets in microseconds, inclusive, ascending.
    pub(super) const fn bounds(self) -> &'static [u64] {
        match self {
            Self::Identify | Self::Handoff => &SHORT,
            Self::Relay | Self::Total => &LONG,
        }
    }
}

/// Durations of one room; 128 bytes.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Not cumulative; durations beyond the last bound are only in `beyond`.
    buckets: [AtomicU64; MAX_BOUNDS],
    beyond: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub(super) fn add(&self, room: TimedRoom, duration: Duration) {
        let micros = micros(duration);
        let at = room.bounds().partition_point(|bound| *bound < micros);
        let bucket = if at < room.bounds().len() { self.buckets.get(at) } else { None };
        bucket.unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Adds what this histogram holds to `sum`.
    pub(super) fn sum_into(&self, sum: &mut Sum) {
        for (bucket, total) in self.buckets.iter().zip(&mut sum.buckets) {
            *total = total.wrapping_add(bucket.load(Ordering::Relaxed));
        }
        sum.beyond = sum.beyond.wrapping_add(self.beyond.load(Ordering::Relaxed));
        sum.micros = sum.micros.wrapping_add(self.micros.load(Ordering::Relaxed));
    }
}

/// Histograms of several workers, added up.
#[derive(Debug, Default)]
pub(super) struct Sum {
    buckets: [u64; MAX_BOUNDS],
    beyond: u64,
    /// All durations together.
    pub(super) micros: u64,
}

impl Sum {
    /// Bounds in microseconds with the number of durations up to each, and the number of all.
    pub(super) fn cumulative(&self, room: TimedRoom) -> (Vec<(u64, u64)>, u64) {
        let mut count: u64 = 0;
        let buckets = room.bounds().iter().zip(&self.buckets).map(|(bound, bucket)| {
            count = count.wrapping_add(*bucket);
            (*bound, count)
        });
        let buckets = buckets.collect();
        (buckets, count.wrapping_add(self.beyond))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_and_fit() {
        for room in TimedRoom::ALL {
            let bounds = room.bounds();
            assert!(bounds.is_sorted_by(|one, next| one < next) && bounds.len() <= MAX_BOUNDS);
        }
    }

    #[test]
    fn a_duration_counts_up_to_its_bound_and_beyond_the_last_one() {
        // Duration in microseconds, and the first bound that includes it.
        let cases = [
            (0, Some(500)),
            (500, Some(500)),
            (501, Some(1_000)),
            (10_000_000, Some(10_000_000)),
            (10_000_001, None),
        ];
        for (micros, first) in cases {
            let histogram = Histogram::default();
            histogram.add(TimedRoom::Identify, Duration::from_micros(micros));
            let mut sum = Sum::default();
            histogram.sum_into(&mut sum);
            let (buckets, count) = sum.cumulative(TimedRoom::Identify);
            let found = buckets.iter().find(|(_, count)| *count == 1).map(|(bound, _)| *bound);
            assert_eq!((found, count, sum.micros), (first, 1, micros));
        }
    }
}
