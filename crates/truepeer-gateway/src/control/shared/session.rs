//! One connection to the store, from the first look to its end: send what is new here, read what is new there.
//!
//! One thing after the other on one connection, so that an order that was accepted is known as such before the change
//! that it became is read. Where the list of changes does not go on where this node has read it to (a store that was
//! restarted empty, a copy that became master and lacks the last changes, a node that was away for long), everything is
//! read, and the store gets back what it lost.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::counts::Counts;
use super::error::StoreError;
use super::store::{Look, Merged, Raw, Store, StoreClock};
use super::taking::{Keep, Sum, Taking};
use crate::config::Shared;
use crate::facts::network::parse_network;
use crate::rooms::bans::denied::Denied;
use crate::rooms::bans::shared::{Sent, SharedOrder, StoreEntry, StoreTrouble};
use crate::server::View;

/// How often the store is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Orders sent at once: some milliseconds of the store's time.
const SENT_AT_ONCE: usize = 1000;
/// When orders are sent again that the store had no room for.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// How long one node removes what has ended before another one may.
const SWEEP: Duration = Duration::from_secs(600);
/// An entry is removed so long after its end: by then nobody reads it as in force.
const SWEPT_AFTER: Duration = Duration::from_secs(120);

/// How far this node has read the list of changes; kept across connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    life: Vec<u8>,
    number: u64,
    text: Vec<u8>,
}

impl Place {
    /// Whether the list that was looked at is the one that was read, and still holds what was read last.
    fn goes_on_in(&self, look: &Look) -> bool {
        let same_text = self.number == 0 || self.text == look.asked;
        !self.life.is_empty() && self.life == look.life && self.number <= look.count && same_text
    }
}

/// A connection in use.
struct Session<'a> {
    store: Store,
    shared: &'a Shared,
    denied: &'a Denied,
    taking: &'a mut Taking,
    place: &'a mut Place,
    counts: Option<Counts>,
    clock: StoreClock,
    /// Before then nothing is sent: the store is full.
    send_after: Option<Instant>,
    /// The next page to be swept.
    sweep: Option<u64>,
    next_sweep: Instant,
}

/// Shares until the connection breaks.
///
/// # Errors
/// Why it broke. It does not end otherwise.
pub(super) async fn share(
    shared: &Shared,
    view: &View,
    taking: &mut Taking,
    place: &mut Place,
) -> Result<(), StoreError> {
    let mut store = Store::connect(shared).await?;
    let look = store.look(place.number, &next_life(shared)).await?;
    let now = Instant::now();
    let denied = &view.denied;
    denied.sharing().outbox().begin_again();
    let (clock, goes_on) = (look.clock, place.goes_on_in(&look));
    let counts = shared.limits.then(|| Counts::new(view.limits()));
    let mut session = Session {
        store,
        shared,
        denied,
        taking,
        place,
        counts,
        clock,
        send_after: None,
        sweep: None,
        next_sweep: now,
    };
    session.heard(&look);
    if !goes_on {
        session.read_all(&look).await?;
    }
    recovered(shared, denied);
    session.go_on().await
}

impl Session<'_> {
    async fn go_on(&mut self) -> Result<(), StoreError> {
        let mut next_look = Instant::now();
        loop {
            let more = self.send().await?;
            self.read(!more).await?;
            self.taking.keeping.step().await;
            if let Some(counts) = &mut self.counts {
                counts.step(&mut self.store, self.shared.node.as_str()).await?;
            }
            if Instant::now() >= next_look {
                let look = self.store.look(self.place.number, &next_life(self.shared)).await?;
                self.heard(&look);
                if !self.place.goes_on_in(&look) {
                    self.read_all(&look).await?;
                }
                next_look = Instant::now().checked_add(LOOK).unwrap_or(next_look);
            }
            self.sweep().await?;
        }
    }

    fn heard(&mut self, look: &Look) {
        self.clock = look.clock;
        self.denied.sharing().heard(look.entries, Instant::now());
    }

    /// Sends what is new here; returns whether there is more.
    async fn send(&mut self) -> Result<bool, StoreError> {
        if self.send_after.is_some_and(|after| Instant::now() < after) {
            return Ok(false);
        }
        let orders = self.denied.orders(SENT_AT_ONCE);
        if orders.is_empty() {
            return Ok(false);
        }
        let more = orders.len() >= SENT_AT_ONCE;
        let (sent, orders): (Vec<Sent>, Vec<SharedOrder>) = orders.into_iter().unzip();
        let answers = match self.merge(&orders).await {
            Ok(answers) => answers,
            Err(error) if error.is_about_writing() => {
                self.denied.sharing().outbox().begin_again();
                self.send_after = Instant::now().checked_add(FULL_PAUSE);
                say_lost(self.shared, self.denied, &error);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if self.send_after.take().is_some() {
            recovered(self.shared, self.denied);
        }
        for (sent, answer) in sent.iter().zip(answers) {
            match answer {
                Merged::Announced(number) => self.denied.sharing().outbox().accepted(sent, number),
                Merged::Beaten(value) => {
                    self.denied.sharing().outbox().settled(sent);
                    self.take(&[(sent.network.to_string().into_bytes(), value)]);
                }
            }
        }
        Ok(more)
    }

    async fn merge(&mut self, orders: &[SharedOrder]) -> Result<Vec<Merged>, StoreError> {
        self.store.merge(orders, self.shared.node.as_str(), self.clock.now()).await
    }

    /// Reads what is new there.
    async fn read(&mut self, wait: bool) -> Result<(), StoreError> {
        let changes = self.store.changes(self.place.number, wait).await?;
        let Some((last, (network, value))) = changes.last().cloned() else { return Ok(()) };
        let numbers = changes.iter().map(|(number, _)| *number);
        if !numbers.zip(self.place.number.saturating_add(1)..).all(|(number, expected)| number == expected) {
            let look = self.store.look(self.place.number, &next_life(self.shared)).await?;
            return self.read_all(&look).await;
        }
        let mut news: Vec<Raw> = Vec::with_capacity(changes.len());
        let mut outbox = self.denied.sharing().outbox();
        for (number, raw) in changes {
            outbox.read_up_to(number);
            // An order of this node about the same network comes later in the list, and holds already.
            if outbox.is_empty() || !network_of(&raw).is_some_and(|network| outbox.holds(network)) {
                news.push(raw);
            }
        }
        drop(outbox);
        self.take(&news);
        self.place.number = last;
        self.place.text = [network, value].join(&b' ');
        Ok(())
    }

    fn take(&mut self, raw: &[Raw]) -> Sum {
        if raw.is_empty() {
            return Sum::default();
        }
        self.taking.take(raw, self.clock.now(), Keep::Now, |_| {})
    }

    /// Reads everything that the store holds, and tells it what it does not.
    async fn read_all(&mut self, look: &Look) -> Result<(), StoreError> {
        let began = Instant::now();
        // Before the first page: what others say later is in the list of changes behind this place.
        let mut lost = self.denied.networks();
        let (life, number, text) = (look.life.clone(), look.count, look.last.clone());
        self.heard(look);
        let (mut cursor, mut entries, mut sum) = (0, 0_u64, Sum::default());
        loop {
            let (next, page) = self.store.page(cursor).await?;
            entries = entries.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            sum.add(self.taking.take(&page, self.clock.now(), Keep::AtTheEnd, |network| {
                lost.remove(&network);
            }));
            // Even if the connection breaks before the last page. Written once it is read, or the session has ended.
            if sum.denied > 0 || sum.undenied > 0 {
                self.taking.keeping.note_all();
            }
            self.denied.sharing().heard(look.entries, Instant::now());
            if next == 0 {
                break;
            }
            cursor = next;
        }
        let told = self.tell(&lost).await?;
        *self.place = Place { life, number, text };
        self.denied.sharing().completed();
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Sum { denied, undenied, cut } = sum;
        tracing::info!(event = "shared_read", entries, denied, undenied, told, cut, duration_ms = ms);
        Ok(())
    }

    /// Tells the store of bans that it does not have; returns how many.
    async fn tell(&mut self, lost: &HashSet<IpNet>) -> Result<u64, StoreError> {
        let mut told = 0_u64;
        let mut networks = lost.iter();
        while networks.len() > 0 {
            let some = networks.by_ref().take(SENT_AT_ONCE);
            let orders: Vec<SharedOrder> = some.filter_map(|network| self.denied.told(*network)).collect();
            if orders.is_empty() {
                continue;
            }
            let answers = match self.merge(&orders).await {
                Ok(answers) => answers,
                // It is read all the same; what it lost is told once it has room, with the next look at an empty list.
                Err(error) if error.is_about_writing() => {
                    say_lost(self.shared, self.denied, &error);
                    self.note_all(&orders, networks);
                    return Ok(told);
                }
                Err(error) => return Err(error),
            };
            for (order, answer) in orders.iter().zip(answers) {
                match answer {
                    Merged::Announced(_) => told = told.saturating_add(1),
                    Merged::Beaten(value) => {
                        self.take(&[(order.network.to_string().into_bytes(), value)]);
                    }
                }
            }
        }
        Ok(told)
    }

    /// What could not be told now waits like an order of this node.
    fn note_all<'n>(&mut self, orders: &'n [SharedOrder], rest: impl Iterator<Item = &'n IpNet>) {
        let now = Instant::now();
        let mut outbox = self.denied.sharing().outbox();
        for network in orders.iter().map(|order| &order.network).chain(rest) {
            outbox.note(*network, None, now);
        }
        drop(outbox);
        self.send_after = now.checked_add(FULL_PAUSE);
    }

    /// Removes a page of what has ended from the store, if that is this node's turn.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        let cursor = match self.sweep {
            Some(cursor) => cursor,
            None if now < self.next_sweep => return Ok(()),
            None => {
                self.next_sweep = now.checked_add(SWEEP).unwrap_or(now);
                match self.store.may_sweep(self.shared.node.as_str(), SWEEP).await {
                    Ok(true) => 0,
                    Ok(false) => return Ok(()),
                    Err(error) if error.is_about_writing() => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        let (next, page) = self.store.page(cursor).await?;
        self.sweep = (next != 0).then_some(next);
        let store_now = self.clock.now();
        let has_ended = |(network, value): &Raw| {
            StoreEntry::decode(network, value).is_ok_and(|entry| entry.until.after(SWEPT_AFTER) < store_now)
        };
        let ended: Vec<Raw> = page.into_iter().filter(has_ended).collect();
        if ended.is_empty() {
            return Ok(());
        }
        self.store.forget(&ended).await
    }
}

fn network_of((network, _): &Raw) -> Option<IpNet> {
    parse_network(std::str::from_utf8(network).ok()?).ok()
}

/// Names the life of a list that begins now; any two are different.
fn next_life(shared: &Shared) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{}", shared.node, std::process::id(), now.as_nanos())
}

/// Says once what is wrong, and what it means.
pub(super) fn say_lost(shared: &Shared, denied: &Denied, error: &StoreError) {
    let sharing = denied.sharing();
    if !sharing.troubled(error.trouble) {
        return;
    }
    let status = sharing.status(Instant::now());
    let known = match (error.trouble, status.complete) {
        (StoreTrouble::Full, _) => {
            "bans of other nodes still arrive; bans made here do not reach other nodes for now"
        }
        (_, true) => "known bans still hold; bans made here are sent when the store is back",
        (_, false) => "what others have banned is not known here yet; what the state file holds is in force",
    };
    let (store, trouble, remedy) = (shared.store.to_string(), error.trouble.code(), error.trouble.remedy());
    let cause = error.to_string();
    tracing::warn!(event = "shared_lost", store, trouble, cause, known, remedy);
}

fn recovered(shared: &Shared, denied: &Denied) {
    let (news, pending) = (denied.sharing().recovered(), denied.sharing().outbox().len());
    if news {
        let (store, pending) = (shared.store.to_string(), u64::try_from(pending).unwrap_or(u64::MAX));
        tracing::info!(event = "shared_back", store, pending);
    }
}
