//! How sharing goes: read by the status page, `truepeer status`, metrics and readiness; written by the sharing thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::outbox::Outbox;
use crate::rooms::bans::BanError;

/// What one process knows of its sharing.
#[derive(Debug, Default)]
pub struct Sharing {
    /// Whether orders are to be noted at all; asked first, so that a node by itself pays nothing.
    on: AtomicBool,
    /// Whether clients are not to be sent here before the store was read once.
    awaited: AtomicBool,
    outbox: Mutex<Outbox>,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    connected: bool,
    complete: bool,
    trouble: Option<StoreTrouble>,
    /// What was said since all was well.
    said: Said,
    heard: Option<Instant>,
    entries: u64,
    refused: [u64; EntryRefusal::ALL.len()],
}

/// For each trouble whether it was said.
type Said = [bool; StoreTrouble::Other as usize + 1];

/// Sharing at one moment.
#[derive(Debug, Clone, Default)]
pub struct SharingStatus {
    /// Whether it is configured.
    pub on: bool,
    /// Whether the store answers.
    pub connected: bool,
    /// Whether what it holds was read at least once.
    pub complete: bool,
    /// Why it does not answer, or does not take what it is told.
    pub trouble: Option<StoreTrouble>,
    /// How long ago it was last heard, or sharing began.
    pub silent: Duration,
    /// Entries that it holds, lifted bans included.
    pub entries: u64,
    /// Orders of this node that the others may not know yet.
    pub pending: u64,
    /// Entries that were refused since the start, by reason.
    pub refused: [u64; EntryRefusal::ALL.len()],
}

/// What is wrong with the store. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreTrouble {
    /// It cannot be reached.
    Unreachable,
    /// It does not answer in time.
    Silent,
    /// It does not know the password or the user, or allows them too little.
    Password,
    /// TLS with it fails.
    Tls,
    /// It is full, or cannot write its disk: what is there can be read.
    Full,
    /// It is a copy that takes no orders, or is still loading, or has no master.
    NotMaster,
    /// A file of the configuration cannot be read.
    File,
    /// Something else.
    Other,
}

impl StoreTrouble {
    /// Stable token in logs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Password => "password",
            Self::Tls => "tls",
            Self::Full => "full",
            Self::NotMaster => "not_master",
            Self::File => "file",
            Self::Other => "other",
        }
    }

    /// What to do.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unreachable => "start the store, or correct `shared.url`",
            Self::Silent => "see whether the store or the way to it is overloaded or stopped",
            Self::Password => {
                "correct `shared.password-file` or the user in `shared.url`; the file is read again each time"
            }
            Self::Tls => {
                "correct `shared.tls.ca-file`, or the certificate and name of the store; `rediss://` is with TLS, `redis://` without"
            }
            Self::Full => "give the store more memory (`maxmemory`) or a disk that it can write",
            Self::NotMaster => {
                "name the master in `shared.url`, or the sentinels (`redis-sentinel://`) or the cluster (`redis-cluster://`), or wait for the election"
            }
            Self::File => "let truepeer's user read the file",
            Self::Other => "see the log of the store",
        }
    }
}

/// Why an entry of the store was not taken. Closed: metrics have a series for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryRefusal {
    /// It is no order.
    Unfit,
    /// It would shut out a trusted proxy.
    TrustedProxy,
    /// Its network is too wide.
    TooWide,
    /// The table is full.
    Full,
}

impl EntryRefusal {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Unfit, Self::TrustedProxy, Self::TooWide, Self::Full];

    /// Stable token in metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unfit => "unfit",
            Self::TrustedProxy => "trusted_proxy",
            Self::TooWide => "too_wide",
            Self::Full => "full",
        }
    }
}

impl From<&BanError> for EntryRefusal {
    fn from(error: &BanError) -> Self {
        match error {
            BanError::Trusted { .. } => Self::TrustedProxy,
            BanError::TooWide { .. } => Self::TooWide,
            // The table never says the second: orders are refused before it.
            BanError::Full | BanError::HandedOver => Self::Full,
        }
    }
}

impl Sharing {
    /// Begins to note orders; with `required`, clients are not to be sent here before the store was read.
    pub fn begin(&self, required: bool, now: Instant) {
        self.on.store(true, Ordering::Release);
        let mut facts = self.facts();
        facts.heard.get_or_insert(now);
        let complete = facts.complete;
        drop(facts);
        self.awaited.store(required && !complete, Ordering::Release);
    }

    /// Notes nothing any more.
    pub fn end(&self) {
        self.on.store(false, Ordering::Release);
        self.awaited.store(false, Ordering::Release);
        self.outbox().clear();
        let mut facts = self.facts();
        *facts = Facts { refused: facts.refused, ..Facts::default() };
    }

    /// Whether orders are shared.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Whether the store must have been read before clients are sent here, and was not.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire)
    }

    /// What is on its way. Held for moments only: inside of the table's lock, or alone.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store was heard at `now`; it holds so many entries.
    pub fn heard(&self, entries: u64, now: Instant) {
        let mut facts = self.facts();
        (facts.connected, facts.heard, facts.entries) = (true, Some(now), entries);
    }

    /// What the store holds was read. Returns whether that was waited for.
    pub fn completed(&self) -> bool {
        self.facts().complete = true;
        self.awaited.swap(false, Ordering::AcqRel)
    }

    /// The connection ended, or orders are not taken. Returns whether that is news: each trouble is so once until all is
    /// well again.
    pub fn troubled(&self, trouble: StoreTrouble) -> bool {
        let mut facts = self.facts();
        facts.connected &= trouble == StoreTrouble::Full;
        facts.trouble = Some(trouble);
        // While a cluster elects a master, one trouble follows the other and comes back.
        facts.said.get_mut(trouble as usize).is_some_and(|said| !std::mem::replace(said, true))
    }

    /// All is well. Returns whether that is news.
    pub fn recovered(&self) -> bool {
        let mut facts = self.facts();
        facts.said = Said::default();
        facts.trouble.take().is_some()
    }

    /// An entry was refused. Returns how many were for this reason before.
    pub fn refused(&self, refusal: EntryRefusal) -> u64 {
        let mut facts = self.facts();
        let Some(count) = facts.refused.get_mut(refusal as usize) else { return 0 };
        let before = *count;
        *count = count.saturating_add(1);
        before
    }

    /// How it goes at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> SharingStatus {
        let on = self.is_on();
        let pending = u64::try_from(self.outbox().len()).unwrap_or(u64::MAX);
        let facts = self.facts();
        let silent = facts.heard.map(|heard| now.saturating_duration_since(heard)).unwrap_or_default();
        SharingStatus {
            on,
            connected: facts.connected,
            complete: facts.complete,
            trouble: facts.trouble,
            silent,
            entries: facts.entries,
            pending,
            refused: facts.refused,
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_news_once_and_so_is_its_end() {
        let sharing = Sharing::default();
        let now = Instant::now();
        sharing.begin(true, now);
        assert!(sharing.is_on() && sharing.is_awaited());
        let troubles = [
            StoreTrouble::Unreachable,
            StoreTrouble::Unreachable,
            StoreTrouble::Password,
            StoreTrouble::Unreachable,
        ];
        let said = troubles.map(|trouble| sharing.troubled(trouble));
        assert_eq!(said, [true, false, true, false]);
        assert_eq!(sharing.status(now).trouble, Some(StoreTrouble::Unreachable));
        assert_eq!([sharing.recovered(), sharing.recovered()], [true, false]);
        assert!(sharing.troubled(StoreTrouble::Unreachable));
        assert!(sharing.completed() && !sharing.completed());
        // What was read once stays known: a reload does not make the node unready.
        sharing.begin(true, now);
        assert!(!sharing.is_awaited());
    }
}
