//! Which limit is against a client, and what the record says about it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use truepeer::IpNet;

use truepeer_doctor::change;

use crate::facts::address::{ClientIp, is_near};
use crate::rooms::limits::Rate;
use crate::rooms::limits::policy::Policy;

/// A kind of limit. Closed: metrics have a series for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitRule {
    /// Connections at once of one client to one listener.
    ConnectionsPerClient,
    /// New connections of one client to one listener in a time.
    RatePerClient,
    /// Connections at once to one listener.
    ListenerConnections,
    /// Connections at once to all listeners.
    ServerConnections,
}

impl LimitRule {
    /// Every rule, in the order of the documentation.
    pub const ALL: [Self; 4] =
        [Self::ConnectionsPerClient, Self::RatePerClient, Self::ListenerConnections, Self::ServerConnections];

    /// Stable token in logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ConnectionsPerClient => "connections_per_client",
            Self::RatePerClient => "rate_per_client",
            Self::ListenerConnections => "listener_connections",
            Self::ServerConnections => "server_connections",
        }
    }

    const fn is_of_a_client(self) -> bool {
        matches!(self, Self::ConnectionsPerClient | Self::RatePerClient)
    }
}

/// A limit that is against a client, with what was seen. Its `Display` is the record's cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which {
    /// The kind of limit.
    pub rule: LimitRule,
    /// What it allows: connections, or for a rate its burst.
    pub limit: u32,
    /// What there was already, without this connection.
    pub seen: u32,
    /// The client's address.
    pub client: IpAddr,
    /// The network that is counted as this client.
    pub group: IpNet,
    /// The rate that is allowed; `None` for other rules.
    pub rate: Option<Rate>,
    /// Until the rate allows the next connection; `None` for other rules.
    pub wait: Option<Duration>,
    /// Whether a per-client limit hit a private or loopback address: it may be a proxy that is not listed, and then
    /// everybody behind it was counted as one client.
    pub maybe_proxy: bool,
    /// Whether the table was full, and this client shares its count with other new ones.
    pub shared: bool,
    /// How many of those seen are at other front doors.
    pub elsewhere: u16,
}

impl Which {
    pub(super) fn new(over: Over, client: ClientIp, policy: &Policy) -> Self {
        let Over { rule, limit, seen, wait, shared, elsewhere } = over;
        let group = policy.prefixes.group(client);
        let client = client.ip();
        let maybe_proxy = rule.is_of_a_client() && is_near(client);
        let rate = policy.rate_per_client.filter(|_| rule == LimitRule::RatePerClient);
        Self { rule, limit, seen, rate, client, group, wait, maybe_proxy, shared, elsewhere }
    }

    /// What the operator of `listener` can do, if this limit is likely not to be about the client.
    #[must_use]
    pub fn remedy(&self, listener: &str) -> Option<String> {
        if self.maybe_proxy {
            let client = self.client;
            return Some(format!(
                "{client} is a private address: if it is your proxy, and not the client, {}",
                change::trust(listener, &client)
            ));
        }
        self.shared.then(|| {
            "the table of clients is full of others: wait for the flood to end, or raise limits.max-clients".to_owned()
        })
    }

    fn who(&self) -> String {
        if self.shared {
            "clients that share one count".to_owned()
        } else if self.group.prefix_len() == self.group.max_prefix_len() {
            self.client.to_string()
        } else {
            self.group.to_string()
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, limit, .. } = self;
        match self.rule {
            LimitRule::ConnectionsPerClient => {
                write!(f, "{seen} connections of {} are open", self.who())?;
                if self.elsewhere > 0 {
                    write!(f, " ({} of them at other front doors)", self.elsewhere)?;
                }
                write!(f, ", {limit} are allowed")
            }
            LimitRule::RatePerClient => {
                write!(f, "{} opened {seen} connections of late, ", self.who())?;
                match self.rate {
                    Some(rate) if rate.connections().get() != *limit => {
                        let period = humantime::format_duration(rate.period());
                        write!(f, "{limit} at once and {} in {period} are allowed", rate.connections())?;
                    }
                    Some(rate) => {
                        write!(f, "{limit} in {} are allowed", humantime::format_duration(rate.period()))?;
                    }
                    None => write!(f, "{limit} are allowed")?,
                }
                // Rounded up, so that nobody is told to wait for zero seconds.
                let seconds = self.wait.map(|wait| wait.as_millis().div_ceil(1000));
                seconds.map_or(Ok(()), |seconds| write!(f, " (the next in {seconds} s)"))
            }
            LimitRule::ListenerConnections => {
                write!(f, "{seen} connections to this listener are open, {limit} are allowed")
            }
            LimitRule::ServerConnections => {
                write!(f, "{seen} connections to this server are open, {limit} are allowed")
            }
        }
    }
}

/// What is known where a limit is found to be against a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over {
    rule: LimitRule,
    limit: u32,
    seen: u32,
    wait: Option<Duration>,
    shared: bool,
    elsewhere: u16,
}

impl Over {
    pub(super) fn new(rule: LimitRule, limit: u32, seen: u32) -> Self {
        Self { rule, limit, seen, wait: None, shared: false, elsewhere: 0 }
    }

    pub(super) fn elsewhere(self, elsewhere: u16) -> Self {
        Self { elsewhere, ..self }
    }

    pub(super) fn wait(self, wait: Duration) -> Self {
        Self { wait: Some(wait), ..self }
    }
}

/// Whether a connection was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// It was.
    In,
    /// It was, although a limit is against it.
    InOver(Over),
    /// It was not.
    Out(Over),
}

impl Counted {
    /// Whether it has to be counted out.
    pub(super) fn is_in(&self) -> bool {
        matches!(self, Self::In | Self::InOver(_))
    }

    /// The limit that is against it.
    pub(super) fn over(self) -> Option<Over> {
        match self {
            Self::In => None,
            Self::InOver(over) | Self::Out(over) => Some(over),
        }
    }

    /// The same, said of the count that new clients share.
    pub(super) fn shared(self) -> Self {
        let shared = |over| Over { shared: true, ..over };
        match self {
            Self::In => Self::In,
            Self::InOver(over) => Self::InOver(shared(over)),
            Self::Out(over) => Self::Out(shared(over)),
        }
    }
}
