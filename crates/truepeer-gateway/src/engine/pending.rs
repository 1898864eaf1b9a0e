//! Headers that are not finished: how many there may be, and which one goes when there are too many.
//!
//! The oldest goes, never the newest: slow peers must not keep good ones out. The bound is for the whole process;
//! each worker evicts the oldest of its own, so that no list is shared.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

/// The unfinished headers of one worker, counted over all workers.
#[derive(Debug, Clone)]
pub struct PendingHeaders {
    max: u32,
    total: Arc<AtomicU32>,
    mine: Rc<RefCell<Unfinished>>,
}

/// By number, so that the oldest is first and any one is found without a walk past the others: a good header finishes
/// behind thousands of slow ones.
#[derive(Debug, Default)]
struct Unfinished {
    next: u64,
    /// With whoever waits for its eviction.
    oldest_first: BTreeMap<u64, Option<Waker>>,
}

impl PendingHeaders {
    /// `total` is shared by all workers; `max` is the bound on it (`server.proxy.max-pending`).
    #[must_use]
    pub fn new(max: u32, total: Arc<AtomicU32>) -> Self {
        Self { max, total, mine: Rc::default() }
    }

    /// Counts one more unfinished header; evicts this worker's oldest if there are too many.
    #[must_use]
    pub fn enter(&self) -> Pending {
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        let mut mine = self.mine.borrow_mut();
        if before >= self.max
            && let Some((_, Some(oldest))) = mine.oldest_first.pop_first()
        {
            oldest.wake();
        }
        let number = mine.next;
        mine.next = number.wrapping_add(1);
        mine.oldest_first.insert(number, None);
        drop(mine);
        Pending { headers: self.clone(), number }
    }
}

/// One unfinished header; dropping it makes room.
#[derive(Debug)]
pub struct Pending {
    headers: PendingHeaders,
    number: u64,
}

impl Pending {
    /// Whether this header is to make room; wakes the task when it is.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.headers.mine.borrow_mut().oldest_first.entry(self.number) {
            Entry::Vacant(_) => Poll::Ready(()),
            Entry::Occupied(mut waiting) => {
                waiting.insert(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.headers.total.fetch_sub(1, Ordering::Relaxed);
        // Gone already if it was evicted.
        self.headers.mine.borrow_mut().oldest_first.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_evicted(pending: &Pending) -> bool {
        pending.poll_evicted(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_makes_room_never_the_newest() {
        let total = Arc::new(AtomicU32::new(0));
        let headers = PendingHeaders::new(2, Arc::clone(&total));
        let (first, second) = (headers.enter(), headers.enter());
        assert!(!is_evicted(&first));
        let third = headers.enter();
        assert!(is_evicted(&first));
        assert!(!is_evicted(&second) && !is_evicted(&third));
        drop((first, second, third));
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }

    /// What a thread has spent so far, whatever else the machine does.
    fn cpu_time() -> Duration {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(spent).unwrap()
    }

    /// What it costs that headers come and finish behind `slow` unfinished ones.
    fn cost_behind(slow: usize) -> Duration {
        let headers = PendingHeaders::new(u32::MAX, Arc::default());
        let _slow: Vec<_> = (0..slow).map(|_| headers.enter()).collect();
        let began = cpu_time();
        for _ in 0..2_000 {
            drop(headers.enter());
        }
        cpu_time().saturating_sub(began)
    }

    #[test]
    fn a_good_header_does_not_pay_for_the_slow_ones_before_it() {
        // A walk past them would cost some ten thousand times as much.
        let (few, many) = (cost_behind(1), cost_behind(100_000));
        assert!(many < few.saturating_mul(100), "{many:?} behind 100,000 slow headers, {few:?} behind one");
    }

    #[test]
    fn a_finished_header_makes_room() {
        let headers = PendingHeaders::new(1, Arc::default());
        drop(headers.enter());
        let second = headers.enter();
        assert!(!is_evicted(&second));
    }
}
