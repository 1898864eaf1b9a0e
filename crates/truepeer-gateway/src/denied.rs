//! The bans of a running server: asked by every connection, changed by the operator, kept in a file.
//!
//! The table itself is `bans`; here it is shared. Connections read under a lock that is held for one search, and not
//! at all while no ban is set. Changes come from the control thread only; none is answered before it is in the state
//! file, which is written once for those that come together.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use crate::access::{Decision, Why};
use crate::bans::state::{self, StateError};
use crate::bans::{Ban, BanChange, BanError, Bans, Changed, Protected};
use crate::config::Listener;
use crate::registry::{Entry, Registry};

/// The bans; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Denied(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many are kept, so that a server without bans asks no lock.
    count: AtomicUsize,
    table: RwLock<Table>,
    /// Held while the file is written, so that an older state never replaces a newer one.
    file: Mutex<Option<PathBuf>>,
}

#[derive(Debug, Default)]
struct Table {
    bans: Bans,
    listeners: Vec<Trusting>,
}

/// Whether a change will be there after a restart.
#[derive(Debug)]
pub enum Kept {
    /// It is in the state file.
    InFile,
    /// There is no state file.
    InMemory,
    /// It could not be written.
    Failed(PathBuf, std::io::Error),
}

impl Denied {
    /// Takes over what the state file at `file` holds; what is wrong with it goes to the log.
    ///
    /// # Errors
    /// A file that cannot be read or is not ours: it must not be written over.
    pub fn restore(file: Option<PathBuf>, listeners: &[Arc<Listener>]) -> Result<Self, StateError> {
        let loaded = file.as_deref().map(state::load).transpose()?.unwrap_or_default();
        for bad in &loaded.bad_lines {
            let (cause, skipped) = (bad.to_string(), u64::try_from(loaded.skipped).unwrap_or(u64::MAX));
            tracing::warn!(event = "ban_skipped", key = "admin.state", cause, skipped);
        }
        let listeners = trusting(listeners);
        let (bans, refused) = Bans::restore(loaded.bans, &protected(&listeners), SystemTime::now());
        say_lifted(&refused);
        let denied = Self::default();
        denied.0.count.store(bans.len(), Ordering::Release);
        *denied.0.table.write().unwrap_or_else(PoisonError::into_inner) = Table { bans, listeners };
        *denied.0.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(denied)
    }

    /// Takes the listeners of a new configuration: bans that touch their trusted networks are lifted.
    pub fn take(&self, listeners: &[Arc<Listener>]) {
        let lifted = self.change(|table| {
            table.listeners = trusting(listeners);
            table.bans.release(&protected(&table.listeners))
        });
        say_lifted(&lifted);
        if !lifted.is_empty()
            && let Kept::Failed(path, error) = self.save()
        {
            let (path, cause) = (path.display().to_string(), error.to_string());
            tracing::warn!(event = "bans_not_kept", path, cause);
        }
    }

    /// The ban that keeps `client` out.
    #[must_use]
    pub fn find(&self, client: IpAddr) -> Option<Ban> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        table.bans.find(client, SystemTime::now())
    }

    /// Every ban in force.
    #[must_use]
    pub fn list(&self) -> Vec<Ban> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).bans.list(SystemTime::now())
    }

    /// How many are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        self.change(|table| {
            table.bans.purge(SystemTime::now());
            table.bans.len()
        })
    }

    /// Makes these changes one after the other, and writes the state file once behind them. Blocks on the file.
    ///
    /// Returns what came of each, and whether it is kept; `None` if nothing had to be written.
    #[must_use]
    pub fn make(&self, changes: &[BanChange]) -> (Vec<Result<Changed, BanError>>, Option<Kept>) {
        let made: Vec<_> = changes
            .iter()
            .map(|change| {
                // The lock is given back in between, so that many changes keep no connection waiting.
                self.change(|Table { bans, listeners }| match change {
                    BanChange::Add(order) => {
                        bans.add(order, &protected(listeners), SystemTime::now()).map(Changed::Added)
                    }
                    BanChange::Remove(network) => {
                        Ok(Changed::Removed(bans.remove(*network, SystemTime::now())))
                    }
                })
            })
            .collect();
        let is_change = |made: &Result<Changed, BanError>| match made {
            Ok(Changed::Added(_)) => true,
            Ok(Changed::Removed(lifted)) => lifted.ban.is_some(),
            Err(_) => false,
        };
        let kept = made.iter().any(is_change).then(|| self.save());
        (made, kept)
    }

    /// Cuts the open connections of the clients that one of `bans` keeps out; those that a list admits stay, as they
    /// would be let in again.
    #[must_use]
    pub fn cut(&self, bans: &Bans, registry: &Registry) -> usize {
        let now = SystemTime::now();
        registry.cut(|entry| {
            let client = entry.found().client.map(|client| client.ip);
            client.is_some_and(|client| bans.find(client, now).is_some() && !self.is_listed(entry, client))
        })
    }

    fn is_listed(&self, entry: &Entry, client: IpAddr) -> bool {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let found = table.listeners.iter().find(|of| of.listener.id == entry.listener);
        found.is_some_and(|of| matches!(of.listener.access.decide(client), Decision::Admit(Why::Listed(_))))
    }

    fn change<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut table);
        self.0.count.store(table.bans.len(), Ordering::Release);
        result
    }

    fn save(&self) -> Kept {
        let file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        match &*file {
            None => Kept::InMemory,
            Some(path) => match state::save(path, &self.list()) {
                Ok(()) => Kept::InFile,
                Err(error) => Kept::Failed(path.clone(), error),
            },
        }
    }
}

/// A listener, and the key of its trusted networks.
#[derive(Debug, Clone)]
struct Trusting {
    key: String,
    listener: Arc<Listener>,
}

fn trusting(listeners: &[Arc<Listener>]) -> Vec<Trusting> {
    let key = |listener: &Listener| format!("server.listener.{}.proxy.trusted-networks", listener.id);
    listeners.iter().map(|listener| Trusting { key: key(listener), listener: Arc::clone(listener) }).collect()
}

/// The trusted networks of every listener: a ban there would shut out everybody behind a proxy.
fn protected(trusting: &[Trusting]) -> Vec<Protected<'_>> {
    trusting.iter().map(|of| Protected { list: &of.key, networks: of.listener.trust.trusted() }).collect()
}

fn say_lifted(lifted: &[(Ban, BanError)]) {
    for (ban, error) in lifted {
        let (ban, cause) = (ban.to_string(), error.to_string());
        tracing::warn!(event = "ban_lifted", ban, cause);
    }
}
