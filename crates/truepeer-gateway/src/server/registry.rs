//! The registry: which connections are open now, for whoever lists or cuts them.
//!
//! Bounded by the connections that there may be. Sharded, so that workers seldom meet; an entry is locked only when a
//! room has something to say about it, never across an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use truepeer::PeerAddress;

use crate::engine;
use crate::facts::protocol::Protocol;
use crate::rooms::record::Entry;

const SHARDS: usize = 16;

type Shard = Mutex<HashMap<u64, Arc<Entry>>>;

/// All open connections of a server.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: [Shard; SHARDS],
    next: AtomicU64,
}

impl Default for Registry {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Shard::default());
        Self(Arc::new(Inner { shards, next: AtomicU64::new(0) }))
    }
}

impl Registry {
    /// Lists a connection, until the returned value is dropped.
    #[must_use]
    pub fn open(&self, id: String, listener: Arc<str>, protocol: Protocol, peer: PeerAddress) -> Listed {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::new(id, listener, protocol, peer, engine::wall()));
        self.with_shard(key, |shard| shard.insert(key, Arc::clone(&entry)));
        Listed { registry: self.clone(), key, entry }
    }

    /// Those that are open now, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let mut entries = Vec::new();
        for shard in &self.0.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            entries.extend(shard.iter().map(|(key, entry)| (*key, Arc::clone(entry))));
        }
        // By number, not by time of day: a clock may be set back.
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Cuts every connection that `which` says; returns how many.
    pub fn cut(&self, which: impl Fn(&Entry) -> bool) -> usize {
        let chosen = self.list().into_iter().filter(|entry| which(entry));
        chosen.map(|entry| entry.cut().wake()).count()
    }

    fn with_shard<T>(&self, key: u64, act: impl FnOnce(&mut HashMap<u64, Arc<Entry>>) -> T) -> Option<T> {
        let at = key.checked_rem(SHARDS as u64)?;
        let shard = self.0.shards.get(usize::try_from(at).ok()?)?;
        Some(act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A listed connection; dropping it takes it off the list.
#[derive(Debug)]
pub struct Listed {
    registry: Registry,
    key: u64,
    /// What is listed.
    pub entry: Arc<Entry>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.registry.with_shard(self.key, |shard| shard.remove(&self.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(registry: &Registry, last: u8) -> Listed {
        let peer = PeerAddress::tcp(([192, 0, 2, last], 1).into());
        registry.open(format!("id-{last}"), "smtp".into(), Protocol::Smtp, peer)
    }

    #[test]
    fn what_is_open_is_listed_and_what_is_closed_is_not() {
        let registry = Registry::default();
        let listed: Vec<_> = (1..=40).map(|last| open(&registry, last)).collect();
        assert_eq!(registry.list().len(), 40);
        assert_eq!(registry.list().first().map(|entry| entry.id.clone()), Some("id-1".to_owned()));
        drop(listed);
        assert!(registry.list().is_empty());
    }

    #[test]
    fn only_the_chosen_are_cut() {
        let registry = Registry::default();
        let (first, _second) = (open(&registry, 1), open(&registry, 2));
        first
            .entry
            .identified(Some(truepeer::Endpoint::from(std::net::SocketAddr::from(([203, 0, 113, 7], 4711)))));
        let cut = registry.cut(|entry| entry.found().client.is_some());
        assert_eq!(cut, 1);
    }
}
