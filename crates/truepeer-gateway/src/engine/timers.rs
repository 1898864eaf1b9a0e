//! Time in a loop: read once for each wake-up, and deadlines that are kept coarsely.
//!
//! A deadline is rounded up to the next tick, never down, so that nobody is told too soon and one wake-up serves all
//! that are due together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

/// How fine deadlines are.
const TICK_MILLIS: u64 = 4;
/// How old the relation between the two clocks may be: somebody may have set the one that people read.
const WALL_AGE: Duration = Duration::from_millis(100);

/// A deadline in the list: its tick, and a number that tells those of one tick apart.
pub(super) type Key = (u64, u64);

/// The deadlines of one loop, and what time it is.
pub(super) struct Timers {
    base: Instant,
    now: Cell<Instant>,
    wall: Cell<(Instant, SystemTime)>,
    numbers: Cell<u64>,
    waiting: RefCell<BTreeMap<Key, Waker>>,
}

impl Default for Timers {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            base: now,
            now: Cell::new(now),
            wall: Cell::new((now, SystemTime::now())),
            numbers: Cell::new(0),
            waiting: RefCell::default(),
        }
    }
}

impl Timers {
    /// When this turn began.
    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The same on the clock that people read.
    pub(super) fn wall(&self) -> SystemTime {
        let now = self.now.get();
        let (mut at, mut wall) = self.wall.get();
        let mut age = now.saturating_duration_since(at);
        if age > WALL_AGE {
            (at, wall, age) = (now, SystemTime::now(), Duration::ZERO);
            self.wall.set((at, wall));
        }
        wall.checked_add(age).unwrap_or(wall)
    }

    /// Wakes `waker` when `due` has passed.
    pub(super) fn insert(&self, due: Instant, waker: Waker) -> Key {
        let number = self.numbers.get().wrapping_add(1);
        self.numbers.set(number);
        let key = (self.tick(due).saturating_add(1), number);
        self.waiting.borrow_mut().insert(key, waker);
        key
    }

    /// Wakes nobody for it any more.
    pub(super) fn remove(&self, key: Key) {
        let waker = self.waiting.borrow_mut().remove(&key);
        drop(waker);
    }

    /// How long until the next is due; `None` if there is none.
    pub(super) fn next_in(&self) -> Option<Duration> {
        let (tick, _) = *self.waiting.borrow().first_key_value()?.0;
        let due = self.base.checked_add(Duration::from_millis(tick.saturating_mul(TICK_MILLIS)))?;
        // The kernel counts in milliseconds.
        let left = due.saturating_duration_since(self.now.get()).as_millis();
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1)))
    }

    /// Reads the clock, and wakes those whose time has come.
    pub(super) fn advance(&self) {
        let now = Instant::now();
        self.now.set(now);
        let tick = self.tick(now);
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= tick) else { return };
            let waker = first.remove();
            drop(waiting);
            waker.wake();
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    fn tick(&self, at: Instant) -> u64 {
        let millis = at.saturating_duration_since(self.base).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).checked_div(TICK_MILLIS).unwrap_or(u64::MAX)
    }
}
