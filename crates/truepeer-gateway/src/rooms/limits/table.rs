//! The bounded table of client groups: exact counts, split into shards that workers seldom meet in.
//!
//! A group is here only while that means something: it has a connection open, or part of its rate is used up. When a
//! shard is full, groups that have neither any more make room, those first whose allowance has been whole the
//! longest; if there is none, the caller has to count the newcomer elsewhere.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use truepeer::IpNet;

use crate::rooms::limits::policy::{Mode, Policy};
use crate::rooms::limits::rate::Nanos;
use crate::rooms::limits::verdict::{Counted, LimitRule, Over};

/// So many mutexes; workers on as many cores seldom wait for each other.
const SHARDS: usize = 32;

/// Idle groups that one new group clears away, so that the table shrinks as fast as it grew.
const CLEARED_AT_ONCE: usize = 2;

/// Which group on which listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// First address of the group, IPv4 in its v4-mapped form.
    first: [u8; 16],
    listener: u32,
}

impl Hash for Key {
    /// In one piece: each piece by itself would cost as much.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 20];
        let (first, listener) = bytes.split_at_mut(16);
        first.copy_from_slice(&self.first);
        listener.copy_from_slice(&self.listener.to_ne_bytes());
        state.write(&bytes);
    }
}

impl Key {
    /// The key of `group` on the listener of that number.
    pub(super) fn new(group: IpNet, listener: u32) -> Self {
        let first = match group.network() {
            IpAddr::V4(addr) => addr.to_ipv6_mapped(),
            IpAddr::V6(addr) => addr,
        };
        Self::of(first, listener)
    }

    /// The key of the group that begins with `first`.
    pub(super) fn of(first: Ipv6Addr, listener: u32) -> Self {
        Self { first: first.octets(), listener }
    }

    pub(super) fn first(&self) -> Ipv6Addr {
        self.first.into()
    }

    pub(super) fn listener(&self) -> u32 {
        self.listener
    }
}

/// What is known of one client group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClientState {
    /// When its rate's allowance is whole again; the start if it never used any.
    whole_at: Nanos,
    open: u32,
    /// Connections at other front doors, as far as they say.
    elsewhere: u16,
    /// Whether it stands in the queue of idle groups.
    queued: bool,
}

impl ClientState {
    /// Judges one more connection and counts it, unless it is refused.
    pub(super) fn enter(&mut self, policy: &Policy, now: Nanos) -> Counted {
        let over = match self.judge(policy, now) {
            Ok(whole_at) => {
                self.whole_at = whole_at;
                None
            }
            Err(over) => Some(over),
        };
        match (over, policy.mode) {
            (Some(over), Mode::Enforce) => Counted::Out(over),
            (over, _) => {
                self.open = self.open.saturating_add(1);
                over.map_or(Counted::In, Counted::InOver)
            }
        }
    }

    /// One connection less.
    pub(super) fn leave(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    fn judge(&self, policy: &Policy, now: Nanos) -> Result<Nanos, Over> {
        let limit = policy.connections_per_client.map_or(u32::MAX, NonZeroU32::get);
        let open = self.open.saturating_add(self.elsewhere.into());
        if open >= limit {
            return Err(Over::new(LimitRule::ConnectionsPerClient, limit, open).elsewhere(self.elsewhere));
        }
        let Some(rate) = policy.rate_per_client else { return Ok(self.whole_at) };
        rate.take(self.whole_at, now).map_err(|used_up| {
            Over::new(LimitRule::RatePerClient, rate.burst().get(), used_up.seen).wait(used_up.wait)
        })
    }
}

/// All groups of all listeners.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// Keyed anew in each process, so that nobody can aim at one shard, or at one place in it: clients choose their
    /// addresses. It costs more than all else here, and is asked once for the group that a call is about.
    hasher: RandomState,
    max_of_shard: usize,
}

/// A key, and which hash it has.
#[derive(Debug, Clone, Copy)]
struct Hashed {
    key: Key,
    hash: u64,
}

#[derive(Debug, Default)]
struct Shard {
    groups: HashTable<(Key, ClientState)>,
    /// Groups that were idle when they came here, soonest whole first; at most one item for each group in `groups`.
    idle: BinaryHeap<Reverse<(Nanos, Key)>>,
}

impl Table {
    /// A table for at most `max` groups, rounded up to full shards.
    pub(super) fn new(max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            max_of_shard: max.div_ceil(SHARDS).max(1),
        }
    }

    /// Judges one more connection of a group and counts it; `None` if there is no room for a new group.
    pub(super) fn enter(&self, key: Key, policy: &Policy, now: Nanos) -> Option<Counted> {
        let group = self.hashed(key);
        let mut shard = self.shard(group)?;
        if let Some(known) = shard.get(group) {
            return Some(known.enter(policy, now));
        }
        shard.clear(CLEARED_AT_ONCE, now, &self.hasher);
        if shard.groups.len() >= self.max_of_shard && shard.clear(1, now, &self.hasher) == 0 {
            return None;
        }
        // Every limit allows at least one, so that a new group is always counted in.
        Some(shard.get_or_new(group, &self.hasher).enter(policy, now))
    }

    /// One connection of a group less.
    pub(super) fn leave(&self, key: Key) {
        let group = self.hashed(key);
        if let Some(mut shard) = self.shard(group) {
            shard.settle(group, ClientState::leave);
        }
    }

    /// Every group that has connections here, with how many.
    pub(super) fn open(&self) -> Vec<(Key, u32)> {
        let mut open = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let busy = shard.groups.iter().filter(|(_, state)| state.open > 0);
            open.extend(busy.map(|(key, state)| (*key, state.open)));
        }
        open
    }

    /// Notes how many connections a group has at other front doors; a new group is noted only where there is room.
    pub(super) fn count_elsewhere(&self, key: Key, count: u16) {
        let group = self.hashed(key);
        let Some(mut shard) = self.shard(group) else { return };
        if count > 0 && (shard.groups.len() < self.max_of_shard || shard.get(group).is_some()) {
            shard.get_or_new(group, &self.hasher).elsewhere = count;
        } else {
            shard.settle(group, |state| state.elsewhere = count);
        }
    }

    /// Groups in the table.
    pub(super) fn len(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).groups.len() as u64).sum()
    }

    /// The most there may be.
    pub(super) fn max(&self) -> u64 {
        (self.max_of_shard as u64).saturating_mul(self.shards.len() as u64)
    }

    fn hashed(&self, key: Key) -> Hashed {
        Hashed { key, hash: self.hasher.hash_one(key) }
    }

    fn shard(&self, group: Hashed) -> Option<MutexGuard<'_, Shard>> {
        // The tables inside look at the lowest bits and at the seven highest; a shard is told by others.
        let at = (group.hash >> 32).checked_rem(self.shards.len() as u64)?;
        self.shards.get(usize::try_from(at).ok()?).map(lock)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn get(&mut self, group: Hashed) -> Option<&mut ClientState> {
        let found = self.groups.find_mut(group.hash, |(key, _)| *key == group.key);
        found.map(|(_, state)| state)
    }

    fn get_or_new(&mut self, group: Hashed, hasher: &RandomState) -> &mut ClientState {
        let rehash = |(key, _): &(Key, ClientState)| hasher.hash_one(key);
        let place = self.groups.entry(group.hash, |(key, _)| *key == group.key, rehash);
        let (_, state) = place.or_insert_with(|| (group.key, ClientState::default())).into_mut();
        state
    }

    /// Changes what is known of a group, and forgets it if nothing is open of it any more, at once or once its allowance is
    /// whole.
    fn settle(&mut self, group: Hashed, change: impl FnOnce(&mut ClientState)) {
        let Ok(mut place) = self.groups.find_entry(group.hash, |(key, _)| *key == group.key) else { return };
        let (key, state) = place.get_mut();
        change(state);
        if state.open > 0 || state.elsewhere > 0 || state.queued {
            return;
        }
        if state.whole_at == Nanos::START {
            place.remove();
            return;
        }
        // Leaving knows no time: whether the allowance is whole is asked when somebody needs the room.
        state.queued = true;
        self.idle.push(Reverse((state.whole_at, *key)));
    }

    /// Removes up to `wanted` groups that are idle and whole; returns how many.
    ///
    /// An item whose group has come back is only taken out or put back further behind, which the group's new
    /// connection has paid for: on average this looks at two items for each connection.
    fn clear(&mut self, wanted: usize, now: Nanos, hasher: &RandomState) -> usize {
        let mut cleared: usize = 0;
        while cleared < wanted
            && let Some(Reverse((when, key))) = self.idle.peek().copied()
            && when <= now
        {
            self.idle.pop();
            let found = self.groups.find_entry(hasher.hash_one(key), |(known, _)| *known == key);
            let Ok(mut group) = found else { continue };
            let (_, state) = group.get_mut();
            if state.open > 0 || state.elsewhere > 0 {
                state.queued = false;
            } else if state.whole_at > now {
                self.idle.push(Reverse((state.whole_at, key)));
            } else {
                group.remove();
                cleared = cleared.saturating_add(1);
            }
        }
        cleared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::limits::Limits;

    #[test]
    fn memory_of_a_group_is_what_is_documented() {
        let bucket = size_of::<(Key, ClientState)>() + 1;
        let idle = size_of::<Reverse<(Nanos, Key)>>();
        assert_eq!((bucket, idle), (41, 32));
        // A map that has just doubled is 7/16 full.
        let worst = (bucket * 16).div_ceil(7) + 2 * idle;
        let kept = worst / 2;
        assert!(worst + kept <= Limits::BYTES_PER_CLIENT, "{worst}");
    }
}
