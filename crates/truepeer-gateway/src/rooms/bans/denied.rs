//! The bans of a running server: asked by every connection, changed by the operator, kept in a file.
//!
//! The table itself is `bans`; here it is shared. Connections read under a lock that is held for one search, and not
//! at all while no ban is set. Changes come from the control thread only; none is answered before it is in the state
//! file, which is written once for those that come together. This is where the clocks are read.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use truepeer::TrustPolicy;

use crate::rooms::access::{AccessRules, Decision, Why};
use crate::rooms::bans::clock::{Clock, Moment};
use crate::rooms::bans::journal::Journal;
use crate::rooms::bans::state::{self, Change, StateError};
use crate::rooms::bans::{Added, Ban, BanChange, BanError, Bans, Changed, Lifted, Protected};
use crate::rooms::trust::{Meaning, Named};

/// The bans; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Denied(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    /// How many are kept, so that a server without bans asks no lock.
    count: AtomicUsize,
    table: RwLock<Table>,
    /// Held while changes are made and kept, so that they are in the file in the order in which they were made.
    file: Mutex<Option<Journal>>,
    /// How far the wall clock was ahead of steady time when all ends in the file were right by it, in seconds.
    ahead: AtomicI64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            clock: Clock::new(now()),
            count: AtomicUsize::default(),
            table: RwLock::default(),
            file: Mutex::default(),
            ahead: AtomicI64::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    bans: Bans,
    listeners: Vec<Guarded>,
}

/// What bans have to know of a listener.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// Its name.
    pub listener: Arc<str>,
    /// The key of its trusted networks, for whoever wants to ban a proxy.
    pub key: String,
    /// Who may speak for others there: a ban would shut out everybody behind them.
    pub trust: TrustPolicy,
    /// Who may by name.
    pub names: Vec<Arc<Named>>,
    /// Whom its lists admit, whatever is banned.
    pub access: AccessRules,
}

/// Whether a change will be there after a restart.
#[derive(Debug)]
pub enum Kept {
    /// It is in the state file.
    InFile,
    /// There is no state file.
    InMemory,
    /// It could not be written.
    Failed(PathBuf, io::Error),
}

impl Denied {
    /// Takes over what the state file at `file` holds; what is wrong with it goes to the log.
    ///
    /// # Errors
    /// A file that cannot be read or is not ours: it must not be written over.
    pub fn restore(file: Option<PathBuf>, listeners: Vec<Guarded>) -> Result<Self, StateError> {
        let loaded = file.as_deref().map(state::load).transpose()?.unwrap_or_default();
        for bad in &loaded.bad_lines {
            let (cause, skipped) = (bad.to_string(), u64::try_from(loaded.skipped).unwrap_or(u64::MAX));
            tracing::warn!(event = "ban_skipped", key = "admin.state", cause, skipped);
        }
        let denied = Self::default();
        let began = denied.0.clock.now(now());
        let meanings = meanings(&listeners);
        let (bans, refused) = Bans::restore(loaded.bans, &protected(&listeners, &meanings), began);
        say_lifted(&refused);
        denied.0.count.store(bans.len(), Ordering::Release);
        *denied.0.table.write().unwrap_or_else(PoisonError::into_inner) = Table { bans, listeners };
        *denied.0.file.lock().unwrap_or_else(PoisonError::into_inner) = file.map(Journal::new);
        Ok(denied)
    }

    /// Takes the listeners of a new configuration: bans that touch their trusted networks are lifted.
    pub fn take(&self, listeners: Vec<Guarded>) {
        self.change(|table| table.listeners = listeners);
        self.release();
    }

    /// Lifts the bans that touch a trusted network, or what a trusted name stands for by now.
    pub fn release(&self) {
        let lifted = self.change(|table| {
            let meanings = meanings(&table.listeners);
            table.bans.release(&protected(&table.listeners, &meanings))
        });
        say_lifted(&lifted);
        if !lifted.is_empty()
            && let Kept::Failed(path, error) = self.save_all(now())
        {
            say_not_kept(&path, &error);
        }
    }

    /// Writes the state file anew if the wall clock was set since it was written, so that a restart finds every ban with
    /// the time that it has left. Blocks on the file.
    pub fn follow_clock(&self) {
        if let Some(Kept::Failed(path, error)) = self.follow_clock_at(now()) {
            say_not_kept(&path, &error);
        }
    }

    /// The ban that keeps `client` out.
    #[must_use]
    pub fn find(&self, client: IpAddr) -> Option<Ban> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.find_at(client, now())
    }

    /// Every ban in force.
    #[must_use]
    pub fn list(&self) -> Vec<Ban> {
        self.list_at(now())
    }

    /// How many are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count_at(now())
    }

    /// Makes these changes one after the other, and writes the state file once behind them. Blocks on the file.
    ///
    /// Returns what came of each, and whether it is kept; `None` if nothing had to be written.
    #[must_use]
    pub fn make(&self, changes: &[BanChange]) -> (Vec<Result<Changed, BanError>>, Option<Kept>) {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is given back in between, so that many changes keep no connection waiting.
        let made: Vec<_> = changes.iter().map(|change| self.make_at(change, now())).collect();
        let changes: Vec<_> = made.iter().filter_map(|made| made.as_ref().ok().and_then(to_keep)).collect();
        let kept = (!changes.is_empty()).then(|| match &mut *file {
            None => Kept::InMemory,
            Some(journal) => kept(journal.path().to_owned(), journal.keep(&changes, || self.list())),
        });
        drop(file);
        (made, kept)
    }

    /// Whether one of `bans` keeps out `client`, who came in at `listener`; those that a list admits there stay, as they
    /// would be let in again.
    #[must_use]
    pub fn ends(&self, bans: &Bans, listener: &str, client: IpAddr) -> bool {
        bans.find(client, now().wall).is_some() && !self.is_listed(listener, client)
    }

    fn find_at(&self, client: IpAddr, moment: Moment) -> Option<Ban> {
        let clock = self.0.clock;
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        table.bans.find(client, clock.now(moment)).map(|ban| clock.for_people(ban, moment))
    }

    fn list_at(&self, moment: Moment) -> Vec<Ban> {
        let clock = self.0.clock;
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let bans = table.bans.list(clock.now(moment));
        drop(table);
        bans.into_iter().map(|ban| clock.for_people(ban, moment)).collect()
    }

    /// Counted beside connections that look. Those that ended go only once they are most of the table, since all
    /// connections wait for that.
    fn count_at(&self, moment: Moment) -> usize {
        let now = self.0.clock.now(moment);
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let (kept, in_force) = (table.bans.len(), table.bans.count(now));
        drop(table);
        if kept > in_force.saturating_mul(2) {
            let _ = self.change(|table| table.bans.purge(now));
        }
        in_force
    }

    fn make_at(&self, change: &BanChange, moment: Moment) -> Result<Changed, BanError> {
        let clock = self.0.clock;
        let now = clock.now(moment);
        let shown = |ban| clock.for_people(ban, moment);
        self.change(|Table { bans, listeners }| match change {
            BanChange::Add(order) => {
                let meanings = meanings(listeners);
                bans.add(order, &protected(listeners, &meanings), now).map(|added| {
                    Changed::Added(match added {
                        Added::New(ban) => Added::New(shown(ban)),
                        Added::Replaced(ban) => Added::Replaced(shown(ban)),
                    })
                })
            }
            BanChange::Remove(network) => {
                let Lifted { ban, still, network } = bans.remove(*network, now);
                Ok(Changed::Removed(Lifted { ban: ban.map(shown), still: still.map(shown), network }))
            }
        })
    }

    fn is_listed(&self, listener: &str, client: IpAddr) -> bool {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let found = table.listeners.iter().find(|of| &*of.listener == listener);
        found.is_some_and(|of| matches!(of.access.decide(client), Decision::Admit(Why::Listed(_))))
    }

    fn change<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut table);
        self.0.count.store(table.bans.len(), Ordering::Release);
        result
    }

    fn follow_clock_at(&self, moment: Moment) -> Option<Kept> {
        let moved = self.0.clock.ahead(moment).saturating_sub(self.0.ahead.load(Ordering::Relaxed));
        if moved.unsigned_abs() < WORTH_WRITING || self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let kept = self.save_all(moment);
        // Said once if it cannot be written; the next change writes the whole file then.
        self.0.ahead.store(self.0.clock.ahead(moment), Ordering::Relaxed);
        Some(kept)
    }

    fn save_all(&self, moment: Moment) -> Kept {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *file {
            None => Kept::InMemory,
            Some(journal) => kept(journal.path().to_owned(), journal.write_anew(&self.list_at(moment))),
        }
    }
}

/// A clock that was set by fewer seconds is not worth writing the file for.
const WORTH_WRITING: u64 = 5;

fn kept(path: PathBuf, written: io::Result<()>) -> Kept {
    match written {
        Ok(()) => Kept::InFile,
        Err(error) => Kept::Failed(path, error),
    }
}

/// What the file must hear of a change; nothing of one that lifted no ban.
fn to_keep(changed: &Changed) -> Option<Change<'_>> {
    match changed {
        Changed::Added(added) => Some(Change::Added(added.ban())),
        Changed::Removed(lifted) => lifted.ban.as_ref().map(|ban| Change::Removed(ban.network)),
    }
}

fn now() -> Moment {
    Moment { steady: Instant::now(), wall: SystemTime::now() }
}

/// The trusted networks of every listener: a ban there would shut out everybody behind a proxy.
fn protected<'a>(listeners: &'a [Guarded], meanings: &'a [(String, Arc<Meaning>)]) -> Vec<Protected<'a>> {
    let networks = listeners.iter().map(|of| Protected { list: &of.key, networks: of.trust.trusted() });
    let names = meanings.iter().map(|(list, now)| Protected { list, networks: &now.networks });
    networks.chain(names).collect()
}

/// What the trusted names of these listeners stand for now, each with what it is called in a refusal.
fn meanings(listeners: &[Guarded]) -> Vec<(String, Arc<Meaning>)> {
    let named = listeners.iter().flat_map(|of| of.names.iter().map(move |named| (of, named)));
    named
        .map(|(of, named)| {
            let listener = &of.listener;
            let key = format!("server.listener.{listener}.proxy.trusted-names (`{}`)", named.name);
            (key, named.meaning())
        })
        .collect()
}

fn say_not_kept(path: &Path, error: &io::Error) {
    let (path, cause) = (path.display().to_string(), error.to_string());
    tracing::warn!(event = "bans_not_kept", path, cause);
}

fn say_lifted(lifted: &[(Ban, BanError)]) {
    for (ban, error) in lifted {
        let (ban, cause) = (ban.to_string(), error.to_string());
        tracing::warn!(event = "ban_lifted", ban, cause);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipnet::IpNet;

    use super::*;
    use crate::rooms::bans::BanOrder;
    use crate::rooms::bans::state::tests::Dir;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

    enum Jump {
        Forward,
        Back,
    }

    /// `passed` after `start`, with a wall clock that has jumped.
    fn after(start: Moment, passed: Duration, jump: &Jump) -> Moment {
        let wall = start.wall.checked_add(passed).unwrap();
        let wall = match jump {
            Jump::Forward => wall.checked_add(YEARS).unwrap(),
            Jump::Back => wall.checked_sub(YEARS).unwrap(),
        };
        Moment { steady: start.steady.checked_add(passed).unwrap(), wall }
    }

    #[test]
    fn a_ban_is_lifted_when_a_trusted_name_moves_to_its_address() {
        let denied = Denied::default();
        let named = Arc::new(Named::new("traefik".into()));
        denied.take(vec![Guarded {
            listener: "smtp".into(),
            key: "server.listener.smtp.proxy.trusted-networks".to_owned(),
            trust: TrustPolicy::off(),
            names: vec![Arc::clone(&named)],
            access: AccessRules::default(),
        }]);
        let proxy = IpAddr::from([172, 18, 0, 5]);
        let order = || {
            let (network, reason) = (IpNet::from(proxy), crate::rooms::bans::Reason::new("test"));
            BanChange::Add(BanOrder { network, lasts: "1h".parse().unwrap(), reason })
        };
        denied.make_at(&order(), now()).unwrap();
        assert!(denied.find(proxy).is_some());
        named.take(Ok(vec![proxy]), SystemTime::now(), &[]);
        denied.release();
        assert_eq!(denied.find(proxy), None);
        let error = denied.make_at(&order(), now()).unwrap_err().to_string();
        assert!(error.contains("server.listener.smtp.proxy.trusted-names (`traefik`)"), "{error}");
    }

    #[test]
    fn a_ban_lasts_as_long_as_ordered_whatever_the_wall_clock_does() {
        for jump in [Jump::Forward, Jump::Back] {
            let denied = Denied::default();
            let (start, client) = (now(), IpAddr::from([203, 0, 113, 7]));
            let order = BanOrder {
                network: IpNet::from(client),
                lasts: "1h".parse().unwrap(),
                reason: crate::rooms::bans::Reason::new("test"),
            };
            denied.make_at(&BanChange::Add(order), start).unwrap();
            let late = after(start, HOUR / 2, &jump);
            let found = denied.find_at(client, late).unwrap();
            assert_eq!(denied.list_at(late), std::slice::from_ref(&found));
            // What is said, and what a restart would read, is true by the clock as it is now: half an hour is left.
            let left = found.until.duration_since(late.wall).unwrap().as_secs();
            assert!(left.abs_diff(1800) <= 2, "{left}");
            assert!(found.until.duration_since(found.since).unwrap().as_secs().abs_diff(3600) <= 1);
            let (restored, refused) = Bans::restore([found], &[], late.wall);
            assert_eq!((restored.len(), refused.len()), (1, 0));

            let over = after(start, HOUR + Duration::from_secs(2), &jump);
            assert_eq!(denied.find_at(client, over), None);
            assert_eq!(denied.list_at(over), []);
        }
    }

    #[test]
    fn a_clock_that_is_set_after_the_last_change_ends_no_ban_at_the_next_start() {
        for jump in [Jump::Forward, Jump::Back] {
            let dir = Dir::new(match jump {
                Jump::Forward => "clock-forward",
                Jump::Back => "clock-back",
            });
            let denied = Denied::restore(Some(dir.state()), Vec::new()).unwrap();
            let (network, reason) =
                ("203.0.113.7/32".parse().unwrap(), crate::rooms::bans::Reason::new("test"));
            let order = BanOrder { network, lasts: "1h".parse().unwrap(), reason };
            let (_, kept) = denied.make(&[BanChange::Add(order)]);
            assert!(matches!(kept, Some(Kept::InFile)), "{kept:?}");
            // Nothing has happened, so nothing is written.
            assert!(denied.follow_clock_at(now()).is_none());
            let late = after(now(), HOUR / 2, &jump);
            assert!(matches!(denied.follow_clock_at(late), Some(Kept::InFile)));
            assert!(denied.follow_clock_at(late).is_none(), "once is enough");

            let loaded = state::load(&dir.state()).unwrap().bans;
            let (restored, _) = Bans::restore(loaded, &[], late.wall);
            let client = IpAddr::from([203, 0, 113, 7]);
            let left = |after: Duration| restored.find(client, late.wall.checked_add(after).unwrap());
            assert!(left(HOUR / 2 - Duration::from_secs(5)).is_some());
            assert!(left(HOUR / 2 + Duration::from_secs(5)).is_none());
        }
    }

    #[test]
    fn counting_bans_keeps_no_connection_waiting_and_forgets_those_that_ended() {
        let denied = Denied::default();
        let (start, client) = (now(), IpAddr::from([203, 0, 113, 7]));
        for (client, lasts) in [(client, "1h"), (IpAddr::from([203, 0, 113, 8]), "2h")] {
            let (network, reason) = (IpNet::from(client), crate::rooms::bans::Reason::new("test"));
            let order = BanOrder { network, lasts: lasts.parse().unwrap(), reason };
            denied.make_at(&BanChange::Add(order), start).unwrap();
        }
        // A connection that looks just now; whoever wants the table alone would wait for it, and all others with them.
        let looking = denied.0.table.read().unwrap();
        let (tell, counted) = std::sync::mpsc::sync_channel(1);
        let other = denied.clone();
        std::thread::spawn(move || tell.send(other.count()));
        assert_eq!(counted.recv_timeout(Duration::from_secs(20)), Ok(2));
        drop(looking);

        let kept = || denied.0.count.load(Ordering::Acquire);
        let late = |passed| after(start, passed, &Jump::Forward);
        assert_eq!((denied.count_at(late(HOUR + HOUR / 2)), kept()), (1, 2));
        assert_eq!((denied.count_at(late(3 * HOUR)), kept()), (0, 0));
    }

    #[test]
    fn a_restart_with_a_clock_that_is_years_behind_keeps_a_ban_no_longer_than_it_was_ordered_for() {
        let written = now();
        let ban = |lasts| Ban {
            network: "203.0.113.7/32".parse().unwrap(),
            since: written.wall,
            until: written.wall.checked_add(lasts).unwrap(),
            reason: crate::rooms::bans::Reason::new("test"),
        };
        let boot = written.wall.checked_sub(YEARS).unwrap();
        let (restored, _) = Bans::restore([ban(HOUR)], &[], boot);
        let client = IpAddr::from([203, 0, 113, 7]);
        assert!(restored.find(client, boot.checked_add(HOUR / 2).unwrap()).is_some());
        assert!(restored.find(client, boot.checked_add(HOUR).unwrap()).is_none());
    }
}
