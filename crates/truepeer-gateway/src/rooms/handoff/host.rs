//! What this host lacks for a handoff: asked by `check`, of the engine, before a client is. Changes nothing.

use std::net::SocketAddr;

use super::{Handoff, Proof, Telling};
use crate::engine::label::Labels;
use crate::engine::published::container_behind;
use crate::engine::transparent;

/// What this host lacks so that the socket of a program says who its client is, with what to change.
#[must_use]
pub fn lacking_for_programs() -> Option<String> {
    // Gone again with this value.
    let lack = Labels::default().prepare_own().err();
    lack.map(|lack| format!("{lack}: {}", lack.change()))
}

/// What this host lacks so that a backend at `address` can be told in this way, each a sentence with what to change.
#[must_use]
pub fn lacking(telling: Telling<'_>, address: SocketAddr) -> Vec<String> {
    if telling.handoff.facts().proof == Proof::ReachedAsClient
        && let Some(container) = container_behind(address)
    {
        return vec![behind_a_proxy(address, container)];
    }
    match telling.handoff {
        Handoff::Transparent => {
            let ip = address.ip();
            let lacks = |need: transparent::Need| format!("this host lacks `{}`", need.command(ip));
            let round = if transparent::leads_here(address) {
                transparent::way_round(address).to_vec()
            } else {
                Vec::new()
            };
            let round = round.into_iter().map(|command| {
                format!("this host lacks `{command}`: {address} is not its own address (a container, another machine)")
            });
            transparent::lacking(ip).into_iter().map(lacks).chain(round).collect()
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

/// Docker's userland proxy is reached in the place of the server.
#[must_use]
pub fn behind_a_proxy(address: SocketAddr, container: SocketAddr) -> String {
    format!(
        "docker-proxy listens at {address} and connects on from itself, so that the server would see docker-proxy; say the container's own address, `address = \"{container}\"`"
    )
}
