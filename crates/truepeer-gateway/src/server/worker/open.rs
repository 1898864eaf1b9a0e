//! The record of a connection that goes on, and what its end leaves behind: the line, the counts, and what is remembered of
//! its peer.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use truepeer::{ClientIdentity, IdentitySource};

use super::{Stop, Tools};
use crate::door::{Door, WorkerContext};
use crate::engine::{Admission, Arrival, moment, wall};
use crate::facts::lines::LogFormat;
use crate::facts::outcome::{Level, Outcome};
use crate::observe::folding::{Cause, Example, Fold, Standing};
use crate::observe::metrics::Shard;
use crate::observe::recent::RefusedConnection;
use crate::observe::record::{Observer, line as record_line};
use crate::rooms::identify::HeaderFacts;
use crate::rooms::identify::habit::Did;
use crate::rooms::record::{Entrance, Record, RefusedBy};
use crate::server::registry::{Listing, Registry};

/// A record that is written when it is dropped: at the end, when the connection is cut, and after a mistake of ours. The
/// connection is listed and counted until then.
pub(super) struct OpenRecord {
    pub(super) record: Record,
    pub(super) threshold: Rc<Threshold>,
    pub(super) listing: Listing,
    pub(super) outcome: Option<Outcome>,
}

/// What connections share that came to one post through one door.
#[derive(Debug)]
pub(super) struct Threshold {
    /// The door.
    pub(super) door: Arc<Door>,
    /// Where they are listed.
    pub(super) registry: Registry,
    /// Where they are counted as open.
    pub(super) admission: Admission,
    /// Where they are counted.
    pub(super) counters: Arc<Shard>,
    /// Where they came in, as others see it.
    pub(super) entrance: Arc<Entrance>,
    /// What those of the worker share.
    pub(super) desk: Rc<WorkerContext>,
    /// Whether what was cut was drained.
    pub(super) stop: watch::Receiver<Stop>,
}

impl Threshold {
    /// For the connections of this worker that come through `door`.
    pub(super) fn new(tools: &Tools, desk: Rc<WorkerContext>, door: Arc<Door>) -> Self {
        let listener = &door.listener;
        let counters = tools.metrics.shard(tools.worker, &listener.id);
        let entrance = Entrance::here(Arc::clone(&listener.id), listener.protocol, &desk.ids);
        let (registry, admission) = (tools.registry.clone(), tools.admission.clone());
        Self { registry, admission, counters, entrance, desk, stop: tools.stop.clone(), door }
    }
}

/// Lists and counts a connection no more, whatever happens meanwhile.
struct Leaving(Rc<Threshold>, Listing);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.registry.close(self.1);
        self.0.admission.leave();
    }
}

impl OpenRecord {
    /// Of a connection that has just arrived.
    pub(super) fn begin(arrival: &Arrival, threshold: Rc<Threshold>) -> Self {
        let (entry, listing) = threshold.registry.open(&threshold.entrance, arrival.peer);
        threshold.admission.enter();
        threshold.counters.accepted();
        Self { record: Record::new(entry, arrival.at), threshold, listing, outcome: None }
    }

    /// Who notes and counts what is found out.
    pub(super) fn seen(&mut self) -> Observer<'_> {
        self.parts().0
    }

    /// The same, and the door.
    pub(super) fn parts(&mut self) -> (Observer<'_>, &Door) {
        let Threshold { counters, door, .. } = &*self.threshold;
        (Observer { record: &mut self.record, counters }, door)
    }

    /// Ends it; what its peer did is remembered.
    pub(super) fn end(mut self, outcome: Outcome) {
        let Threshold { door, desk, .. } = &*self.threshold;
        remember_peer(door, desk, &self.record, outcome);
        self.outcome = Some(outcome);
    }

    /// Whether somebody cuts the connection.
    pub(super) fn is_cut(&self) -> bool {
        self.record.entry.is_cut()
    }

    /// What it leaves: the counts, the line, and what is remembered of a refusal.
    fn write(&mut self) {
        let cut = *self.threshold.stop.borrow() != Stop::No && !std::thread::panicking();
        let unfinished = if cut { Outcome::Drained } else { Outcome::Internal };
        let outcome = self.outcome.unwrap_or(unfinished);
        // Before the line: whoever has read it finds it counted.
        let now = moment();
        self.seen().ended(outcome, now);
        let log = &self.threshold.desk.log;
        if let Some(client) = self.record.entry.client() {
            log.recent().arrivals.note(client.into(), self.record.accepted(), now);
        }
        if outcome.facts().level == Level::Debug {
            return;
        }
        let line = |format: LogFormat, text: &mut String| {
            record_line(&self.record, outcome, format, now, wall(), text);
        };
        if outcome.was_served() {
            return log.line(line);
        }
        let entry = &self.record.entry;
        let cause = Cause {
            listener: Arc::clone(entry.listener()),
            outcome,
            rule: self.record.explanation().refusal.map(RefusedBy::code),
        };
        log.turned_away().note(&cause, &self.record, now.into(), wall());
        let source = entry.identity().map(ClientIdentity::source);
        let standing = Standing::of(outcome, entry.peer(), source);
        let client = entry.client().map(|client| client.ip);
        let example = Example { peer: entry.peer(), client, standing };
        if log.refused(&cause, example, line) == Fold::Count {
            self.threshold.counters.folded();
        }
        log.recent().refusals.keep(RefusedConnection::take(&mut self.record, outcome, wall()));
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        let _leaving = Leaving(Rc::clone(&self.threshold), self.listing);
        self.write();
    }
}

/// Notes what the peer of an ended connection did, and says so if that has become a habit.
fn remember_peer(door: &Door, desk: &WorkerContext, record: &Record, outcome: Outcome) {
    let entry = &record.entry;
    let source = entry.identity().map(ClientIdentity::source);
    let is_own = source.is_some() && entry.client().is_none();
    let did = Did::of(outcome, source, record.presumed, is_own);
    let header = match source {
        Some(IdentitySource::Header(version)) if !is_own => {
            Some(HeaderFacts { version, secure: entry.identity().is_some_and(ClientIdentity::is_secure) })
        }
        _ => None,
    };
    let (Some(did), Some(ip)) = (did, entry.peer().ip().map(|ip| ip.to_canonical())) else { return };
    if let Some(told) = desk.recent.ended(entry.listener(), ip, did, header)
        && let Some(remark) = door.acquaintances.note(entry.listener(), ip, told)
    {
        remark.say();
    }
}
