//! The bans of one address family, found by address and prefix length.
//!
//! A sorted tree rather than a hash table: it grows without a pause in which every connection would wait, and lists
//! in order. Knows no protection and no bound: its caller decides.

use std::collections::BTreeMap;

use super::nodes::NodeNumber;
use super::order::BanReason;

/// What is kept about a banned network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeldBan {
    /// When it ends, in seconds since 1970.
    pub(super) until: u64,
    /// How many seconds before that it was ordered.
    lasts: u32,
    /// Who ordered it.
    pub(super) node: NodeNumber,
    pub(super) reason: BanReason,
}

impl HeldBan {
    /// Times in seconds since 1970; one that was ordered after its end was ordered then.
    pub(super) fn new((since, until): (u64, u64), node: NodeNumber, reason: BanReason) -> Self {
        let lasts = u32::try_from(until.saturating_sub(since)).unwrap_or(u32::MAX);
        Self { until, lasts, node, reason }
    }

    /// When it was ordered, in seconds since 1970.
    pub(super) fn since(&self) -> u64 {
        self.until.saturating_sub(self.lasts.into())
    }
}

/// A new network does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// Bans by first address and prefix length.
#[derive(Debug, Clone)]
pub(super) struct Table<T> {
    bans: BTreeMap<(T, u8), HeldBan>,
    /// How many bans there are of each prefix length: a lookup tries only these.
    lengths: BTreeMap<u8, usize>,
    /// No ban ends before this: purging sooner would find nothing.
    earliest: u64,
}

/// The bits of an address.
pub(super) trait Bits: Copy + Ord {
    /// With all but the first `len` bits cleared.
    fn cut(self, len: u8) -> Self;
}

impl Bits for u32 {
    fn cut(self, len: u8) -> Self {
        // Shifting by the whole width is no shift: nothing is cut then.
        self & !Self::MAX.checked_shr(u32::from(len)).unwrap_or(0)
    }
}

impl Bits for u128 {
    fn cut(self, len: u8) -> Self {
        self & !Self::MAX.checked_shr(u32::from(len)).unwrap_or(0)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { bans: BTreeMap::new(), lengths: BTreeMap::new(), earliest: u64::MAX }
    }
}

impl<T: Bits> Table<T> {
    /// Stores a ban, returning the one it replaces; `full` lets only a network in that is there already.
    pub(super) fn put(
        &mut self,
        first: T,
        len: u8,
        held: HeldBan,
        full: bool,
    ) -> Result<Option<HeldBan>, NoRoom> {
        if full && !self.bans.contains_key(&(first, len)) {
            return Err(NoRoom);
        }
        self.earliest = self.earliest.min(held.until);
        let before = self.bans.insert((first, len), held);
        if before.is_none() {
            let count = self.lengths.entry(len).or_default();
            *count = count.saturating_add(1);
        }
        Ok(before)
    }

    pub(super) fn remove(&mut self, first: T, len: u8) -> Option<HeldBan> {
        let held = self.bans.remove(&(first, len))?;
        let left = self.lengths.get_mut(&len).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            self.lengths.remove(&len);
        }
        Some(held)
    }

    /// The ban of exactly this network.
    pub(super) fn get(&self, first: T, len: u8) -> Option<&HeldBan> {
        self.bans.get(&(first, len))
    }

    /// Drops what ended at or before `now`; returns how many.
    pub(super) fn purge(&mut self, now: u64) -> usize {
        if self.earliest > now {
            return 0;
        }
        let before = self.bans.len();
        self.retain(|_, _, held| held.until > now);
        before.saturating_sub(self.bans.len())
    }

    /// How many end after `now`.
    pub(super) fn count(&self, now: u64) -> usize {
        if self.earliest > now {
            return self.bans.len();
        }
        self.bans.values().filter(|held| held.until > now).count()
    }

    /// Keeps what `keep` says, and counts anew.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(T, u8, &HeldBan) -> bool) {
        self.bans.retain(|(first, len), held| keep(*first, *len, held));
        self.lengths.clear();
        self.earliest = u64::MAX;
        for ((_, len), held) in &self.bans {
            let count = self.lengths.entry(*len).or_default();
            *count = count.saturating_add(1);
            self.earliest = self.earliest.min(held.until);
        }
    }

    /// The most specific ban of at most `longest` bits that holds `addr` and ends after `now`.
    pub(super) fn find(&self, addr: T, longest: u8, now: u64) -> Option<(T, u8, &HeldBan)> {
        self.lengths.range(..=longest).rev().find_map(|(len, _)| {
            let first = addr.cut(*len);
            let held = self.bans.get(&(first, *len)).filter(|held| held.until > now)?;
            Some((first, *len, held))
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (T, u8, &HeldBan)> {
        self.bans.iter().map(|((first, len), held)| (*first, *len, held))
    }
}

impl<T> Table<T> {
    pub(super) fn len(&self) -> usize {
        self.bans.len()
    }
}

// What a full table costs is a promise: see the memory note of `Bans`.
const _: () = assert!(size_of::<HeldBan>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_keeps_the_first_bits() {
        for (len, expected) in
            [(0, 0), (1, 0x8000_0000), (24, 0xc000_0200), (31, 0xc000_02fe), (32, 0xc000_02ff)]
        {
            assert_eq!(0xc000_02ff_u32.cut(len), expected, "/{len}");
        }
        let addr: u128 = 0x2001_0db8_0001_0002_0003_0004_0005_0006;
        for (len, cut) in [(0, 0), (64, 0x2001_0db8_0001_0002 << 64), (128, addr)] {
            assert_eq!(addr.cut(len), cut, "/{len}");
        }
    }

    #[test]
    fn only_prefix_lengths_in_use_are_tried() {
        let held = |until| HeldBan::new((0, until), NodeNumber::OWN, BanReason::default());
        let mut table = Table::<u32>::default();
        for (first, len, until) in [(0xc000_0200, 24, 10), (0xc000_0201, 32, 20), (0xc000_0202, 32, 30)] {
            assert_eq!(table.put(first, len, held(until), false), Ok(None));
        }
        let counts = |table: &Table<u32>| table.lengths.clone().into_iter().collect::<Vec<_>>();
        assert_eq!(counts(&table), [(24, 1), (32, 2)]);
        assert_eq!(table.put(0xc000_0201, 32, held(25), false), Ok(Some(held(20))));
        assert_eq!(counts(&table), [(24, 1), (32, 2)]);
        assert_eq!(table.purge(9), 0);
        assert_eq!(table.purge(10), 1);
        assert_eq!(counts(&table), [(32, 2)]);
        assert_eq!(table.remove(0xc000_0201, 32), Some(held(25)));
        assert_eq!(table.remove(0xc000_0201, 32), None);
        assert_eq!(table.remove(0xc000_0202, 32), Some(held(30)));
        assert_eq!(counts(&table), []);
    }
}
