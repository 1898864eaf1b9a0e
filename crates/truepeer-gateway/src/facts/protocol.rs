//! The languages that listeners speak: what they call themselves, who speaks first, how long silence is normal.
//!
//! Facts only. The refusals in each language are in `refuse`, the greetings of the built-in backend in `whoami`.

use std::fmt;
use std::time::Duration;

use super::lines::ConnectionLines;

/// The language of a listener: that of its refusals, and what its idle limit follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Mail between servers, port 25.
    Smtp,
    /// Mail from users, ports 587 and 465.
    Submission,
    /// Local delivery, RFC 2033.
    Lmtp,
    /// Port 143 and 993.
    Imap,
    /// Port 110 and 995.
    Pop3,
    /// Port 4190, RFC 5804.
    ManageSieve,
    /// HTTP/1 and HTTP/2 in clear text.
    Http,
    /// Anything else on TCP.
    Tcp,
}

/// Who speaks first once a connection is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSpeaker {
    /// The server greets.
    Server,
    /// The client asks.
    Client,
    /// Not known.
    Unknown,
}

/// `proxy.own`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnConnections {
    /// We answer in the listener's protocol; no byte reaches a backend.
    Answer,
    /// The backend gets them under the proxy's own address.
    Forward,
    /// The connection ends.
    Refuse,
}

impl OwnConnections {
    /// What is left of it for a peer without an address, under which nothing can be forwarded: http is answered as a
    /// health port answers, and what has no words ends.
    #[must_use]
    pub const fn without_address(self, protocol: Protocol) -> Self {
        match self {
            Self::Forward if protocol.has_words() => Self::Answer,
            Self::Forward => Self::Refuse,
            other => other,
        }
    }
}

/// What the client's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientTls {
    /// Clear text (or STARTTLS later): refusals are spoken.
    #[default]
    None,
    /// `tls.implicit = true`: TLS that passes through, so no plain-text answer is ever written.
    Implicit,
}

impl Protocol {
    /// Every protocol, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Smtp,
        Self::Submission,
        Self::Lmtp,
        Self::Imap,
        Self::Pop3,
        Self::ManageSieve,
        Self::Http,
        Self::Tcp,
    ];

    /// The word in the configuration, in logs and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::ManageSieve => "managesieve",
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }

    /// The protocol of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Who speaks first in clear text.
    #[must_use]
    pub const fn first_speaker(self) -> FirstSpeaker {
        match self {
            Self::Http => FirstSpeaker::Client,
            Self::Tcp => FirstSpeaker::Unknown,
            _ => FirstSpeaker::Server,
        }
    }

    /// Whether a server can be asked in it whether it works.
    #[must_use]
    pub const fn has_words(self) -> bool {
        !matches!(self, Self::Tcp)
    }

    /// Whether this is a mail protocol: a backend that takes our address for the client's would be an open relay.
    #[must_use]
    pub const fn is_mail(self) -> bool {
        !matches!(self, Self::Http | Self::Tcp)
    }

    /// How long both directions may be silent.
    ///
    /// IMAP clients renew IDLE every 29 minutes (RFC 2177), ManageSieve sessions stay open in an editor as long;
    /// RFC 5321 4.5.3.2 asks for 5 to 10 minutes between SMTP commands.
    #[must_use]
    pub const fn idle_timeout(self) -> Duration {
        const MINUTE: u64 = 60;
        Duration::from_secs(match self {
            Self::Imap | Self::ManageSieve => 35 * MINUTE,
            Self::Smtp | Self::Submission | Self::Lmtp | Self::Pop3 => 15 * MINUTE,
            Self::Http => 5 * MINUTE,
            Self::Tcp => 60 * MINUTE,
        })
    }

    /// Which lines a served connection leaves by default: sessions that last for hours are told of when they begin, too.
    #[must_use]
    pub const fn connection_lines(self) -> ConnectionLines {
        match self {
            Self::Imap | Self::Pop3 | Self::ManageSieve => ConnectionLines::Both,
            _ => ConnectionLines::End,
        }
    }

    /// What happens by default to connections that a proxy makes for itself.
    #[must_use]
    pub const fn own_connections(self) -> OwnConnections {
        if self.is_mail() { OwnConnections::Answer } else { OwnConnections::Forward }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
