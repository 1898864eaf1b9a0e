//! The languages that listeners speak. A new one is a file in this folder, and a row here.
//!
//! A protocol's file holds all that is known of it: its name, who speaks first, how long silence is normal, how servers
//! greet and take leave, how a client is turned away, how checks are answered.

mod http;
mod imap;
mod language;
mod lines;
mod lmtp;
mod managesieve;
mod pop3;
mod refusal;
mod script;
mod smtp;
mod tcp;
mod text;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::lines::ConnectionLines;

use language::Language;
pub use language::{FirstSpeaker, Part};
pub(crate) use language::{Manners, Unanswered};
pub(crate) use refusal::SpokenHost;
pub use refusal::{Permanence, Reason, Refusal};
pub use script::{Script, Then};
pub use text::{BadText, RefusalText};

macro_rules! protocols {
    ($($(#[$docs:meta])* $name:ident = $language:expr;)*) => {
        /// The language of a listener: that of its refusals, and what its idle limit follows from.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Protocol {
            $($(#[$docs])* $name,)*
        }

        impl Protocol {
            /// Every protocol, in the order of the documentation.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// What is known of it.
            pub(crate) const fn language(self) -> &'static Language {
                match self {
                    $(Self::$name => &$language,)*
                }
            }
        }
    };
}

protocols! {
    /// Mail between servers, port 25.
    Smtp = smtp::SMTP;
    /// Mail from users, ports 587 and 465.
    Submission = smtp::SUBMISSION;
    /// Local delivery, RFC 2033.
    Lmtp = lmtp::LMTP;
    /// Ports 143 and 993.
    Imap = imap::IMAP;
    /// Ports 110 and 995.
    Pop3 = pop3::POP3;
    /// Port 4190, RFC 5804.
    ManageSieve = managesieve::MANAGE_SIEVE;
    /// HTTP/1 and HTTP/2 in clear text.
    Http = http::HTTP;
    /// Anything else on TCP.
    Tcp = tcp::TCP;
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
    /// The word in the configuration, in logs and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.language().name
    }

    /// The protocol of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Who speaks first in clear text.
    #[must_use]
    pub const fn first_speaker(self) -> FirstSpeaker {
        self.language().first_speaker
    }

    /// Whether a server can be asked in it whether it works.
    #[must_use]
    pub const fn has_words(self) -> bool {
        !matches!(self, Self::Tcp)
    }

    /// Whether this is a mail protocol: a backend that takes our address for the client's would be an open relay.
    #[must_use]
    pub const fn is_mail(self) -> bool {
        self.language().is_mail
    }

    /// How long both directions may be silent.
    #[must_use]
    pub const fn idle_timeout(self) -> Duration {
        self.language().silence()
    }

    /// Which lines a served connection leaves by default: sessions that last for hours are told of when they begin, too.
    #[must_use]
    pub const fn connection_lines(self) -> ConnectionLines {
        self.language().lines
    }

    /// How many connections a client may have at once by default. Users' protocols have no default: an office or a
    /// mobile network is one address with hundreds of people behind it.
    #[must_use]
    pub const fn at_once(self) -> Option<NonZeroU32> {
        self.language().at_once
    }

    /// What a client writes to be told everything there is to tell, and then goodbye. Plain TCP needs no question.
    #[must_use]
    pub const fn question(self) -> &'static [u8] {
        self.language().question
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
