//! Why a connection or a client is treated as it is: listener, proxy, header, rule, limits, backend.
//!
//! It asks the rules that a connection asks, as the configuration has them now; an open connection keeps those that it
//! began with, and the answer says so where that matters.

use std::net::IpAddr;

use truepeer::{ClientIdentity, IdentitySource, PeerAddress};

use super::page::Subject;
use super::{reply, report};
use crate::config::{said_of_limits, said_of_peer};
use crate::facts::address::ClientIp;
use crate::observe::recent::client_of;
use crate::rooms::access::{Decision, InsecureClients, Why};
use crate::rooms::backend::Reached;
use crate::rooms::record::Entry;
use crate::server::{ListeningAt, View};

/// What there is to say about `subject`.
///
/// # Errors
/// The connection has ended.
pub(super) fn why(view: &View, subject: &Subject) -> Result<reply::Why, String> {
    let mut said = Said::default();
    match subject {
        Subject::Connection(id) => {
            let mut parts = view.registry.parts();
            let entry = parts.find_map(|part| part.into_iter().find(|(_, entry)| *entry.id() == **id));
            let Some((_, entry)) = entry else {
                return Err(format!("connection {id} has ended: its record in the log has how"));
            };
            of_connection(view, &entry, &mut said);
        }
        Subject::Client(client) => of_client(view, ClientIp::from(*client), &mut said),
    }
    Ok(reply::Why { steps: said.0 })
}

#[derive(Default)]
struct Said(Vec<reply::Step>);

impl Said {
    fn say(&mut self, about: &str, text: impl Into<String>) {
        self.0.push(reply::Step { about: about.to_owned(), text: text.into() });
    }
}

fn of_connection(view: &View, entry: &Entry, said: &mut Said) {
    let layout = view.layout();
    said.say("connection", format!("{}, accepted {}", entry.id(), report::time(entry.since())));
    let at: Vec<_> = layout.listening.iter().filter(|at| at.bound.listener == *entry.listener()).collect();
    let addresses: Vec<_> = at.iter().map(|at| at.bound.address.as_str()).collect();
    let protocol = entry.protocol().name();
    let listener = format!("{} ({protocol})", entry.listener());
    let Some(first) = at.first() else {
        return said.say("listener", format!("{listener}: the configuration has it no more"));
    };
    said.say("listener", format!("{listener} on {}", addresses.join(", ")));
    said.say("peer", of_peer(first, &entry.peer()));
    said.say("header", of_header(entry.identity()));
    let Some(client) = entry.client() else { return };
    of_rules(view, first, ClientIp::from(client), said);
    said.say(
        "backend",
        match entry.backend() {
            Some(Reached { backend, address, .. }) => {
                let pool = first.door.pools().find(|pool| pool.backend.id == *backend);
                let handoff = pool.map_or("", |pool| pool.backend.handoff.name());
                format!("{backend} at {address}, told by {handoff}")
            }
            None => "none was reached yet".to_owned(),
        },
    );
}

fn of_peer(at: &ListeningAt, peer: &PeerAddress) -> String {
    let door = &at.door;
    let shown = report::peer(peer);
    match peer.ip() {
        Some(ip) => format!("{shown} is {}", said_of_peer(&door.listener, &door.names, ip)),
        None => match door.trust(*peer) {
            truepeer::TrustDecision::ExpectHeader => {
                format!("{shown} is a proxy, for `\"unix\"` is trusted here")
            }
            _ => format!("{shown} is not trusted here"),
        },
    }
}

fn of_header(identity: Option<&ClientIdentity>) -> String {
    let Some(identity) = identity else { return "not there yet".to_owned() };
    match (identity.source(), identity.client()) {
        (IdentitySource::Direct, Some(client)) => format!("none: the peer is the client, {client}"),
        (source, Some(client)) => format!("{}: it names the client, {client}", source.code()),
        (source, None) => {
            format!("{}: it names no client; the connection is the proxy's own", source.code())
        }
    }
}

fn of_rules(view: &View, at: &ListeningAt, client: ClientIp, said: &mut Said) {
    let door = &at.door;
    let explanation = door.listener.access.explain(client);
    said.say("access", explanation.to_string());
    match explanation.decision {
        Decision::Deny(_) => return,
        Decision::Admit(Why::Listed(_)) => {}
        Decision::Admit(Why::Default(_)) => match view.denied.find(client) {
            Some(ban) => return said.say("ban", format!("kept out: {ban}")),
            None => said.say("ban", "none"),
        },
    }
    if door.listener.insecure == InsecureClients::Refuse {
        said.say("tls", "required: refused unless it came over TLS");
    }
    said.say("limits", said_of_limits(&door.listener.limits, client.ip()));
}

fn of_client(view: &View, client: ClientIp, said: &mut Said) {
    let group = client_of(client);
    let mut open: u64 = 0;
    for (_, entry) in view.registry.parts().flatten() {
        let is_of = entry.client().is_some_and(|other| group.contains(&ClientIp::from(other).ip()));
        open = open.saturating_add(u64::from(is_of));
    }
    said.say("client", format!("{client}, with {open} connections open"));
    let layout = view.layout();
    for listener in view.listeners() {
        let Some(at) = layout.listening.iter().find(|at| at.bound.listener == listener) else { continue };
        let ip: IpAddr = client.ip();
        said.say("listener", format!("{listener} ({})", at.door.listener.protocol.name()));
        said.say("peer", said_of_peer(&at.door.listener, &at.door.names, ip));
        of_rules(view, at, client, said);
    }
}
