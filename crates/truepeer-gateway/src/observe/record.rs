//! What a record becomes: counters while the connection runs, lines when it begins and ends.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use truepeer::{ClientIdentity, IdentitySource, PeerAddress};

use crate::facts::address::ClientIp;
use crate::facts::lines::ConnectionLines::{self, Both, End};
use crate::facts::lines::LogFormat;
use crate::facts::outcome::{Level, Outcome};
use crate::observe::line::Line;
use crate::observe::metrics::{Direction, Room, Shard};
use crate::rooms::record::{Record, RefusedBy, Scope, Source, Times};

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
        "what the backend is told that the proxy did not say: `destination`, `client_port`, `client_address` (the substitute for IPv6), or several",
    ),
    (
        "exit",
        End,
        "how the program ended that was given the connection: its status, or `signal` and the signal's number",
    ),
    (
        "bytes_in",
        End,
        "from the client to the backend, headers aside; 0 where a program was given the connection, which nobody counts",
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
pub struct Observer {
    /// What the connection leaves.
    pub record: Record,
    /// Where it is counted.
    pub counters: Arc<Shard>,
}

impl Observer {
    /// Counts a connection that has just arrived; [`Observer::ended`] must follow.
    #[must_use]
    pub fn new(record: Record, counters: Arc<Shard>) -> Self {
        counters.accepted();
        Self { record, counters }
    }

    /// Notes and counts who the client is.
    pub fn identified(&mut self, identity: &ClientIdentity, now: Instant) {
        self.record.identified(identity, now);
        match self.record.client {
            Some(client) => {
                self.counters
                    .identified(Source::from(identity.source()), Scope::from(ClientIp::from(client)));
            }
            None => self.counters.own(),
        }
    }

    /// Counts the end: the outcome, the bytes, and how long each room took.
    pub fn ended(&self, outcome: Outcome, now: Instant) {
        let record = &self.record;
        let Times { identify, handoff, relay } = record.times;
        let total = Some(now.saturating_duration_since(record.accepted));
        let rooms = [
            (Room::Identify, identify),
            (Room::Handoff, handoff),
            (Room::Relay, relay),
            (Room::Total, total),
        ];
        for (room, time) in rooms {
            if let Some(time) = time {
                self.counters.spent(room, time);
            }
        }
        self.counters.relayed(Direction::In, record.entry.traffic.bytes_in());
        self.counters.relayed(Direction::Out, record.entry.traffic.bytes_out());
        if let Some(refusal) = record.refusal {
            self.counters.refused(refusal);
        }
        if let Some(refusal) = record.would_refuse {
            self.counters.would_refuse(refusal);
        }
        self.counters.ended(outcome);
    }
}

/// The line for when the backend is reached, without its line end. It has no outcome: it is no record.
#[must_use]
pub fn start_line(record: &Record, format: LogFormat, wall: SystemTime) -> String {
    let mut line = Line::new(format, wall, Level::Info);
    line.text("event", "connected");
    line.text("id", &record.entry.id);
    add_parties(record, &mut line);
    line.finish()
}

/// The finished line, without its line end.
#[must_use]
pub fn line(record: &Record, outcome: Outcome, format: LogFormat, now: Instant, wall: SystemTime) -> String {
    let entry = &*record.entry;
    let mut line = Line::new(format, wall, outcome.facts().level);
    line.text("event", "connection");
    line.text("id", &entry.id);
    line.text("outcome", outcome.facts().code);
    add_parties(record, &mut line);
    line.maybe("exit", record.exit.map(|exit| exit.to_string()).as_deref());
    line.number("bytes_in", entry.traffic.bytes_in());
    line.number("bytes_out", entry.traffic.bytes_out());
    line.number("duration_ms", millis(now.saturating_duration_since(record.accepted)));
    line.maybe_number("identify_ms", record.times.identify.map(millis));
    line.maybe_number("handoff_ms", record.times.handoff.map(millis));
    line.maybe_number("relay_ms", record.times.relay.map(millis));
    line.maybe("rule", record.rule.as_deref());
    line.maybe("would_refuse", record.would_refuse.map(RefusedBy::code));
    line.maybe("seen", record.seen.as_deref());
    line.maybe("cause", record.cause.as_deref());
    line.maybe("remedy", record.remedy.as_deref());
    line.finish()
}

/// Who is connected to whom, and how that is known.
fn add_parties(record: &Record, line: &mut Line) {
    let entry = &*record.entry;
    line.text("listener", &entry.listener);
    line.text("protocol", entry.protocol.name());
    match entry.peer {
        PeerAddress::Tcp(addr) => line.text("peer", &addr.to_string()),
        PeerAddress::Unix { uid } => {
            line.text("peer", "unix");
            line.maybe_number("peer_uid", uid.map(u64::from));
        }
        other => line.text("peer", &other.to_string()),
    }
    let hops: Vec<_> = record.hops.as_slice().iter().map(ToString::to_string).collect();
    line.maybe("hops", (!hops.is_empty()).then(|| hops.join(",")).as_deref());
    line.maybe("client", record.client.map(|client| client.to_string()).as_deref());
    let scope = record.client.map(|client| Scope::from(ClientIp::from(client)));
    line.maybe("client_scope", scope.filter(|scope| *scope == Scope::Private).map(Scope::code));
    line.maybe("own", record.own);
    line.maybe("destination", record.destination.map(|destination| destination.to_string()).as_deref());
    line.maybe("source", record.source.map(IdentitySource::code));
    line.maybe("tls", record.tls.as_ref().map(|tls| tls.version.as_str()));
    line.maybe("tls_cipher", record.tls.as_ref().and_then(|tls| tls.cipher.as_deref()));
    line.maybe("tls_client", record.tls.as_ref().and_then(|tls| tls.verified_name.as_deref()));
    line.maybe("proxy_id", record.proxy_id.as_deref());
    line.maybe("backend", record.backend.as_ref().map(|(id, _)| &**id));
    line.maybe("backend_address", record.backend.as_ref().map(|(_, address)| address.as_str()));
    line.maybe("handoff", record.handoff);
    line.maybe("substituted", record.substituted);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
