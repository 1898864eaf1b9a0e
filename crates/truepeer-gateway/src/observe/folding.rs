//! Folding: what becomes of records that repeat, so that a flood of refusals does not drown the log.
//!
//! Asked for each record of a connection that was refused before it reached a backend; those that did reach one are
//! always written. Per listener, outcome and rule, the first records of a minute are shown; the rest are counted and
//! come out as one summary with the first and the last of them. The first complaint about a new proxy is always shown:
//! one of the operator's with a mistake must not vanish among strangers who make the same one. Strangers who behave
//! like proxies are shown the first time, too, but not without bound; that a client is new is no news.
//! Pure: the time is an argument. It must not know how lines are written, and metrics never ask it: they stay exact.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use truepeer::{IdentitySource, PeerAddress};

use crate::facts::address::is_near;
use crate::facts::lines::LogFormat;
use crate::facts::outcome::Outcome;
use crate::observe::line::Line;

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
    /// What the peer is to the operator.
    pub standing: Standing,
}

/// What a peer is to the operator, and so whether its first complaint is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A trusted proxy, or a peer so near that it may be one which nobody has listed yet.
    Proxy,
    /// Somebody far away who sent a header or the beginning of one, or came where only proxies may.
    Stranger,
    /// A client that came by itself.
    Client,
}

impl Standing {
    /// The standing of `peer`, whose connection ended so; `source` is how its client was known, if one was.
    #[must_use]
    pub fn of(outcome: Outcome, peer: PeerAddress, source: Option<IdentitySource>) -> Self {
        let is_near = peer.ip().is_none_or(is_near);
        match (outcome, source) {
            (Outcome::UnlistedPeer | Outcome::UntrustedHeader | Outcome::HeaderRedundant, _)
            | (Outcome::HeaderHeldBack, Some(IdentitySource::Direct)) => {
                if is_near {
                    Self::Proxy
                } else {
                    Self::Stranger
                }
            }
            (_, Some(IdentitySource::Direct)) => Self::Client,
            // Every other complaint is about a header that was due, or a client that a header named.
            _ => Self::Proxy,
        }
    }
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
/// Memory: at most 21 KiB for each cause that occurred, half of it for proxies and half for strangers; causes are
/// bounded by listeners times outcomes times rules, since no text from the wire is in them.
#[derive(Debug, Default)]
pub struct Folding {
    causes: HashMap<Cause, State>,
}

#[derive(Debug)]
struct State {
    minute: Instant,
    shown: u32,
    new_strangers: u32,
    proxies: Peers,
    strangers: Peers,
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

    /// Records about new strangers that are shown in a minute: the internet is large.
    pub const NEW_STRANGERS_PER_MINUTE: u32 = 60;

    /// Peers that are remembered for one cause, proxies and strangers each; the one that was silent longest is
    /// forgotten for a new one. They are kept apart, so that strangers do not make the operator's proxies forgotten.
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
        let (proxies, strangers) = (Peers::default(), Peers::default());
        Self { minute: now, shown: 0, new_strangers: 0, proxies, strangers, folded: None }
    }

    fn note(&mut self, example: Example, now: Instant) -> Fold {
        if now.saturating_duration_since(self.minute) >= Folding::MINUTE {
            (self.minute, self.shown, self.new_strangers) = (now, 0, 0);
        }
        let peer = example.peer.ip();
        // Asked first, so that every proxy is remembered.
        let is_news = match example.standing {
            Standing::Proxy => self.proxies.is_new(peer, now),
            // One that is not shown is not remembered, so that it is news later.
            Standing::Stranger if self.new_strangers >= Folding::NEW_STRANGERS_PER_MINUTE => false,
            Standing::Stranger => {
                let is_new = self.strangers.is_new(peer, now);
                self.new_strangers = self.new_strangers.saturating_add(u32::from(is_new));
                is_new
            }
            Standing::Client => false,
        };
        if is_news || self.shown < Folding::SHOWN_PER_MINUTE {
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
    /// Whether `peer` is new; remembers it.
    fn is_new(&mut self, peer: Option<IpAddr>, now: Instant) -> bool {
        let silent = |seen: Instant| now.saturating_duration_since(seen) >= Folding::PEER_MEMORY;
        let peer = peer.map(one_host);
        if let Some(seen) = self.0.get_mut(&peer) {
            let was_silent = silent(*seen);
            *seen = now;
            return was_silent;
        }
        if self.0.len() >= Folding::PEERS_PER_CAUSE {
            let silent_longest = self.0.iter().min_by_key(|(_, seen)| **seen).map(|(peer, _)| *peer);
            silent_longest.map(|peer| self.0.remove(&peer));
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
    /// Writes the summary as a line, without its line end.
    pub fn write(&self, format: LogFormat, wall: SystemTime, text: &mut String) {
        let Self { cause, count, first, last, span } = self;
        let facts = cause.outcome.facts();
        let mut line = Line::new(format, wall, facts.level, text);
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
        line.finish();
    }
}

#[cfg(test)]
mod tests;
