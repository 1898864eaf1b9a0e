//! How long this machine runs, by the clock that nobody can set: it counts a suspended machine's sleep, too, and begins
//! anew with each start of the machine.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment since a start of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Which start: a word without blanks.
    pub id: Box<str>,
    /// How long ago it was.
    pub passed: Duration,
}

impl Boot {
    /// The moment as it is now; `None` where the system does not tell.
    #[must_use]
    pub fn now() -> Option<Self> {
        static ID: OnceLock<Option<Box<str>>> = OnceLock::new();
        let read = || {
            let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            let id = text.trim();
            let is_word = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
            is_word.then(|| id.into())
        };
        let id = ID.get_or_init(read).clone()?;
        let time = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
        Some(Self { id, passed: Duration::new(seconds, nanos) })
    }
}

/// The longest id that is taken, in bytes; Linux writes 36.
pub const MAX_ID: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_start_and_time_passes() {
        let (one, other) = (Boot::now().unwrap(), Boot::now().unwrap());
        assert_eq!(one.id, other.id);
        assert!(one.passed > Duration::ZERO && one.passed <= other.passed);
    }
}
