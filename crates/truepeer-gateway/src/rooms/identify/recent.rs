//! What one worker tells the others of its peers: each new one at once, and what changes nothing in batches, so that as a
//! rule no connection takes a lock for it.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use truepeer::proto::Version;

use super::habit::Did;
use crate::facts::address::is_near;

/// What is told of one peer, and of all connections of its listener since it was told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerReport {
    /// Connections at the listener of which it is known what their peer did.
    pub(super) all: u64,
    /// Those in which this peer was trusted and sent no header, ...
    pub(super) none: u64,
    /// ... in which it was not trusted and sent one, ...
    pub(super) unlisted: u64,
    /// ... and in which it came as a client, from near.
    pub(super) itself: u64,
    /// Whether it was trusted and sent a header.
    pub(super) sent: bool,
    /// What headers told that named a client.
    pub(super) headers: Headers,
}

/// What a header told of its client, besides the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFacts {
    /// The header's version.
    pub version: Version,
    /// Whether it says that the client used TLS.
    pub secure: bool,
}

/// Headers that named a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers {
    /// Those of version 1 ...
    pub v1: u64,
    /// ... and of version 2.
    pub v2: u64,
    /// Those among them that told of TLS.
    pub secure: u64,
}

impl Headers {
    /// How many.
    #[must_use]
    pub fn all(self) -> u64 {
        self.v1.saturating_add(self.v2)
    }

    pub(super) fn add(&mut self, more: Self) {
        self.v1 = self.v1.saturating_add(more.v1);
        self.v2 = self.v2.saturating_add(more.v2);
        self.secure = self.secure.saturating_add(more.secure);
    }
}

impl PeerReport {
    /// Of one connection from `peer`.
    #[must_use]
    pub(super) fn of(did: Did, peer: IpAddr) -> Self {
        let one = |wanted: Did| u64::from(did == wanted);
        Self {
            all: 1,
            none: one(Did::SentNone),
            unlisted: one(Did::SentUnlisted),
            // Clients from everywhere are no habit of one peer.
            itself: if is_near(peer) { one(Did::CameItself) } else { 0 },
            sent: did == Did::SentHeader,
            headers: Headers::default(),
        }
    }
}

/// The peers that one worker has seen lately, and what it has not told of them.
#[derive(Debug, Default)]
pub struct RecentPeers(RefCell<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// By listener and address. Each is asked about at each of its connections, so that nothing may be searched.
    peers: HashMap<(usize, IpAddr), Peer>,
    /// Connections that were not told yet, by listener.
    untold: Vec<(Arc<str>, u64)>,
}

#[derive(Debug)]
struct Peer {
    /// The listener that it came to, whose address in memory is no other's meanwhile.
    _listener: Arc<str>,
    /// Whether it was told that a header of it came.
    sent: bool,
    /// Connections as a client that were not told yet; fewer than [`RecentPeers::BATCH`].
    itself: u8,
    /// Headers that were not told yet, as few.
    headers: FewHeaders,
    /// How many were; [`RecentPeers::ONE_BY_ONE`] stands for more.
    told: u8,
}

/// [`Headers`] that are few.
#[derive(Debug, Clone, Copy, Default)]
struct FewHeaders {
    v1: u8,
    v2: u8,
    secure: u8,
}

impl FewHeaders {
    fn all(self) -> u8 {
        self.v1.saturating_add(self.v2)
    }

    fn add(&mut self, header: HeaderFacts) {
        let count = if header.version == Version::V1 { &mut self.v1 } else { &mut self.v2 };
        *count = count.saturating_add(1);
        self.secure = self.secure.saturating_add(header.secure.into());
    }
}

impl From<FewHeaders> for Headers {
    fn from(FewHeaders { v1, v2, secure }: FewHeaders) -> Self {
        Self { v1: v1.into(), v2: v2.into(), secure: secure.into() }
    }
}

impl RecentPeers {
    /// The most peers, as many as are remembered for one listener. They are proxies and clients from near, of whom hundreds
    /// come by turns where a cluster has as many ways in.
    pub(super) const MOST: usize = 512;
    /// The most connections of one near client, and of a listener, that are told together.
    const BATCH: u8 = 16;
    const LISTENER_BATCH: u64 = 64;
    /// So many headers of a peer are told one by one: whoever looks at a quiet server sees each.
    const ONE_BY_ONE: u8 = 64;
    /// The most listeners whose connections are counted.
    const LISTENERS: usize = 256;

    /// Whether it was not told lately that a header of `peer` came; from now on it was.
    pub fn is_new(&self, listener: &Arc<str>, peer: IpAddr) -> bool {
        self.0.borrow_mut().peer(listener, peer, |known| !std::mem::replace(&mut known.sent, true))
    }

    /// A connection of `peer` has ended, in which it did this, and sent such a header for a client; what is to be told
    /// now, if something is.
    pub fn ended(
        &self,
        listener: &Arc<str>,
        peer: IpAddr,
        did: Did,
        header: Option<HeaderFacts>,
    ) -> Option<PeerReport> {
        let mut seen = self.0.borrow_mut();
        let mut told = PeerReport::of(did, peer);
        let is_due = match did {
            Did::SentNone | Did::SentUnlisted => true,
            Did::SentHeader => {
                let (is_new, headers) = seen.peer(listener, peer, |known| {
                    let is_new = !std::mem::replace(&mut known.sent, true);
                    (is_new, known.headers_due(header))
                });
                told.headers = headers;
                is_new || headers.all() > 0
            }
            Did::CameItself if told.itself == 0 => false,
            Did::CameItself => {
                told.itself = seen.peer(listener, peer, |known| {
                    known.itself = known.itself.saturating_add(1);
                    if known.itself < Self::BATCH { 0 } else { std::mem::take(&mut known.itself).into() }
                });
                told.itself > 0
            }
        };
        told.all = seen.all(listener, |untold| {
            *untold = untold.saturating_add(1);
            if is_due || *untold >= Self::LISTENER_BATCH { std::mem::take(untold) } else { 0 }
        });
        (told.all > 0).then_some(told)
    }
}

impl Peer {
    fn new(listener: Arc<str>) -> Self {
        Self { _listener: listener, sent: false, itself: 0, headers: FewHeaders::default(), told: 0 }
    }

    /// One header more; those that are to be told now.
    fn headers_due(&mut self, header: Option<HeaderFacts>) -> Headers {
        if let Some(header) = header {
            self.headers.add(header);
        }
        if self.told >= RecentPeers::ONE_BY_ONE && self.headers.all() < RecentPeers::BATCH {
            return Headers::default();
        }
        self.told = self.told.saturating_add(self.headers.all()).min(RecentPeers::ONE_BY_ONE);
        std::mem::take(&mut self.headers).into()
    }
}

impl Seen {
    /// Does something with what is known of a peer.
    fn peer<T>(&mut self, listener: &Arc<str>, ip: IpAddr, act: impl FnOnce(&mut Peer) -> T) -> T {
        let key = (Arc::as_ptr(listener).cast::<u8>().addr(), ip);
        if self.peers.len() >= RecentPeers::MOST && !self.peers.contains_key(&key) {
            // Each is told once more, and what was counted of it and not told yet is not; beside searching for the one seen
            // last, that is nothing.
            self.peers.clear();
        }
        act(self.peers.entry(key).or_insert_with(|| Peer::new(Arc::clone(listener))))
    }

    /// Does something with the count of a listener.
    fn all<T>(&mut self, listener: &Arc<str>, act: impl FnOnce(&mut u64) -> T) -> T {
        if let Some((_, count)) = self.untold.iter_mut().find(|(known, _)| known == listener) {
            return act(count);
        }
        if self.untold.len() >= RecentPeers::LISTENERS {
            // Mostly of listeners that a reload has removed.
            self.untold.clear();
        }
        let mut count = 0;
        let result = act(&mut count);
        self.untold.push((Arc::clone(listener), count));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_worker_tells_of_a_peer_once_while_it_is_recent() {
        let (recent, listener) = (RecentPeers::default(), Arc::from("a"));
        assert!(recent.is_new(&listener, ip(0)) && !recent.is_new(&listener, ip(0)));
        assert!(recent.is_new(&Arc::from("a"), ip(0)), "another listener, of the same name after a reload");
        let most = u32::try_from(RecentPeers::MOST).unwrap();
        assert!((2..most).all(|other| recent.is_new(&listener, ip(other))));
        assert!(!recent.is_new(&listener, ip(0)), "so many come by turns");
        assert_eq!(recent.0.borrow().peers.len(), RecentPeers::MOST);
        assert!(recent.is_new(&listener, ip(most)));
        assert!(recent.is_new(&listener, ip(0)), "there was no room for one more");
        assert_eq!(recent.0.borrow().peers.len(), 2);
    }
}
