//! What an operator asks: the same type on both ends of the socket, so that they cannot drift apart.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::page::{ClientsBy, ConnectionsBy, PageRequest, Subject};
use crate::facts::network::parse_network;
use crate::rooms::bans::{BanDuration, BanOrder, BanReason};
use crate::rooms::record::Entry;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which connections are open?
    Connections(Filter),
    /// What runs?
    Status,
    /// Read the configuration again.
    Reload,
    /// Keep a network of clients out for a while.
    Deny(BanOrder, OpenConnections),
    /// Let it in again.
    Undeny(IpNet),
    /// Take denials and their ends from now on, one request a line, until I close.
    Feed(OpenConnections),
    /// Whom do denials keep out?
    Denied,
    /// Which connections are open, in part?
    Page(PageRequest<ConnectionsBy>),
    /// Which clients have connections open, or had some of late, in part?
    Clients(PageRequest<ClientsBy>),
    /// Which connections were refused behind the one of this number?
    Refusals(u64),
    /// Why is this as it is?
    Why(Subject),
    /// Let another process take your place.
    Upgrade(Upgrade),
}

/// Who takes a running server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The program; the one at the path by which the running one was started, if none is named.
    pub program: Option<PathBuf>,
    /// How long it may take until it is ready.
    pub wait: Duration,
}

impl Upgrade {
    /// What is waited if nothing is said.
    pub const WAIT: Duration = Duration::from_secs(60);
    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_secs(600);
}

/// What becomes of the open connections of those who are denied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OpenConnections {
    /// They are cut.
    #[default]
    Cut,
    /// They go on.
    Keep,
}

/// Which connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of clients in this network.
    pub client: Option<IpNet>,
    /// Those of peers in this network.
    pub peer: Option<IpNet>,
    /// Those of this listener.
    pub listener: Option<String>,
}

impl Filter {
    /// Whether `entry` is one of them.
    #[must_use]
    pub fn admits(&self, entry: &Entry) -> bool {
        let within = |network: &Option<IpNet>, ip: &dyn Fn() -> Option<IpAddr>| match network {
            Some(network) => ip().is_some_and(|ip| network.contains(&ip)),
            None => true,
        };
        self.listener.as_deref().is_none_or(|listener| **entry.listener() == *listener)
            && within(&self.peer, &|| entry.peer().ip())
            && within(&self.client, &|| entry.client().map(|client| client.ip))
    }
}

/// Reads an address or a network; bits behind a network's prefix are dropped, mapped IPv4 addresses are IPv4.
///
/// # Errors
/// What to write instead.
pub fn network(text: &str) -> Result<IpNet, String> {
    parse_network(text)
        .map_err(|_| "write an address or a network, such as 203.0.113.7 or 2001:db8::/64".to_owned())
}

impl Request {
    /// The request as a line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let value = match self {
            Self::Connections(filter) => json!({
                "command": "connections",
                "client": filter.client.map(|network| network.to_string()),
                "peer": filter.peer.map(|network| network.to_string()),
                "listener": filter.listener,
            }),
            Self::Status => json!({ "command": "status" }),
            Self::Reload => json!({ "command": "reload" }),
            Self::Deny(order, open) => json!({
                "command": "deny",
                "network": order.network.to_string(),
                "for": order.lasts.to_string(),
                "reason": order.reason.as_str(),
                "keep": *open == OpenConnections::Keep,
            }),
            Self::Undeny(network) => json!({ "command": "undeny", "network": network.to_string() }),
            Self::Feed(open) => json!({ "command": "feed", "keep": *open == OpenConnections::Keep }),
            Self::Denied => json!({ "command": "denied" }),
            Self::Page(page) => with("page", page),
            Self::Clients(page) => with("clients", page),
            Self::Refusals(after) => with("refusals", after),
            Self::Why(subject) => with("why", subject),
            Self::Upgrade(upgrade) => json!({
                "command": "upgrade",
                "program": upgrade.program,
                "wait": upgrade.wait.as_secs(),
            }),
        };
        value.to_string()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("the request is not JSON: {error}"))?;
        let Some(command) = value.get("command").and_then(Value::as_str) else {
            return Err("the request has no `command`".to_owned());
        };
        match command {
            "connections" => Ok(Self::Connections(Filter {
                client: optional_network(&value, "client")?,
                peer: optional_network(&value, "peer")?,
                listener: text(&value, "listener")?.map(str::to_owned),
            })),
            "status" => Ok(Self::Status),
            "reload" => Ok(Self::Reload),
            "deny" => {
                let lasts: Result<BanDuration, _> = text(&value, "for")?.unwrap_or_default().parse();
                let order = BanOrder {
                    network: required_network(&value)?,
                    lasts: lasts.map_err(|error| format!("`for`: {error}"))?,
                    reason: BanReason::new(text(&value, "reason")?.unwrap_or_default()),
                };
                Ok(Self::Deny(order, open(&value)))
            }
            "undeny" => Ok(Self::Undeny(required_network(&value)?)),
            "feed" => Ok(Self::Feed(open(&value))),
            "denied" => Ok(Self::Denied),
            "page" => Ok(Self::Page(of(&value)?)),
            "clients" => Ok(Self::Clients(of(&value)?)),
            "refusals" => Ok(Self::Refusals(of(&value)?)),
            "why" => Ok(Self::Why(of(&value)?)),
            "upgrade" => Ok(Self::Upgrade(Upgrade {
                program: text(&value, "program")?.map(PathBuf::from),
                wait: value.get("wait").and_then(Value::as_u64).map_or(Upgrade::WAIT, Duration::from_secs),
            })),
            other => Err(format!("there is no command {other:?}: this server may be older than the command")),
        }
    }
}

/// A command about something that is made of several values.
fn with(command: &str, of: &impl Serialize) -> Value {
    json!({ "command": command, "of": of })
}

fn of<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let of = value.get("of").unwrap_or(&Value::Null);
    T::deserialize(of).map_err(|error| format!("`of`: {error}"))
}

/// A string that may be missing or `null`.
fn text<'v>(value: &'v Value, key: &str) -> Result<Option<&'v str>, String> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{key}` must be a string")),
    }
}

fn open(value: &Value) -> OpenConnections {
    let keep = value.get("keep").and_then(Value::as_bool).unwrap_or(false);
    if keep { OpenConnections::Keep } else { OpenConnections::Cut }
}

fn required_network(value: &Value) -> Result<IpNet, String> {
    let text = text(value, "network")?.unwrap_or_default();
    parse_network(text).map_err(|error| format!("`network`: {error}"))
}

fn optional_network(value: &Value, key: &str) -> Result<Option<IpNet>, String> {
    text(value, key)?.map(network).transpose().map_err(|error| format!("`{key}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let filter = Filter {
            client: network("203.0.113.0/24").ok(),
            peer: network("::ffff:192.0.2.1").ok(),
            listener: Some("smtp".to_owned()),
        };
        for request in [
            Request::Connections(filter),
            Request::Connections(Filter::default()),
            Request::Status,
            Request::Reload,
            Request::Denied,
            Request::Feed(OpenConnections::Cut),
            Request::Feed(OpenConnections::Keep),
            Request::Upgrade(Upgrade { program: None, wait: Upgrade::WAIT }),
            Request::Upgrade(Upgrade { program: Some("/usr/bin/x".into()), wait: Duration::from_secs(7) }),
            Request::Undeny(network("2001:db8::/64").unwrap()),
            Request::Page(PageRequest {
                by: ConnectionsBy::BytesOut,
                direction: super::super::ListOrder::Rising,
                search: "203.0.113.".to_owned(),
                skip: 40,
                rows: 20,
            }),
            Request::Clients(PageRequest { by: ClientsBy::New, rows: 7, ..PageRequest::default() }),
            Request::Refusals(17),
            Request::Why(Subject::Connection("5f-0-1".to_owned())),
            Request::Why(Subject::Client("2001:db8::1".parse().unwrap())),
            Request::Deny(
                BanOrder {
                    network: network("203.0.113.0/24").unwrap(),
                    lasts: "1h30m".parse().unwrap(),
                    reason: BanReason::new("fail2ban sshd"),
                },
                OpenConnections::Keep,
            ),
        ] {
            assert_eq!(Request::parse(&request.to_line()), Ok(request));
        }
    }

    #[test]
    fn mapped_networks_mean_the_ipv4_ones_that_connections_have() {
        assert_eq!(network("::ffff:192.0.2.0/120"), network("192.0.2.0/24"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7/32"));
    }

    #[test]
    fn a_bad_request_is_told_what_is_wrong() {
        for (line, says) in [
            ("", "not JSON"),
            ("[]", "no `command`"),
            (r#"{"command":"fly"}"#, "no command \"fly\""),
            (r#"{"command":"connections","client":"x"}"#, "`client`: write an address"),
            (r#"{"command":"deny","network":"192.0.2.1"}"#, "`for`: a ban lasts"),
            (r#"{"command":"undeny"}"#, "`network`: "),
            (r#"{"command":"connections","peer":7}"#, "`peer` must be a string"),
            (r#"{"command":"page"}"#, "`of`: "),
            (r#"{"command":"page","of":{"by":"mood","rows":1}}"#, "`of`: unknown variant `mood`"),
            (r#"{"command":"refusals","of":-1}"#, "`of`: "),
        ] {
            let error = Request::parse(line).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
