//! `truepeer check --explain-ip ADDRESS`: what would happen to an address, as a peer and as a client, and which line
//! of which file says so.
//!
//! It asks the rules that a connection asks, one listener after the other; nothing is decided here.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use truepeer::{PeerAddress, TrustDecision};

use crate::config::{Config, Listener};
use crate::rooms::access::Decision;
use crate::rooms::access::InsecureClients;
use crate::rooms::limits::{Mode, Policy};

/// What is said about `addr`, for all listeners or for the one of that name; `None` if there is none of that name.
pub(super) fn explain(config: &Config, addr: IpAddr, only: Option<&str>) -> Option<String> {
    let addr = addr.to_canonical();
    let listeners: Vec<_> =
        config.listeners.iter().filter(|listener| only.is_none_or(|id| id == &*listener.id)).collect();
    if listeners.is_empty() {
        return None;
    }
    let mut text = String::new();
    for listener in listeners {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{addr} at listener `{}` ({}):", listener.id, listener.protocol);
        let _ = writeln!(text, "  as peer: {}", as_peer(listener, addr));
        let explanation = listener.access.explain(addr);
        let _ = writeln!(text, "  {}", explanation.to_string().replace('\n', "\n  "));
        if let Decision::Admit(_) = explanation.decision {
            match (&listener.backend_when_secure, listener.insecure) {
                (_, InsecureClients::Refuse) => text.push_str("    refused unless it came over TLS\n"),
                (Some(backend), InsecureClients::Admit) => {
                    let _ = writeln!(text, "    to {}, or over TLS to {}", listener.backend.id, backend.id);
                }
                (None, InsecureClients::Admit) => {}
            }
            let _ = writeln!(text, "    limits: {}", limits(&listener.limits, addr));
        }
    }
    Some(text)
}

fn as_peer(listener: &Listener, addr: IpAddr) -> String {
    match listener.trust.decide(PeerAddress::tcp(SocketAddr::new(addr, 0))) {
        TrustDecision::ExpectHeader => {
            let said = listener.trusted_lines.iter().find(|said| said.network.contains(&addr));
            let place = said.map_or_else(String::new, |said| {
                format!(" ({}, line {}: {})", said.key, said.line, said.network)
            });
            format!("a proxy, must send a header{place}; access and limits are about the clients it brings")
        }
        TrustDecision::Direct => "the client itself, for it is in no trusted network".to_owned(),
        TrustDecision::Refuse => {
            "refused, for it is in no trusted network and `proxy.unlisted` is \"refuse\"".to_owned()
        }
    }
}

fn limits(policy: &Policy, addr: IpAddr) -> String {
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
