//! The registry: which connections are open now, for whoever lists or cuts them.
//!
//! Bounded by the connections that there may be. Sharded, so that workers seldom meet; an entry is locked only when a
//! room has something to say about it, never across an await.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truepeer::PeerAddress;

use crate::engine;
use crate::rooms::record::{Entrance, Entry};

const SHARDS: usize = 16;
const SHARD_MASK: u64 = SHARDS as u64 - 1;

/// The bits of a listing that say in which shard it is.
const SHARD_BITS: u32 = SHARDS.ilog2();

/// Some of the open connections, in places that are used again. Eight bytes for each.
#[derive(Debug, Default)]
struct Shard {
    places: Vec<Option<Arc<Entry>>>,
    free: Vec<u32>,
}

impl Shard {
    fn insert(&mut self, entry: Arc<Entry>) -> u32 {
        if let Some(at) = self.free.pop()
            && let Some(place) = self.places.get_mut(at as usize)
        {
            *place = Some(entry);
            return at;
        }
        self.places.push(Some(entry));
        // There are not so many connections.
        u32::try_from(self.places.len()).unwrap_or(u32::MAX).saturating_sub(1)
    }

    fn remove(&mut self, at: u32) -> Option<Arc<Entry>> {
        let removed = self.places.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(removed)
    }
}

/// All open connections of a server.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    next: AtomicU64,
}

impl Default for Registry {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Inner { shards, next: AtomicU64::new(1) }))
    }
}

impl Registry {
    /// Lists a connection from `peer`; to be given to [`Registry::close`].
    #[must_use]
    pub fn open(&self, entrance: &Arc<Entrance>, peer: PeerAddress) -> (Arc<Entry>, Listing) {
        self.open_as(self.0.next.fetch_add(1, Ordering::Relaxed), entrance, peer)
    }

    /// As [`Registry::open`], with this `number`.
    pub(crate) fn open_as(
        &self,
        number: u64,
        entrance: &Arc<Entrance>,
        peer: PeerAddress,
    ) -> (Arc<Entry>, Listing) {
        let entry = Arc::new(Entry::new(entrance, number, peer, engine::wall()));
        let shard = u32::try_from(number & SHARD_MASK).unwrap_or_default();
        let place = self.shard(shard).map_or(u32::MAX, |mut shard| shard.insert(Arc::clone(&entry)));
        (entry, Listing(place << SHARD_BITS | shard))
    }

    /// Lists it no more.
    pub fn close(&self, Listing(listing): Listing) {
        let shard = self.shard(listing & (SHARD_MASK as u32));
        let removed = shard.and_then(|mut shard| shard.remove(listing >> SHARD_BITS));
        // It may be the last of it: what it holds is freed behind the lock, which all workers share.
        drop(removed);
    }

    /// Those that are open now, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let mut entries: Vec<_> = self.parts().flatten().collect();
        // By number, not by time of day: a clock may be set back.
        entries.sort_unstable_by_key(|(number, _)| *number);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Those that are open now with their numbers, which rise with time; one part after the other and in no order, each
    /// copied out by itself: whoever looks through very many keeps no worker waiting for longer than that takes.
    pub fn parts(&self) -> impl Iterator<Item = Vec<(u64, Arc<Entry>)>> + '_ {
        self.0.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.places.iter().flatten().map(|entry| (entry.number(), Arc::clone(entry))).collect()
        })
    }

    /// Cuts every connection that `which` says; returns how many.
    pub fn cut(&self, which: impl Fn(&Entry) -> bool) -> usize {
        let chosen = self.list().into_iter().filter(|entry| which(entry));
        chosen.map(|entry| entry.cut()).count()
    }

    fn shard(&self, at: u32) -> Option<MutexGuard<'_, Shard>> {
        self.0.shards.get(at as usize).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place in the list. Four bytes, since every connection has one.
#[derive(Debug, Clone, Copy)]
pub struct Listing(u32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::protocol::Protocol;

    fn open(registry: &Registry, last: u8) -> (Arc<Entry>, Listing) {
        let peer = PeerAddress::tcp(([192, 0, 2, last], 1).into());
        registry.open(&Entrance::here("smtp".into(), Protocol::Smtp, "id-"), peer)
    }

    #[test]
    fn what_is_open_is_listed_and_what_is_closed_is_not() {
        let registry = Registry::default();
        let listed: Vec<_> = (1..=40).map(|last| open(&registry, last)).collect();
        assert_eq!(registry.list().len(), 40);
        assert_eq!(registry.list().first().map(|entry| entry.id()), Some("id-1".into()));
        let (odd, even): (Vec<_>, Vec<_>) = listed.iter().partition(|(entry, _)| entry.number() % 2 == 1);
        odd.into_iter().for_each(|(_, listing)| registry.close(*listing));
        assert_eq!(registry.list().len(), 20);
        // Their places are used again, and no other connection is taken off instead.
        let more: Vec<_> = (41..=80).map(|last| open(&registry, last)).collect();
        let ids: Vec<_> = even
            .iter()
            .map(|(entry, _)| entry.id())
            .chain(more.iter().map(|(entry, _)| entry.id()))
            .collect();
        assert_eq!(registry.list().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ids);
        even.into_iter().chain(&more).for_each(|(_, listing)| registry.close(*listing));
        assert!(registry.list().is_empty());
    }

    #[test]
    fn only_the_chosen_are_cut() {
        let registry = Registry::default();
        let ((first, _), _second) = (open(&registry, 1), open(&registry, 2));
        let client = PeerAddress::tcp(([203, 0, 113, 7], 4711).into());
        first.identified(truepeer::ClientIdentity::direct(client, None).unwrap());
        let cut = registry.cut(|entry| entry.identity().is_some());
        assert_eq!(cut, 1);
    }
}
