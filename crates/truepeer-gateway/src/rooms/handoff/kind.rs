//! Kinds of backend: what each can take, as data. The handoff and the doctor both read it.
//!
//! The figures were observed on the versions named in `docs/compare.md`; nothing here decides anything.

use std::fmt;

use super::choice::Handoff;

/// A kind of backend that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Postfix smtpd with `smtpd_upstream_proxy_protocol = haproxy`.
    Postfix,
    /// Dovecot with `haproxy = yes` on the listener.
    Dovecot,
    /// The built-in answering machine of the demonstration: says who you are, through whom, and why it believes that.
    Whoami,
    /// Anything else; `handoff` must be said.
    Other,
}

/// Which TLVs travel to a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlvChoice {
    /// It reads none, so it gets none.
    None,
    /// The TLS facts only. Dovecot reads more, but 2.4.0 and 2.4.1 use a host name or protocol name after it was
    /// freed, and later ones refuse a protocol name that is not their own.
    Ssl,
    /// TLS facts, host name and protocol that the client asked for, our id, and a CRC32C.
    Registered,
}

/// What a kind does with port 0 in a v1 line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortZero {
    /// It takes it as "not told".
    Taken,
    /// It refuses the whole header.
    Refused,
}

/// What we know of a kind.
#[derive(Debug, Clone, Copy)]
pub struct KindFacts {
    /// The word in the configuration.
    pub name: &'static str,
    /// What it reads by default; `None`: must be said.
    pub handoff: Option<Handoff>,
    /// The longest header that it takes, in bytes.
    pub header_budget: usize,
    /// What it reads besides addresses.
    pub tlvs: TlvChoice,
    /// Whether it takes port 0 in a v1 line.
    pub v1_port_zero: PortZero,
    /// How to make it read headers.
    pub remedy: &'static str,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Postfix, Self::Dovecot, Self::Whoami, Self::Other];

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.facts().name == name)
    }

    /// What we know of it.
    #[must_use]
    pub const fn facts(self) -> KindFacts {
        match self {
            Self::Postfix => KindFacts {
                name: "postfix",
                handoff: Some(Handoff::ProxyV2),
                header_budget: 536,
                tlvs: TlvChoice::None,
                v1_port_zero: PortZero::Taken,
                remedy: "add `-o smtpd_upstream_proxy_protocol=haproxy` below this port's smtpd line in master.cf, then `postfix reload`",
            },
            Self::Dovecot => KindFacts {
                name: "dovecot",
                handoff: Some(Handoff::ProxyV2),
                header_budget: 1500,
                tlvs: TlvChoice::Ssl,
                v1_port_zero: PortZero::Refused,
                remedy: "set `haproxy = yes` in this port's inet_listener block, put truepeer's address into `haproxy_trusted_networks`, then `doveadm reload`",
            },
            Self::Whoami => KindFacts {
                name: "whoami",
                handoff: Some(Handoff::ProxyV2),
                header_budget: 4112,
                tlvs: TlvChoice::Registered,
                v1_port_zero: PortZero::Taken,
                remedy: "",
            },
            Self::Other => KindFacts {
                name: "other",
                handoff: None,
                header_budget: 536,
                tlvs: TlvChoice::Registered,
                v1_port_zero: PortZero::Refused,
                remedy: "make this port of the backend read the header that `handoff` names; for a server that reads none: `handoff = \"none\"`, with `sees-only-truepeer = true` for mail",
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
    }
}
