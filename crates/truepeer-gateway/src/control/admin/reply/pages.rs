//! What the server answers about a part of a list, and why something is as it is.

use serde::{Deserialize, Serialize};

use super::Connection;

/// A part of the open connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsPage {
    /// How many are open.
    pub open: usize,
    /// How many of them are looked for.
    pub found: usize,
    /// Those of this page.
    pub connections: Vec<Connection>,
}

/// A part of the clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsPage {
    /// How many there are.
    pub clients: usize,
    /// How many of them are looked for.
    pub found: usize,
    /// Over how long new connections were counted up to now.
    pub seconds: u64,
    /// Those of this page.
    pub page: Vec<Client>,
}

/// One client: an IPv4 address, or a /64 of IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Who.
    pub client: String,
    /// Connections that are open.
    pub open: u64,
    /// Connections that began within `seconds`.
    pub new: u64,
    /// Bytes from the client, in what is open.
    pub bytes_in: u64,
    /// Bytes to the client, in what is open.
    pub bytes_out: u64,
    /// For how long the oldest has been open.
    pub oldest_ms: Option<u64>,
}

/// Refusals that the asker has not seen yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalsPage {
    /// The number of the latest.
    pub last: u64,
    /// How many came that were forgotten before anybody asked.
    pub missed: u64,
    /// The others, oldest first.
    pub refusals: Vec<Refusal>,
}

/// One refused connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One more than the one before.
    pub number: u64,
    /// When it ended, RFC 3339.
    pub time: String,
    /// Its id, as in its record.
    pub id: String,
    /// Where it came in.
    pub listener: String,
    /// The other end of its socket.
    pub peer: String,
    /// Whom it was for, if that was known.
    pub client: Option<String>,
    /// How that was known: `direct`, `v1` or `v2`.
    pub source: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// What that means.
    pub meaning: String,
    /// The rule against the client.
    pub rule: Option<String>,
    /// What came where a header was due, escaped.
    pub seen: Option<String>,
    /// The likely cause.
    pub cause: Option<String>,
    /// What to change.
    pub remedy: Option<String>,
}

/// Why something is as it is, room by room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// In the order of a connection.
    pub steps: Vec<Step>,
}

/// What one room has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The room, or what it decides.
    pub about: String,
    /// What it says.
    pub text: String,
}
