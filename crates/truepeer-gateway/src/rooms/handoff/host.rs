//! What this host lacks for a handoff: asked by `check`, of the engine, before a client is. Changes nothing.

use std::net::SocketAddr;

use super::{Handoff, Telling};
use crate::engine::label::Labels;
use crate::engine::transparent;

/// What this host lacks so that a backend at `address` can be told in this way, each a sentence with what to change.
#[must_use]
pub fn lacking(telling: Telling<'_>, address: SocketAddr) -> Vec<String> {
    match telling.handoff {
        Handoff::Transparent => {
            let ip = address.ip();
            let lacks = |need: transparent::Need| format!("this host lacks `{}`", need.command(ip));
            transparent::lacking(ip).into_iter().map(lacks).collect()
        }
        Handoff::Label => {
            // Gone again with this value.
            let lack = Labels::default().prepare(address, telling.label).err();
            lack.map(|lack| format!("{lack}: {}", lack.change())).into_iter().collect()
        }
        Handoff::ProxyV2
        | Handoff::ProxyV1
        | Handoff::Xclient
        | Handoff::ImapId
        | Handoff::ImapIdUnconfirmed
        | Handoff::Exec
        | Handoff::None => Vec::new(),
    }
}
