//! Time in a loop: read once for each wake-up, and deadlines that are kept coarsely.
//!
//! A deadline is rounded up to the next tick, never down, so that nobody is told too soon and one wake-up serves all
//! that are due together.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

use super::wheel::Wheel;
use crate::facts::instant::CompactInstant;

/// How fine deadlines are.
const TICK_NANOS: u64 = 4_000_000;
/// How old the relation between the two clocks may be: somebody may have set the one that people read.
const WALL_AGE: Duration = Duration::from_millis(100);

/// A deadline that somebody waits for.
#[derive(Debug)]
pub(super) struct Key(u32);

/// The deadlines of one loop, and what time it is.
pub(super) struct Timers {
    base: CompactInstant,
    now: Cell<(Instant, CompactInstant)>,
    wall: Cell<(Instant, SystemTime)>,
    waiting: RefCell<Wheel>,
}

impl Default for Timers {
    fn default() -> Self {
        let now = steady();
        Self {
            base: now.into(),
            now: Cell::new((now, now.into())),
            wall: Cell::new((now, of_people())),
            waiting: RefCell::default(),
        }
    }
}

impl Timers {
    /// When this turn began.
    pub(super) fn now(&self) -> Instant {
        self.now.get().0
    }

    /// The same, to count with.
    pub(super) fn moment(&self) -> CompactInstant {
        self.now.get().1
    }

    /// The same on the clock that people read.
    pub(super) fn wall(&self) -> SystemTime {
        let now = self.now();
        let (mut at, mut wall) = self.wall.get();
        let mut age = now.saturating_duration_since(at);
        if age > WALL_AGE {
            (at, wall, age) = (now, of_people(), Duration::ZERO);
            self.wall.set((at, wall));
        }
        wall.checked_add(age).unwrap_or(wall)
    }

    /// Wakes `task` when `due` has passed. The key is to be given back, also behind that.
    pub(super) fn insert(&self, due: CompactInstant, task: u32) -> Key {
        Key(self.waiting.borrow_mut().insert(self.tick(due).saturating_add(1), task))
    }

    /// Wakes nobody for it any more.
    pub(super) fn remove(&self, key: Key) {
        self.waiting.borrow_mut().remove(key.0);
    }

    /// How long until the next is due; `None` if there is none.
    pub(super) fn next_in(&self) -> Option<Duration> {
        let tick = self.waiting.borrow().next()?;
        let due = self.base.later(Duration::from_nanos(tick.saturating_mul(TICK_NANOS)));
        // The kernel counts in milliseconds.
        let left = due.since(self.moment()).as_millis();
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1)))
    }

    /// Reads the clock, and wakes those whose time has come.
    pub(super) fn advance(&self, wake: impl Fn(u32)) {
        let now = steady();
        self.now.set((now, now.into()));
        self.waiting.borrow_mut().advance(self.tick(self.moment()), wake);
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().waiting()
    }

    fn tick(&self, at: CompactInstant) -> u64 {
        at.nanos_since(self.base) / TICK_NANOS
    }
}

/// The clock.
fn steady() -> Instant {
    #[cfg(test)]
    if let Some(now) = super::simulated::now() {
        return now;
    }
    Instant::now()
}

/// The clock that people read.
fn of_people() -> SystemTime {
    #[cfg(test)]
    if let Some(wall) = super::simulated::wall() {
        return wall;
    }
    SystemTime::now()
}
