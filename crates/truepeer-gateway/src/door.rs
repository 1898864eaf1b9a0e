//! A door: what the walk of a connection needs to know of its listener and of what it shares with others.
//!
//! One per listener and configuration, shared by all workers and swapped as a whole at reload; a connection keeps the
//! door that it came through. What changes meanwhile (addresses, readiness, counts) is read anew each time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use truepeer::{ClientIdentity, NetworkSet, PeerAddress, TrustDecision};

use crate::config::Listener;
use crate::engine::{Lingering, PendingHeaders, Reading};
use crate::observe::log::Log;
use crate::rooms::access::InsecureClients;
use crate::rooms::backend::Pool;
use crate::rooms::bans::denied::Denied;
use crate::rooms::identify::{Acquaintances, RecentPeers};
use crate::rooms::limits::Gate;
use crate::rooms::trust::Named;

/// What a connection's rooms read.
#[derive(Debug)]
pub struct Door {
    /// The listener that the connection came to.
    pub listener: Arc<Listener>,
    /// Proxies that its networks name each by itself.
    pub proxies: NetworkSet,
    /// Names whose present addresses are trusted beside its networks.
    pub names: Vec<Arc<Named>>,
    /// Where its clients go.
    pub pool: Arc<Pool>,
    /// Where those of them go who came over TLS, if elsewhere.
    pub pool_when_secure: Option<Arc<Pool>>,
    /// What greetings and refusals call this host.
    pub hostname: Arc<str>,
    /// Connections that proxies made for themselves.
    pub own_connections: OwnCount,
    /// Clients that are kept out for a while.
    pub denied: Denied,
    /// How many connections its clients may have.
    pub gate: Gate,
    /// Which clients no far peer can have.
    pub own_addresses: OwnAddresses,
    /// What is remembered of trusted peers.
    pub acquaintances: Acquaintances,
}

/// This machine's addresses and the backends': no client of a far peer has one of them. Kept current while both move.
#[derive(Debug, Clone, Default)]
pub struct OwnAddresses(Arc<ArcSwap<NetworkSet>>);

impl OwnAddresses {
    /// The addresses as they are now.
    #[must_use]
    pub fn now(&self) -> Arc<NetworkSet> {
        self.0.load_full()
    }

    /// Replaces them.
    pub fn set(&self, addresses: NetworkSet) {
        self.0.store(Arc::new(addresses));
    }
}

impl Door {
    /// Whether `peer` may speak for others here: by the lists of its listener, or by what a trusted name stands for now.
    #[must_use]
    pub fn trust(&self, peer: PeerAddress) -> TrustDecision {
        match (self.listener.trust.decide(peer), peer) {
            (TrustDecision::Direct | TrustDecision::Refuse, PeerAddress::Tcp(addr))
                if self.names.iter().any(|named| named.holds(addr.ip())) =>
            {
                TrustDecision::ExpectHeader
            }
            (decision, _) => decision,
        }
    }

    /// Whether `ip` is named here as a proxy by itself: by its address, not by a network around it, or by a trusted name.
    #[must_use]
    pub fn is_listed(&self, ip: IpAddr) -> bool {
        self.proxies.contains(ip) || self.names.iter().any(|named| named.holds(ip))
    }

    /// The backends that its clients are handed to.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        // Where TLS is required, nobody goes to the backend for the others.
        let plain = match (&self.pool_when_secure, self.listener.insecure) {
            (Some(_), InsecureClients::Refuse) => None,
            _ => Some(&self.pool),
        };
        plain.into_iter().chain(&self.pool_when_secure)
    }

    /// Whether all of its clients would be served now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.denied.sharing().is_awaited() && self.pools().all(|pool| pool.is_ready())
    }

    /// Whether a balancer that asks is to send clients here now: some of them would be served, and it is known whom
    /// other front doors keep out where that is required.
    #[must_use]
    pub fn is_open_for_clients(&self) -> bool {
        !self.denied.sharing().is_awaited() && self.is_reachable()
    }

    /// Whether some of its clients would be served now.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.pools().any(|pool| pool.is_ready())
    }

    /// How its connections are read before it is known where they go: a program that is given one reads on from there.
    #[must_use]
    pub fn reading(&self) -> Reading {
        if self.pools().any(|pool| pool.backend.exec().is_some()) { Reading::Exactly } else { Reading::Ahead }
    }

    /// Where the client of `identity` goes.
    #[must_use]
    pub fn pool_for(&self, identity: &ClientIdentity) -> &Pool {
        match &self.pool_when_secure {
            Some(pool) if identity.is_secure() => pool,
            _ => &self.pool,
        }
    }
}

/// What the connections of one worker share without locks.
#[derive(Debug)]
pub struct WorkerContext {
    /// Unfinished headers.
    pub pending: PendingHeaders,
    /// Connections that have heard why they are turned away.
    pub lingering: Lingering,
    /// Peers whose headers came lately.
    pub recent: RecentPeers,
    /// Where connection ids come from.
    pub ids: Box<str>,
    /// Where lines go.
    pub log: Log,
}

/// What the ids of one worker's connections begin with; `worker` tells it from the others. With a number behind it that
/// rises with each connection of the process, an id is unique on this host while the clock runs forward, and short enough
/// for a log line.
#[must_use]
pub fn ids_of(started: SystemTime, worker: usize) -> Box<str> {
    let micros = started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    format!("{micros:x}-{worker:x}-").into()
}

/// Counts the open connections that each proxy made for itself.
///
/// Bounded: there is an entry only for peers that are trusted and have one open.
#[derive(Debug, Clone, Default)]
pub struct OwnCount(Arc<Mutex<HashMap<Option<IpAddr>, u32>>>);

impl OwnCount {
    /// The most that one peer may have open.
    pub const MAX: u32 = 256;

    /// Counts one more; `None` if the peer has too many.
    #[must_use]
    pub fn enter(&self, peer: PeerAddress) -> Option<OwnPermit> {
        let key = peer.ip();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= Self::MAX {
            return None;
        }
        *count = count.saturating_add(1);
        Some(OwnPermit { counts: self.clone(), key })
    }
}

/// One of a proxy's own connections; dropping it counts it out.
#[derive(Debug)]
pub struct OwnPermit {
    counts: OwnCount,
    key: Option<IpAddr>,
}

impl Drop for OwnPermit {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry(self.key) {
            let left = entry.get().saturating_sub(1);
            if left == 0 {
                entry.remove();
            } else {
                entry.insert(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_may_have_so_many_of_its_own_and_other_proxies_as_many() {
        let counts = OwnCount::default();
        let proxy = |last| PeerAddress::tcp(([192, 0, 2, last], 1).into());
        let mut open: Vec<_> = (0..OwnCount::MAX).map(|_| counts.enter(proxy(1)).unwrap()).collect();
        assert!(counts.enter(proxy(1)).is_none());
        assert!(counts.enter(proxy(2)).is_some());
        open.pop();
        assert!(counts.enter(proxy(1)).is_some());
        drop(open);
        assert!(counts.0.lock().unwrap().is_empty());
    }

    #[test]
    fn ids_differ_by_start_and_worker() {
        let later = UNIX_EPOCH.checked_add(std::time::Duration::from_micros(0x65_2f00)).unwrap();
        assert_eq!((&*ids_of(UNIX_EPOCH, 3), &*ids_of(later, 15)), ("0-3-", "652f00-f-"));
    }
}
