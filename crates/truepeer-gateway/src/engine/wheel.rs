//! Deadlines in a wheel of wheels: setting one and taking it back cost the same however many wait, and no allocation.
//!
//! The first wheel has a slot for each of the next 64 ticks, the second one for each of the next 64 turns of the first,
//! and so on. What is far away comes nearer when its slot does. Pure: ticks are numbers. 20 bytes for each that waits.

use crate::facts::narrow::U48;

/// Slots of one wheel.
const SLOTS: usize = 64;
/// The digit of one wheel.
const SLOT_MASK: u64 = SLOTS as u64 - 1;
const SLOT_BITS: u32 = 6;
/// Enough for every tick that a number can say.
const LEVELS: usize = 11;
const NOTHING: u32 = u32::MAX;
/// The level of what was told, and is not taken back yet.
const TOLD: u8 = u8::MAX;

/// Who waits.
pub(super) struct Wheel {
    /// Every deadline up to this tick was told.
    elapsed: u64,
    levels: [Level; LEVELS],
    nodes: Vec<Node>,
    free: u32,
    waiting: usize,
}

struct Level {
    /// One bit for each slot that is not empty.
    occupied: u64,
    first: [u32; SLOTS],
}

struct Node {
    tick: U48,
    level: u8,
    slot: u8,
    who: u32,
    next: u32,
    previous: u32,
}

impl Default for Wheel {
    fn default() -> Self {
        let levels = std::array::from_fn(|_| Level { occupied: 0, first: [NOTHING; SLOTS] });
        Self { elapsed: 0, levels, nodes: Vec::new(), free: NOTHING, waiting: 0 }
    }
}

impl Wheel {
    /// Tells `who` at `tick`, or in the next one if that is past; the number to take it back by, told or not.
    pub(super) fn insert(&mut self, tick: u64, who: u32) -> u32 {
        let tick = tick.max(self.elapsed.saturating_add(1));
        let node = Node { tick: tick.into(), who, next: NOTHING, previous: NOTHING, level: 0, slot: 0 };
        let number = if let Some(free) = self.nodes.get_mut(self.free as usize) {
            let number = self.free;
            self.free = free.next;
            *free = node;
            number
        } else {
            let number = u32::try_from(self.nodes.len()).unwrap_or(NOTHING);
            self.nodes.push(node);
            number
        };
        self.waiting = self.waiting.saturating_add(1);
        self.link(number);
        number
    }

    /// Tells nobody for it any more.
    pub(super) fn remove(&mut self, number: u32) {
        let Some(&Node { next, previous, level, slot, .. }) = self.nodes.get(number as usize) else { return };
        if level != TOLD {
            self.unlink((level, slot), next, previous);
            self.waiting = self.waiting.saturating_sub(1);
        }
        if let Some(node) = self.nodes.get_mut(number as usize) {
            node.next = self.free;
            self.free = number;
        }
    }

    fn unlink(&mut self, (level, slot): (u8, u8), next: u32, previous: u32) {
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = previous;
        }
        if let Some(previous) = self.nodes.get_mut(previous as usize) {
            previous.next = next;
        } else if let Some(level) = self.levels.get_mut(usize::from(level))
            && let Some(first) = level.first.get_mut(usize::from(slot))
        {
            *first = next;
            if next == NOTHING {
                level.occupied &= !(1 << slot);
            }
        }
    }

    /// The tick at which something is to be done: somebody is told, or what is far away comes nearer.
    pub(super) fn next(&self) -> Option<u64> {
        self.soonest().map(|(_, _, tick)| tick)
    }

    /// Tells everybody whose deadline is at most `tick`, in the order of the deadlines.
    pub(super) fn advance(&mut self, tick: u64, mut tell: impl FnMut(u32)) {
        while let Some((level, slot, due)) = self.soonest()
            && due <= tick
        {
            self.elapsed = due;
            let Some(level) = self.levels.get_mut(level) else { return };
            level.occupied &= !(1 << slot);
            let first = level.first.get_mut(slot);
            let mut number = first.map_or(NOTHING, |first| std::mem::replace(first, NOTHING));
            while let Some(node) = self.nodes.get_mut(number as usize) {
                let (this, next) = (number, node.next);
                if u64::from(node.tick) <= due {
                    node.level = TOLD;
                    self.waiting = self.waiting.saturating_sub(1);
                    tell(node.who);
                } else {
                    self.link(this);
                }
                number = next;
            }
        }
        self.elapsed = self.elapsed.max(tick);
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Level, slot and tick of what comes first: every wheel lies before the next one.
    fn soonest(&self) -> Option<(usize, usize, u64)> {
        let (level, occupied) = self.levels.iter().enumerate().find_map(|(at, level)| {
            (level.occupied != 0).then_some((u32::try_from(at).unwrap_or(0), level.occupied))
        })?;
        let bits = level.saturating_mul(SLOT_BITS);
        // No slot of a wheel that lies behind the present one holds anything.
        let slot = occupied.trailing_zeros();
        let turn = self.elapsed >> bits >> SLOT_BITS << SLOT_BITS;
        let tick = (turn | u64::from(slot)) << bits;
        Some((level as usize, slot as usize, tick))
    }

    fn link(&mut self, number: u32) {
        let Some(node) = self.nodes.get_mut(number as usize) else { return };
        // The first digit, of six bits each, that is not that of the present.
        let tick = u64::from(node.tick);
        let differs = (self.elapsed ^ tick) | 1;
        let at = differs.ilog2().checked_div(SLOT_BITS).unwrap_or(0);
        let bits = at.saturating_mul(SLOT_BITS);
        let slot = u8::try_from(tick >> bits & SLOT_MASK).unwrap_or(0);
        let Some(level) = self.levels.get_mut(at as usize) else { return };
        let Some(first) = level.first.get_mut(usize::from(slot)) else { return };
        (node.level, node.slot) = (u8::try_from(at).unwrap_or(0), slot);
        (node.previous, node.next) = (NOTHING, std::mem::replace(first, number));
        level.occupied |= 1 << slot;
        let next = node.next;
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = number;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn everybody_is_told_in_time_and_once_whatever_is_set_and_taken_back() {
        let mut wheel = Wheel::default();
        // The same in a sorted map: by number in the wheel, who and when.
        let mut waiting = BTreeMap::new();
        let (mut dice, mut now, mut who) = (0x9e37_79b9_7f4a_7c15_u64, 0_u64, 0_u32);
        let mut below = |most: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % most
        };
        for _ in 0..200_000 {
            match below(8) {
                0..4 => {
                    let far = 1 << below(40);
                    let tick = now + below(far);
                    who += 1;
                    let number = wheel.insert(tick, who);
                    assert_eq!(waiting.insert(number, (who, tick.max(now + 1))), None);
                }
                4 | 5 => {
                    let at = usize::try_from(below(waiting.len().max(1) as u64)).unwrap();
                    if let Some((&number, _)) = waiting.iter().nth(at.min(50)) {
                        wheel.remove(number);
                        waiting.remove(&number);
                    }
                }
                _ => {
                    let soonest = waiting.values().map(|(_, tick)| *tick).min();
                    // Never later than somebody is to be told.
                    assert!(wheel.next() <= soonest || soonest.is_none(), "{:?} {soonest:?}", wheel.next());
                    assert_eq!(wheel.next().is_none(), soonest.is_none());
                    now = match wheel.next() {
                        Some(next) if below(2) == 0 => next.max(now),
                        _ => {
                            let far = 1 << below(34);
                            now + below(far)
                        }
                    };
                    let mut told = Vec::new();
                    wheel.advance(now, |who| told.push(who));
                    let mut due: Vec<_> = waiting
                        .iter()
                        .filter(|(_, (_, tick))| *tick <= now)
                        .map(|(n, (who, t))| (*t, *who, *n))
                        .collect();
                    for (_, _, number) in &due {
                        waiting.remove(number);
                    }
                    due.iter().for_each(|(_, _, number)| wheel.remove(*number));
                    let ticks: BTreeMap<_, _> = due.iter().map(|(tick, who, _)| (*who, *tick)).collect();
                    assert!(told.is_sorted_by_key(|who| ticks[who]), "in order");
                    told.sort_unstable();
                    due.sort_unstable_by_key(|(_, who, _)| *who);
                    assert_eq!(told, due.iter().map(|(_, who, _)| *who).collect::<Vec<_>>());
                }
            }
            assert_eq!(wheel.waiting(), waiting.len());
        }
    }
}
