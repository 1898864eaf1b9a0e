//! Work that connections wait in, bounded: header reads, TLS handshakes.
//!
//! Owned by a listener; dropping it closes everything that waits. Knows neither headers nor TLS.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::task::{Context, Poll};

use tokio::task::{AbortHandle, Id, JoinSet};

/// A bounded set of tasks that yields results as they come and gives up the oldest task when it is full.
///
/// Tasks that are done wait here for their result to be fetched and keep their place, so that this is the queue of
/// ready connections, too: together they are never more than `max`.
#[derive(Debug)]
pub(crate) struct Pending<K, T> {
    tasks: JoinSet<T>,
    /// By age, oldest first: not yet fetched and not given up.
    places: BTreeMap<u64, (K, AbortHandle)>,
    by_task: HashMap<Id, u64>,
    /// Given up, and not gone yet.
    given_up: HashMap<Id, K>,
    max: usize,
    next: u64,
}

/// How a task ended.
#[derive(Debug)]
pub(crate) enum Ended<K, T> {
    /// With a result.
    Done(T),
    /// It was the oldest when its place was needed.
    GivenUp(K),
}

impl<K, T: Send + 'static> Pending<K, T> {
    /// `max`: places, at least 1.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            places: BTreeMap::new(),
            by_task: HashMap::new(),
            given_up: HashMap::new(),
            max: max.max(1),
            next: 0,
        }
    }

    /// Starts `work`; if there is no place, the oldest that still works is given up.
    pub(crate) fn start(&mut self, key: K, work: impl Future<Output = T> + Send + 'static) {
        if self.places.len() >= self.max {
            self.give_up_oldest();
        }
        let handle = self.tasks.spawn(work);
        self.by_task.insert(handle.id(), self.next);
        self.places.insert(self.next, (key, handle));
        self.next = self.next.wrapping_add(1);
    }

    /// Gives up the task that works longest, if there is one.
    pub(crate) fn give_up_oldest(&mut self) {
        // Those that are done were in time; giving one of them up would free nothing.
        let oldest =
            self.places.iter().find_map(|(age, (_, handle))| (!handle.is_finished()).then_some(*age));
        if let Some((key, handle)) = oldest.and_then(|age| self.places.remove(&age)) {
            handle.abort();
            self.by_task.remove(&handle.id());
            self.given_up.insert(handle.id(), key);
        }
    }

    /// The next result; `Pending` as long as there is none, with or without tasks.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended<K, T>> {
        loop {
            let (id, result) = match self.tasks.poll_join_next_with_id(cx) {
                Poll::Ready(Some(Ok((id, result)))) => (id, Some(result)),
                Poll::Ready(Some(Err(error))) => (error.id(), None),
                // Whoever starts a task polls again.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            };
            let given_up = self.given_up.remove(&id);
            if let Some(age) = self.by_task.remove(&id) {
                self.places.remove(&age);
            }
            match (result, given_up) {
                // One that was done in the moment it was given up is served all the same.
                (Some(result), _) => return Poll::Ready(Ended::Done(result)),
                (None, Some(key)) => return Poll::Ready(Ended::GivenUp(key)),
                // A task that panicked took its connection with it; there is nothing left to hand out.
                (None, None) => {}
            }
        }
    }

    /// Whether nothing is left to be fetched, nor given up and not gone yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// How many wait or work.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}
