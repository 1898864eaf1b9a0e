//! Whether a backend that could not be asked reads our header, as far as what it says to clients shows.
//!
//! Asked of backends that are not proved, and only there; it decides nothing. What servers say that take a header for
//! their own protocol is the doctor's knowledge.

use truepeer_doctor::misread;

use crate::engine::Overheard;
use crate::rooms::backend::{MISREADS, Pool, Readiness, Target};
use crate::rooms::handoff::Handoff;
use crate::rooms::record::Record;

/// Where the first bytes of `target` go, if they are to be looked at.
pub(super) fn overheard(pool: &Pool, target: &Target) -> Option<Overheard> {
    may_misread(pool, target).then(Overheard::default)
}

/// Whether a header precedes the client's bytes at `target`, and nobody knows if it is read.
pub(super) fn may_misread(pool: &Pool, target: &Target) -> bool {
    matches!(pool.backend.handoff, Handoff::ProxyV1 | Handoff::ProxyV2)
        && *target.readiness() == Readiness::Unproven
}

/// A relay to such a backend has ended, of which this came first.
pub(super) fn answered(record: &mut Record, pool: &Pool, target: &Target, overheard: Overheard) {
    let heard = overheard.heard();
    if heard.is_empty() || !may_misread(pool, target) {
        return;
    }
    if misread::is_locked_out(&heard) {
        record.cause = Some(LOCKED_OUT.to_owned());
        record.remedy = Some(LET_IN.to_owned());
        return;
    }
    let client = match record.entry.traffic.bytes_in() {
        0 => misread::Client::Silent,
        _ => misread::Client::Spoke,
    };
    let found = misread::of(&heard, client);
    let is_news = target.note_misread(found.is_some());
    let Some(what) = found else { return };
    record.cause = Some(format!("the backend {what}; {NOT_PROVED}"));
    record.remedy = Some(remedy(pool));
    if is_news {
        let (backend, address) = (&*pool.backend.id, pool.name_of(&target.address));
        let cause = format!("to the last {MISREADS} clients it {what}; {NOT_PROVED}");
        let remedy = remedy(pool);
        tracing::info!(event = "backend_misreads", backend, address, cause, remedy);
    }
}

/// What is to be said where it had no byte.
pub(super) fn silent(record: &mut Record, pool: &Pool) {
    record.cause = Some(format!("the backend said nothing before the end; {NOT_PROVED}"));
    record.remedy = Some(remedy(pool));
}

const LOCKED_OUT: &str =
    "the backend keeps truepeer's address out, for too many connections from there did not log in";
const LET_IN: &str = "`FLUSH HOSTS` there; then find who connects without logging in: a check of a balancer that goes through truepeer, or `backend.<id>.check = \"connect\"`; or raise `max_connect_errors`";
const NOT_PROVED: &str = "it may not read our header: that it does is not proved";

fn remedy(pool: &Pool) -> String {
    format!("if its log speaks of bytes that it does not understand: {}", pool.backend.telling().remedy())
}
