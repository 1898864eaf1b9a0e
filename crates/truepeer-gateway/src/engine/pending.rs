//! Headers that are not finished: how many there may be, and which one goes when there are too many.
//!
//! The oldest goes, never the newest: slow peers must not keep good ones out. The bound is for the whole process;
//! each worker evicts the oldest of its own, so that no list is shared.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// The unfinished headers of one worker, counted over all workers.
#[derive(Debug, Clone)]
pub struct PendingHeaders {
    max: u32,
    total: Arc<AtomicU32>,
    oldest_first: Rc<RefCell<VecDeque<Rc<Notify>>>>,
}

impl PendingHeaders {
    /// `total` is shared by all workers; `max` is the bound on it (`server.proxy.max-pending`).
    #[must_use]
    pub fn new(max: u32, total: Arc<AtomicU32>) -> Self {
        Self { max, total, oldest_first: Rc::default() }
    }

    /// Counts one more unfinished header; evicts this worker's oldest if there are too many.
    #[must_use]
    pub fn enter(&self) -> Pending {
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        let mut queue = self.oldest_first.borrow_mut();
        if before >= self.max
            && let Some(oldest) = queue.pop_front()
        {
            oldest.notify_one();
        }
        let evicted = Rc::new(Notify::new());
        queue.push_back(Rc::clone(&evicted));
        drop(queue);
        Pending { headers: self.clone(), evicted }
    }
}

/// One unfinished header; dropping it makes room.
#[derive(Debug)]
pub struct Pending {
    headers: PendingHeaders,
    evicted: Rc<Notify>,
}

impl Pending {
    /// Waits until this header is to make room.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.headers.total.fetch_sub(1, Ordering::Relaxed);
        // Headers finish mostly in the order in which they came, so that this search is short.
        let mut queue = self.headers.oldest_first.borrow_mut();
        if let Some(at) = queue.iter().position(|other| Rc::ptr_eq(other, &self.evicted)) {
            queue.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn is_evicted(pending: &Pending) -> bool {
        let mut future = std::pin::pin!(pending.evicted());
        future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
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

    #[test]
    fn a_finished_header_makes_room() {
        let headers = PendingHeaders::new(1, Arc::default());
        drop(headers.enter());
        let second = headers.enter();
        assert!(!is_evicted(&second));
    }
}
