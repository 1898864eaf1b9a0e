//! The room that asks: may this client enter, now? Lists, bans, TLS, limits, in this order.
//!
//! About clients only, whoever speaks for them: a proxy's own connections are never asked. Pure but for the counts that
//! a permit holds; it must not know sockets.

use std::time::Instant;

use truepeer::{ClientIdentity, Role};

use crate::connection::misfit;
use crate::door::Door;
use crate::facts::address::ClientIp;
use crate::facts::outcome::Outcome;
use crate::rooms::access::{Decision, InsecureClients, Why};
use crate::rooms::limits::{LimitDecision, Permit};
use crate::rooms::record::Record;
use crate::rooms::refuse::Reason;

/// Why a client may not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// How its connection ends.
    pub outcome: Outcome,
    /// What it hears.
    pub reason: Reason,
}

/// The permit that counts the client until it is dropped; `None` for a proxy's own connection.
///
/// # Errors
/// [`Refused`], with the rule noted in the record.
pub(super) fn decide(
    identity: &ClientIdentity,
    door: &Door,
    record: &mut Record,
    now: Instant,
) -> Result<Option<Permit>, Refused> {
    let Role::Client(client) = identity.role() else { return Ok(None) };
    let (listener, client) = (&*door.listener, ClientIp::from(client));
    let refused = |outcome, reason| Err(Refused { outcome, reason });
    match listener.access.decide(client) {
        Decision::Deny(why) => return refused(misfit::denied(record, identity, why), Reason::Denied),
        // Somebody may have kept it out for a while; a list that names it comes first.
        Decision::Admit(Why::Default(_)) => {
            if let Some(ban) = door.denied.find(client) {
                return refused(misfit::banned(record, &ban), Reason::Denied);
            }
        }
        Decision::Admit(Why::Listed(_)) => {}
    }
    // Where TLS is required, only a header that says so will do.
    if listener.insecure == InsecureClients::Refuse && !identity.is_secure() {
        return refused(misfit::insecure(record, identity), Reason::SecureRequired);
    }
    match door.gate.enter(client, now) {
        LimitDecision::Admit(permit) => Ok(Some(permit)),
        LimitDecision::WouldRefuse(permit, which) => {
            misfit::observed(record, &which);
            Ok(Some(permit))
        }
        LimitDecision::Refuse(which) => refused(misfit::limited(record, &which), Reason::LimitReached),
    }
}
