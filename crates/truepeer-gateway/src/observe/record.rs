//! What a record becomes: counters while the connection runs, lines when it begins and ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use truepeer::{ClientIdentity, PeerAddress, Role};

use crate::facts::address::ClientIp;
use crate::facts::instant::CompactInstant;
use crate::facts::lines::ConnectionLines::{self, Both, End};
use crate::facts::lines::LogFormat;
use crate::facts::outcome::{Level, Outcome};
use crate::observe::line::{Line, key};
use crate::observe::metrics::{Direction, Shard, TimedRoom};
use crate::rooms::record::{Ended, Entry, Explanation, Record, RefusedBy, Scope, Source, Times, Way};

/// Every field of a record, in the order of the line, with the lines it is in and what it says.
/// `docs/metrics-and-logs.md` is made from it.
pub const FIELDS: &[(&str, ConnectionLines, &str)] = &[
    ("time", Both, "when the line was written, RFC 3339 in UTC"),
    ("level", Both, "`info` or louder; probes and answered checks are only counted"),
    ("event", Both, "`connection`; `connected` in the line at the start"),
    (
        "id",
        Both,
        "the connection's id, unique on this host; sent as unique-id TLV to backends that read it, where the proxy sent none",
    ),
    ("outcome", End, "how it ended; see the table of outcomes"),
    ("listener", Both, "`server.listener.<id>`"),
    ("protocol", Both, "that listener's language"),
    ("peer", Both, "our socket's other end: a proxy, or the client itself; `unix` for a UNIX socket"),
    ("peer_uid", Both, "the user that connected, for a UNIX socket"),
    (
        "hops",
        Both,
        "proxies of `proxy.hop-networks` that stand between the peer and the client, the one nearest to us first",
    ),
    (
        "client",
        Both,
        "the client that the connection was made for; absent while it is not known, and for a proxy's own connection",
    ),
    ("client_scope", Both, "`private` if the client's address is private, loopback or link-local"),
    (
        "own",
        Both,
        "why it is the proxy's own: `local`, `unknown`, `unspecified`, `unix_client`, `datagram`, `own_address`",
    ),
    ("destination", Both, "the address that the client connected to, if known"),
    ("source", Both, "how the client is known: `direct`, or the header's version `v1`, `v2`"),
    ("tls", Both, "TLS version between client and proxy, as conveyed; absent without TLS"),
    ("tls_cipher", Both, "its cipher"),
    ("tls_client", Both, "common name of a client certificate that the proxy verified"),
    ("proxy_id", Both, "the proxy's own id for the connection"),
    ("backend", Both, "`backend.<id>`, once it was reached"),
    ("backend_address", Both, "which of its addresses"),
    ("handoff", Both, "how the backend learned who the client is"),
    (
        "substituted",
        Both,
        "what truepeer filled in for the backend, since the proxy did not send it: `destination`, `client_port`, `client_address` (the substitute for IPv6), or several",
    ),
    (
        "exit",
        End,
        "how the program ended that was given the connection: its status, or `signal` and the signal's number",
    ),
    (
        "bytes_in",
        End,
        "from the client to the backend, headers aside; 0 where a program was given the connection: its bytes are not seen",
    ),
    ("bytes_out", End, "from the backend to the client"),
    ("duration_ms", End, "from accept to end"),
    ("identify_ms", End, "from accept to identity"),
    ("handoff_ms", End, "choosing and connecting to a backend"),
    ("relay_ms", End, "from the first to the last byte"),
    (
        "rule",
        End,
        "the rule that the client was refused by: a line of a list with its file and line, a ban with its end and reason, or a word as in the label `rule`",
    ),
    ("would_refuse", End, "the limit that would have refused the client, were it enforced"),
    (
        "seen",
        End,
        "the bytes that came where a header was due, escaped: the first 32, of a version 1 line those up to the fault, of a version 2 header also those around it",
    ),
    ("cause", End, "what most likely happened, in words"),
    ("remedy", End, "what to change, and on which side"),
];

/// The record of one connection and the counters that it is counted in: what is noted in one is counted in the other.
#[derive(Debug)]
pub struct Observer<'a> {
    /// What the connection leaves.
    pub record: &'a mut Record,
    /// Where it is counted.
    pub counters: &'a Shard,
}

impl Observer<'_> {
    /// Notes and counts who the client is; returns where that is noted.
    pub fn identified(&mut self, identity: ClientIdentity, now: CompactInstant) -> Arc<Entry> {
        match identity.client() {
            Some(client) => {
                self.counters
                    .identified(Source::from(identity.source()), Scope::from(ClientIp::from(client)));
            }
            None => self.counters.own(),
        }
        self.record.identified(identity, now);
        Arc::clone(&self.record.entry)
    }

    /// Notes how it was found out whom the connection is for: by which proxies it came, and whether for want of a header.
    pub fn came(&mut self, way: Way) {
        self.record.came_by(way.hops);
        self.record.presumed = way.presumed;
    }

    /// Notes why it ends early; returns how.
    pub fn ends(&mut self, ended: Ended) -> Outcome {
        self.explained(ended.why);
        ended.outcome
    }

    /// Notes what there is to say of it.
    pub fn explained(&mut self, why: Option<Box<Explanation>>) {
        if let Some(why) = why {
            self.record.explained(*why);
        }
    }

    /// Counts the end: the outcome, the bytes, and how long each room took.
    pub fn ended(&self, outcome: Outcome, now: CompactInstant) {
        let record = &*self.record;
        let Times { identify, handoff, relay } = record.times;
        let total = Some(now.since(record.accepted()).into());
        let rooms = [
            (TimedRoom::Identify, identify),
            (TimedRoom::Handoff, handoff),
            (TimedRoom::Relay, relay),
            (TimedRoom::Total, total),
        ];
        for (room, time) in rooms {
            if let Some(time) = time {
                self.counters.spent(room, time.into());
            }
        }
        self.counters.relayed(Direction::In, record.entry.traffic.bytes_in());
        self.counters.relayed(Direction::Out, record.entry.traffic.bytes_out());
        let why = record.explanation();
        if let Some(refusal) = why.refusal {
            self.counters.refused(refusal);
        }
        if let Some(refusal) = why.would_refuse {
            self.counters.would_refuse(refusal);
        }
        self.counters.ended(outcome);
    }
}

/// Writes the line for when the backend is reached, without its line end. It has no outcome: it is no record.
pub fn start_line(record: &Record, format: LogFormat, wall: SystemTime, text: &mut String) {
    let mut line = Line::new(format, wall, Level::Info, text);
    line.word(key!("event"), "connected");
    line.word(key!("id"), &record.entry.id());
    add_parties(record, &mut line);
    line.finish();
}

/// Writes the finished line, without its line end.
pub fn line(
    record: &Record,
    outcome: Outcome,
    format: LogFormat,
    now: CompactInstant,
    wall: SystemTime,
    text: &mut String,
) {
    let entry = &*record.entry;
    let facts = outcome.facts();
    let mut line = Line::new(format, wall, facts.level, text);
    line.word(key!("event"), "connection");
    line.word(key!("id"), &entry.id());
    line.word(key!("outcome"), facts.code);
    add_parties(record, &mut line);
    if let Some(exit) = record.exit() {
        line.text(key!("exit"), &exit.to_string());
    }
    line.number(key!("bytes_in"), entry.traffic.bytes_in());
    line.number(key!("bytes_out"), entry.traffic.bytes_out());
    line.number(key!("duration_ms"), millis(now.since(record.accepted())));
    let Times { identify, handoff, relay } = record.times;
    line.maybe_number(key!("identify_ms"), identify.map(|took| millis(took.into())));
    line.maybe_number(key!("handoff_ms"), handoff.map(|took| millis(took.into())));
    line.maybe_number(key!("relay_ms"), relay.map(|took| millis(took.into())));
    let why = record.explanation();
    line.maybe(key!("rule"), why.rule.as_deref());
    line.maybe(key!("would_refuse"), why.would_refuse.map(RefusedBy::code));
    line.maybe(key!("seen"), why.seen.as_deref());
    line.maybe(key!("cause"), why.cause.as_deref());
    line.maybe(key!("remedy"), why.remedy.as_deref());
    line.finish();
}

/// Who is connected to whom, and how that is known.
fn add_parties(record: &Record, line: &mut Line<'_>) {
    let entry = &*record.entry;
    line.text(key!("listener"), entry.listener());
    line.word(key!("protocol"), entry.protocol().name());
    match entry.peer() {
        PeerAddress::Tcp(addr) => line.address(key!("peer"), addr),
        PeerAddress::Unix { uid } => {
            line.word(key!("peer"), "unix");
            line.maybe_number(key!("peer_uid"), uid.map(u64::from));
        }
        other => line.text(key!("peer"), &other.to_string()),
    }
    if let hops @ [_, ..] = record.hops() {
        let hops: Vec<_> = hops.iter().map(ToString::to_string).collect();
        line.text(key!("hops"), &hops.join(","));
    }
    if let Some(identity) = entry.identity() {
        add_identity(identity, line);
    }
    if let Some(reached) = entry.backend() {
        line.text(key!("backend"), &reached.backend);
        line.text(key!("backend_address"), &reached.address);
    }
    if let Some(handoff) = record.handoff {
        line.word(key!("handoff"), handoff.name());
    }
    line.maybe(key!("substituted"), record.substituted.words());
}

/// Whom the connection is for, and what the header adds.
fn add_identity(identity: &ClientIdentity, line: &mut Line<'_>) {
    match identity.role() {
        Role::Client(client) => {
            line.maybe_endpoint(key!("client"), Some(client));
            if Scope::from(ClientIp::from(client)) == Scope::Private {
                line.word(key!("client_scope"), Scope::Private.code());
            }
        }
        Role::ProxyOwn(own) => line.word(key!("own"), own.code()),
    }
    line.maybe_endpoint(key!("destination"), identity.destination());
    line.word(key!("source"), identity.source().code());
    if let Some(tls) = identity.tls() {
        line.wire(key!("tls"), Some(tls.version().unwrap_or(b"unknown")));
        line.wire(key!("tls_cipher"), tls.cipher());
        line.wire(key!("tls_client"), tls.verified_common_name());
    }
    line.wire(key!("proxy_id"), identity.unique_id());
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
