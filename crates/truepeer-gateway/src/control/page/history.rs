//! The last hour in numbers: a sample of all counters every ten seconds. Pure.
//!
//! Memory: at most [`History::SAMPLES`] samples of less than 450 bytes, 160 KiB together.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::observe::metrics::Counts;

/// Samples of the last hour.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<(Instant, Counts)>,
}

impl History {
    /// Between two samples.
    pub(super) const EVERY: Duration = Duration::from_secs(10);
    /// An hour of them, and the one that it begins with.
    pub(super) const SAMPLES: usize = 361;
    /// Minutes in the charts.
    pub(super) const MINUTES: usize = 60;
    /// Samples in a minute.
    const A_MINUTE: usize = 6;

    /// One more sample; the oldest makes room.
    pub(super) fn push(&mut self, at: Instant, counts: Counts) {
        if self.samples.len() >= Self::SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((at, counts));
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }

    /// Whether a sample is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let last = self.samples.back();
        last.is_none_or(|(at, _)| now.saturating_duration_since(*at) >= Self::EVERY)
    }

    /// What the counters were `ago`, or where nothing is that old, at the first sample.
    pub(super) fn before(&self, now: Instant, ago: Duration) -> Counts {
        let old = |at: &Instant| now.saturating_duration_since(*at) >= ago;
        let found = self.samples.iter().rev().find(|(at, _)| old(at)).or_else(|| self.samples.front());
        found.map(|(_, counts)| *counts).unwrap_or_default()
    }

    /// What came in each of the last minutes, the latest last; fewer where there are fewer. Their borders move with the
    /// samples only.
    pub(super) fn minutes(&self) -> Vec<Counts> {
        let mut ends: Vec<&Counts> =
            self.samples.iter().rev().step_by(Self::A_MINUTE).map(|(_, counts)| counts).collect();
        ends.reverse();
        ends.windows(2)
            .map(|pair| if let [from, to] = pair { to.since(from) } else { Counts::default() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(accepted: u64) -> Counts {
        Counts { accepted, ..Counts::default() }
    }

    #[test]
    fn an_hour_is_kept_and_its_memory_is_what_is_stated() {
        let (mut history, start) = (History::default(), Instant::now());
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        for number in 0..1000 {
            assert!(history.is_due(at(number * 10)));
            history.push(at(number * 10), counts(number * 100));
        }
        assert!(!history.is_due(at(9999)));
        assert_eq!(history.samples.len(), History::SAMPLES);
        assert!(size_of::<(Instant, Counts)>() <= 450, "{}", size_of::<(Instant, Counts)>());
        let minutes = history.minutes();
        assert_eq!(minutes.len(), History::MINUTES);
        assert!(minutes.iter().all(|minute| minute.accepted == 600));
        assert_eq!(history.before(at(9995), Duration::from_secs(60)).accepted, 99_300);
        assert_eq!(history.before(at(9995), Duration::from_secs(100_000)).accepted, 63_900);
    }

    #[test]
    fn a_young_process_has_less() {
        let (mut history, start) = (History::default(), Instant::now());
        assert_eq!(history.before(start, Duration::from_secs(60)), Counts::default());
        history.push(start, counts(5));
        assert_eq!((history.minutes(), history.before(start, Duration::from_secs(60))), (vec![], counts(5)));
    }
}
