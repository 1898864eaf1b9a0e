//! Labels and their values: closed sets, each written down once.

use std::net::IpAddr;

use truepeer::IdentitySource;
use truepeer::proto::Version;

use crate::connection::misfit::is_near;
use crate::rooms::limits::Rule;

/// A label; its values are a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Version,
    Listener,
    Backend,
    Source,
    Scope,
    Rule,
    Outcome,
    Direction,
    Readiness,
    Answer,
}

impl Label {
    /// Its name in the text.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Listener => "listener",
            Self::Backend => "backend",
            Self::Source => "source",
            Self::Scope => "scope",
            Self::Rule => "rule",
            Self::Outcome => "outcome",
            Self::Direction => "direction",
            Self::Readiness => "readiness",
            Self::Answer => "answer",
        }
    }
}

/// How a client is known; the label `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The peer's own address.
    Direct,
    /// A v1 header.
    V1,
    /// A v2 header.
    V2,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::Direct, Self::V1, Self::V2];

    /// The label's value; the same word as in records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl From<IdentitySource> for Source {
    fn from(source: IdentitySource) -> Self {
        match source {
            IdentitySource::Direct => Self::Direct,
            IdentitySource::Header(Version::V1) => Self::V1,
            IdentitySource::Header(Version::V2) => Self::V2,
        }
    }
}

/// Where a client's address lies; the label `scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Anywhere on the internet.
    Public,
    /// Private, loopback or link-local: if all clients are, a proxy or a NAT hides them.
    Private,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::Public, Self::Private];

    /// The label's value.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

impl From<IpAddr> for Scope {
    fn from(client: IpAddr) -> Self {
        if is_near(client.to_canonical()) { Self::Private } else { Self::Public }
    }
}

/// Which rule is against a client; the label `rule`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A list of denied networks names it.
    DenyList,
    /// No list names it, and the default is to deny.
    DefaultDeny,
    /// `truepeer deny` keeps it out for a while.
    Ban,
    /// TLS is required, and none was conveyed.
    RequireSecure,
    /// A limit.
    Limit(Rule),
}

impl Refusal {
    /// Every rule.
    pub const ALL: [Self; 8] = [
        Self::DenyList,
        Self::DefaultDeny,
        Self::Ban,
        Self::RequireSecure,
        Self::Limit(Rule::ConnectionsPerClient),
        Self::Limit(Rule::RatePerClient),
        Self::Limit(Rule::ListenerConnections),
        Self::Limit(Rule::ServerConnections),
    ];

    /// The label's value; the same word as in records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::DenyList => "deny_list",
            Self::DefaultDeny => "default_deny",
            Self::Ban => "ban",
            Self::RequireSecure => "require_secure",
            Self::Limit(rule) => rule.code(),
        }
    }
}

/// Whose bytes; the label `direction`, as in the record's `bytes_in` and `bytes_out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    In,
    /// From the backend to the client.
    Out,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::In, Self::Out];

    /// The label's value.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// What a health port said; the label `answer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthAnswer {
    /// The greeting.
    Ready,
    /// The temporary refusal.
    Unready,
}

impl HealthAnswer {
    /// Every answer.
    pub const ALL: [Self; 2] = [Self::Ready, Self::Unready];

    /// The label's value.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unready => "unready",
        }
    }
}

/// A part of a connection's time; one histogram each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// From accept to identity.
    Identify,
    /// Connecting to a backend, our header included.
    Handoff,
    /// The relay.
    Relay,
    /// All of it.
    Total,
}

impl Room {
    /// Every room.
    pub const ALL: [Self; 4] = [Self::Identify, Self::Handoff, Self::Relay, Self::Total];
}
