//! The bans of a running server: asked by every connection, changed by the operator, kept in a file.
//!
//! The table itself is `bans`; here it is shared. Connections read under a lock that is held for one search, and not
//! at all while no ban is set. Changes come from the control thread only; none is answered before it is in the state
//! file, which is written once for those that come together. This is where the clocks are read.

mod sharing;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use truepeer::TrustPolicy;

use crate::facts::address::ClientIp;
use crate::rooms::access::{AccessRules, Decision, Why};
use crate::rooms::bans::clock::{Clock, Moment};
use crate::rooms::bans::journal::Journal;
use crate::rooms::bans::mark::Mark;
use crate::rooms::bans::shared::Sharing;
use crate::rooms::bans::state::{Change, LoadedBans};
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
    /// Whether a thread waits to write the whole file.
    saving: AtomicBool,
    /// Whether another process makes the changes from now on.
    is_anothers: AtomicBool,
    /// How far the wall clock was ahead of steady time when all ends in the file were right by it, in seconds.
    ahead: AtomicI64,
    /// What other nodes are told, and how that goes.
    sharing: Sharing,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            clock: Clock::new(now()),
            count: AtomicUsize::default(),
            table: RwLock::default(),
            file: Mutex::default(),
            saving: AtomicBool::default(),
            is_anothers: AtomicBool::default(),
            ahead: AtomicI64::default(),
            sharing: Sharing::default(),
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
    /// The key of its trusted networks, for an order that would ban a proxy.
    pub key: String,
    /// Who may speak for others there: a ban would shut out everybody behind them.
    pub trust: TrustPolicy,
    /// Who may by name.
    pub names: Vec<Arc<Named>>,
    /// Whom its lists admit, whatever is banned.
    pub access: AccessRules,
}

/// What another process gets when it takes our place, and what is needed if it does not.
#[derive(Debug)]
pub struct HandedOver {
    /// The bans in force.
    pub bans: Vec<Ban>,
    journal: Option<Journal>,
}

/// Whether a change will be there after a restart.
#[derive(Debug)]
pub enum Persisted {
    /// It is in the state file.
    InFile,
    /// There is no state file.
    InMemory,
    /// It could not be written.
    Failed(PathBuf, io::Error),
}

impl Denied {
    /// Takes over what was `loaded` from the state file at `file`; what is wrong with it goes to the log.
    #[must_use]
    pub fn restore(file: Option<PathBuf>, loaded: LoadedBans, listeners: Vec<Guarded>) -> Self {
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
        denied
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
        if !lifted.is_empty() {
            self.save_aside();
        }
    }

    /// Writes the state file anew if the wall clock was set since it was written, so that a restart finds every ban
    /// with the time that it has left. Blocks on the file.
    pub fn follow_clock(&self) {
        if let Some(Persisted::Failed(path, error)) = self.follow_clock_at(now()) {
            say_not_kept(&path, &error);
        }
    }

    /// Makes and keeps no more changes, since another process takes our place: what is in force is its from now on.
    /// Waits for a change that is being kept.
    #[must_use]
    pub fn hand_over(&self) -> HandedOver {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_anothers.store(true, Ordering::Release);
        HandedOver { bans: self.list(), journal: file.take() }
    }

    /// The other process did not take our place.
    pub fn take_back(&self, given: HandedOver) {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        *file = given.journal;
        self.0.is_anothers.store(false, Ordering::Release);
    }

    /// Whether changes are another process's to make.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.0.is_anothers.load(Ordering::Acquire)
    }

    /// Takes what another process has in force, which may have changed since the state file was read, and keeps it.
    pub fn take_over(&self, bans: Vec<Ban>) {
        let began = self.0.clock.now(now());
        let refused = self.change(|table| {
            let meanings = meanings(&table.listeners);
            let (bans, refused) = Bans::restore(bans, &protected(&table.listeners, &meanings), began);
            table.bans = bans;
            refused
        });
        say_lifted(&refused);
        self.save_aside();
    }

    /// The ban that keeps `client` out.
    #[must_use]
    pub fn find(&self, client: impl Into<ClientIp>) -> Option<Ban> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.find_at(client.into(), now())
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
    pub fn make(&self, changes: &[BanChange]) -> (Vec<Result<Changed, BanError>>, Option<Persisted>) {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_handed_over() {
            return (changes.iter().map(|_| Err(BanError::HandedOver)).collect(), None);
        }
        // The lock is given back in between, so that many changes keep no connection waiting.
        let made: Vec<_> = changes.iter().map(|change| self.make_at(change, now())).collect();
        let changes: Vec<_> = made.iter().filter_map(|made| made.as_ref().ok().and_then(to_keep)).collect();
        let kept = (!changes.is_empty()).then(|| match &mut *file {
            None => Persisted::InMemory,
            Some(journal) => {
                let mark = Mark::now(SystemTime::now());
                kept(journal.path().to_owned(), journal.keep(&changes, mark.as_ref(), || self.list()))
            }
        });
        drop(file);
        (made, kept)
    }

    /// Whether one of `bans` keeps out `client`, who came in at `listener`; those that a list admits there stay, as
    /// they would be let in again.
    #[must_use]
    pub fn ends(&self, bans: &Bans, listener: &str, client: ClientIp) -> bool {
        bans.find(client, now().wall).is_some() && !self.is_listed(listener, client)
    }

    fn find_at(&self, client: ClientIp, moment: Moment) -> Option<Ban> {
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
        self.change(|Table { bans, listeners }| {
            let made = match change {
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
            };
            // While nobody else can change the table: what another node says of the same network comes before or after.
            made.iter().for_each(|changed| self.note(changed, moment));
            made
        })
    }

    fn is_listed(&self, listener: &str, client: ClientIp) -> bool {
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

    fn follow_clock_at(&self, moment: Moment) -> Option<Persisted> {
        let moved = self.0.clock.ahead(moment).saturating_sub(self.0.ahead.load(Ordering::Relaxed));
        if moved.unsigned_abs() < WORTH_WRITING || self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let kept = self.save_all(moment);
        // Said once if it cannot be written; the next change writes the whole file then.
        self.0.ahead.store(self.0.clock.ahead(moment), Ordering::Relaxed);
        Some(kept)
    }

    /// Writes the whole file on a thread of its own: who takes a configuration or a name waits for no disk.
    fn save_aside(&self) {
        if self.0.saving.swap(true, Ordering::AcqRel) {
            // The one that waits for the file writes these changes, too.
            return;
        }
        let denied = self.clone();
        let body = move || {
            let mut file = denied.0.file.lock().unwrap_or_else(PoisonError::into_inner);
            denied.0.saving.store(false, Ordering::Release);
            if let Some(journal) = &mut *file
                && let Err(error) = write_anew(journal, &denied, now())
            {
                say_not_kept(journal.path(), &error);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("state".to_owned()).spawn(body) {
            self.0.saving.store(false, Ordering::Release);
            say_not_kept(Path::new("admin.state"), &error);
        }
    }

    fn save_all(&self, moment: Moment) -> Persisted {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *file {
            None => Persisted::InMemory,
            Some(journal) => kept(journal.path().to_owned(), write_anew(journal, self, moment)),
        }
    }
}

/// A clock that was set by fewer seconds is not worth writing the file for.
const WORTH_WRITING: u64 = 5;

fn kept(path: PathBuf, written: io::Result<()>) -> Persisted {
    match written {
        Ok(()) => Persisted::InFile,
        Err(error) => Persisted::Failed(path, error),
    }
}

/// With the times that the wall clock of `moment` has, and where it stands.
fn write_anew(journal: &mut Journal, denied: &Denied, moment: Moment) -> io::Result<()> {
    journal.write_anew(&denied.list_at(moment), Mark::now(moment.wall).as_ref())
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
mod tests;
