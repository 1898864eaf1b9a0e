//! What can be said of one port or one connection: the words in which neighbours are compared.

use std::fmt;
use std::net::IpAddr;

use super::Entry;
use super::model::entry_of;

/// What a health check does with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckForm {
    /// It only connects, and closes.
    Connects,
    /// It says something or waits for a greeting.
    Speaks,
}

/// Whether a header is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// None: one that came would be data.
    No,
    /// One is read if it comes.
    Optional(Versions),
    /// One must come.
    Required(Versions),
    /// The configuration does not tell, or could not be interpreted.
    Unknown,
}

/// Versions of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Version 1, text.
    pub v1: bool,
    /// Version 2, binary.
    pub v2: bool,
}

/// Which header is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    /// None.
    Nothing,
    /// Version 1.
    V1,
    /// Version 2.
    V2,
    /// Version 2 with the SSL TLV.
    V2Ssl,
    /// The client is told in another way (XCLIENT, the client's own address): no header is due there.
    OtherWay,
    /// The configuration does not tell, or could not be interpreted.
    Unknown,
}

/// Whose header is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Anyone who can reach the port: there is no list.
    Everybody,
    /// Nobody: there has to be a list, and there is none.
    Nobody,
    /// These.
    Listed(Vec<Entry>),
    /// The configuration does not tell, or could not be interpreted.
    Unknown,
}

/// What becomes of peers that [`Trust`] does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outsiders {
    /// Their connections are closed.
    Refused,
    /// They are clients; a header of theirs is data.
    Clients,
    /// A header of theirs is read, and another than theirs is not believed.
    Disbelieved,
}

/// TLS on connections that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenTls {
    /// None at the beginning: clear text, perhaps STARTTLS later, or whatever passes through a proxy.
    None,
    /// From the first byte behind the header; it ends here.
    Implicit,
    /// From the first byte behind the header; it passes through to the next server.
    Passes,
    /// From the first byte, and the header is expected inside of it.
    HeaderInside,
    /// The configuration does not tell, or could not be interpreted.
    Unknown,
}

/// TLS of the proxy's own on connections that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectTls {
    /// None: the client's bytes go on as they are, or as they were decrypted.
    None,
    /// It begins behind the header.
    AfterHeader,
    /// The header travels inside of it.
    HeaderInside,
    /// The configuration does not tell, or could not be interpreted.
    Unknown,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Mail between servers.
    Smtp,
    /// Mail from users.
    Submission,
    /// Delivery.
    Lmtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// ManageSieve.
    ManageSieve,
    /// HTTP.
    Http,
    /// Anything else.
    Tcp,
}

impl Reads {
    /// The versions that are read.
    #[must_use]
    pub const fn versions(self) -> Versions {
        match self {
            Self::No | Self::Unknown => Versions { v1: false, v2: false },
            Self::Optional(versions) | Self::Required(versions) => versions,
        }
    }
}

impl Versions {
    /// Both.
    pub const BOTH: Self = Self { v1: true, v2: true };
    /// Version 1 only.
    pub const V1: Self = Self { v1: true, v2: false };
    /// Version 2 only.
    pub const V2: Self = Self { v1: false, v2: true };

    /// Whether a header of that kind is read.
    #[must_use]
    pub const fn hold(self, sends: Sends) -> bool {
        match sends {
            Sends::V1 => self.v1,
            Sends::V2 | Sends::V2Ssl => self.v2,
            Sends::Nothing | Sends::OtherWay | Sends::Unknown => false,
        }
    }
}

impl Sends {
    /// Whether it is a header of either version.
    #[must_use]
    pub const fn is_header(self) -> bool {
        matches!(self, Self::V1 | Self::V2 | Self::V2Ssl)
    }
}

impl Trust {
    /// Whether `ip` is in the list; none where that cannot be said.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> Option<bool> {
        match self {
            Self::Everybody => Some(true),
            Self::Nobody => Some(false),
            Self::Unknown => None,
            Self::Listed(entries) => entry_of(entries, ip).map(|entry| entry.is_some()),
        }
    }
}

impl Protocol {
    /// Whether it is a mail protocol, whose servers judge clients by their address.
    #[must_use]
    pub const fn is_mail(self) -> bool {
        !matches!(self, Self::Http | Self::Tcp)
    }

    /// Its name.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Submission => "submission",
            Self::Lmtp => "LMTP",
            Self::Imap => "IMAP",
            Self::Pop3 => "POP3",
            Self::ManageSieve => "ManageSieve",
            Self::Http => "HTTP",
            Self::Tcp => "TCP",
        }
    }

    /// What is usually spoken on that port.
    #[must_use]
    pub(crate) const fn of_port(port: u16) -> Option<Self> {
        match port {
            25 => Some(Self::Smtp),
            465 | 587 => Some(Self::Submission),
            24 => Some(Self::Lmtp),
            143 | 993 => Some(Self::Imap),
            110 | 995 => Some(Self::Pop3),
            4190 => Some(Self::ManageSieve),
            80 | 443 | 8080 | 8443 => Some(Self::Http),
            _ => None,
        }
    }
}

impl fmt::Display for Sends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no header",
            Self::V1 => "version 1",
            Self::V2 => "version 2",
            Self::V2Ssl => "version 2 with TLS facts",
            Self::OtherWay => "the client in another way",
            Self::Unknown => "unknown",
        })
    }
}
