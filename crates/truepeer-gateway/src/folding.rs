//! Folding: what becomes of records that repeat, so that a flood of refusals does not drown the log.
//!
//! Asked for each record of a connection that was refused before it reached a backend; those that did reach one are
//! always written. Per listener, outcome and rule, the first records of a minute are shown; the rest are counted and
//! come out as one summary with the first and the last of them. The first complaint about a new peer is always shown:
//! the operator's new proxy with a mistake must not vanish among strangers who make the same one.
//! Pure: the time is an argument. It must not know how lines are written, and metrics never ask it: they stay exact.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use truepeer::PeerAddress;

use crate::config::LogFormat;
use crate::misfit::is_near;
use crate::outcome::Outcome;
use crate::record::Line;

/// What records have in common that are folded into one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cause {
    /// The listener's name.
    pub listener: Arc<str>,
    /// How the connections ended.
    pub outcome: Outcome,
    /// The code of the access or limit rule, where one decided. From a closed set.
    pub rule: Option<&'static str>,
}

/// Whom one record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// The other end of our socket.
    pub peer: PeerAddress,
    /// The client, where it is known.
    pub client: Option<IpAddr>,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fold {
    /// It is written.
    Show,
    /// It is counted, and comes out with the summary.
    Count,
}

/// Records that were not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What they have in common.
    pub cause: Cause,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Example,
    /// The last of them.
    pub last: Example,
    /// From the first to the last.
    pub span: Duration,
}

/// Which records are shown.
///
/// Memory: at most 21 KiB for each cause that occurred, half of it for near and half for far peers; causes are bounded
/// by listeners times outcomes times rules, since no text from the wire is in them.
#[derive(Debug, Default)]
pub struct Folding {
    causes: HashMap<Cause, State>,
}

#[derive(Debug)]
struct State {
    minute: Instant,
    shown: u32,
    near: Peers,
    far: Peers,
    folded: Option<Folded>,
}

#[derive(Debug)]
struct Folded {
    count: u64,
    first: (Example, Instant),
    last: (Example, Instant),
}

impl Folding {
    /// Records of one cause that are shown in a minute, besides those about new peers.
    pub const SHOWN_PER_MINUTE: u32 = 10;

    /// How long records are counted before their summary is due.
    pub const MINUTE: Duration = Duration::from_secs(60);

    /// Peers that are remembered for one cause, near ones and far ones each; when so many are, nobody is new.
    ///
    /// Near ones (private, loopback) are kept apart, so that strangers cannot use up the room of the operator's own
    /// proxies. This is also the most that new peers can add to the log in [`Folding::PEER_MEMORY`].
    pub const PEERS_PER_CAUSE: usize = 128;

    /// A peer that was silent for so long is new again.
    pub const PEER_MEMORY: Duration = Duration::from_secs(60 * 60);

    /// Decides on one record.
    pub fn note(&mut self, cause: &Cause, example: Example, now: Instant) -> Fold {
        if !self.causes.contains_key(cause) {
            self.causes.insert(cause.clone(), State::new(now));
        }
        // Just inserted if it was not there; showing would be the right answer if it were not.
        self.causes.get_mut(cause).map_or(Fold::Show, |state| state.note(example, now))
    }

    /// Takes the summaries whose records have been counted for a minute, in a stable order.
    ///
    /// To be called every few seconds, from one place.
    #[must_use]
    pub fn due(&mut self, now: Instant) -> Vec<Summary> {
        self.take(|folded| now.saturating_duration_since(folded.first.1) >= Self::MINUTE)
    }

    /// Takes all summaries, at the end.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Summary> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(&Folded) -> bool) -> Vec<Summary> {
        let due = self.causes.iter_mut().filter_map(|(cause, state)| {
            let Folded { count, first, last } = state.folded.take_if(|folded| is_due(folded))?;
            let span = last.1.saturating_duration_since(first.1);
            Some(Summary { cause: cause.clone(), count, first: first.0, last: last.0, span })
        });
        let mut summaries: Vec<_> = due.collect();
        summaries.sort_by(|one, other| one.cause.order().cmp(&other.cause.order()));
        summaries
    }
}

impl Cause {
    fn order(&self) -> (&str, &'static str, Option<&'static str>) {
        (&self.listener, self.outcome.facts().code, self.rule)
    }
}

impl State {
    fn new(now: Instant) -> Self {
        Self { minute: now, shown: 0, near: Peers::default(), far: Peers::default(), folded: None }
    }

    fn note(&mut self, example: Example, now: Instant) -> Fold {
        if now.saturating_duration_since(self.minute) >= Folding::MINUTE {
            (self.minute, self.shown) = (now, 0);
        }
        let peers = match example.peer.ip() {
            Some(ip) if !is_near(ip.to_canonical()) => &mut self.far,
            _ => &mut self.near,
        };
        // Asked first, so that every peer is remembered.
        if peers.is_new(example.peer.ip(), now) || self.shown < Folding::SHOWN_PER_MINUTE {
            self.shown = self.shown.saturating_add(1);
            return Fold::Show;
        }
        let seen = (example, now);
        let folded = self.folded.get_or_insert(Folded { count: 0, first: seen, last: seen });
        folded.count = folded.count.saturating_add(1);
        folded.last = seen;
        Fold::Count
    }
}

/// Peers by when they were last seen; at most [`Folding::PEERS_PER_CAUSE`]. `None` is a UNIX peer.
#[derive(Debug, Default)]
struct Peers(HashMap<Option<IpAddr>, Instant>);

impl Peers {
    /// Whether `peer` is new; remembers it if there is room.
    fn is_new(&mut self, peer: Option<IpAddr>, now: Instant) -> bool {
        let silent = |seen: Instant| now.saturating_duration_since(seen) >= Folding::PEER_MEMORY;
        let peer = peer.map(one_host);
        if let Some(seen) = self.0.get_mut(&peer) {
            let was_silent = silent(*seen);
            *seen = now;
            return was_silent;
        }
        if self.0.len() >= Folding::PEERS_PER_CAUSE {
            self.0.retain(|_, seen| !silent(*seen));
        }
        if self.0.len() >= Folding::PEERS_PER_CAUSE {
            return false;
        }
        self.0.insert(peer, now);
        true
    }
}

/// What is one peer: a host can use all of an IPv6 /64.
fn one_host(ip: IpAddr) -> IpAddr {
    const NETWORK: u128 = !0 << 64;
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into(),
    }
}

impl Summary {
    /// The summary as a line, without its line end.
    #[must_use]
    pub fn to_line(&self, format: LogFormat, wall: SystemTime) -> String {
        let Self { cause, count, first, last, span } = self;
        let facts = cause.outcome.facts();
        let mut line = Line::new(format, wall, facts.level);
        line.text("event", "connections_folded");
        line.text("outcome", facts.code);
        line.text("listener", &cause.listener);
        line.maybe("rule", cause.rule);
        line.number("count", *count);
        line.number("seconds", span.as_secs());
        line.text("first_peer", &first.peer.to_string());
        line.maybe("first_client", first.client.map(|client| client.to_string()).as_deref());
        line.text("last_peer", &last.peer.to_string());
        line.maybe("last_client", last.client.map(|client| client.to_string()).as_deref());
        line.finish()
    }
}

#[cfg(test)]
mod tests;
