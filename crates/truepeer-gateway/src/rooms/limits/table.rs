//! The bounded table of client groups: exact counts, split into shards that workers seldom meet in.
//!
//! A group is here only while that means something: it has a connection open, or part of its rate is used up. When a
//! shard is full, groups that have neither any more make room, those first whose allowance has been whole the
//! longest; if there is none, the caller has to count the newcomer elsewhere.

use std::cmp::Reverse;
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use truepeer::IpNet;

use crate::rooms::limits::policy::{Mode, Policy};
use crate::rooms::limits::rate::Nanos;
use crate::rooms::limits::verdict::{Counted, Over, Rule};

/// So many mutexes; workers on as many cores seldom wait for each other.
const SHARDS: usize = 32;

/// Idle groups that one new group clears away, so that the table shrinks as fast as it grew.
const CLEARED_AT_ONCE: usize = 2;

/// Which group on which listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// First address of the group, IPv4 in its v4-mapped form.
    first: [u8; 16],
    listener: u32,
}

impl Key {
    /// The key of `group` on the listener of that number.
    pub(super) fn new(group: IpNet, listener: u32) -> Self {
        let first = match group.network() {
            IpAddr::V4(addr) => addr.to_ipv6_mapped(),
            IpAddr::V6(addr) => addr,
        };
        Self { first: first.octets(), listener }
    }
}

/// What is known of one client group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClientState {
    /// When its rate's allowance is whole again; the start if it never used any.
    whole_at: Nanos,
    open: u32,
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
        if self.open >= limit {
            return Err(Over::new(Rule::ConnectionsPerClient, limit, self.open));
        }
        let Some(rate) = policy.rate_per_client else { return Ok(self.whole_at) };
        rate.take(self.whole_at, now).map_err(|used_up| {
            Over::new(Rule::RatePerClient, rate.burst().get(), used_up.seen).wait(used_up.wait)
        })
    }
}

/// All groups of all listeners.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// Keyed anew in each process, so that nobody can aim at one shard.
    hasher: RandomState,
    max_of_shard: usize,
}

#[derive(Debug, Default)]
struct Shard {
    groups: HashMap<Key, ClientState>,
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
        let mut shard = self.shard(key)?;
        if let Some(known) = shard.groups.get_mut(&key) {
            return Some(known.enter(policy, now));
        }
        shard.clear(CLEARED_AT_ONCE, now);
        if shard.groups.len() >= self.max_of_shard && shard.clear(1, now) == 0 {
            return None;
        }
        // Every limit allows at least one, so that a new group is always counted in.
        Some(shard.groups.entry(key).or_default().enter(policy, now))
    }

    /// One connection of a group less.
    pub(super) fn leave(&self, key: Key) {
        if let Some(mut shard) = self.shard(key) {
            shard.leave(key);
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

    fn shard(&self, key: Key) -> Option<MutexGuard<'_, Shard>> {
        let count = self.shards.len() as u64;
        let at = self.hasher.hash_one(key).checked_rem(count)?;
        self.shards.get(usize::try_from(at).ok()?).map(lock)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn leave(&mut self, key: Key) {
        let Entry::Occupied(mut group) = self.groups.entry(key) else { return };
        let state = group.get_mut();
        state.leave();
        if state.open > 0 || state.queued {
            return;
        }
        if state.whole_at == Nanos::START {
            group.remove();
            return;
        }
        // Leaving knows no time: whether the allowance is whole is asked when somebody needs the room.
        state.queued = true;
        self.idle.push(Reverse((state.whole_at, key)));
    }

    /// Removes up to `wanted` groups that are idle and whole; returns how many.
    ///
    /// An item whose group has come back is only taken out or put back further behind, which the group's new
    /// connection has paid for: on average this looks at two items for each connection.
    fn clear(&mut self, wanted: usize, now: Nanos) -> usize {
        let mut cleared: usize = 0;
        while cleared < wanted
            && let Some(Reverse((when, key))) = self.idle.peek().copied()
            && when <= now
        {
            self.idle.pop();
            let Entry::Occupied(mut group) = self.groups.entry(key) else { continue };
            let state = group.get_mut();
            if state.open > 0 {
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
