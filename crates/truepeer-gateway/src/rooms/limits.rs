//! The room that counts clients: how many connections at once, and how many new ones in a time, one client may have.
//!
//! Called by the walk of a connection after access, for the client role only; the proxy's own connections have a cap
//! of their own. [`Limits`] is shared by all workers and its counts are exact for the whole process: one table, split
//! by client group into shards, each behind a mutex that is held for a look-up and never across an await.
//! A [`Gate`] is what one listener's configuration makes of it. Pure: the time is an argument.
//! It must not know sockets, headers or protocols' words, and what it says is always temporary: a limit never bounces
//! mail.

pub mod elsewhere;
mod policy;
mod rate;
mod table;
mod verdict;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use policy::{Mode, Policy, PrefixLengths, Prefixes};
pub use rate::{Allowance, Rate};
pub use verdict::{LimitRule, Which};

use rate::Nanos;
use table::{ClientState, Key, Table};
use verdict::{Counted, Over};

use crate::facts::address::ClientIp;

/// The counts that all workers share.
///
/// Memory: at most [`Limits::BYTES_PER_CLIENT`] for each client group that is in the table, and at most as many groups
/// as the bound given to [`Limits::new`]. A group is in the table only while it has a connection open or has used up
/// part of its rate, and only on listeners that limit clients at all.
#[derive(Debug)]
pub struct Limits {
    table: Table,
    listeners: Mutex<HashMap<Arc<str>, Arc<ListenerCounts>>>,
    open: OpenCount,
    shared: AtomicU64,
    start: Instant,
}

/// What the limits hold at one moment, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsStatus {
    /// Client groups in the table.
    pub clients: u64,
    /// The most there may be.
    pub max_clients: u64,
    /// Connections since the start that found the table full and were counted in their listener's shared entry.
    pub shared: u64,
}

impl Limits {
    /// How many client groups the table holds by default: more than a server has connections, 32 MB at worst.
    pub const DEFAULT_CLIENTS: usize = 131_072;

    /// Worst case for one client group in bytes, growth of the containers included.
    ///
    /// The map needs 41 bytes a bucket and is at worst half empty after it grew; the queue of idle groups 32 bytes an
    /// entry, at worst doubled. The allocator keeps up to half as much again: the smaller containers that both grew out
    /// of. Measured by `benches/limits.rs`: 220.
    pub const BYTES_PER_CLIENT: usize = 240;

    /// An empty table for at most `max_clients` groups, rounded up to full shards; `now` is the start of its time.
    #[must_use]
    pub fn new(max_clients: usize, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            table: Table::new(max_clients),
            listeners: Mutex::default(),
            open: OpenCount::default(),
            shared: AtomicU64::new(0),
            start: now,
        })
    }

    /// The limits of the listener named `listener` under `policy`.
    ///
    /// Gates of one name share their counts, so that a reload keeps them. Bounded: one entry for each name that was
    /// ever configured in this process.
    #[must_use]
    pub fn gate(self: &Arc<Self>, listener: &Arc<str>, policy: Policy) -> Gate {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(listeners.len()).unwrap_or(u32::MAX);
        let counts = match listeners.entry(Arc::clone(listener)) {
            Slot::Occupied(known) => Arc::clone(known.get()),
            Slot::Vacant(new) => Arc::clone(new.insert(Arc::new(ListenerCounts::new(number)))),
        };
        drop(listeners);
        let limit = policy.connections_per_client.map_or(0, NonZeroU32::get);
        counts.limit.store(limit, Ordering::Relaxed);
        Gate(Arc::new(Terms { limits: Arc::clone(self), counts, policy }))
    }

    /// Connections that were admitted and are open now, over all listeners.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.now()
    }

    /// What the table holds now; visits every shard.
    #[must_use]
    pub fn status(&self) -> LimitsStatus {
        LimitsStatus {
            clients: self.table.len(),
            max_clients: self.table.max(),
            shared: self.shared.load(Ordering::Relaxed),
        }
    }

    /// Each listener's name and limit of connections of one client, 0 for none, by its number.
    fn names(&self) -> HashMap<u32, (Arc<str>, u32)> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = |counts: &ListenerCounts| counts.limit.load(Ordering::Relaxed);
        listeners.iter().map(|(name, counts)| (counts.number, (Arc::clone(name), limit(counts)))).collect()
    }

    fn nanos(&self, now: Instant) -> Nanos {
        Nanos::since(self.start, now)
    }
}

/// What counts for one listener besides its clients.
#[derive(Debug)]
struct ListenerCounts {
    number: u32,
    open: OpenCount,
    /// Connections of one client that the latest configuration allows; 0 for any number.
    limit: AtomicU32,
    /// What new clients share while the table is full.
    overflow: Mutex<ClientState>,
}

impl ListenerCounts {
    fn new(number: u32) -> Self {
        Self { number, open: OpenCount::default(), limit: AtomicU32::default(), overflow: Mutex::default() }
    }

    fn overflow(&self) -> MutexGuard<'_, ClientState> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One listener's entrance; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Terms>);

#[derive(Debug)]
struct Terms {
    limits: Arc<Limits>,
    counts: Arc<ListenerCounts>,
    policy: Policy,
}

/// Whether a client may enter.
#[derive(Debug)]
#[must_use]
pub enum LimitDecision {
    /// It may; it counts until the permit is dropped.
    Admit(Permit),
    /// It hears the temporary refusal of its protocol; it does not count.
    Refuse(Which),
    /// It may, and counts, but `limits.mode = "enforce"` would have refused it.
    WouldRefuse(Permit, Which),
}

impl Gate {
    /// Counts `client` in, or says which limit is against it.
    ///
    /// The server's and the listener's maxima are asked first; they protect this host and hold for exempt clients,
    /// too. A refused connection uses up nothing of the client's rate.
    pub fn enter(&self, client: impl Into<ClientIp>, now: Instant) -> LimitDecision {
        let client = client.into();
        let Terms { limits, counts, policy } = &*self.0;
        let mode = policy.mode;
        let mut permit = Permit { gate: self.clone(), held: HeldCounts::default() };
        let mut first_over = None;

        let server = limits.open.enter(LimitRule::ServerConnections, policy.server_connections, mode);
        permit.held.server = server.is_in();
        first_over = first_over.or(server.over());
        if permit.held.server {
            let listener =
                counts.open.enter(LimitRule::ListenerConnections, policy.listener_connections, mode);
            permit.held.listener = listener.is_in();
            first_over = first_over.or(listener.over());
        }
        if permit.held.listener && policy.counts(client) {
            let over = self.enter_client(client, limits.nanos(now), &mut permit.held);
            first_over = first_over.or(over);
        }

        match (first_over, mode) {
            (None, _) => LimitDecision::Admit(permit),
            // What was counted so far is counted out with the permit.
            (Some(over), Mode::Enforce) => LimitDecision::Refuse(Which::new(over, client, policy)),
            (Some(over), Mode::Observe) => {
                LimitDecision::WouldRefuse(permit, Which::new(over, client, policy))
            }
        }
    }

    /// Connections to this listener that were admitted and are open now.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.0.counts.open.now()
    }

    fn enter_client(&self, client: ClientIp, now: Nanos, held: &mut HeldCounts) -> Option<Over> {
        let Terms { limits, counts, policy } = &*self.0;
        let key = Key::new(policy.prefixes.group(client), counts.number);
        let step = if let Some(step) = limits.table.enter(key, policy, now) {
            if step.is_in() {
                held.client = HeldClient::Own(key.first());
            }
            step
        } else {
            limits.shared.fetch_add(1, Ordering::Relaxed);
            let step = counts.overflow().enter(policy, now);
            if step.is_in() {
                held.client = HeldClient::Shared;
            }
            step.shared()
        };
        step.over()
    }
}

/// One admitted connection; dropping it counts it out. 32 bytes.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    held: HeldCounts,
}

#[derive(Debug, Default)]
struct HeldCounts {
    server: bool,
    listener: bool,
    client: HeldClient,
}

#[derive(Debug, Default)]
enum HeldClient {
    /// Exempt, or nothing is limited.
    #[default]
    Nothing,
    /// By the first address of its group.
    Own(Ipv6Addr),
    Shared,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Terms { limits, counts, .. } = &*self.gate.0;
        match self.held.client {
            HeldClient::Nothing => {}
            HeldClient::Own(first) => limits.table.leave(Key::of(first, counts.number)),
            HeldClient::Shared => counts.overflow().leave(),
        }
        if self.held.listener {
            counts.open.leave();
        }
        if self.held.server {
            limits.open.leave();
        }
    }
}

/// Counts what is open, exactly, over all threads.
#[derive(Debug, Default)]
struct OpenCount(AtomicU32);

impl OpenCount {
    fn enter(&self, rule: LimitRule, max: Option<NonZeroU32>, mode: Mode) -> Counted {
        let limit = max.map_or(u32::MAX, NonZeroU32::get);
        let room = |open: u32| match mode {
            Mode::Enforce if open >= limit => None,
            Mode::Enforce | Mode::Observe => open.checked_add(1),
        };
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(before) if before < limit => Counted::In,
            Ok(before) => Counted::InOver(Over::new(rule, limit, before)),
            Err(before) => Counted::Out(Over::new(rule, limit, before)),
        }
    }

    fn leave(&self) {
        // Never below zero: only what entered leaves.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
