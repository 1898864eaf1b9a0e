//! Kinds of backend: what each can take, as data. The handoff, the prober, the configuration and the doctor read it.
//!
//! The figures were observed on the versions that each row names; `docs/backends.md` is made from them. Nothing here
//! decides anything.

mod table;

use std::fmt;
use std::time::Duration;

use super::choice::Handoff;
use super::tlvs::FactSet;

/// A kind of backend that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Postfix smtpd with `smtpd_upstream_proxy_protocol = haproxy`.
    Postfix,
    /// Postfix' postscreen with `postscreen_upstream_proxy_protocol = haproxy`.
    Postscreen,
    /// Dovecot with `haproxy = yes` on the listener.
    Dovecot,
    /// Exim with `hosts_proxy`.
    Exim,
    /// OpenSMTPD with `proxy-v2` on the listener.
    Opensmtpd,
    /// Stalwart with trusted networks on the listener.
    Stalwart,
    /// NGINX with `proxy_protocol` on the `listen` line.
    Nginx,
    /// HAProxy with `accept-proxy` on the `bind` line.
    Haproxy,
    /// Varnish with a PROXY address.
    Varnish,
    /// MariaDB with `proxy-protocol-networks`.
    Mariadb,
    /// The built-in test server of the demonstration: says who you are, through whom, and why it believes that.
    Whoami,
    /// Anything else; `handoff` must be said.
    Other,
}

/// What a kind does with port 0 in a v1 line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortZero {
    /// It takes it as "not told".
    Taken,
    /// It refuses the whole header.
    Refused,
}

/// What a kind that should read headers does while none comes: what silence proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It waits, or ends the connection: a greeting proves that it reads none.
    Kept,
    /// It greets after so long, and then refuses every command: only an earlier greeting proves anything.
    KeptFor(Duration),
    /// It greets at once, header or not: its greeting proves nothing.
    Broken,
}

/// What we know of a kind.
#[derive(Debug, Clone, Copy)]
pub struct KindFacts {
    /// The word in the configuration.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What it reads by default; `None`: must be said.
    pub handoff: Option<Handoff>,
    /// Handoffs that it cannot read, each with why, as the rest of a sentence.
    pub unreadable: &'static [(Handoff, &'static str)],
    /// The longest header that it takes, in bytes.
    pub header_budget: usize,
    /// What it reads besides addresses.
    pub tlvs: FactSet,
    /// What makes some of its versions go wrong, and what they do then.
    pub breaks: Option<(FactSet, &'static str)>,
    /// Whether it takes port 0 in a v1 line.
    pub v1_port_zero: PortZero,
    /// What it does while no header comes.
    pub silence: Silence,
    /// How to make it read headers.
    pub remedy: &'static str,
    /// Where the figures were observed.
    pub seen: &'static str,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 12] = [
        Self::Postfix,
        Self::Postscreen,
        Self::Dovecot,
        Self::Exim,
        Self::Opensmtpd,
        Self::Stalwart,
        Self::Nginx,
        Self::Haproxy,
        Self::Varnish,
        Self::Mariadb,
        Self::Whoami,
        Self::Other,
    ];

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.facts().name == name)
    }

    /// What we know of it.
    #[must_use]
    pub const fn facts(self) -> &'static KindFacts {
        match self {
            Self::Postfix => &table::POSTFIX,
            Self::Postscreen => &table::POSTSCREEN,
            Self::Dovecot => &table::DOVECOT,
            Self::Exim => &table::EXIM,
            Self::Opensmtpd => &table::OPENSMTPD,
            Self::Stalwart => &table::STALWART,
            Self::Nginx => &table::NGINX,
            Self::Haproxy => &table::HAPROXY,
            Self::Varnish => &table::VARNISH,
            Self::Mariadb => &table::MARIADB,
            Self::Whoami => &table::WHOAMI,
            Self::Other => &table::OTHER,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
    }
}

#[cfg(test)]
mod tests;
