//! Whether a backend that could not be asked reads our header, as far as what it says to clients shows.
//!
//! Asked of backends that are not proved, and only there; it decides nothing. What servers say that take a header for
//! their own protocol is the doctor's knowledge.

use truepeer_doctor::misread;

use crate::engine::{Overheard, Relay, give_back};
use crate::rooms::backend::{MISREADS, Pool, Readiness, Target};
use crate::rooms::handoff::Proof;
use crate::rooms::record::Explanation;

/// Where the first bytes of `target` go, if they are to be looked at.
pub(super) fn overheard(pool: &Pool, target: &Target) -> Option<Overheard> {
    may_misread(pool, target).then(Overheard::default)
}

/// Whether a header precedes the client's bytes at `target`, and nobody knows if it is read.
pub(super) fn may_misread(pool: &Pool, target: &Target) -> bool {
    pool.backend.handoff.facts().proof == Proof::GreetsOnlyWith && *target.readiness() == Readiness::Unproven
}

/// Whether nobody has to keep what `relay` has overheard: it shows nothing, and neither could more of it.
pub(super) fn is_done(relay: &Relay) -> bool {
    let Some(overheard) = relay.overheard() else { return false };
    overheard.ask(|heard| {
        let is_whole = relay.has_listened() || heard.len() >= Overheard::MAX || misread::is_settled(heard);
        // Before a client speaks, everything counts.
        is_whole && !misread::is_locked_out(heard) && misread::of(heard, misread::Client::Silent).is_none()
    })
}

/// Notes that a backend has said what [`is_done`] found to show nothing.
pub(super) fn shows_nothing(pool: &Pool, target: &Target, overheard: Overheard) {
    let heard = overheard.heard();
    if !heard.is_empty() && may_misread(pool, target) {
        let _no_news = target.note_misread(false);
    }
    give_back(heard);
}

/// A relay to such a backend has ended, of which this came first; `client` is whether the client had said something.
pub(super) fn answered(
    pool: &Pool,
    target: &Target,
    overheard: Overheard,
    client: misread::Client,
) -> Option<Box<Explanation>> {
    let heard = overheard.heard();
    let answered = judged(pool, target, &heard, client);
    give_back(heard);
    answered
}

fn judged(pool: &Pool, target: &Target, heard: &[u8], client: misread::Client) -> Option<Box<Explanation>> {
    if heard.is_empty() || !may_misread(pool, target) {
        return None;
    }
    if misread::is_locked_out(heard) {
        return Some(Box::new(Explanation::new(LOCKED_OUT, LET_IN)));
    }
    let found = misread::of(heard, client);
    let is_news = target.note_misread(found.is_some());
    let what = found?;
    if is_news {
        let (backend, address) = (&*pool.backend.id, pool.name_of(&target.address));
        let cause = format!("to the last {MISREADS} clients it {what}; {NOT_PROVED}");
        let remedy = remedy(pool);
        tracing::info!(event = "backend_misreads", backend, address, cause, remedy);
    }
    Some(Box::new(Explanation::new(format!("the backend {what}; {NOT_PROVED}"), remedy(pool))))
}

/// What is to be said where it had no byte.
pub(super) fn silent(pool: &Pool) -> Box<Explanation> {
    let cause = format!("the backend said nothing before the end; {NOT_PROVED}");
    Box::new(Explanation::new(cause, remedy(pool)))
}

const LOCKED_OUT: &str =
    "the backend keeps truepeer's address out, for too many connections from there did not log in";
const LET_IN: &str = "`FLUSH HOSTS` there; then find who connects without logging in: a check of a balancer that goes through truepeer, or `backend.<id>.check = \"connect\"`; or raise `max_connect_errors`";
const NOT_PROVED: &str = "it may not read our header: that it does is not proved";

fn remedy(pool: &Pool) -> String {
    format!("if its log speaks of bytes that it does not understand: {}", pool.backend.telling().remedy())
}
