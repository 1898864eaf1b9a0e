//! When a listener with `when-backend-down = "close-listener"` listens: while one of its backends can be reached.
//!
//! Pure: what is known of the backends and the time go in, what to do comes out; `shutters` does it.

use std::time::{Duration, Instant};

use crate::engine::later;

/// One listening address as it stands.
#[derive(Debug)]
pub(super) struct Shutter {
    state: State,
    /// How long it stays shut at least, once it shuts; doubles while it shuts soon after opening.
    pause: Duration,
    /// When it last opened.
    opened: Option<Instant>,
    /// The pause after the next try to open that fails.
    retry: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Shut, at least until then.
    ShutUntil(Instant),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until something changes.
    Stay,
    /// Nothing, until something changes or this time has come.
    StayUntil(Instant),
    /// Shut; [`Shutter::shut`] once it is done.
    Shut,
    /// Open; [`Shutter::opened`] or [`Shutter::blocked`] says how it went.
    Open,
}

impl Shutter {
    /// An address that was open for this long is steady.
    const STEADY: Duration = Duration::from_secs(10);
    /// How long an address that is not steady stays shut.
    const SHORTEST: Duration = Duration::from_secs(1);
    /// How long anything stays shut while a backend can be reached.
    pub(super) const LONGEST: Duration = Duration::from_secs(30);

    /// An address that listens.
    pub(super) fn open() -> Self {
        Self { state: State::Open, pause: Duration::ZERO, opened: None, retry: Self::SHORTEST }
    }

    /// An address that may listen as soon as a backend can be reached.
    pub(super) fn shut_at(now: Instant) -> Self {
        Self { state: State::ShutUntil(now), ..Self::open() }
    }

    /// It has been shut.
    pub(super) fn shut(&mut self, now: Instant) {
        let steady = self.opened.is_none_or(|at| now.saturating_duration_since(at) >= Self::STEADY);
        self.pause = if steady {
            Duration::ZERO
        } else {
            self.pause.saturating_mul(2).clamp(Self::SHORTEST, Self::LONGEST)
        };
        self.state = State::ShutUntil(later(now, self.pause));
    }

    /// It listens.
    pub(super) fn opened(&mut self, now: Instant) {
        self.opened = Some(now);
        self.retry = Self::SHORTEST;
        self.state = State::Open;
    }

    /// It could not be opened: another program has taken the address.
    pub(super) fn blocked(&mut self, now: Instant) {
        self.state = State::ShutUntil(later(now, self.retry));
        self.retry = self.retry.saturating_mul(2).min(Self::LONGEST);
    }

    /// What to do now.
    pub(super) fn step(&self, reachable: bool, now: Instant) -> Step {
        match (self.state, reachable) {
            (State::Open, true) | (State::ShutUntil(_), false) => Step::Stay,
            (State::Open, false) => Step::Shut,
            (State::ShutUntil(at), true) if at > now => Step::StayUntil(at),
            (State::ShutUntil(_), true) => Step::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_with_the_first_backend_and_shuts_with_the_last() {
        let now = Instant::now();
        let mut shutter = Shutter::shut_at(now);
        assert_eq!(shutter.step(false, now), Step::Stay);
        assert_eq!(shutter.step(true, now), Step::Open);
        shutter.opened(now);
        assert_eq!(shutter.step(true, now), Step::Stay);
        assert_eq!(shutter.step(false, now), Step::Shut);
    }

    #[test]
    fn a_steady_one_opens_at_once_and_one_that_flaps_waits_longer_each_time() {
        let mut now = Instant::now();
        let mut shutter = Shutter::open();
        shutter.shut(now);
        assert_eq!(shutter.step(true, now), Step::Open, "it was open from the start on");
        shutter.opened(now);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            shutter.shut(now);
            assert_eq!(shutter.step(false, now), Step::Stay);
            assert_eq!(shutter.step(true, now), Step::StayUntil(now + seconds(pause)));
            now += seconds(pause);
            assert_eq!(shutter.step(true, now), Step::Open);
            shutter.opened(now);
        }
        now += Shutter::STEADY;
        shutter.shut(now);
        assert_eq!(shutter.step(true, now), Step::Open);
    }

    #[test]
    fn an_address_that_was_taken_is_tried_again_and_again_but_not_often() {
        let mut now = Instant::now();
        let mut shutter = Shutter::shut_at(now);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(shutter.step(true, now), Step::Open);
            shutter.blocked(now);
            assert_eq!(shutter.step(true, now), Step::StayUntil(now + seconds(pause)));
            now += seconds(pause);
        }
        shutter.opened(now);
        shutter.blocked(now);
        assert_eq!(shutter.step(true, now), Step::StayUntil(now + seconds(1)));
    }
}
