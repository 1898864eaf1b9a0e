//! From counters and gauges to text: every family, every series, zero or not.

use std::sync::Arc;
use std::time::Duration;

use crate::facts::outcome::Outcome;
use crate::observe::metrics::family::{Facts, Family};
use crate::observe::metrics::histogram::Sum;
use crate::observe::metrics::label::{Direction, HealthAnswer, TimedRoom};
use crate::observe::metrics::micros;
use crate::observe::metrics::shard::{Counter, Shard};
use crate::observe::metrics::text::{Format, HeldText, Seconds, Text};
use crate::rooms::backend::{Pool, Readiness};
use crate::rooms::bans::shared::{EntryRefusal, SharingStatus};
use crate::rooms::limits::LimitsStatus;
use crate::rooms::record::{RefusedBy, Scope, Source};

/// What is not counted here but read when somebody asks.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// When this process started, since the UNIX epoch.
    pub started: Duration,
    /// Connections at which accepting pauses.
    pub max_connections: u64,
    /// Connections whose header is not complete yet.
    pub pending_headers: u64,
    /// The most of them.
    pub max_pending_headers: u64,
    /// The table of limits.
    pub limits: LimitsStatus,
    /// Bans in force.
    pub active_bans: u64,
    /// Sharing with other front doors.
    pub sharing: SharingStatus,
    /// Lines that the log lost since the start.
    pub lost_log_lines: u64,
    /// File descriptors that are open.
    pub open_descriptors: u64,
    /// The most of them.
    pub max_descriptors: u64,
    /// Every configured backend.
    pub backends: Vec<BackendGauge>,
}

/// What is known of one backend's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendGauge {
    /// The backend's name.
    pub backend: Arc<str>,
    /// Not asked yet.
    pub unasked: u64,
    /// Proved to read our header.
    pub proved: u64,
    /// Reachable; what it reads cannot be asked.
    pub unproven: u64,
    /// Not to be handed clients.
    pub unready: u64,
}

impl BackendGauge {
    /// What `pool` knows now.
    #[must_use]
    pub fn of(pool: &Pool) -> Self {
        let mut gauge =
            Self { backend: Arc::clone(&pool.backend.id), unasked: 0, proved: 0, unproven: 0, unready: 0 };
        for target in pool.targets().iter() {
            let count = match *target.readiness() {
                Readiness::Unasked => &mut gauge.unasked,
                Readiness::Proved | Readiness::InPart { .. } => &mut gauge.proved,
                Readiness::Unproven => &mut gauge.unproven,
                Readiness::Unready(_) => &mut gauge.unready,
            };
            *count = count.saturating_add(1);
        }
        gauge
    }

    /// Counts the same backend's addresses in another language.
    pub fn add(&mut self, other: &Self) {
        self.unasked = self.unasked.saturating_add(other.unasked);
        self.proved = self.proved.saturating_add(other.proved);
        self.unproven = self.unproven.saturating_add(other.unproven);
        self.unready = self.unready.saturating_add(other.unready);
    }

    /// Values of the label `readiness`, with the addresses of which each is true.
    pub(super) fn by_readiness(&self) -> [(&'static str, u64); 4] {
        [
            ("unasked", self.unasked),
            ("proved", self.proved),
            ("unproven", self.unproven),
            ("unready", self.unready),
        ]
    }

    fn is_ready(&self) -> bool {
        self.proved > 0 || self.unproven > 0
    }
}

/// Everything as text: the sums of `shards` over workers, and `gauges`.
#[must_use]
pub fn render(shards: &[Arc<Shard>], gauges: &Gauges, format: Format) -> String {
    let mut text = Text::new(format);
    let sums = Sums::of(shards);
    for family in Family::ALL {
        let facts = family.facts();
        text.family(&facts);
        samples(family, &facts, &sums, gauges, &mut text);
    }
    text.finish()
}

fn samples(family: Family, facts: &Facts, sums: &Sums<'_>, gauges: &Gauges, text: &mut Text) {
    let mut one = |value: u64| text.sample(facts, &[], value);
    match family {
        Family::Build => text.sample(facts, &[env!("CARGO_PKG_VERSION")], 1),
        Family::StartTime => text.sample(facts, &[], Seconds(micros(gauges.started))),
        Family::AcceptedConnections => sums.each(facts, text, Counter::Accepted),
        Family::AcceptFailures => sums.each(facts, text, Counter::AcceptFailures),
        Family::AcceptPauses => sums.each(facts, text, Counter::AcceptPauses),
        Family::OpenConnections => sums.open(facts, text),
        Family::OpenConnectionsLimit => one(gauges.max_connections),
        Family::PendingHeaders => one(gauges.pending_headers),
        Family::PendingHeadersLimit => one(gauges.max_pending_headers),
        Family::IdentifiedConnections => {
            for source in Source::ALL {
                for scope in Scope::ALL {
                    let values = [source.code(), scope.code()];
                    sums.each_with(facts, text, &values, Counter::Identified(source, scope));
                }
            }
        }
        Family::OwnConnections => sums.each(facts, text, Counter::Own),
        Family::HealthChecks => {
            for answer in HealthAnswer::ALL {
                sums.each_with(facts, text, &[answer.code()], Counter::HealthChecked(answer));
            }
        }
        Family::RefusedConnections => sums.by_rule(facts, text, Counter::Refused),
        Family::WouldRefuseConnections => sums.by_rule(facts, text, Counter::WouldRefuse),
        Family::EndedConnections => {
            for outcome in Outcome::ALL {
                let values = [outcome.facts().code];
                sums.each_with(facts, text, &values, Counter::Ended(outcome));
            }
        }
        Family::RelayedBytes => {
            for direction in Direction::ALL {
                let values = [direction.code()];
                sums.each_with(facts, text, &values, Counter::Relayed(direction));
            }
        }
        Family::IdentifyDuration => sums.durations(facts, text, TimedRoom::Identify),
        Family::HandoffDuration => sums.durations(facts, text, TimedRoom::Handoff),
        Family::RelayDuration => sums.durations(facts, text, TimedRoom::Relay),
        Family::ConnectionDuration => sums.durations(facts, text, TimedRoom::Total),
        Family::BackendReady => {
            for backend in &gauges.backends {
                text.sample(facts, &[&backend.backend], u8::from(backend.is_ready()));
            }
        }
        Family::BackendAddresses => {
            for backend in &gauges.backends {
                for (readiness, count) in backend.by_readiness() {
                    text.sample(facts, &[&backend.backend, readiness], count);
                }
            }
        }
        Family::LimitedClients => one(gauges.limits.clients),
        Family::LimitedClientsLimit => one(gauges.limits.max_clients),
        Family::SharedClientCounts => one(gauges.limits.shared),
        Family::ActiveBans => one(gauges.active_bans),
        Family::SharedStoreConnected => one(gauges.sharing.connected.into()),
        Family::SharedStoreSilence => text.sample(facts, &[], Seconds(micros(gauges.sharing.silent))),
        Family::SharedStoreEntries => one(gauges.sharing.entries),
        Family::SharedPendingOrders => one(gauges.sharing.pending),
        Family::SharedRefusedEntries => {
            for (reason, count) in EntryRefusal::ALL.into_iter().zip(gauges.sharing.refused) {
                text.sample(facts, &[reason.code()], count);
            }
        }
        Family::FoldedRecords => sums.each(facts, text, Counter::Folded),
        Family::LostLogLines => one(gauges.lost_log_lines),
        Family::OpenDescriptors => one(gauges.open_descriptors),
        Family::DescriptorsLimit => one(gauges.max_descriptors),
    }
}

/// Shards of one listener together, in the order in which listeners first came.
struct Sums<'a>(Vec<(&'a str, Vec<&'a Shard>)>);

impl<'a> Sums<'a> {
    fn of(shards: &'a [Arc<Shard>]) -> Self {
        let mut listeners: Vec<(&str, Vec<&Shard>)> = Vec::new();
        for shard in shards {
            match listeners.iter_mut().find(|(listener, _)| *listener == &**shard.listener()) {
                Some((_, of_listener)) => of_listener.push(shard),
                None => listeners.push((shard.listener(), vec![shard])),
            }
        }
        Self(listeners)
    }

    fn each(&self, facts: &Facts, text: &mut Text, counter: Counter) {
        self.each_with(facts, text, &[], counter);
    }

    /// One sample for each listener, with `more` values behind the listener's.
    fn each_with(&self, facts: &Facts, text: &mut Text, more: &[&str], counter: Counter) {
        for (listener, shards) in &self.0 {
            text.sample(facts, &[&[*listener], more].concat(), total(shards, counter));
        }
    }

    fn by_rule(&self, facts: &Facts, text: &mut Text, counter: impl Fn(RefusedBy) -> Counter) {
        for refusal in RefusedBy::ALL {
            self.each_with(facts, text, &[refusal.code()], counter(refusal));
        }
    }

    fn open(&self, facts: &Facts, text: &mut Text) {
        for (listener, shards) in &self.0 {
            // Ends first: what ends between the two readings was then accepted before the second one.
            let ends = Outcome::ALL.into_iter().map(|outcome| total(shards, Counter::Ended(outcome)));
            let ended = ends.fold(0, u64::wrapping_add);
            let accepted = total(shards, Counter::Accepted);
            text.sample(facts, &[listener], accepted.saturating_sub(ended));
        }
    }

    fn durations(&self, facts: &Facts, text: &mut Text, room: TimedRoom) {
        for (listener, shards) in &self.0 {
            let mut sum = Sum::default();
            for shard in shards {
                shard.sum_into(room, &mut sum);
            }
            let (buckets, count) = sum.cumulative(room);
            let buckets = buckets.into_iter().map(|(bound, up_to)| (Seconds(bound), up_to)).collect();
            let held = HeldText { buckets, count, sum: Seconds(sum.micros) };
            text.histogram(facts, &[listener], &held);
        }
    }
}

fn total(shards: &[&Shard], counter: Counter) -> u64 {
    shards.iter().map(|shard| shard.read(counter)).fold(0, u64::wrapping_add)
}
