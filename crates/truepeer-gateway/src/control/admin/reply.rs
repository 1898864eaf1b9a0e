//! What the server answers: the same types on both ends of the socket, so that they cannot drift apart.
//!
//! The names of fields are promised to programs (`docs/json.md`); those of a connection are the record's. A line without
//! `ok` is one of many, the last one of an answer has it.

mod pages;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config;
pub use crate::control::succession::Before;
use crate::rooms::bans;
use crate::server;

pub use pages::{Client, ClientsPage, ConnectionsPage, Refusal, RefusalsPage, Step, Why};

/// The last line of an answer that went well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done<T> {
    /// It did.
    pub ok: bool,
    /// What came of it.
    #[serde(flatten)]
    pub what: T,
}

impl<T> Done<T> {
    /// It went well.
    #[must_use]
    pub fn well(what: T) -> Self {
        Self { ok: true, what }
    }
}

/// The only line of an answer that did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// It did not.
    pub ok: bool,
    /// Why.
    pub error: String,
    /// `false` where a whole feed ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<bool>,
    /// Whether another process answers in a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<bool>,
}

/// Another process has taken this one's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// Its version.
    pub version: String,
    /// Its number.
    pub pid: u32,
    /// The version of the process before.
    pub version_before: String,
    /// The number of the process before, which ends with its last connection.
    pub pid_before: u32,
    /// Its connections.
    pub open_before: u32,
    /// How long they may go on.
    pub drain_ms: u64,
}

/// A feed may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedBegins {
    /// It may.
    pub feed: bool,
}

/// One open connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id, as in its record.
    pub id: String,
    /// Where it came in.
    pub listener: String,
    /// The protocol there.
    pub protocol: String,
    /// The other end of its socket.
    pub peer: String,
    /// Whom it is for.
    pub client: Option<String>,
    /// Whether its header is there.
    pub header: Header,
    /// Whether it is the proxy's own.
    pub own: bool,
    /// The backend ...
    pub backend: Option<String>,
    /// ... and which of its addresses.
    pub backend_address: Option<String>,
    /// When it was accepted, RFC 3339.
    pub since: String,
    /// How long ago that is.
    pub duration_ms: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// The process that has it.
    #[serde(default)]
    pub pid: u32,
    /// Whether an upgrade has replaced that process.
    #[serde(default)]
    pub replaced: bool,
}

/// Whether a connection's header, if one was due, is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Header {
    /// Not yet.
    Awaited,
    /// It is known whom the connection is for.
    Known,
}

/// How many connections were listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// So many.
    pub connections: u64,
    /// Processes before an upgrade that did not say which they have.
    #[serde(default)]
    pub unheard: Vec<u32>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Of the process.
    pub pid: u32,
    /// When it began, RFC 3339.
    pub since: String,
    /// How long ago that is.
    pub duration_ms: u64,
    /// Whether it accepts no more.
    pub draining: bool,
    /// Whether every client would be served.
    pub ready: bool,
    /// Connections that are open.
    pub open: u32,
    /// The most of them.
    pub max_connections: u32,
    /// Headers that are not complete.
    pub pending_headers: u32,
    /// The most of them.
    pub max_pending_headers: u32,
    /// Bans in force.
    pub denied: usize,
    /// The store of `[shared]`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Shared>,
    /// Processes before an upgrade that still have connections.
    #[serde(default)]
    pub before: Vec<Before>,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// Where checks do.
    pub health: Vec<HealthPort>,
    /// Where clients go.
    pub backends: Vec<Backend>,
    /// What trusted names mean now.
    pub trusted_names: Vec<TrustedName>,
    /// Peers with unfinished headers, those with most first.
    pub pending: Vec<PendingPeer>,
    /// What peers do again and again, those with most connections first.
    pub habits: Vec<Habit>,
    /// What is valid in the configuration but surprising.
    pub advice: Vec<Advice>,
}

/// The store of `[shared]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Whether it answers.
    pub connected: bool,
    /// Whether what it holds was read since the start.
    pub read: bool,
    /// What is wrong with it.
    pub trouble: Option<String>,
    /// What to do about that.
    pub remedy: Option<String>,
    /// How long ago it last answered.
    pub silent_ms: u64,
    /// Networks that it knows.
    pub entries: u64,
    /// Orders of this front door that others may not know yet.
    pub pending: u64,
    /// Entries that were not taken over since the start.
    pub refused: u64,
    /// Whether this front door is not ready before it was read.
    pub awaited: bool,
}

/// What one peer does again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Habit {
    /// Its address.
    pub peer: String,
    /// Where.
    pub listener: String,
    /// Which habit.
    pub habit: String,
    /// In how many connections.
    pub count: u64,
    /// What it means.
    pub cause: String,
    /// What to change.
    pub remedy: String,
}

/// One address of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its name.
    pub listener: String,
    /// The address.
    pub address: String,
    /// What is spoken there.
    pub protocol: String,
    /// Where clients go ...
    pub backend: String,
    /// ... and where those go who came over TLS, if elsewhere.
    pub backend_when_secure: Option<String>,
    /// Whether nobody listens for now.
    pub closed: bool,
    /// Whether every client would be served.
    pub ready: bool,
}

/// One health port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPort {
    /// Whose it is.
    pub listener: String,
    /// The address.
    pub address: String,
    /// Whether nobody listens for now.
    pub closed: bool,
}

/// One backend in one protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its name.
    pub backend: String,
    /// The protocol.
    pub protocol: String,
    /// How it is told of clients.
    pub handoff: String,
    /// Whether a client would be served.
    pub ready: bool,
    /// Its addresses.
    pub addresses: Vec<BackendAddress>,
}

/// One address of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendAddress {
    /// Where it is.
    pub address: String,
    /// What is known of it.
    pub readiness: String,
    /// Why it is not proved.
    pub why: Option<String>,
}

/// What a trusted name means now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedName {
    /// The name.
    pub name: String,
    /// Its addresses; none means nobody.
    pub addresses: Vec<String>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// How long ago that is.
    pub changed_ms: Option<u64>,
    /// Why it is not answered at present.
    pub failing: Option<String>,
    /// What is surprising about it.
    pub advice: Vec<String>,
}

/// A peer with unfinished headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingPeer {
    /// Its address, or `unix`.
    pub peer: String,
    /// Where it came in.
    pub listener: String,
    /// How many.
    pub headers: u64,
    /// How long the oldest has waited.
    pub oldest_ms: u64,
}

/// Something valid but surprising.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// The setting.
    pub key: String,
    /// Its line, where there is one.
    pub line: Option<usize>,
    /// What it is.
    pub text: String,
}

/// One address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The listener.
    pub listener: String,
    /// The address.
    pub address: String,
}

/// A reload that went well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What is listened on now.
    pub listening: Vec<Bound>,
    /// What is valid but surprising.
    pub advice: Vec<Advice>,
    /// Settings that have changed and are read at start only.
    pub restart_for: Vec<String>,
}

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Who is kept out.
    pub network: String,
    /// Why.
    pub reason: String,
    /// For how long still.
    pub seconds_left: u64,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339.
    pub until: String,
    /// The node that ordered it, if it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// How many bans were listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bans {
    /// So many.
    pub denied: usize,
}

/// A ban that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// The ban.
    #[serde(flatten)]
    pub ban: Ban,
    /// Whether it stands in the place of an older one.
    pub replaced: bool,
    /// Whether it outlives the process.
    #[serde(flatten)]
    pub kept: Option<Kept>,
    /// Connections that were cut; not said of one order among others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
}

/// A ban that was lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undenied {
    /// Whose.
    pub network: String,
    /// Whether there was one.
    pub lifted: bool,
    /// The wider one that still holds it.
    pub still: Option<Ban>,
    /// Whether that outlives the process.
    #[serde(flatten)]
    pub kept: Option<Kept>,
}

/// Whether a change of bans outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whether it does.
    pub kept: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Ban {
    /// As it stands at `now`.
    #[must_use]
    pub fn of(ban: &bans::Ban, now: SystemTime) -> Self {
        let time = |at| humantime::format_rfc3339_seconds(at).to_string();
        Self {
            network: ban.network.to_string(),
            reason: ban.reason.as_str().to_owned(),
            seconds_left: ban.until.duration_since(now).unwrap_or_default().as_secs(),
            since: time(ban.since),
            until: time(ban.until),
            node: ban.node.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&config::Advice> for Advice {
    fn from(advice: &config::Advice) -> Self {
        Self { key: advice.key.clone(), line: advice.line, text: advice.text.clone() }
    }
}

impl From<&server::Bound> for Bound {
    fn from(bound: &server::Bound) -> Self {
        Self { listener: bound.listener.to_string(), address: bound.address.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_ban_in_json() {
        let at = |seconds: u64| UNIX_EPOCH.checked_add(Duration::from_secs(1_700_000_000 + seconds)).unwrap();
        let ban = bans::Ban {
            network: "192.0.2.0/24".parse().unwrap(),
            since: at(0),
            until: at(3600),
            reason: bans::BanReason::new("fail2ban \"sshd\""),
            node: None,
        };
        assert_eq!(
            serde_json::to_string(&Ban::of(&ban, at(60))).unwrap(),
            r#"{"network":"192.0.2.0/24","reason":"fail2ban \"sshd\"","seconds_left":3540,"since":"2023-11-14T22:13:20Z","until":"2023-11-14T23:13:20Z"}"#
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_or_null_and_what_is_written_is_read_back() {
        let undenied = Undenied { network: "192.0.2.7/32".to_owned(), lifted: true, still: None, kept: None };
        let line = serde_json::to_string(&Done::well(&undenied)).unwrap();
        assert_eq!(line, r#"{"ok":true,"network":"192.0.2.7/32","lifted":true,"still":null}"#);
        assert_eq!(serde_json::from_str::<Undenied>(&line).unwrap(), undenied);
        let kept = Some(Kept { kept: false, warning: Some("it ends with the process".to_owned()) });
        let undenied = Undenied { kept, ..undenied };
        let line = serde_json::to_string(&undenied).unwrap();
        assert!(line.ends_with(r#","kept":false,"warning":"it ends with the process"}"#), "{line}");
        assert_eq!(serde_json::from_str::<Undenied>(&line).unwrap(), undenied);
    }
}
