//! What was counted, as values: for the status page, which draws it.

use std::sync::Arc;
use std::time::Duration;

use super::histogram::Sum;
use super::shard::Counter;
use super::{Direction, Metrics, Shard, TimedRoom};
use crate::facts::journey;
use crate::facts::outcome::Outcome;
use crate::rooms::record::{Scope, Source};

/// What one listener has counted since the start, all workers together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Its name.
    pub listener: Arc<str>,
    /// Its numbers.
    pub counts: Counts,
}

/// Numbers since the start; those of several listeners can be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Those that have ended.
    pub ended: u64,
    /// Times that the system refused to accept one.
    pub accept_failures: u64,
    /// Connections whose client is known, in the order of [`Source::ALL`].
    pub identified: [u64; Source::ALL.len()],
    /// A proxy's own.
    pub own: u64,
    /// Those of them that were answered here.
    pub own_answered: u64,
    /// Connections that were turned away, in the order of [`journey::Room::ALL`].
    pub turned_away: [u64; journey::Room::ALL.len()],
    /// Bytes that were relayed, in the order of [`Direction::ALL`].
    pub bytes: [u64; Direction::ALL.len()],
    /// From accept to identity.
    pub identify: Distribution,
    /// Connecting to a backend, our header included.
    pub handoff: Distribution,
}

/// Durations by size; what [`TimedRoom::Identify`] and [`TimedRoom::Handoff`] have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many were at most as long as each bound, the last one being all of them.
    up_to: [u64; BOUNDS + 1],
}

/// Bounds of short durations.
const BOUNDS: usize = 14;

impl Metrics {
    /// What each listener has counted, in the order in which they came.
    #[must_use]
    pub fn totals(&self) -> Vec<Totals> {
        let mut all: Vec<Totals> = Vec::new();
        for shard in self.shards() {
            let counts = Counts::of(&shard);
            match all.iter_mut().find(|totals| totals.listener == *shard.listener()) {
                Some(totals) => totals.counts.add(&counts),
                None => all.push(Totals { listener: Arc::clone(shard.listener()), counts }),
            }
        }
        all
    }
}

impl Counts {
    fn of(shard: &Shard) -> Self {
        let mut counts = Self {
            accepted: shard.read(Counter::Accepted),
            accept_failures: shard.read(Counter::AcceptFailures),
            identified: Source::ALL.map(|source| {
                let scopes = Scope::ALL.map(|scope| shard.read(Counter::Identified(source, scope)));
                scopes.into_iter().fold(0, u64::wrapping_add)
            }),
            own: shard.read(Counter::Own),
            own_answered: shard.read(Counter::Ended(Outcome::OwnAnswered)),
            bytes: Direction::ALL.map(|direction| shard.read(Counter::Relayed(direction))),
            identify: Distribution::of(shard, TimedRoom::Identify),
            handoff: Distribution::of(shard, TimedRoom::Handoff),
            ..Self::default()
        };
        for outcome in Outcome::ALL {
            let ended = shard.read(Counter::Ended(outcome));
            counts.ended = counts.ended.wrapping_add(ended);
            let room = journey::Room::that_turned_away(outcome);
            if let Some(sum) = room.and_then(|room| counts.turned_away.get_mut(room.number())) {
                *sum = sum.wrapping_add(ended);
            }
        }
        counts
    }

    /// Adds those of another listener.
    pub fn add(&mut self, other: &Self) {
        let mine = self.numbers_mut();
        for (mine, other) in mine.into_iter().zip(other.numbers()) {
            *mine = mine.wrapping_add(other);
        }
    }

    /// What came since they were `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (now, earlier) in since.numbers_mut().into_iter().zip(earlier.numbers()) {
            *now = now.saturating_sub(earlier);
        }
        since
    }

    /// Connections that are open.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.ended)
    }

    /// Connections that were turned away in `room`.
    #[must_use]
    pub fn turned_away_in(&self, room: journey::Room) -> u64 {
        self.turned_away.get(room.number()).copied().unwrap_or_default()
    }

    /// Connections that were turned away anywhere.
    #[must_use]
    pub fn all_turned_away(&self) -> u64 {
        self.turned_away.iter().fold(0, |sum, room| sum.saturating_add(*room))
    }

    /// Connections that came through `room`.
    #[must_use]
    pub fn passed(&self, room: journey::Room) -> u64 {
        let turned_away = |rooms: &[journey::Room]| {
            rooms.iter().fold(0, |sum: u64, room| sum.saturating_add(self.turned_away_in(*room)))
        };
        let identified = self.identified.iter().fold(0, |sum: u64, source| sum.saturating_add(*source));
        let clients = identified.saturating_add(self.own.saturating_sub(self.own_answered));
        use journey::Room::{Accept, Access, Backend, Handoff, Identify, Limits, Relay, Trust};
        match room {
            Accept => self.accepted,
            Trust => self.accepted.saturating_sub(turned_away(&[Trust])),
            Identify => identified.saturating_add(self.own),
            Access => clients.saturating_sub(turned_away(&[Access])),
            Limits => clients.saturating_sub(turned_away(&[Access, Limits])),
            Backend => clients.saturating_sub(turned_away(&[Access, Limits, Backend])),
            Handoff | Relay => clients.saturating_sub(turned_away(&[Access, Limits, Backend, Handoff])),
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let mut copy = *self;
        copy.numbers_mut().into_iter().map(|number| *number).collect()
    }

    fn numbers_mut(&mut self) -> Vec<&mut u64> {
        let Self {
            accepted,
            ended,
            accept_failures,
            identified,
            own,
            own_answered,
            turned_away,
            bytes,
            identify,
            handoff,
        } = self;
        let single = [accepted, ended, accept_failures, own, own_answered].into_iter();
        let many = identified.iter_mut().chain(turned_away).chain(bytes);
        single.chain(many).chain(&mut identify.up_to).chain(&mut handoff.up_to).collect()
    }
}

impl Distribution {
    fn of(shard: &Shard, room: TimedRoom) -> Self {
        let mut sum = Sum::default();
        shard.sum_into(room, &mut sum);
        let (bounds, all) = sum.cumulative(room);
        let mut up_to = [all; BOUNDS + 1];
        for (place, (_, count)) in up_to.iter_mut().zip(bounds) {
            *place = count;
        }
        Self { up_to }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.up_to.last().copied().unwrap_or_default()
    }

    /// So many of a thousand took at most this long, as far as bounds show; `None` if there are none. What is longer
    /// than the last bound counts as that.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let rank = self.count().saturating_mul(per_mille).div_ceil(1000).max(1);
        (self.count() > 0).then_some(())?;
        let (mut lower, mut before) = (0, 0);
        for (bound, up_to) in TimedRoom::Identify.bounds().iter().zip(&self.up_to) {
            if *up_to >= rank {
                let here = up_to.saturating_sub(before).max(1);
                let width = bound.saturating_sub(lower);
                let part =
                    width.saturating_mul(rank.saturating_sub(before)).checked_div(here).unwrap_or(width);
                return Some(Duration::from_micros(lower.saturating_add(part)));
            }
            (lower, before) = (*bound, *up_to);
        }
        Some(Duration::from_micros(lower))
    }
}

#[cfg(test)]
mod tests {
    use journey::Room as Place;

    use super::*;

    #[test]
    fn what_came_through_a_room_is_what_was_not_turned_away_before() {
        let metrics = Metrics::default();
        for (worker, outcomes) in [
            (0, vec![Outcome::Done, Outcome::AccessDenied, Outcome::BackendRefused]),
            (1, vec![Outcome::LimitReached, Outcome::HeaderMissing, Outcome::OwnAnswered]),
        ] {
            let shard = metrics.shard(worker, &"smtp".into());
            for outcome in outcomes {
                shard.accepted();
                match outcome {
                    Outcome::HeaderMissing => {}
                    Outcome::OwnAnswered => shard.own(),
                    _ => shard.identified(Source::V2, Scope::Public),
                }
                shard.ended(outcome);
            }
        }
        metrics.shard(0, &"imap".into()).accepted();
        let all = metrics.totals();
        assert_eq!(all.iter().map(|totals| &*totals.listener).collect::<Vec<_>>(), ["smtp", "imap"]);
        let counts = all[0].counts;
        let passed = Place::ALL.map(|room| counts.passed(room));
        assert_eq!(passed, [6, 6, 5, 3, 2, 1, 1, 1]);
        assert_eq!(counts.turned_away, [0, 0, 1, 1, 1, 1, 0, 0]);
        assert_eq!((counts.open(), all[1].counts.open()), (0, 1));
        assert_eq!(counts.since(&counts), Counts::default());
        let mut both = counts;
        both.add(&all[1].counts);
        assert_eq!((both.accepted, both.all_turned_away()), (7, 4));
    }

    #[test]
    fn quantiles_lie_between_bounds() {
        let shard = Shard::new("smtp".into());
        let of = |shard: &Shard, per_mille| Distribution::of(shard, TimedRoom::Handoff).quantile(per_mille);
        assert_eq!(of(&shard, 500), None);
        (0..90).for_each(|_| shard.spent(TimedRoom::Handoff, Duration::from_micros(400)));
        (0..10).for_each(|_| shard.spent(TimedRoom::Handoff, Duration::from_secs(60)));
        assert_eq!(of(&shard, 900), Some(Duration::from_micros(500)));
        assert_eq!(of(&shard, 450), Some(Duration::from_micros(250)));
        assert_eq!(of(&shard, 950), Some(Duration::from_secs(10)));
    }
}
