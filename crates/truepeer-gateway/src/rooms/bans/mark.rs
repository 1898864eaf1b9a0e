//! Where the clocks stood when lines of the state file were written, so that a restart knows what its own clock means.
//!
//! The file has wall time, and a wall clock may be set while nobody looks. Within one start of the machine the boot clock
//! tells how much time has passed, so every ban has exactly what it had left. Across starts nothing tells it: then the
//! wall clock is believed, unless it is behind the mark, which cannot be; a ban then has what it had left at the mark.
//! Pure but for [`Mark::now`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Ban;
use super::{secs, time};
use crate::facts::boot::{Boot, MAX_ID};

/// Both clocks, read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The wall clock, since 1970.
    pub wall: Duration,
    /// The boot clock.
    pub boot: Boot,
}

/// The first field of its line, where a ban has a network.
const WORD: &str = "clock";

impl Mark {
    /// The clocks as they are, with `wall` as the wall clock; `None` where the system has no boot clock to show.
    #[must_use]
    pub fn now(wall: SystemTime) -> Option<Self> {
        Some(Self { wall: wall.duration_since(UNIX_EPOCH).unwrap_or_default(), boot: Boot::now()? })
    }

    /// Whether lines behind this mark mean the same behind `other`.
    #[must_use]
    pub fn is_as_good_as(&self, other: &Self) -> bool {
        self.boot.id == other.boot.id && seconds(self.moved(other)) == 0
    }

    /// Its line in the file, without the line feed.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { wall, boot: Boot { id, passed } } = self;
        format!("{WORD}\t{}\t{}\t{id}", wall.as_millis(), passed.as_millis())
    }

    /// The mark of a line; `None` if it is no such line, or none that we write.
    #[must_use]
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(line).ok()?.split('\t');
        let (WORD, wall, passed, id, None) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next())
        else {
            return None;
        };
        let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
        let boot = Boot { id: id.into(), passed: millis(passed)? };
        (1..=MAX_ID).contains(&id.len()).then_some(Self { wall: millis(wall)?, boot })
    }

    /// `ban`, whose times were written behind this mark, by the clock of `now`.
    #[must_use]
    pub(super) fn moved_to(&self, now: &Self, ban: Ban) -> Ban {
        let shift = self.shift(now);
        let moved = |at: SystemTime| time(secs(at).saturating_add_signed(shift));
        Ban { since: moved(ban.since), until: moved(ban.until), ..ban }
    }

    /// Seconds by which a time of the file is another one by the clock of `now`.
    fn shift(&self, now: &Self) -> i64 {
        let is_same_start = self.boot.id == now.boot.id && self.boot.passed <= now.boot.passed;
        match is_same_start {
            true => seconds(self.moved(now)),
            false if now.wall < self.wall => seconds(millis(now.wall).saturating_sub(millis(self.wall))),
            false => 0,
        }
    }

    /// How far the wall clock was set between the two, in milliseconds.
    fn moved(&self, now: &Self) -> i64 {
        let passed = |from: Duration, to: Duration| millis(to).saturating_sub(millis(from));
        passed(self.wall, now.wall).saturating_sub(passed(self.boot.passed, now.boot.passed))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Whole seconds, the nearest: the clocks are never read at quite the same time.
fn seconds(millis: i64) -> i64 {
    millis.saturating_add(millis.signum().saturating_mul(500)) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(wall: u64, id: &str, passed: u64) -> Mark {
        let boot = Boot { id: id.into(), passed: Duration::from_secs(passed) };
        Mark { wall: Duration::from_secs(wall), boot }
    }

    #[test]
    fn its_line_is_read_back_and_no_other_is() {
        let mark = mark(1_700_000_000, "0c2c5b0e-4f5e-4b8e-9f0a-1d2e3f405162", 12_345);
        let line = mark.line();
        assert_eq!(line, "clock\t1700000000000\t12345000\t0c2c5b0e-4f5e-4b8e-9f0a-1d2e3f405162");
        assert_eq!(Mark::parse(line.as_bytes()), Some(mark));
        for other in ["", "clock", "clock\t1\t2", "clock\t1\t2\t", "clock\t-1\t2\tx", "10.0.0.1/32\t1\t2\tx"]
        {
            assert_eq!(Mark::parse(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn what_the_clocks_of_a_restart_mean() {
        let written = mark(1_700_000_000, "a", 1000);
        for (now, shift) in [
            // The same start of the machine, an hour later: as it is, set forward by a day, set back by one.
            (mark(1_700_003_600, "a", 4600), 0),
            (mark(1_700_090_000, "a", 4600), 86_400),
            (mark(1_699_917_200, "a", 4600), -86_400),
            // Another start: believed, unless it is behind what was written.
            (mark(1_700_003_600, "b", 60), 0),
            (mark(60, "b", 60), -1_699_999_940),
            // A boot clock that went back is another start's, whatever it calls itself.
            (mark(1_700_003_600, "a", 60), 0),
        ] {
            assert_eq!(written.shift(&now), shift, "{now:?}");
        }
        let nearly = Mark { wall: Duration::from_millis(1_700_003_600_400), ..mark(0, "a", 4600) };
        assert!(written.is_as_good_as(&nearly) && !written.is_as_good_as(&mark(1_700_003_602, "a", 4600)));
        assert!(!written.is_as_good_as(&mark(1_700_003_600, "b", 4600)));
    }
}
