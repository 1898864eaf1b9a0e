//! The proxy's own connections: answered here, refused, or let through to be forwarded as the proxy's.
//!
//! Called by the walk for every identity; a client's passes untouched. The words are `speak`'s.

use truepeer::{ClientIdentity, Role};

use crate::connection::{misfit, speak};
use crate::door::{Door, OwnPermit};
use crate::engine::Socket;
use crate::facts::outcome::Outcome;
use crate::facts::protocol::OwnConnections;
use crate::rooms::record::Ended;

/// A connection that goes on, with what counts it if it is the proxy's own.
type GoesOn = (Socket, Vec<u8>, Option<OwnPermit>);

/// Keeps the proxy's own connections apart from clients; `early` is what came behind the header.
///
/// # Errors
/// How one ends that does not go on.
pub(super) async fn kept_apart(
    client: Socket,
    early: Vec<u8>,
    identity: &ClientIdentity,
    door: &Door,
) -> Result<GoesOn, Ended> {
    let (listener, peer) = (&*door.listener, identity.peer());
    let Role::ProxyOwn(why) = identity.role() else { return Ok((client, early, None)) };
    let permit = door.own_connections.enter(peer).ok_or(Outcome::OwnLimit)?;
    let own = listener.own;
    match if peer.ip().is_some() { own } else { own.without_address(listener.protocol) } {
        OwnConnections::Answer => {
            let outcome = speak::answer(client, early, door).await;
            Err(misfit::answered(why, outcome))
        }
        OwnConnections::Refuse => Err(misfit::not_wanted(peer)),
        OwnConnections::Forward => Ok((client, early, Some(permit))),
    }
}
