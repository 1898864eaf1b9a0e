//! The record: the one line that a connection leaves, filled along the way and written at the end, whatever happens.
//!
//! Peer and client are always two fields. Text from the wire is escaped before it gets here or by the writer.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use truepeer::{ClientIdentity, Endpoint, IdentitySource, PeerAddress, Role};

use crate::config::ConnectionLines::{self, Both, End};
use crate::config::{Backend, LogFormat};
use crate::engine::Address;
use crate::facts::outcome::{Level, Outcome};
use crate::observe::metrics::{Direction, Refusal, Room, Scope, Shard, Source};
use crate::rooms::handoff::Header;
use crate::server::registry::Listed;

/// Every field of a record, in the order of the line, with the lines it is in and what it says.
/// `docs/metrics-and-logs.md` is made from it.
pub const FIELDS: &[(&str, ConnectionLines, &str)] = &[
    ("time", Both, "when the line was written, RFC 3339 in UTC"),
    ("level", Both, "`info` or louder; probes and answered checks are only counted"),
    ("event", Both, "`connection`; `connected` in the line at the start"),
    ("id", Both, "the connection's id, unique on this host; sent as unique-id TLV to backends that read it"),
    ("outcome", End, "how it ended; see the table of outcomes"),
    ("listener", Both, "`server.listener.<id>`"),
    ("protocol", Both, "that listener's language"),
    ("peer", Both, "our socket's other end: a proxy, or the client itself; `unix` for a UNIX socket"),
    ("peer_uid", Both, "the user that connected, for a UNIX socket"),
    (
        "client",
        Both,
        "whom the connection was for; absent while nobody was identified, and for a proxy's own connection",
    ),
    ("client_scope", Both, "`private` if the client's address is private, loopback or link-local"),
    ("own", Both, "why it is the proxy's own: `local`, `unknown`, `unspecified`, `unix_client`, `datagram`"),
    ("destination", Both, "where the client wanted to go, if told"),
    ("source", Both, "how the client is known: `direct`, or the header's version `v1`, `v2`"),
    ("tls", Both, "TLS version between client and proxy, as conveyed; absent without TLS"),
    ("tls_cipher", Both, "its cipher"),
    ("tls_client", Both, "common name of a client certificate that the proxy verified"),
    ("proxy_id", Both, "the proxy's own id for the connection"),
    ("backend", Both, "`backend.<id>`, once it was reached"),
    ("backend_address", Both, "which of its addresses"),
    ("handoff", Both, "how the backend was told"),
    (
        "substituted",
        Both,
        "what our header says that the proxy did not: `destination`, `client_port`, or both",
    ),
    ("bytes_in", End, "from the client to the backend, headers aside"),
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
    ("seen", End, "at most 32 escaped bytes that came where a header was due"),
    ("cause", End, "what most likely happened, in words"),
    ("remedy", End, "what to change, and on which side"),
];

/// What a connection leaves.
#[derive(Debug)]
pub struct Record {
    /// The connection as others may see it while it is open: id, listener, peer, bytes.
    pub listed: Listed,
    /// Whom the connection is for.
    pub client: Option<Endpoint>,
    /// Why it is the proxy's own, if it is.
    pub own: Option<&'static str>,
    /// Where the client wanted to go.
    pub destination: Option<Endpoint>,
    /// How we know.
    pub source: Option<IdentitySource>,
    /// TLS between client and proxy, as conveyed.
    pub tls: Option<TlsFacts>,
    /// The proxy's id for the connection, escaped.
    pub proxy_id: Option<String>,
    /// The backend, and which of its addresses.
    pub backend: Option<(Arc<str>, String)>,
    /// How it was told.
    pub handoff: Option<&'static str>,
    /// What our header says that the proxy did not: `destination`, `client_port` or both.
    pub substituted: Option<&'static str>,
    /// Which kind of rule the client was refused by.
    pub refusal: Option<Refusal>,
    /// The rule itself: a line of a list with its place, or its code.
    pub rule: Option<String>,
    /// The limit that would have refused it, were it enforced.
    pub would_refuse: Option<Refusal>,
    /// What came where a header was due, escaped and cut; only where no identity was reached.
    pub seen: Option<String>,
    /// The likely cause in words.
    pub cause: Option<String>,
    /// What to change, and on which side.
    pub remedy: Option<String>,
    /// How long each room took.
    pub times: Times,
    /// Where this connection is counted.
    pub counters: Arc<Shard>,
    accepted: Instant,
}

/// TLS facts for the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// Such as `TLSv1.3`, escaped.
    pub version: String,
    /// Cipher name, escaped.
    pub cipher: Option<String>,
    /// Common name of a certificate that the proxy verified, escaped.
    pub verified_name: Option<String>,
}

/// Wall time per room; `None` for rooms that were not entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// From accept to identity.
    pub identify: Option<Duration>,
    /// Choosing and connecting to a backend, our header included.
    pub handoff: Option<Duration>,
    /// From the first to the last byte.
    pub relay: Option<Duration>,
}

impl Record {
    /// The record of a connection that has just arrived, which is counted; [`Record::ended`] must follow.
    #[must_use]
    pub fn new(listed: Listed, accepted: Instant, counters: Arc<Shard>) -> Self {
        counters.accepted();
        Self {
            listed,
            client: None,
            own: None,
            destination: None,
            source: None,
            tls: None,
            proxy_id: None,
            backend: None,
            handoff: None,
            substituted: None,
            refusal: None,
            rule: None,
            would_refuse: None,
            seen: None,
            cause: None,
            remedy: None,
            times: Times::default(),
            counters,
            accepted,
        }
    }

    /// Notes who the client is.
    pub fn identified(&mut self, identity: &ClientIdentity, now: Instant) {
        self.client = identity.client();
        self.listed.entry.identified(self.client);
        self.own = match identity.role() {
            Role::ProxyOwn(own) => Some(own.code()),
            Role::Client(_) => None,
        };
        self.destination = identity.destination();
        self.source = Some(identity.source());
        self.tls = identity.tls().map(|tls| TlsFacts {
            version: tls.version().map_or_else(|| "unknown".to_owned(), escape),
            cipher: tls.cipher().map(escape),
            verified_name: tls.verified_common_name().map(escape),
        });
        self.proxy_id = identity.unique_id().map(escape);
        self.times.identify = Some(now.saturating_duration_since(self.accepted));
        match self.client {
            Some(client) => self.counters.identified(Source::from(identity.source()), Scope::from(client.ip)),
            None => self.counters.own(),
        }
    }

    /// Notes what the backend is told.
    pub fn handed(&mut self, backend: &Backend, header: &Header) {
        self.handoff = Some(backend.handoff.name());
        self.substituted = match (header.substituted.destination, header.substituted.client_port) {
            (true, true) => Some("destination,client_port"),
            (true, false) => Some("destination"),
            (false, true) => Some("client_port"),
            (false, false) => None,
        };
    }

    /// Notes which backend was reached.
    pub fn reached(&mut self, backend: &Arc<str>, address: &Address) {
        let address = address.to_string();
        self.listed.entry.reached(Arc::clone(backend), address.clone());
        self.backend = Some((Arc::clone(backend), address));
    }

    /// Counts the end: the outcome, the bytes, and how long each room took.
    pub fn ended(&self, outcome: Outcome, now: Instant) {
        let Times { identify, handoff, relay } = self.times;
        let total = Some(now.saturating_duration_since(self.accepted));
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
        self.counters.relayed(Direction::In, self.listed.entry.traffic.bytes_in());
        self.counters.relayed(Direction::Out, self.listed.entry.traffic.bytes_out());
        if let Some(refusal) = self.refusal {
            self.counters.refused(refusal);
        }
        if let Some(refusal) = self.would_refuse {
            self.counters.would_refuse(refusal);
        }
        self.counters.ended(outcome);
    }

    /// The line for when the backend is reached, without its line end. It has no outcome: it is no record.
    #[must_use]
    pub fn to_start_line(&self, format: LogFormat, wall: SystemTime) -> String {
        let mut line = Line::new(format, wall, Level::Info);
        line.text("event", "connected");
        line.text("id", &self.listed.entry.id);
        self.add_parties(&mut line);
        line.finish()
    }

    /// The finished line, without its line end.
    #[must_use]
    pub fn to_line(&self, outcome: Outcome, format: LogFormat, now: Instant, wall: SystemTime) -> String {
        let entry = &*self.listed.entry;
        let mut line = Line::new(format, wall, outcome.facts().level);
        line.text("event", "connection");
        line.text("id", &entry.id);
        line.text("outcome", outcome.facts().code);
        self.add_parties(&mut line);
        line.number("bytes_in", entry.traffic.bytes_in());
        line.number("bytes_out", entry.traffic.bytes_out());
        line.number("duration_ms", millis(now.saturating_duration_since(self.accepted)));
        line.maybe_number("identify_ms", self.times.identify.map(millis));
        line.maybe_number("handoff_ms", self.times.handoff.map(millis));
        line.maybe_number("relay_ms", self.times.relay.map(millis));
        line.maybe("rule", self.rule.as_deref());
        line.maybe("would_refuse", self.would_refuse.map(Refusal::code));
        line.maybe("seen", self.seen.as_deref());
        line.maybe("cause", self.cause.as_deref());
        line.maybe("remedy", self.remedy.as_deref());
        line.finish()
    }

    /// Who is connected to whom, and how that is known.
    fn add_parties(&self, line: &mut Line) {
        let entry = &*self.listed.entry;
        line.text("listener", &entry.listener);
        line.text("protocol", entry.protocol.name());
        match entry.peer {
            PeerAddress::Tcp(addr) => line.text("peer", &addr.to_string()),
            PeerAddress::Unix { uid } => {
                line.text("peer", "unix");
                line.maybe_number("peer_uid", uid.map(u64::from));
            }
        }
        line.maybe("client", self.client.map(|client| client.to_string()).as_deref());
        let scope = self.client.map(|client| Scope::from(client.ip));
        line.maybe("client_scope", scope.filter(|scope| *scope == Scope::Private).map(Scope::code));
        line.maybe("own", self.own);
        line.maybe("destination", self.destination.map(|destination| destination.to_string()).as_deref());
        line.maybe("source", self.source.map(IdentitySource::code));
        line.maybe("tls", self.tls.as_ref().map(|tls| tls.version.as_str()));
        line.maybe("tls_cipher", self.tls.as_ref().and_then(|tls| tls.cipher.as_deref()));
        line.maybe("tls_client", self.tls.as_ref().and_then(|tls| tls.verified_name.as_deref()));
        line.maybe("proxy_id", self.proxy_id.as_deref());
        line.maybe("backend", self.backend.as_ref().map(|(id, _)| &**id));
        line.maybe("backend_address", self.backend.as_ref().map(|(_, address)| address.as_str()));
        line.maybe("handoff", self.handoff);
        line.maybe("substituted", self.substituted);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn escape(bytes: &[u8]) -> String {
    const LONGEST: usize = 128;
    bytes.get(..LONGEST).unwrap_or(bytes).escape_ascii().to_string()
}

/// One line being written, in either format.
#[derive(Debug)]
pub struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    /// A line that begins with its time and level.
    #[must_use]
    pub fn new(format: LogFormat, wall: SystemTime, level: Level) -> Self {
        let time = humantime::format_rfc3339_millis(wall);
        let level = level.name();
        let text = match format {
            LogFormat::Text => format!("time={time} level={level}"),
            LogFormat::Json => format!("{{\"time\":\"{time}\",\"level\":\"{level}\""),
        };
        Self { format, text }
    }

    /// Adds a field; `value` may hold anything.
    pub fn text(&mut self, key: &str, value: &str) {
        match self.format {
            LogFormat::Text if value.is_empty() || value.contains(needs_quotes) => {
                let _ = write!(self.text, " {key}={}", serde_json::Value::from(value));
            }
            LogFormat::Text => {
                let _ = write!(self.text, " {key}={value}");
            }
            LogFormat::Json => {
                let _ = write!(self.text, ",\"{key}\":{}", serde_json::Value::from(value));
            }
        }
    }

    /// Adds a field if there is a value.
    pub fn maybe(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, value: u64) {
        let _ = match self.format {
            LogFormat::Text => write!(self.text, " {key}={value}"),
            LogFormat::Json => write!(self.text, ",\"{key}\":{value}"),
        };
    }

    /// Adds a number if there is one.
    pub fn maybe_number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// The line.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text
    }
}

fn needs_quotes(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\')
}

#[cfg(test)]
mod tests;
