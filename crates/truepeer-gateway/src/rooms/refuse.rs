//! The room that says no, politely: a client that is turned away hears it in its own protocol.
//!
//! Called by the walk of a connection when access, limits, the choice of a backend or a drain end it before the
//! relay; the words of each protocol are in its file in `facts/protocol/`. Pure: a reason in, the bytes to write out.
//! It must not know sockets, time or configuration, and it must never be asked where the client's bytes are TLS that
//! passes through: a plain-text answer is noise there.
//! After the text the caller shuts its direction down and discards what still arrives, so that the text is read.

use crate::facts::protocol::Protocol;

pub(crate) use crate::facts::protocol::SpokenHost;
pub use crate::facts::protocol::{BadText, Permanence, Reason, Refusal, RefusalText};

/// The bytes that tell a client of `protocol` why it is turned away; `None` where a plain close says it best.
#[must_use]
pub fn refuse(protocol: Protocol, refusal: &Refusal<'_>) -> Option<Vec<u8>> {
    (protocol.language().refuse)(refusal)
}

#[cfg(test)]
mod tests;
