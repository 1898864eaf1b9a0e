//! How other threads reach a loop: a list of whom to wake, and an event that ends its sleep.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use rustix::fd::OwnedFd;

use super::{Loop, here};

/// What other threads have of one loop. Bound: each waker and each [`Cut`] is in the list once at most.
pub(super) struct Elsewhere {
    woken: Mutex<Vec<Woken>>,
    event: OwnedFd,
}

enum Woken {
    Task(Arc<TaskWaker>),
    /// Whoever is there.
    Place(u32),
}

impl Elsewhere {
    pub(super) fn new(event: OwnedFd) -> Self {
        Self { woken: Mutex::default(), event }
    }

    /// Becomes readable when somebody was woken.
    pub(super) fn event(&self) -> &OwnedFd {
        &self.event
    }

    /// Hands over everybody who was woken since the last time.
    pub(super) fn take(&self, wake: impl Fn(u32)) {
        let woken = std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        for woken in woken {
            match woken {
                Woken::Task(waker) => {
                    // Read as well as written: whoever found it in the list has not put it there again, and what they
                    // changed before must be seen by the poll that follows.
                    waker.is_listed.swap(false, Ordering::AcqRel);
                    wake(waker.index.load(Ordering::Relaxed));
                }
                Woken::Place(index) => wake(index),
            }
        }
    }

    fn push(&self, one: Woken) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = woken.is_empty();
        woken.push(one);
        drop(woken);
        if is_first {
            // It fails only when the counter is full, and then the loop is awake.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").finish_non_exhaustive()
    }
}

/// Wakes one task.
pub(super) struct TaskWaker {
    index: AtomicU32,
    is_listed: AtomicBool,
    elsewhere: Arc<Elsewhere>,
}

impl TaskWaker {
    pub(super) fn new(index: u32, elsewhere: &Arc<Elsewhere>) -> Arc<Self> {
        let (index, elsewhere) = (AtomicU32::new(index), Arc::clone(elsewhere));
        Arc::new(Self { index, is_listed: AtomicBool::new(false), elsewhere })
    }

    /// Wakes the task at `index` from now on; whoever still has it of an earlier one wakes that in vain.
    pub(super) fn moves_to(&self, index: u32) {
        self.index.store(index, Ordering::Relaxed);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_here = here(|here| {
            let is_mine = Arc::ptr_eq(here.elsewhere(), &self.elsewhere);
            if is_mine {
                here.wake(self.index.load(Ordering::Relaxed));
            }
            is_mine
        });
        if is_here != Some(true) && !self.is_listed.swap(true, Ordering::AcqRel) {
            self.elsewhere.push(Woken::Task(Arc::clone(self)));
        }
    }
}

/// How other threads reach the loop of one.
#[derive(Debug)]
pub struct Reach(Option<Arc<Elsewhere>>);

impl Reach {
    /// The loop that this thread runs, if it runs one.
    #[must_use]
    pub fn here() -> Self {
        Self(here(|here| Arc::clone(here.elsewhere())))
    }
}

/// Asks one task to end, once, from any thread. 4 bytes, since every connection has one.
///
/// Whose place it is about, which is known when the task has looked once, and in the highest bit whether it was asked: in
/// one number, so that whoever looks and whoever asks at the same time see one after the other.
#[derive(Debug)]
pub struct Cut(AtomicU32);

/// The bit that says that it was asked.
const ASKED: u32 = 1 << 31;
/// Nobody has looked yet; whoever looks first sees that it was asked.
const NOBODY: u32 = super::ROOT - 1;

impl Default for Cut {
    /// Nobody has asked.
    fn default() -> Self {
        Self(AtomicU32::new(NOBODY))
    }
}

impl Cut {
    /// Asks, and wakes the task, which is one of the loop that `reach` is about.
    pub fn ask(&self, reach: &Reach) {
        let before = self.0.fetch_or(ASKED, Ordering::AcqRel);
        if let Some(elsewhere) = reach.0.as_ref().filter(|_| before & ASKED == 0) {
            elsewhere.push(Woken::Place(before));
        }
    }

    /// Whether it was asked; the task that is being polled is woken when it is.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        let known = self.0.load(Ordering::Acquire);
        let is_asked = known & ASKED != 0;
        match here(Loop::current) {
            // Somebody may ask at this moment, and would wake whoever was there before: then it is said at once.
            Some(current) if !is_asked && known != current => {
                let said = self.0.compare_exchange(known, current, Ordering::AcqRel, Ordering::Acquire);
                said.is_err()
            }
            _ => is_asked,
        }
    }
}
