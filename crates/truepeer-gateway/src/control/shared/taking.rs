//! Takes in what the store says: checks it, makes it hold here, cuts who is kept out, and says so in the log.
//!
//! What it means is the rooms' matter; here it is called, counted and told. Somebody is shut out or let in by the word
//! of another node, so that node is named.

use std::collections::HashMap;
use std::time::SystemTime;

use ipnet::IpNet;

use super::keeping::Keeping;
use super::store::Raw;
use crate::control::cut::cut;
use crate::rooms::bans::shared::{EntryRefusal, SharedChange, StoreEntry, StoreTime, Taken};
use crate::rooms::bans::{Ban, NodeName};
use crate::server::View;

/// Lines that one batch may leave about bans that ended before their time; more are summed up.
const MAX_LINES: u64 = 100;

/// What takes in.
pub(super) struct Taking {
    view: View,
    own: NodeName,
    pub(super) keeping: Keeping,
}

/// What came of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) denied: u64,
    pub(super) undenied: u64,
    pub(super) cut: u64,
}

impl Sum {
    pub(super) fn add(&mut self, other: Self) {
        self.denied = self.denied.saturating_add(other.denied);
        self.undenied = self.undenied.saturating_add(other.undenied);
        self.cut = self.cut.saturating_add(other.cut);
    }
}

/// Whether the state file is written batch by batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Now,
    AtTheEnd,
}

impl Taking {
    pub(super) fn new(view: View, own: NodeName) -> Self {
        let keeping = Keeping::new(view.denied.clone());
        Self { view, own, keeping }
    }

    /// Takes entries in, in their order, at the store's `now`; `seen` hears the network of each that is an order.
    pub(super) fn take(
        &mut self,
        entries: &[Raw],
        now: StoreTime,
        keep: Keep,
        mut seen: impl FnMut(IpNet),
    ) -> Sum {
        let mut changes = Vec::with_capacity(entries.len());
        for (network, value) in entries {
            match StoreEntry::decode(network, value).and_then(|entry| entry.judge(now, &self.own)) {
                Ok(Some(change)) => {
                    seen(change.network());
                    changes.push(change);
                }
                Ok(None) => {}
                Err(unfit) => self.refuse(EntryRefusal::Unfit, || {
                    format!(
                        "{:?}: {unfit}",
                        String::from_utf8_lossy(network).chars().take(64).collect::<String>()
                    )
                }),
            }
        }
        let sum = self.make(&changes, keep);
        if keep == Keep::Now && sum.denied > 1 {
            let Sum { denied, undenied, cut } = sum;
            tracing::info!(event = "shared_taken", denied, undenied, cut);
        }
        sum
    }

    fn make(&mut self, changes: &[SharedChange], keep: Keep) -> Sum {
        let mut told = Told::default();
        let mut banned: HashMap<IpNet, Ban> = HashMap::new();
        let mut touched = Vec::new();
        let mut sum = Sum::default();
        for taken in self.view.denied.take_shared(changes) {
            match taken {
                Taken::Known => {}
                Taken::Banned { ban, before } => {
                    told.shortened(&ban, before.as_ref());
                    touched.push(ban.network);
                    sum.denied = sum.denied.saturating_add(1);
                    banned.insert(ban.network, ban);
                }
                Taken::Lifted { ban, by } => {
                    told.lifted(&ban, &by);
                    touched.push(ban.network);
                    sum.undenied = sum.undenied.saturating_add(1);
                    banned.remove(&ban.network);
                }
                Taken::Refused { node, error } => {
                    let node = node.as_ref().unwrap_or(&self.own);
                    self.refuse(EntryRefusal::from(&error), || format!("{node} says: {error}"));
                }
            }
        }
        let only = if sum.denied == 1 && keep == Keep::Now { banned.values().next().cloned() } else { None };
        sum.cut = cut(&self.view, banned.into_values(), SystemTime::now());
        if let Some(ban) = only {
            tracing::info!(event = "denied", ban = ban.to_string(), cut = sum.cut);
        }
        told.end();
        if keep == Keep::Now {
            self.keeping.note(touched);
        }
        sum
    }

    /// Counts it; the first of its kind is said, then the tenth, the hundredth and so on.
    fn refuse(&self, refusal: EntryRefusal, cause: impl FnOnce() -> String) {
        let count = self.view.denied.sharing().refused(refusal).saturating_add(1);
        if is_power_of_ten(count) {
            let (reason, cause) = (refusal.code(), cause());
            tracing::warn!(event = "shared_refused", reason, count, cause);
        }
    }
}

fn is_power_of_ten(number: u64) -> bool {
    number.checked_ilog10().and_then(|log| 10_u64.checked_pow(log)) == Some(number)
}

/// What a batch has said of bans that ended before their time.
#[derive(Debug, Default)]
struct Told {
    lines: u64,
}

impl Told {
    fn lifted(&mut self, ban: &Ban, by: &NodeName) {
        self.lines = self.lines.saturating_add(1);
        if self.lines <= MAX_LINES {
            let (network, node, ban) = (ban.network.to_string(), by.as_str(), ban.to_string());
            tracing::info!(event = "undenied", network, node, ban);
        }
    }

    fn shortened(&mut self, ban: &Ban, before: Option<&Ban>) {
        let Some(before) = before.filter(|before| before.until > ban.until) else { return };
        self.lines = self.lines.saturating_add(1);
        if self.lines <= MAX_LINES {
            let (before, ban) = (before.to_string(), ban.to_string());
            tracing::info!(event = "ban_shortened", ban, before);
        }
    }

    fn end(&self) {
        let more = self.lines.saturating_sub(MAX_LINES);
        if more > 0 {
            tracing::info!(event = "shared_ended_early", more);
        }
    }
}
