//! The room that asks: may this client enter, now? Lists, bans, TLS, limits, in this order.
//!
//! About clients only, no matter who speaks for them: a proxy's own connections are never asked. Pure but for the
//! counts that a permit holds; it must not know sockets.

use std::time::Instant;

use truepeer::{ClientIdentity, Role};

use crate::connection::misfit;
use crate::door::Door;
use crate::facts::address::ClientIp;
use crate::rooms::access::{Decision, InsecureClients, Why};
use crate::rooms::limits::{LimitDecision, Permit};
use crate::rooms::record::{Ended, Explanation};
use crate::rooms::refuse::Reason;

/// A client that may enter.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Counts it until it is dropped; `None` for a proxy's own connection.
    pub permit: Option<Permit>,
    /// The limit that would have refused it, were it enforced.
    pub observed: Option<Box<Explanation>>,
}

/// Why a client may not enter.
#[derive(Debug)]
pub(super) struct Refused {
    /// How its connection ends.
    pub ended: Ended,
    /// What it hears.
    pub reason: Reason,
}

/// Whether the client may enter now; `presumed` is whether it is taken for the client for want of a header.
///
/// # Errors
/// [`Refused`].
pub(super) fn decide(
    identity: &ClientIdentity,
    presumed: bool,
    door: &Door,
    now: Instant,
) -> Result<Admitted, Refused> {
    let Role::Client(client) = identity.role() else { return Ok(Admitted { permit: None, observed: None }) };
    let (listener, client) = (&*door.listener, ClientIp::from(client));
    let refused = |ended, reason| Err(Refused { ended, reason });
    match listener.access.decide(client) {
        Decision::Deny(why) => {
            return refused(misfit::denied(&listener.id, presumed, identity, why), Reason::Denied);
        }
        // Somebody may have kept it out for a while; a list that names it comes first.
        Decision::Admit(Why::Default(_)) => {
            if let Some(ban) = door.denied.find(client) {
                return refused(misfit::banned(&ban), Reason::Denied);
            }
        }
        Decision::Admit(Why::Listed(_)) => {}
    }
    // Where TLS is required, only a header that says so will do.
    if listener.insecure == InsecureClients::Refuse && !identity.is_secure() {
        return refused(misfit::insecure(identity), Reason::SecureRequired);
    }
    match door.gate.enter(client, now) {
        LimitDecision::Admit(permit) => Ok(Admitted { permit: Some(permit), observed: None }),
        LimitDecision::WouldRefuse(permit, which) => {
            let observed = Some(misfit::observed(&listener.id, &which));
            Ok(Admitted { permit: Some(permit), observed })
        }
        LimitDecision::Refuse(which) => refused(misfit::limited(&listener.id, &which), Reason::LimitReached),
    }
}
