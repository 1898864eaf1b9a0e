//! What is remembered of peers: whether a header of theirs ever came, when they came without, and how often they did what.
//!
//! For explanations and remarks only; it decides nothing. Shared by all workers behind one lock, which no connection takes
//! as a rule: each worker tells of its peers by its own [`super::RecentPeers`]. Pure otherwise; the time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::habit::{Habit, Remark};
use super::recent::{Headers, PeerReport, RecentPeers};
use crate::facts::address::is_near;

/// What is remembered; shared by all workers, cheap to clone. Lives as long as the server.
///
/// Memory: at most [`Acquaintances::PEERS`] near or trusted peers and as many strangers for each listener, about 80 bytes
/// each, and as many more for who did something else than send a header. They are kept apart, so that strangers do not make the operator's proxies forgotten.
#[derive(Debug, Clone, Default)]
pub struct Acquaintances(Arc<Mutex<Table>>);

type Table = HashMap<Arc<str>, AtListener>;

/// The peers of one listener.
#[derive(Debug, Default)]
struct AtListener {
    /// Connections of which it is known what their peer did.
    all: u64,
    /// Counts up with each look at a peer, so that it is known who was silent longest.
    turn: u64,
    known: HashMap<IpAddr, Acquaintance>,
    strangers: HashMap<IpAddr, Acquaintance>,
}

/// One peer of one listener.
#[derive(Debug, Default)]
struct Acquaintance {
    sends_headers: bool,
    /// What its headers told.
    headers: Headers,
    last_turn: u64,
    /// In a box, since most do nothing but send headers.
    odd: Option<Box<Odd>>,
}

/// What else a peer did.
#[derive(Debug, Default)]
struct Odd {
    without: Visits,
    /// Whether it was said that it is a client, too.
    is_said: bool,
    /// Connections in which it was trusted and sent no header, ...
    none: u64,
    /// ... in which it was not trusted and sent one, ...
    unlisted: u64,
    /// ... and in which it came as a client.
    itself: u64,
}

/// A peer whose headers came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Who.
    pub peer: IpAddr,
    /// Where.
    pub listener: Arc<str>,
    /// What they told.
    pub headers: Headers,
}

/// When a peer came without a header.
#[derive(Debug, Clone, Copy, Default)]
struct Visits {
    last: Option<Instant>,
    gap: Option<Duration>,
    /// How many gaps in a row were alike.
    alike: u32,
}

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether a header of it came to this listener before.
    pub sends_headers: bool,
    /// How far apart the times are when it came without one, if they are equally far apart.
    pub rhythm: Option<Duration>,
}

impl Acquaintances {
    /// Peers that are remembered for one listener, strangers and others each. One more takes the place of one that sends no
    /// headers, or of any other; of the one that was silent longest.
    pub const PEERS: usize = RecentPeers::MOST;
    /// From so many connections on it is a habit to send none.
    pub const SILENT: u64 = 10;
    /// From so many connections on it is remarkable that nearly all come from one address.
    pub const MANY: u64 = 100;

    /// A header of `peer` came to `listener`.
    pub fn sent_header(&self, listener: &Arc<str>, peer: IpAddr) {
        at(&mut self.lock(), listener).known(peer).sends_headers = true;
    }

    /// `peer` came to `listener` without a header; what was known of it, this time included.
    pub fn came_without(&self, listener: &Arc<str>, peer: IpAddr, when: Instant) -> Known {
        let mut all = self.lock();
        let found = at(&mut all, listener).known(peer);
        let without = &mut found.odd.get_or_insert_default().without;
        without.note(when);
        Known { sends_headers: found.sends_headers, rhythm: without.rhythm() }
    }

    /// Whether `client`, whom a header names to `listener`, is worth a word: it sends headers here itself, or `is_listed`
    /// as a proxy, and nothing was said of it yet.
    pub fn is_news(&self, listener: &Arc<str>, client: IpAddr, is_listed: impl FnOnce() -> bool) -> bool {
        let mut all = self.lock();
        let known = all.get(listener).and_then(|at| at.known.get(&client));
        let is_said = known.and_then(|known| known.odd.as_ref()).is_some_and(|odd| odd.is_said);
        if is_said || !(known.is_some_and(|known| known.sends_headers) || is_listed()) {
            return false;
        }
        at(&mut all, listener).known(client).odd.get_or_insert_default().is_said = true;
        true
    }

    /// Notes what one worker tells of `peer` at `listener`; the remark is there when it is due for the log.
    pub fn note(&self, listener: &Arc<str>, peer: IpAddr, told: PeerReport) -> Option<Remark> {
        let mut all = self.lock();
        let here = at(&mut all, listener);
        here.all = here.all.saturating_add(told.all);
        let (all, PeerReport { none, unlisted, itself, sent, headers, .. }) = (here.all, told);
        let added = none.saturating_add(unlisted).saturating_add(itself);
        if added == 0 && !sent && headers.all() == 0 {
            return None;
        }
        let found = if unlisted > 0 && !is_near(peer) { here.stranger(peer) } else { here.known(peer) };
        found.sends_headers |= sent;
        found.headers.add(headers);
        if added > 0 {
            let odd = found.odd.get_or_insert_default();
            odd.none = odd.none.saturating_add(none);
            odd.unlisted = odd.unlisted.saturating_add(unlisted);
            odd.itself = odd.itself.saturating_add(itself);
        }
        let (habit, count) = found.habit(peer, all)?;
        let new = match habit {
            Habit::UnlistedHeaders => unlisted,
            Habit::NeverAHeader => none,
            Habit::HidesClients => itself,
        };
        let due = count.checked_ilog10() > count.saturating_sub(new).checked_ilog10();
        due.then(|| Remark { peer, listener: Arc::clone(listener), habit, count })
    }

    /// Every peer whose headers named clients, those with most first; each worker may lag behind by a few.
    #[must_use]
    pub fn senders(&self) -> Vec<Sender> {
        let all = self.lock();
        let of = |(listener, at): (&Arc<str>, &AtListener)| {
            let sender = |(peer, known): (&IpAddr, &Acquaintance)| {
                let (peer, listener, headers) = (*peer, Arc::clone(listener), known.headers);
                (headers.all() > 0).then_some(Sender { peer, listener, headers })
            };
            at.known.iter().filter_map(sender).collect::<Vec<_>>()
        };
        let mut found: Vec<_> = all.iter().flat_map(of).collect();
        drop(all);
        found.sort_by_key(|sender| (std::cmp::Reverse(sender.headers.all()), sender.peer));
        found
    }

    /// Every habit that holds now, those with most connections first.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        let all = self.lock();
        let of = |(listener, at): (&Arc<str>, &AtListener)| {
            let remark = |(peer, known): (&IpAddr, &Acquaintance)| {
                let (habit, count) = known.habit(*peer, at.all)?;
                Some(Remark { peer: *peer, listener: Arc::clone(listener), habit, count })
            };
            at.known.iter().chain(&at.strangers).filter_map(remark).collect::<Vec<_>>()
        };
        let mut found: Vec<_> = all.iter().flat_map(of).collect();
        drop(all);
        found.sort_by(|a, b| (b.count, &a.listener, a.peer).cmp(&(a.count, &b.listener, b.peer)));
        found
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtListener {
    fn known(&mut self, peer: IpAddr) -> &mut Acquaintance {
        self.turn = self.turn.saturating_add(1);
        entry(&mut self.known, peer, self.turn)
    }

    fn stranger(&mut self, peer: IpAddr) -> &mut Acquaintance {
        self.turn = self.turn.saturating_add(1);
        entry(&mut self.strangers, peer, self.turn)
    }
}

impl Acquaintance {
    /// The habit that its counts show, of `all` connections at the listener.
    fn habit(&self, peer: IpAddr, all: u64) -> Option<(Habit, u64)> {
        let &Odd { none, unlisted, itself, .. } = self.odd.as_deref()?;
        let most = all.saturating_sub(all / 10);
        if unlisted > 0 {
            Some((Habit::UnlistedHeaders, unlisted))
        } else if none >= Acquaintances::SILENT && !self.sends_headers {
            Some((Habit::NeverAHeader, none))
        } else if itself >= Acquaintances::MANY && itself >= most && !peer.is_loopback() {
            Some((Habit::HidesClients, itself))
        } else {
            None
        }
    }
}

impl Visits {
    /// Nearer than this, times are those of clients, and of a proxy that tries again.
    const SHORTEST: Duration = Duration::from_secs(1);
    /// So many gaps alike are no accident.
    const ENOUGH: u32 = 3;

    fn note(&mut self, at: Instant) {
        let gap = self.last.replace(at).map(|last| at.saturating_duration_since(last));
        let is_alike = gap.zip(self.gap).is_some_and(|(gap, before)| {
            // Checks come with some jitter.
            gap >= Self::SHORTEST && gap.abs_diff(before).saturating_mul(10) <= gap.max(before)
        });
        self.alike = if is_alike { self.alike.saturating_add(1) } else { 0 };
        self.gap = gap;
    }

    fn rhythm(&self) -> Option<Duration> {
        self.gap.filter(|_| self.alike >= Self::ENOUGH)
    }
}

fn at<'a>(all: &'a mut Table, listener: &Arc<str>) -> &'a mut AtListener {
    all.entry(Arc::clone(listener)).or_default()
}

fn entry(peers: &mut HashMap<IpAddr, Acquaintance>, peer: IpAddr, turn: u64) -> &mut Acquaintance {
    if peers.len() >= Acquaintances::PEERS && !peers.contains_key(&peer) {
        let least = peers.iter().min_by_key(|(_, known)| (known.sends_headers, known.last_turn));
        if let Some(peer) = least.map(|(peer, _)| *peer) {
            peers.remove(&peer);
        }
    }
    let found = peers.entry(peer).or_default();
    found.last_turn = turn;
    found
}

#[cfg(test)]
mod tests;
