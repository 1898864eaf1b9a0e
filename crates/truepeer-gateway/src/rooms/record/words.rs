//! Words of a record that come from closed sets; the labels of the same names have them, too.

use truepeer::IdentitySource;
use truepeer::proto::Version;

use crate::facts::address::{ClientIp, is_near};
use crate::rooms::limits::LimitRule;

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
            // A way that the library learns later needs a word here first.
            _ => Self::V2,
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

impl From<ClientIp> for Scope {
    fn from(client: ClientIp) -> Self {
        if is_near(client.ip()) { Self::Private } else { Self::Public }
    }
}

/// Which rule is against a client; the label `rule`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// A list of denied networks names it.
    DenyList,
    /// No list names it, and the default is to deny.
    DefaultDeny,
    /// `truepeer deny` keeps it out for a while.
    Ban,
    /// TLS is required, and none was conveyed.
    RequireSecure,
    /// A limit.
    Limit(LimitRule),
}

impl RefusedBy {
    /// Every rule.
    pub const ALL: [Self; 8] = [
        Self::DenyList,
        Self::DefaultDeny,
        Self::Ban,
        Self::RequireSecure,
        Self::Limit(LimitRule::ConnectionsPerClient),
        Self::Limit(LimitRule::RatePerClient),
        Self::Limit(LimitRule::ListenerConnections),
        Self::Limit(LimitRule::ServerConnections),
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

    /// The one whose [`code`](Self::code) it is.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.code() == code)
    }

    /// What it did, for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::DenyList => "a deny list names the client",
            Self::DefaultDeny => "no list names the client, and only listed ones may enter",
            Self::Ban => "the client is banned for a while",
            Self::RequireSecure => "TLS is required here, and the header tells of none",
            Self::Limit(LimitRule::ConnectionsPerClient) => "one client has too many connections open",
            Self::Limit(LimitRule::RatePerClient) => "one client connects too often",
            Self::Limit(LimitRule::ListenerConnections) => {
                "this listener has as many connections as it may have"
            }
            Self::Limit(LimitRule::ServerConnections) => "this server has as many connections as it may have",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_refusal_means_that_refusal() {
        for by in RefusedBy::ALL {
            assert_eq!(RefusedBy::from_code(by.code()), Some(by));
        }
        assert_eq!(RefusedBy::from_code("deny"), None);
    }
}
