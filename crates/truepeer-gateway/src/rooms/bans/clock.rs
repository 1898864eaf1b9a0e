//! Time for bans: how long each lasts goes by the steady clock, what people and the state file read by the wall clock.
//!
//! A wall clock jumps: a machine starts in 1970 and learns the year from the network, an operator corrects it. No ban
//! ends sooner or later for that. The table lives in time that passes steadily from the start on; what leaves the
//! process is moved by as much as the wall clock has moved against it.

use std::time::{Duration, Instant, SystemTime};

use super::Ban;

/// Both clocks, read together.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The one that never jumps.
    pub steady: Instant,
    /// The one that people read.
    pub wall: SystemTime,
}

/// Steady time in the form of wall time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Moment,
}

impl Clock {
    /// Steady time begins as the wall clock says at `start`.
    #[must_use]
    pub fn new(start: Moment) -> Self {
        Self { start }
    }

    /// What the table is told as time.
    #[must_use]
    pub fn now(&self, moment: Moment) -> SystemTime {
        let passed = moment.steady.saturating_duration_since(self.start.steady);
        self.start.wall.checked_add(passed).unwrap_or(moment.wall)
    }

    /// How far the wall clock of `moment` is ahead of steady time, in whole seconds; below zero if it is behind.
    #[must_use]
    pub fn ahead(&self, moment: Moment) -> i64 {
        let (now, wall) = (self.now(moment), moment.wall);
        let seconds = |shift: Duration| i64::try_from(whole(shift).as_secs()).unwrap_or(i64::MAX);
        wall.duration_since(now).map_or_else(|behind| seconds(behind.duration()).saturating_neg(), seconds)
    }

    /// A ban of the table as the wall clock of `moment` has it: with the time left that it has.
    #[must_use]
    pub fn for_people(&self, ban: Ban, moment: Moment) -> Ban {
        let (now, wall) = (self.now(moment), moment.wall);
        let moved = |time: SystemTime| match wall.duration_since(now) {
            Ok(ahead) => time.checked_add(whole(ahead)),
            Err(behind) => time.checked_sub(whole(behind.duration())),
        };
        let since = moved(ban.since).unwrap_or(ban.since);
        let until = moved(ban.until).unwrap_or(ban.until);
        Ban { since, until, ..ban }
    }
}

/// Bans know whole seconds; two clocks are never read at quite the same time.
fn whole(shift: Duration) -> Duration {
    const HALF: Duration = Duration::from_millis(500);
    Duration::from_secs(shift.saturating_add(HALF).as_secs())
}
