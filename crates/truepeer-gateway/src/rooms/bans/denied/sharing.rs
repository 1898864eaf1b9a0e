//! The bans of a running server as one of many that share them: what goes out, and what comes in.
//!
//! Called by the sharing thread only, in batches; the lock is given back after each handful, so that no connection
//! waits for more than that.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::{Denied, Persisted, Table, kept, meanings, now, protected};
use crate::rooms::bans::clock::Moment;
use crate::rooms::bans::mark::Mark;
use crate::rooms::bans::shared::{Ordered, Sent, SharedChange, SharedOrder, Sharing, Taken, is_same};
use crate::rooms::bans::state::Change;
use crate::rooms::bans::{Ban, BanDuration, Changed, Lifted};

/// Changes that are made while connections wait, a quarter of a millisecond at most.
const AT_ONCE: usize = 64;

impl Denied {
    /// How sharing goes, and what is on its way.
    #[must_use]
    pub fn sharing(&self) -> &Sharing {
        &self.0.sharing
    }

    /// Makes changes that other nodes ordered. Those of networks that this node has an order on its way about are left
    /// out: that order is newer to the store. The state file is not written: [`Denied::keep`] does that.
    #[must_use]
    pub fn take_shared(&self, changes: &[SharedChange]) -> Vec<Taken> {
        let mut taken = Vec::with_capacity(changes.len());
        for handful in changes.chunks(AT_ONCE) {
            let moment = now();
            self.change(|table| {
                let outbox = self.sharing().outbox();
                let meanings = meanings(&table.listeners);
                for change in handful {
                    let own = outbox.holds(change.network());
                    taken.push(if own {
                        Taken::Known
                    } else {
                        self.take_one(table, &meanings, change, moment)
                    });
                }
            });
        }
        taken
    }

    fn take_one(
        &self,
        Table { bans, listeners }: &mut Table,
        meanings: &[(String, std::sync::Arc<crate::rooms::trust::Meaning>)],
        change: &SharedChange,
        moment: Moment,
    ) -> Taken {
        let now = self.0.clock.now(moment);
        let shown = |ban| self.0.clock.for_people(ban, moment);
        match change {
            SharedChange::Lift { network, node } => match bans.remove(*network, now).ban {
                Some(ban) => Taken::Lifted { ban: shown(ban), by: node.clone() },
                None => Taken::Known,
            },
            SharedChange::Ban { network, age, left, reason, node } => {
                let since = now.checked_sub(*age).unwrap_or(std::time::UNIX_EPOCH);
                // A part of a second counts as one: a ban never ends too soon.
                let until = left.saturating_add(Duration::from_nanos(999_999_999));
                let until = now.checked_add(until).unwrap_or(now);
                let ban = Ban { network: *network, since, until, reason: reason.clone(), node: node.clone() };
                if bans.get(*network, now).is_some_and(|held| is_same(&held, &ban)) {
                    return Taken::Known;
                }
                match bans.hold(&ban, &protected(listeners, meanings), now) {
                    Err(error) => Taken::Refused { node: node.clone(), error },
                    Ok(before) => match bans.get(*network, now) {
                        Some(ban) => Taken::Banned { ban: shown(ban), before: before.map(shown) },
                        None => Taken::Known,
                    },
                }
            }
        }
    }

    /// Writes into the state file what holds of these networks now. Blocks on the file.
    #[must_use]
    pub fn keep(&self, networks: &[IpNet]) -> Persisted {
        let mut file = self.0.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(journal) = &mut *file else { return Persisted::InMemory };
        let held: Vec<(IpNet, Option<Ban>)> =
            networks.iter().map(|network| (*network, self.get(*network))).collect();
        let changes: Vec<_> = held
            .iter()
            .map(|(network, ban)| ban.as_ref().map_or(Change::Removed(*network), Change::Added))
            .collect();
        let mark = Mark::now(std::time::SystemTime::now());
        kept(journal.path().to_owned(), journal.keep(&changes, mark.as_ref(), || self.list()))
    }

    /// Writes the whole state file. Blocks on the file.
    #[must_use]
    pub fn keep_all(&self) -> Persisted {
        self.save_all(now())
    }

    /// The networks of all bans.
    #[must_use]
    pub fn networks(&self) -> HashSet<IpNet> {
        let table = self.0.table.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        table.bans.networks().collect()
    }

    /// Up to `most` orders that are to be sent, each with what the store is to hear; an order whose ban has ended
    /// meanwhile has nothing to say any more.
    #[must_use]
    pub fn orders(&self, most: usize) -> Vec<(Sent, SharedOrder)> {
        let sent = self.sharing().outbox().take(most);
        let now = Instant::now();
        let mut orders = Vec::with_capacity(sent.len());
        for sent in sent {
            let age = now.saturating_duration_since(sent.given);
            let order = match sent.lifted_end {
                Some(end) => Some(SharedOrder {
                    network: sent.network,
                    age,
                    left: end.saturating_duration_since(now),
                    what: Ordered::Lift,
                    node: None,
                }),
                None => self.told(sent.network).map(|order| SharedOrder { age, ..order }),
            };
            match order.filter(|order| !order.left.is_zero()) {
                Some(order) => orders.push((sent, order)),
                None => self.sharing().outbox().settled(&sent),
            }
        }
        orders
    }

    /// What is told of the ban of a network that the store has lost; nothing if it has ended.
    #[must_use]
    pub fn told(&self, network: IpNet) -> Option<SharedOrder> {
        let moment = now();
        let ban = self.get_at(network, moment)?;
        let since = |time| moment.wall.duration_since(time).unwrap_or_default();
        let left = ban.until.duration_since(moment.wall).ok()?;
        let lasts = ban.until.duration_since(ban.since).unwrap_or_default();
        let lasts = BanDuration::from_duration(lasts).unwrap_or(BanDuration::MAX);
        let what = Ordered::Ban { lasts, reason: ban.reason };
        Some(SharedOrder { network, age: since(ban.since), left, what, node: ban.node })
    }

    fn get(&self, network: IpNet) -> Option<Ban> {
        self.get_at(network, now())
    }

    fn get_at(&self, network: IpNet, moment: Moment) -> Option<Ban> {
        let clock = self.0.clock;
        let table = self.0.table.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ban = table.bans.get(network, clock.now(moment));
        drop(table);
        ban.map(|ban| clock.for_people(ban, moment))
    }

    /// Notes what this node has changed, for the others to hear of.
    pub(super) fn note(&self, changed: &Changed, moment: Moment) {
        if !self.sharing().is_on() {
            return;
        }
        let (network, lifted_end) = match changed {
            Changed::Added(added) => (added.ban().network, None),
            Changed::Removed(Lifted { ban: Some(ban), network, .. }) => {
                let left = ban.until.duration_since(moment.wall).unwrap_or_default();
                (*network, moment.steady.checked_add(left))
            }
            Changed::Removed(Lifted { ban: None, .. }) => return,
        };
        self.sharing().outbox().note(network, lifted_end, moment.steady);
    }
}
