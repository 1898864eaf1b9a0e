//! The registry: which connections are open now, for whoever lists or cuts them.
//!
//! Bounded by the connections that there may be. Sharded, so that workers seldom meet; an entry is locked only when a
//! room has something to say about it, never across an await.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use truepeer::PeerAddress;

use crate::engine;
use crate::rooms::record::{Entrance, Entry};

const SHARDS: usize = 16;
const SHARD_MASK: u64 = SHARDS as u64 - 1;

/// Open connections with the number of each, in places that are used again.
type Shard = Slab<(u64, Arc<Entry>)>;

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
        Self(Arc::new(Inner { shards, next: AtomicU64::new(0) }))
    }
}

impl Registry {
    /// Lists a connection, whose id ends with `id`, until the returned value is dropped.
    #[must_use]
    pub fn open(&self, entrance: &Arc<Entrance>, id: u64, peer: PeerAddress) -> Listed {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::new(entrance, id, peer, engine::wall()));
        let shard = u8::try_from(number & SHARD_MASK).unwrap_or_default();
        let place = self.shard(shard).map(|mut shard| shard.insert((number, Arc::clone(&entry))));
        // There are not so many connections.
        let place = place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX);
        Listed { entry, listing: Listing { registry: self.clone(), shard, place } }
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
            shard.iter().map(|(_, (number, entry))| (*number, Arc::clone(entry))).collect()
        })
    }

    /// Cuts every connection that `which` says; returns how many.
    pub fn cut(&self, which: impl Fn(&Entry) -> bool) -> usize {
        let chosen = self.list().into_iter().filter(|entry| which(entry));
        chosen.map(|entry| entry.cut()).count()
    }

    fn shard(&self, at: u8) -> Option<MutexGuard<'_, Shard>> {
        self.0.shards.get(usize::from(at)).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A listed connection.
#[derive(Debug)]
pub struct Listed {
    /// What is listed.
    pub entry: Arc<Entry>,
    /// As long as it is.
    pub listing: Listing,
}

/// A place in the list; dropping it takes the connection off.
#[derive(Debug)]
pub struct Listing {
    registry: Registry,
    shard: u8,
    place: u32,
}

impl Drop for Listing {
    fn drop(&mut self) {
        let place = self.place as usize;
        let removed = self.registry.shard(self.shard).and_then(|mut shard| shard.try_remove(place));
        // It may be the last of it: what it holds is freed behind the lock, which all workers share.
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::protocol::Protocol;

    fn open(registry: &Registry, last: u8) -> Listed {
        let peer = PeerAddress::tcp(([192, 0, 2, last], 1).into());
        registry.open(&Entrance::here("smtp".into(), Protocol::Smtp, "id-"), last.into(), peer)
    }

    #[test]
    fn what_is_open_is_listed_and_what_is_closed_is_not() {
        let registry = Registry::default();
        let listed: Vec<_> = (1..=40).map(|last| open(&registry, last)).collect();
        assert_eq!(registry.list().len(), 40);
        assert_eq!(registry.list().first().map(|entry| entry.id()), Some("id-1".into()));
        drop(listed);
        assert!(registry.list().is_empty());
    }

    #[test]
    fn only_the_chosen_are_cut() {
        let registry = Registry::default();
        let (first, _second) = (open(&registry, 1), open(&registry, 2));
        let client = PeerAddress::tcp(([203, 0, 113, 7], 4711).into());
        first.entry.identified(truepeer::ClientIdentity::direct(client, None).unwrap());
        let cut = registry.cut(|entry| entry.identity().is_some());
        assert_eq!(cut, 1);
    }
}
