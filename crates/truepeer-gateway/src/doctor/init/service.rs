//! The services that `init` can put a front door before: ports, servers, names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use truepeer::proto::Version;

use super::{Answers, Found};
use crate::doctor::snippet::{ListenerFacts, ProxyProduct};
use crate::facts::protocol::{ClientTls, Protocol};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Mail from other servers.
    Smtp,
    /// Mailboxes, TLS by STARTTLS.
    Imap,
    /// Mailboxes, TLS from the first byte.
    Imaps,
}

/// How much higher than the usual port the server's own one is, which reads the header.
const SERVER_PORT: u16 = 10_000;
/// How much higher truepeer's is.
const DOOR_PORT: u16 = 20_000;

impl Service {
    /// Every one, in the order of the configuration.
    pub const ALL: [Self; 3] = [Self::Smtp, Self::Imap, Self::Imaps];

    /// The word in answers, and the listener's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
        }
    }

    /// The service of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Where clients look for it.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Imap => 143,
            Self::Imaps => 993,
        }
    }

    /// Where a proxy on this machine listens at first, beside the server that has the usual port.
    pub(super) const fn trial_port(self) -> u16 {
        match self {
            Self::Smtp => 2525,
            Self::Imap => 2143,
            Self::Imaps => 2993,
        }
    }

    pub(super) const fn server_port(self) -> u16 {
        self.port().saturating_add(SERVER_PORT)
    }

    pub(super) const fn door_port(self) -> u16 {
        self.port().saturating_add(DOOR_PORT)
    }

    pub(super) const fn protocol(self) -> Protocol {
        match self {
            Self::Smtp => Protocol::Smtp,
            Self::Imap | Self::Imaps => Protocol::Imap,
        }
    }

    pub(super) const fn tls(self) -> ClientTls {
        match self {
            Self::Imaps => ClientTls::Implicit,
            Self::Smtp | Self::Imap => ClientTls::None,
        }
    }

    /// The kind of the server here that speaks it.
    #[must_use]
    pub fn server(self, found: &Found) -> Option<&'static str> {
        match self {
            Self::Smtp if found.postfix => Some("postfix"),
            Self::Smtp if found.exim => Some("exim"),
            Self::Imap | Self::Imaps if found.dovecot.is_some() => Some("dovecot"),
            Self::Smtp | Self::Imap | Self::Imaps => None,
        }
    }

    /// The servers that could.
    pub(super) const fn servers(self) -> &'static str {
        match self {
            Self::Smtp => "neither Postfix nor Exim",
            Self::Imap | Self::Imaps => "Dovecot",
        }
    }

    /// The backend's name: each port that reads a header is one of its own.
    pub(super) fn backend(self, found: &Found) -> String {
        let kind = self.server(found).unwrap_or("server");
        if self == Self::Imaps { format!("{kind}-tls") } else { kind.to_owned() }
    }

    /// What the proxy has to be told of it.
    pub(super) fn door(self, answers: &Answers, idle: Duration) -> ListenerFacts {
        let to = answers.here.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let every = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        ListenerFacts {
            id: self.name().to_owned(),
            front: SocketAddr::new(every, answers.front_port(self)),
            to: SocketAddr::new(to, self.door_port()),
            version: if answers.product == ProxyProduct::Nginx { Version::V1 } else { Version::V2 },
            protocol: self.protocol(),
            tls: self.tls(),
            health: None,
            idle,
        }
    }
}
