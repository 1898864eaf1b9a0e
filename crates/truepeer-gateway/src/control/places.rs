//! Places for visitors of the admin socket or of the status page: a bounded number, and nobody keeps one by being slow.
//!
//! Anyone who has a place without having asked yet loses it when somebody else needs one, the oldest first; then
//! whoever does not take the answer. Work that was asked for is never broken off. Used by `admin` and `status`; knows
//! no socket.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::engine::later;

/// For so long a visitor keeps the place in any case: who has just come gets the time to ask.
const SETTLING: Duration = Duration::from_millis(20);

/// The places.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// Oldest first.
    visitors: BTreeMap<u64, Visitor>,
}

#[derive(Debug)]
struct Visitor {
    since: Instant,
    stage: Stage,
    leave: Arc<Notify>,
}

/// How far a visitor is; the earlier ones lose their places first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The request is not there.
    Asking,
    /// The answer is on its way.
    Answered,
    /// What was asked for is being done.
    Working,
    /// The place is needed, and the visitor was told.
    Leaving,
}

/// Tells how far a visitor is; means nothing once the place is given back.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    id: u64,
    places: Places,
}

/// One visitor's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    leave: Arc<Notify>,
    places: Places,
}

enum Search {
    Found(Place),
    /// Somebody leaves, or may be told to leave from then on.
    NotBefore(Option<Instant>),
}

impl Places {
    /// `most` places.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, taken: Mutex::default(), freed: Notify::new() }))
    }

    /// A place, taken from another visitor if there is no other way.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; a connection that was told to leave does.
    pub(super) async fn take(&self) -> Place {
        let mut freed = pin!(self.0.freed.notified());
        loop {
            // Registered before looking, so that no end in between is missed.
            freed.as_mut().enable();
            let until = match self.search(Instant::now()) {
                Search::Found(place) => return place,
                Search::NotBefore(until) => until,
            };
            let settled = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = freed.as_mut() => freed.set(self.0.freed.notified()),
                () = settled => {}
            }
        }
    }

    fn search(&self, now: Instant) -> Search {
        let mut taken = self.taken();
        if taken.visitors.len() < self.0.most {
            let id = taken.next;
            taken.next = id.saturating_add(1);
            let leave = Arc::new(Notify::new());
            let visitor = Visitor { since: now, stage: Stage::Asking, leave: Arc::clone(&leave) };
            taken.visitors.insert(id, visitor);
            return Search::Found(Place { id, leave, places: self.clone() });
        }
        if taken.visitors.values().any(|visitor| visitor.stage == Stage::Leaving) {
            return Search::NotBefore(None);
        }
        let slow = taken.visitors.values_mut().filter(|visitor| visitor.stage < Stage::Working);
        let Some(oldest) = slow.min_by_key(|visitor| (visitor.stage, visitor.since)) else {
            return Search::NotBefore(None);
        };
        let settled = later(oldest.since, SETTLING);
        if settled > now {
            return Search::NotBefore(Some(settled));
        }
        oldest.stage = Stage::Leaving;
        oldest.leave.notify_one();
        Search::NotBefore(None)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// The visitor has come so far.
    pub(super) fn reached(&self, stage: Stage) {
        if let Some(visitor) = self.places.taken().visitors.get_mut(&self.id) {
            // Who was told to leave and still came further leaves all the same, unless there is work to be done.
            if visitor.stage != Stage::Leaving || stage == Stage::Working {
                visitor.stage = stage;
            }
        }
        // Somebody who waits may look again.
        self.places.0.freed.notify_waiters();
    }
}

impl Place {
    /// For whoever does not hold the place.
    pub(super) fn mark(&self) -> Mark {
        Mark { id: self.id, places: self.places.clone() }
    }

    /// The visitor has come so far.
    pub(super) fn reached(&self, stage: Stage) {
        self.mark().reached(stage);
    }

    /// Waits until the place is needed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn needed(&self) {
        loop {
            self.leave.notified().await;
            let stage = self.places.taken().visitors.get(&self.id).map(|visitor| visitor.stage);
            if stage == Some(Stage::Leaving) {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().visitors.remove(&self.id);
        self.places.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn found(search: Search) -> Option<Place> {
        match search {
            Search::Found(place) => Some(place),
            Search::NotBefore(_) => None,
        }
    }

    fn is_needed(place: &Place) -> bool {
        let mut needed = pin!(place.needed());
        needed.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn the_oldest_who_has_not_asked_leaves_first_and_who_works_stays() {
        let (places, start) = (Places::new(3), Instant::now());
        let [working, asking, answered] = [0, 1, 2].map(|_| found(places.search(start)).unwrap());
        working.reached(Stage::Working);
        answered.reached(Stage::Answered);
        let then = start.checked_add(SETTLING).unwrap();
        assert!(matches!(places.search(start), Search::NotBefore(Some(at)) if at == then));
        assert!(found(places.search(then)).is_none());
        assert!(is_needed(&asking) && !is_needed(&answered) && !is_needed(&working));
        drop(asking);
        let next = found(places.search(then)).unwrap();
        next.reached(Stage::Working);
        assert!(found(places.search(then)).is_none());
        assert!(is_needed(&answered) && !is_needed(&next));
        drop(answered);
        let last = found(places.search(then)).unwrap();
        last.reached(Stage::Working);
        assert!(matches!(places.search(then), Search::NotBefore(None)));
        assert!([&working, &next, &last].iter().all(|place| !is_needed(place)));
    }
}
