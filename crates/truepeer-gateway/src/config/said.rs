//! What a listener's settings say of one address, in words: for `check --explain-ip`, and for whoever asks a running
//! server why.
//!
//! It asks the rules that a connection asks; nothing is decided here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use truepeer::{PeerAddress, TrustDecision};

use crate::config::Listener;
use crate::rooms::identify::MissingHeader;
use crate::rooms::limits::{Mode, Policy};
use crate::rooms::trust::Named;

/// What a peer with the address `addr` is to `listener`, and the line that says so. `names`: what trusted names mean
/// now.
#[must_use]
pub fn said_of_peer(listener: &Listener, names: &[Arc<Named>], addr: IpAddr) -> String {
    let by_name = names.iter().filter(|named| named.holds(addr)).find_map(|named| {
        let said = listener.trusted_names.iter().find(|said| said.name == named.name)?;
        Some(format!(" ({}, line {}: `{}`, which stands for it now)", said.key, said.line, said.name))
    });
    let decision = listener.trust.decide(PeerAddress::tcp(SocketAddr::new(addr, 0)));
    let decision = if by_name.is_some() { TrustDecision::ExpectHeader } else { decision };
    match decision {
        TrustDecision::ExpectHeader => {
            let said = listener.trusted_lines.iter().find(|said| said.network.contains(&addr));
            let by_network =
                said.map(|said| format!(" ({}, line {}: {})", said.key, said.line, said.network));
            let place = by_network.or(by_name).unwrap_or_default();
            let must = match listener.missing {
                MissingHeader::Refuse => "must send a header",
                MissingHeader::UnsafeClientIsPeer { .. } => {
                    "or the client itself, if no header comes within `missing-header-wait`"
                }
            };
            format!("a proxy, {must}{place}; access and limits are about the clients it brings")
        }
        TrustDecision::Direct => "the client itself, for it is in no trusted network".to_owned(),
        TrustDecision::Refuse => {
            "refused, for it is in no trusted network and `proxy.unlisted` is \"refuse\"".to_owned()
        }
    }
}

/// How many connections `policy` lets a client with the address `addr` have.
#[must_use]
pub fn said_of_limits(policy: &Policy, addr: IpAddr) -> String {
    let mut words = Vec::new();
    if let Some(most) = policy.connections_per_client {
        words.push(format!("{most} connections at once"));
    }
    if let Some(rate) = policy.rate_per_client {
        words.push(format!(
            "{} new ones in {}",
            rate.connections(),
            humantime::format_duration(rate.period())
        ));
    }
    if words.is_empty() {
        return "none for a client".to_owned();
    }
    if policy.exempt.contains(addr) {
        return "none, for it is in `limits.exempt`".to_owned();
    }
    let observed = match policy.mode {
        Mode::Enforce => "",
        Mode::Observe => " (only observed)",
    };
    format!("{} for {}{observed}", words.join(", "), policy.prefixes.group(addr))
}
