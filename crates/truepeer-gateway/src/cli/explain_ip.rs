//! `truepeer check --explain-ip ADDRESS`: what would happen to an address, as a peer and as a client, and which line
//! of which file says so.
//!
//! It asks the rules that a connection asks, one listener after the other; nothing is decided here.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use truepeer::{HeaderReader, HeaderRules, IdentifyError, NetworkSet, PeerAddress, Progress};

use crate::config::{Config, Listener, said_of_limits, said_of_peer};
use crate::facts::address::ClientIp;
use crate::rooms::access::{Decision, InsecureClients};
use crate::rooms::trust::Named;
use crate::server;

/// `names`: what trusted names mean now. What is said about `addr`, for all listeners or for the one of that name; `None` if there is none of that name.
pub(super) fn explain(
    config: &Config,
    names: &[Arc<Named>],
    addr: IpAddr,
    only: Option<&str>,
) -> Option<String> {
    let addr = ClientIp::from(addr).ip();
    let listeners: Vec<_> =
        config.listeners.iter().filter(|listener| only.is_none_or(|id| id == &*listener.id)).collect();
    if listeners.is_empty() {
        return None;
    }
    let own = server::own_addresses(&config.backends);
    let mut text = String::new();
    for listener in listeners {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{addr} at listener `{}` ({}):", listener.id, listener.protocol);
        let _ = writeln!(text, "  as peer: {}", said_of_peer(listener, names, addr));
        let (addr, implausible) = as_named(&own, listener, addr);
        if let Some(error) = implausible {
            let _ =
                writeln!(text, "  as client of a proxy elsewhere: refused as client_implausible: {error}");
        }
        if listener.hops.contains(addr) {
            text.push_str(
                "  named in a header: a proxy of `proxy.hop-networks`, whose own header must follow; never a client\n",
            );
        }
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
            let _ = writeln!(text, "    limits: {}", said_of_limits(&listener.limits, addr));
        }
    }
    Some(text)
}

/// The client that a proxy on another machine names so, a translator's prefix folded, and why it is not believed.
///
/// The very question that a connection asks, put to the header that would come.
fn as_named(own: &NetworkSet, listener: &Listener, addr: IpAddr) -> (IpAddr, Option<IdentifyError>) {
    let elsewhere = PeerAddress::tcp(SocketAddr::from(([192, 0, 2, 1], 1)));
    let reader =
        HeaderReader::new(HeaderRules::new().unsafe_accept_implausible_clients(), elsewhere, Instant::now());
    let line = match addr {
        IpAddr::V4(addr) => format!("PROXY TCP4 {addr} 192.0.2.2 4711 25\r\n"),
        IpAddr::V6(addr) => format!("PROXY TCP6 {addr} 2001:db8::2 4711 25\r\n"),
    };
    let Ok(Progress::Done { identity, .. }) = reader.advance(line.as_bytes()) else { return (addr, None) };
    let identity = identity.with_nat64(&listener.nat64);
    let implausible = match listener.implausible.believes(&identity) {
        false => reader.check_plausible(&identity, own).err(),
        true => None,
    };
    (identity.client().map_or(addr, |client| client.ip), implausible)
}
