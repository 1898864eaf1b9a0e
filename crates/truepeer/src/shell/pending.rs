//! Work that connections wait in, bounded: header reads, TLS handshakes.
//!
//! Owned by a listener; dropping it closes everything that waits. Knows neither headers nor TLS.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use tokio::task::{AbortHandle, Id, JoinSet};

/// A bounded set of tasks that yields results as they come and gives up a task when it is full: the oldest of the peer
/// that holds most places, so that a flood from one address makes room for itself.
///
/// Tasks that are done wait here for their result to be fetched and keep their place, so that this is the queue of
/// ready connections, too: together they are never more than `max`.
#[derive(Debug)]
pub(crate) struct Pending<K, T> {
    tasks: JoinSet<T>,
    /// By age, oldest first: not yet fetched and not given up.
    places: BTreeMap<u64, Place<K>>,
    holders: Holders,
    by_task: HashMap<Id, u64>,
    /// Given up, and not gone yet.
    given_up: HashMap<Id, K>,
    max: usize,
    next: u64,
}

#[derive(Debug)]
struct Place<K> {
    key: K,
    holder: Holder,
    task: AbortHandle,
}

/// How a task ended.
#[derive(Debug)]
pub(crate) enum Ended<K, T> {
    /// With a result.
    Done(T),
    /// It had to make room.
    GivenUp(K),
}

/// Who takes places: an IPv4 address, a /64 of IPv6, within which a host has as many addresses as it likes, or
/// everybody who has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder(Option<IpAddr>);

impl From<Option<IpAddr>> for Holder {
    fn from(ip: Option<IpAddr>) -> Self {
        const NETWORK: u128 = !0 << 64;
        Self(ip.map(|ip| match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into(),
            v4 => v4,
        }))
    }
}

impl<K, T: Send + 'static> Pending<K, T> {
    /// `max`: places, at least 1.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            places: BTreeMap::new(),
            holders: Holders::default(),
            by_task: HashMap::new(),
            given_up: HashMap::new(),
            max: max.max(1),
            next: 0,
        }
    }

    /// Starts `work`; if there is no place, somebody else's work is given up.
    pub(crate) fn start(&mut self, key: K, holder: Holder, work: impl Future<Output = T> + Send + 'static) {
        if self.places.len() >= self.max {
            self.give_up_one();
        }
        let task = self.tasks.spawn(work);
        let age = self.next;
        self.by_task.insert(task.id(), age);
        self.places.insert(age, Place { key, holder, task });
        self.holders.add(holder, age);
        self.next = age.wrapping_add(1);
    }

    /// Gives up the task that works longest of the peer that holds most, if there is one.
    pub(crate) fn give_up_one(&mut self) {
        // Those that are done were in time; giving one of them up would free nothing.
        let works = |age: &u64| self.places.get(age).is_some_and(|place| !place.task.is_finished());
        let chosen = self.holders.by_rank().find(works);
        if let Some((age, place)) = chosen.and_then(|age| self.places.remove_entry(&age)) {
            self.holders.remove(place.holder, age);
            place.task.abort();
            self.by_task.remove(&place.task.id());
            self.given_up.insert(place.task.id(), place.key);
        }
    }

    /// The next result; `Pending` as long as there is none, with or without tasks.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended<K, T>> {
        loop {
            let (id, result) = match self.tasks.poll_join_next_with_id(cx) {
                Poll::Ready(Some(Ok((id, result)))) => (id, Some(result)),
                Poll::Ready(Some(Err(error))) => (error.id(), None),
                // Anyone who starts a task polls again.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            };
            let given_up = self.given_up.remove(&id);
            if let Some(age) = self.by_task.remove(&id)
                && let Some(place) = self.places.remove(&age)
            {
                self.holders.remove(place.holder, age);
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

/// The places of each holder, and the holders by how many they have.
#[derive(Debug, Default)]
struct Holders {
    ages: HashMap<Holder, BTreeSet<u64>>,
    /// Most places first; of two with as many, the one whose oldest place is older.
    ranks: BTreeMap<(Reverse<usize>, u64), Holder>,
}

impl Holders {
    fn add(&mut self, holder: Holder, age: u64) {
        self.change(holder, |ages| ages.insert(age));
    }

    fn remove(&mut self, holder: Holder, age: u64) {
        self.change(holder, |ages| ages.remove(&age));
    }

    fn change(&mut self, holder: Holder, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let ages = self.ages.entry(holder).or_default();
        if let Some(rank) = rank(ages) {
            self.ranks.remove(&rank);
        }
        change(ages);
        match rank(ages) {
            Some(rank) => {
                self.ranks.insert(rank, holder);
            }
            None => {
                self.ages.remove(&holder);
            }
        }
    }

    /// Every place, those of the first holder first, oldest first.
    fn by_rank(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranks.values().filter_map(|holder| self.ages.get(holder)).flatten().copied()
    }
}

/// Ages are unique, and so are ranks.
fn rank(ages: &BTreeSet<u64>) -> Option<(Reverse<usize>, u64)> {
    ages.first().map(|oldest| (Reverse(ages.len()), *oldest))
}
