//! What is remembered of trusted peers: whether a header of theirs ever came, and when they came without.
//!
//! For explanations only; it decides nothing. Pure but for its lock, which nobody holds for long; the time is an argument.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is remembered; shared by all workers, cheap to clone. Lives as long as the server.
#[derive(Debug, Clone, Default)]
pub struct Acquaintances(Arc<Mutex<HashMap<Key, Acquaintance>>>);

/// Who is remembered, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    listener: Arc<str>,
    peer: IpAddr,
}

/// One peer of one listener.
#[derive(Debug, Clone, Copy, Default)]
struct Acquaintance {
    sends_headers: bool,
    without: Visits,
    /// Whether it was said that it is a client, too.
    is_said: bool,
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
    /// The most peers that are remembered, over all listeners. One more takes the place of one that sends no headers, or
    /// of any other.
    pub const MOST: usize = 4096;

    /// A header of `peer` came to `listener`.
    pub fn sent_header(&self, listener: &Arc<str>, peer: IpAddr) {
        entry(&mut self.lock(), listener, peer).sends_headers = true;
    }

    /// `peer` came to `listener` without a header; what was known of it, this time included.
    pub fn came_without(&self, listener: &Arc<str>, peer: IpAddr, at: Instant) -> Known {
        let mut all = self.lock();
        let found = entry(&mut all, listener, peer);
        found.without.note(at);
        Known { sends_headers: found.sends_headers, rhythm: found.without.rhythm() }
    }

    /// Whether `client`, whom a header names to `listener`, is worth a word: it sends headers here itself, or `is_listed`
    /// as a proxy, and nothing was said of it yet.
    pub fn is_news(&self, listener: &Arc<str>, client: IpAddr, is_listed: impl FnOnce() -> bool) -> bool {
        let mut all = self.lock();
        let known =
            all.get(&Key { listener: Arc::clone(listener), peer: client }).copied().unwrap_or_default();
        if known.is_said || !(known.sends_headers || is_listed()) {
            return false;
        }
        entry(&mut all, listener, client).is_said = true;
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Acquaintance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The peers whose headers one worker has seen last, so that it need not tell the others again and again.
#[derive(Debug, Default)]
pub struct Recent(RefCell<VecDeque<(Arc<str>, IpAddr)>>);

impl Recent {
    /// The most of them: there are few proxies, and each is asked about at each of its connections.
    const MOST: usize = 16;

    /// Whether `peer` is not among them, and makes it one.
    pub fn is_new(&self, listener: &Arc<str>, peer: IpAddr) -> bool {
        let mut recent = self.0.borrow_mut();
        if recent.iter().any(|(at, known)| *known == peer && Arc::ptr_eq(at, listener)) {
            return false;
        }
        if recent.len() >= Self::MOST {
            recent.pop_front();
        }
        recent.push_back((Arc::clone(listener), peer));
        true
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

fn entry<'a>(
    all: &'a mut HashMap<Key, Acquaintance>,
    listener: &Arc<str>,
    peer: IpAddr,
) -> &'a mut Acquaintance {
    let key = Key { listener: Arc::clone(listener), peer };
    if all.len() >= Acquaintances::MOST && !all.contains_key(&key) {
        let least = all.iter().find(|(_, known)| !known.sends_headers).or_else(|| all.iter().next());
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            all.remove(&key);
        }
    }
    all.entry(key).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_rhythm_shows_after_some_times_and_ends_with_it() {
        let (all, listener, start) = (Acquaintances::default(), Arc::from("a"), Instant::now());
        let at = |millis| start.checked_add(Duration::from_millis(millis)).unwrap();
        let rhythm = |millis| all.came_without(&listener, ip(1), at(millis)).rhythm.map(|gap| gap.as_secs());
        let times = [0, 5_000, 10_100, 15_000, 20_050, 25_000, 26_000, 31_000, 36_000, 41_000, 46_000];
        let found: Vec<_> = times.map(rhythm).to_vec();
        assert_eq!(found[..4], [None; 4]);
        assert_eq!((found[4], found[5].is_some(), found[6]), (Some(5), true, None));
        assert_eq!(found[10], Some(5));
        // Many at once are no check.
        for millis in (46_100..47_000).step_by(100) {
            assert_eq!(rhythm(millis), None);
        }
    }

    #[test]
    fn headers_are_remembered_for_each_listener_and_the_memory_is_bounded() {
        let (all, a, b) = (Acquaintances::default(), Arc::from("a"), Arc::from("b"));
        let now = Instant::now();
        all.sent_header(&a, ip(0));
        for other in 1..=u32::try_from(Acquaintances::MOST).unwrap() + 100 {
            let _ = all.came_without(&a, ip(other), now);
        }
        assert_eq!(all.lock().len(), Acquaintances::MOST);
        assert!(all.came_without(&a, ip(0), now).sends_headers, "who sends headers goes last");
        assert!(!all.came_without(&b, ip(0), now).sends_headers);
    }

    #[test]
    fn a_worker_tells_of_a_peer_once_while_it_is_recent() {
        let (recent, listener) = (Recent::default(), Arc::from("a"));
        assert!(recent.is_new(&listener, ip(0)) && !recent.is_new(&listener, ip(0)));
        assert!((1..=16).all(|other| recent.is_new(&listener, ip(other))));
        assert!(recent.is_new(&listener, ip(0)), "sixteen others came since");
        assert_eq!(recent.0.borrow().len(), Recent::MOST);
    }

    #[test]
    fn a_client_that_is_a_proxy_is_news_once() {
        let (all, listener) = (Acquaintances::default(), Arc::from("a"));
        assert!(!all.is_news(&listener, ip(1), || false));
        all.sent_header(&listener, ip(1));
        assert!(all.is_news(&listener, ip(1), || false));
        assert!(!all.is_news(&listener, ip(1), || true));
        assert!(all.is_news(&listener, ip(2), || true));
        assert!(!all.is_news(&listener, ip(2), || true));
    }
}
