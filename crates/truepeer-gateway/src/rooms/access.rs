//! The room that asks: may this client enter?
//!
//! [`AccessRules`] answers for one listener. Asked by the walk of a connection once the client is known, and by
//! `truepeer check --explain-ip`; filled by the configuration from lists that it holds or that [`ListFile`] read.
//! Only the client role is asked about: whether a peer may speak for others is the library's trust, never decided
//! here. Knows no socket, no clock, no ban and no limit.
//!
//! The order, whatever the lists are and wherever they stand:
//! 1. allow: of the listener, then of the server;
//! 2. deny: of the listener, then of the server;
//! 3. `default`: the listener's, else the server's, else `"allow"`.
//!
//! A listener's lists add to the server's, so that a large deny list is written and held once; allow always beats
//! deny, so that there is a sure way to let somebody in. Bans belong between 2 and 3: a client that
//! [`Why::Listed`] admits is not asked for bans.
//!
//! Where networks of one list lie in each other, the most specific is named, being the line that somebody wrote
//! about just this client; it decides nothing, since all of them say the same. [`AccessRules::explain`] names all.

mod list_file;
mod table;

use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use list_file::{BadLine, BadLineReason, ListFile, ListFileError, MAX_LINE, MAX_NAMED_LINES};
pub use table::{ListKind, ListSource, MAX_ENTRIES, MAX_SOURCES, Rule, RuleList, TooManyEntries};

use table::RuleTable;

use crate::facts::address::ClientIp;

/// `require-secure`: clients for whom no TLS was conveyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InsecureClients {
    /// They may enter.
    #[default]
    Admit,
    /// They hear that TLS is required.
    Refuse,
}

/// Who may enter through one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRules {
    scopes: Box<[Arc<AccessScope>]>,
    default: AccessDefault,
}

/// The lists of one `[access]` table: of the server or of a listener. Shared, never copied, by the listeners.
///
/// Memory: 16 bytes for each IPv4 network, 32 for each IPv6 network; the text of a file is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessScope {
    allow: RuleTable,
    deny: RuleTable,
}

/// What holds for a client that is in no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AccessDefault {
    /// It may enter.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The client may enter.
    Admit(Why<'a>),
    /// The client may not enter.
    Deny(Why<'a>),
}

/// What the answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why<'a> {
    /// A line that somebody wrote.
    Listed(Rule<'a>),
    /// No list holds the client.
    Default(AccessDefault),
}

/// The answer for one address with everything that bears on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedIp<'a> {
    /// The address that was asked about, v4-mapped IPv6 folded to IPv4.
    pub client: IpAddr,
    /// What happens to it as a client.
    pub decision: Decision<'a>,
    /// Every rule that holds it, in the order in which they are asked; the first is the decision's.
    pub rules: Vec<Rule<'a>>,
}

impl AccessRules {
    /// The rules of a listener: `scopes` with the narrowest first (the listener's own, then the server's).
    #[must_use]
    pub fn new(scopes: Vec<Arc<AccessScope>>, default: AccessDefault) -> Self {
        Self { scopes: scopes.into_boxed_slice(), default }
    }

    /// Whether `client` may enter, and which rule says so. Never allocates.
    #[must_use]
    pub fn decide(&self, client: impl Into<ClientIp>) -> Decision<'_> {
        let client = client.into();
        if let Some(rule) = self.scopes.iter().find_map(|scope| scope.allow.find(client)) {
            return Decision::Admit(Why::Listed(rule));
        }
        if let Some(rule) = self.scopes.iter().find_map(|scope| scope.deny.find(client)) {
            return Decision::Deny(Why::Listed(rule));
        }
        match self.default {
            AccessDefault::Allow => Decision::Admit(Why::Default(self.default)),
            AccessDefault::Deny => Decision::Deny(Why::Default(self.default)),
        }
    }

    /// As [`AccessRules::decide`], with every rule that holds the client: for `check --explain-ip`.
    #[must_use]
    pub fn explain(&self, client: impl Into<ClientIp>) -> ExplainedIp<'_> {
        let client = client.into();
        let allow = self.scopes.iter().flat_map(|scope| scope.allow.holding(client));
        let deny = self.scopes.iter().flat_map(|scope| scope.deny.holding(client));
        ExplainedIp { client: client.ip(), decision: self.decide(client), rules: allow.chain(deny).collect() }
    }
}

impl AccessScope {
    /// Builds the tables; where a network is listed twice, the earlier list and line is the one that is named.
    ///
    /// # Errors
    /// [`TooManyEntries`] if the allow or the deny lists have more than [`MAX_ENTRIES`] together.
    pub fn new(allow: Vec<RuleList>, deny: Vec<RuleList>) -> Result<Self, TooManyEntries> {
        Ok(Self {
            allow: RuleTable::new(ListKind::Allow, allow)?,
            deny: RuleTable::new(ListKind::Deny, deny)?,
        })
    }

    /// How many different networks a kind of list holds.
    #[must_use]
    pub fn networks(&self, kind: ListKind) -> usize {
        self.table(kind).len()
    }

    /// What both tables occupy, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.allow.bytes().saturating_add(self.deny.bytes())
    }

    fn table(&self, kind: ListKind) -> &RuleTable {
        match kind {
            ListKind::Allow => &self.allow,
            ListKind::Deny => &self.deny,
        }
    }
}

impl<'a> Decision<'a> {
    /// What the answer rests on.
    #[must_use]
    pub fn why(self) -> Why<'a> {
        match self {
            Self::Admit(why) | Self::Deny(why) => why,
        }
    }
}

/// For records: `deny 198.51.100.0/24 (deny.txt, line 17)` or `access default "deny"`.
impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(rule) => rule.fmt(f),
            Self::Default(default) => write!(f, "access default {default}"),
        }
    }
}

/// As it is written in the configuration.
impl fmt::Display for AccessDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "\"allow\"",
            Self::Deny => "\"deny\"",
        })
    }
}

/// Lines for people, without a line feed at the end.
impl fmt::Display for ExplainedIp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.decision {
            Decision::Admit(_) => "admitted",
            Decision::Deny(_) => "denied",
        };
        write!(f, "as client {}: {verdict} by {}", self.client, self.decision.why())?;
        for rule in self.rules.iter().skip(1) {
            write!(f, "\n  also in {rule}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
