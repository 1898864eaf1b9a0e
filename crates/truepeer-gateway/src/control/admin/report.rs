//! What is reported of a running server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use truepeer::PeerAddress;

use super::reply;
use crate::control::predecessors::Predecessors;
use crate::rooms::backend::{Pool, Readiness};
use crate::rooms::identify::habit::Remark;
use crate::rooms::record::Entry;
use crate::rooms::trust::Named;
use crate::server::{ListeningAt, View};

/// Peers named for their unfinished headers.
const MAX_PENDING_PEERS: usize = 20;
/// Habits named, those with most connections first.
const MAX_HABITS: usize = 50;

/// One open connection.
pub(super) fn connection(entry: &Entry, now: SystemTime) -> reply::Connection {
    let (identity, client, reached) = (entry.identity(), entry.client(), entry.backend());
    let header = if identity.is_some() { reply::Header::Known } else { reply::Header::Awaited };
    reply::Connection {
        id: entry.id().to_string(),
        listener: entry.listener().to_string(),
        protocol: entry.protocol().name().to_owned(),
        peer: peer(&entry.peer()),
        client: client.map(|client| client.to_string()),
        header,
        own: identity.is_some() && client.is_none(),
        backend: reached.as_ref().map(|reached| reached.backend.to_string()),
        backend_address: reached.map(|reached| reached.address.to_string()),
        since: time(entry.since()),
        duration_ms: millis(entry.since(), now),
        bytes_in: entry.traffic.bytes_in(),
        bytes_out: entry.traffic.bytes_out(),
        pid: std::process::id(),
        replaced: false,
    }
}

/// What runs, what is unproven, who is pending, which advice is open.
pub(super) fn status(view: &View, before: &Predecessors, now: SystemTime) -> reply::Status {
    let layout = view.layout();
    let unready = view.unready();
    let listener = |at: &ListeningAt| reply::Listener {
        listener: at.bound.listener.to_string(),
        address: at.bound.address.clone(),
        protocol: at.door.listener.protocol.name().to_owned(),
        backend: at.door.pool.backend.id.to_string(),
        backend_when_secure: at.door.pool_when_secure.as_ref().map(|pool| pool.backend.id.to_string()),
        closed: at.is_shut(),
        ready: !unready.contains(&at.bound.listener),
    };
    reply::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        since: time(view.started),
        duration_ms: millis(view.started, now),
        draining: view.is_draining(),
        ready: unready.is_empty(),
        open: view.admission.open(),
        max_connections: view.admission.max(),
        pending_headers: view.pending_headers(),
        max_pending_headers: view.max_pending_headers(),
        denied: view.denied.count(),
        shared: shared(view),
        before: before.list(),
        listeners: layout.listening.iter().map(listener).collect(),
        health: layout.health.iter().map(health).collect(),
        backends: layout.pools.iter().map(backend).collect(),
        trusted_names: layout.names.iter().map(|named| trusted_name(named, now)).collect(),
        pending: pending(view, now),
        habits: view.habits().iter().take(MAX_HABITS).map(habit).collect(),
        advice: layout.advice.iter().map(reply::Advice::from).collect(),
    }
}

/// How sharing goes.
fn shared(view: &View) -> Option<reply::Shared> {
    let sharing = view.denied.sharing();
    let status = sharing.status(Instant::now());
    status.on.then(|| reply::Shared {
        connected: status.connected,
        read: status.complete,
        trouble: status.trouble.map(|trouble| trouble.code().to_owned()),
        remedy: status.trouble.map(|trouble| trouble.remedy().to_owned()),
        silent_ms: u64::try_from(status.silent.as_millis()).unwrap_or(u64::MAX),
        entries: status.entries,
        pending: status.pending,
        refused: status.refused.into_iter().fold(0, u64::saturating_add),
        awaited: sharing.is_awaited(),
    })
}

/// What a peer does again and again.
fn habit(remark: &Remark) -> reply::Habit {
    reply::Habit {
        peer: remark.peer.to_string(),
        listener: remark.listener.to_string(),
        habit: remark.habit.code().to_owned(),
        count: remark.count,
        cause: remark.cause(),
        remedy: remark.remedy(),
    }
}

/// What a trusted name means now.
fn trusted_name(named: &Named, now: SystemTime) -> reply::TrustedName {
    let meaning = named.meaning();
    reply::TrustedName {
        name: named.name.to_string(),
        addresses: meaning.addresses.iter().map(ToString::to_string).collect(),
        since: meaning.since.map(time),
        changed_ms: meaning.since.map(|since| millis(since, now)),
        failing: meaning.failing.as_ref().map(ToString::to_string),
        advice: meaning.surprises.iter().map(ToString::to_string).collect(),
    }
}

fn health(at: &ListeningAt) -> reply::HealthPort {
    reply::HealthPort {
        listener: at.bound.listener.to_string(),
        address: at.bound.address.clone(),
        closed: at.is_shut(),
    }
}

fn backend(pool: &Arc<Pool>) -> reply::Backend {
    let known = |readiness: &Readiness| match readiness {
        Readiness::Unasked => ("unasked", Some("it has not answered yet".to_owned())),
        Readiness::Proved => ("proved", None),
        Readiness::InPart { refuses, saw } => {
            ("proved_in_part", Some(format!("it turns {refuses} clients away ({saw})")))
        }
        Readiness::Unproven => ("unproven", Some(unproven(pool))),
        Readiness::Unready(why) => (why.code(), Some(why.to_string())),
    };
    let targets = pool.targets();
    let addresses = targets.iter().map(|target| {
        let (readiness, why) = known(&target.readiness());
        let address = pool.name_of(&target.address);
        reply::BackendAddress { address, readiness: readiness.to_owned(), why }
    });
    reply::Backend {
        backend: pool.backend.id.to_string(),
        protocol: pool.protocol.name().to_owned(),
        handoff: pool.backend.handoff.name().to_owned(),
        ready: pool.is_ready(),
        addresses: addresses.collect(),
    }
}

fn unproven(pool: &Pool) -> String {
    let protocol = pool.protocol.name();
    if pool.backend.has_range() {
        return "the ports of a range are not tested, because only clients may connect there: clients show whether they work"
            .to_owned();
    }
    let lead = format!("it accepts connections; {}", pool.backend.handoff.facts().question);
    match (pool.backend.handoff.tells(), pool.greeting) {
        (false, _) => "it accepts connections; it is not told who the client is".to_owned(),
        (_, crate::rooms::backend::Greeting::NotReadable) => {
            format!("{lead} cannot be asked through TLS: `truepeer check` it with one real client")
        }
        _ if pool.protocol.has_words() => {
            format!(
                "{lead} does not show in its answers to {protocol} requests: look into its log for one real client"
            )
        }
        _ => format!("{lead} cannot be asked in {protocol}: look into its log for one real client"),
    }
}

/// The peers with unfinished headers, those with most first.
fn pending(view: &View, now: SystemTime) -> Vec<reply::PendingPeer> {
    let mut peers: BTreeMap<(String, Arc<str>), (u64, SystemTime)> = BTreeMap::new();
    for (_, entry) in view.registry.parts().flatten() {
        if entry.identity().is_none() {
            let ip = entry.peer().ip().map_or_else(|| "unix".to_owned(), |ip| ip.to_string());
            let (count, oldest) =
                peers.entry((ip, Arc::clone(entry.listener()))).or_insert((0, entry.since()));
            *count = count.saturating_add(1);
            *oldest = (*oldest).min(entry.since());
        }
    }
    let mut peers: Vec<_> = peers.into_iter().collect();
    peers.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let named = peers.into_iter().take(MAX_PENDING_PEERS);
    let named = named.map(|((peer, listener), (headers, oldest))| reply::PendingPeer {
        peer,
        listener: listener.to_string(),
        headers,
        oldest_ms: millis(oldest, now),
    });
    named.collect()
}

/// A peer as it is shown.
pub(super) fn peer(peer: &PeerAddress) -> String {
    match peer {
        PeerAddress::Tcp(addr) => addr.to_string(),
        PeerAddress::Unix { uid: Some(uid) } => format!("unix:uid={uid}"),
        other => other.to_string(),
    }
}

/// RFC 3339.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// From one time to the other.
pub(super) fn millis(since: SystemTime, now: SystemTime) -> u64 {
    // A clock that was set back means no time at all.
    now.duration_since(since).map_or(0, |passed| u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}
