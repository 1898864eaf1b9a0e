//! The registry: which connections are open now, for whoever lists or cuts them.
//!
//! Bounded by the connections that there may be. Sharded, so that workers seldom meet; an entry is locked only when a
//! room has something to say about it, never across an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use truepeer::{Endpoint, PeerAddress};

use crate::engine::{Traffic, Wake};
use crate::facts::protocol::Protocol;

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

/// One open connection.
#[derive(Debug)]
pub struct Entry {
    /// The connection's id, as in its record.
    pub id: String,
    /// Where it came in.
    pub listener: Arc<str>,
    /// The language there.
    pub protocol: Protocol,
    /// Our socket's other end.
    pub peer: PeerAddress,
    /// When it was accepted.
    pub since: SystemTime,
    /// Bytes so far.
    pub traffic: Traffic,
    found: Mutex<Found>,
    cut: Wake,
}

/// What was found out on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether its header, if one was due, is complete.
    pub header: HeaderState,
    /// Whom it is for; `None` for a proxy's own connection, and while the header is awaited.
    pub client: Option<Endpoint>,
    /// The backend, and which of its addresses.
    pub backend: Option<(Arc<str>, String)>,
}

/// Whether it is known whom a connection is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderState {
    /// Not yet.
    #[default]
    Awaited,
    /// It is.
    Known,
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
        let entry = Arc::new(Entry {
            id,
            listener,
            protocol,
            peer,
            since: SystemTime::now(),
            traffic: Traffic::default(),
            found: Mutex::default(),
            cut: Wake::default(),
        });
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
        chosen.map(|entry| entry.cut.wake()).count()
    }

    fn with_shard<T>(&self, key: u64, act: impl FnOnce(&mut HashMap<u64, Arc<Entry>>) -> T) -> Option<T> {
        let at = key.checked_rem(SHARDS as u64)?;
        let shard = self.0.shards.get(usize::try_from(at).ok()?)?;
        Some(act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Entry {
    /// What was found out so far.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rung when somebody cuts this connection.
    #[must_use]
    pub fn cut(&self) -> &Wake {
        &self.cut
    }

    /// Notes whom it is for.
    pub fn identified(&self, client: Option<Endpoint>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.header = HeaderState::Known;
        found.client = client;
    }

    /// Notes which backend it reached.
    pub fn reached(&self, backend: Arc<str>, address: String) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).backend = Some((backend, address));
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
        first.entry.identified(Some(Endpoint::from(std::net::SocketAddr::from(([203, 0, 113, 7], 4711)))));
        let cut = registry.cut(|entry| entry.found().client.is_some());
        assert_eq!(cut, 1);
    }
}
