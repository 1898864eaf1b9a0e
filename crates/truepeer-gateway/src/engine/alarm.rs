//! One timer of the kernel's for all deadlines of a loop: waiting with a timeout would set one up and take it back each
//! time, and mostly something comes before it.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Becomes readable when it is time.
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When it goes off next, if it was set and has not gone off.
    at: Cell<Option<Instant>>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { timer, at: Cell::new(None) })
    }

    /// Goes off `patience` after `now`, or before: one that is set for an earlier time stays so, since whoever asked for
    /// that may be gone, and finding nothing to do once is cheaper than setting it each time.
    pub(super) fn set(&self, now: Instant, patience: Duration) -> io::Result<()> {
        let due = now.checked_add(patience);
        if self.at.get().is_some_and(|at| due.is_none_or(|due| at <= due)) {
            return Ok(());
        }
        // None at all would take it back.
        let patience = patience.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.at.set(due);
        Ok(())
    }

    /// It has gone off.
    pub(super) fn went_off(&self) {
        self.at.set(None);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn goes_off_within(alarm: &Alarm, patience: Duration) -> bool {
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap(),
            tv_nsec: patience.subsec_nanos().into(),
        };
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    #[test]
    fn it_goes_off_for_the_first_of_those_who_ask_and_may_be_set_again() {
        const LONG: Duration = Duration::from_secs(600);
        let alarm = Alarm::new().unwrap();
        let began = Instant::now();
        alarm.set(began, LONG).unwrap();
        alarm.set(began, Duration::from_millis(20)).unwrap();
        // Later than what is set.
        alarm.set(began, LONG).unwrap();
        assert!(goes_off_within(&alarm, LONG));
        assert!(began.elapsed() >= Duration::from_millis(20), "{:?}", began.elapsed());
        alarm.went_off();
        alarm.set(Instant::now(), LONG).unwrap();
        assert!(!goes_off_within(&alarm, Duration::ZERO));
        alarm.set(Instant::now(), Duration::ZERO).unwrap();
        assert!(goes_off_within(&alarm, LONG));
    }
}
