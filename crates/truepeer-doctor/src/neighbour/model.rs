//! The facts about a neighbour. Each says where it was written, so that a finding can name file and line.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use truepeer::IpNet;

use super::Address;
use crate::{Finding, Product};

/// One program, as far as the PROXY protocol is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Which program.
    pub product: Product,
    /// What it was read from, for people: file names or the commands that printed it.
    pub origin: String,
    /// Where it listens.
    pub listens: Vec<Listen>,
    /// Where it connects.
    pub connects: Vec<Connect>,
    /// What could not be interpreted and may matter; never taken for agreement.
    pub unread: Vec<Unread>,
    /// What is wrong with this configuration alone, whoever is on the other side.
    pub findings: Vec<Finding>,
}

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, or the command that printed it.
    pub file: String,
    /// The line, counted from 1; 0 where there is none to name.
    pub line: usize,
    /// What is written there, cut and without control characters.
    pub text: String,
}

/// A port on which a neighbour takes connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// What the configuration calls it: a frontend, a service, an entry point.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Where it listens; empty if that is not known.
    pub addresses: Vec<Address>,
    /// Whether it reads a header there.
    pub header: Reads,
    /// Where that is written; [`Listen::place`] if nowhere.
    pub header_place: Place,
    /// Whose header it believes.
    pub trust: Trust,
    /// What happens to others.
    pub outsiders: Outsiders,
    /// What it does about TLS on connections that it takes.
    pub tls: ListenTls,
    /// What is spoken there.
    pub protocol: Option<Protocol>,
    /// Networks whose clients have rights that others lack, such as to relay mail.
    pub privileged: Vec<Entry>,
    /// How long it waits for a header, where that is told or known.
    pub waits: Option<Duration>,
    /// Where that is written; none where it is the program's own default.
    pub waits_place: Option<Place>,
    /// Where it says that its clients may log in over TLS only.
    pub wants_tls: Option<Place>,
}

/// A place to which a neighbour connects for its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// What the configuration calls it: a backend, an upstream, a cluster.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Where it connects to.
    pub to: Address,
    /// The source addresses that it binds to, where that is told.
    pub from: Vec<IpAddr>,
    /// The header that it sends.
    pub sends: Sends,
    /// Where that is written; [`Connect::place`] if nowhere.
    pub sends_place: Place,
    /// Its own TLS towards there.
    pub tls: ConnectTls,
    /// Its health check, if it has one.
    pub check: Option<Check>,
    /// What is spoken, where that is told.
    pub protocol: Option<Protocol>,
    /// The clients' side: which of [`Neighbour::listens`] it serves, by their index.
    pub serves: Vec<usize>,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where it is written.
    pub place: Place,
    /// Where it connects to.
    pub to: Address,
    /// The header that it sends.
    pub sends: Sends,
    /// What it does besides.
    pub form: CheckForm,
}

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
    /// Whoever can reach the port: there is no list.
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

/// One entry of a list of networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it was written.
    pub text: String,
    /// Where.
    pub place: Place,
    /// The network that it means; none if it is a name or cannot be read.
    pub network: Option<IpNet>,
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

/// What could not be interpreted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Where it is written.
    pub place: Place,
    /// Why it was not, and what it may change.
    pub why: String,
}

impl Neighbour {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn new(product: Product, origin: impl Into<String>) -> Self {
        Self {
            product,
            origin: origin.into(),
            listens: Vec::new(),
            connects: Vec::new(),
            unread: Vec::new(),
            findings: Vec::new(),
        }
    }
}

impl Listen {
    /// A port without header, list, TLS and rights; the reader changes what the configuration tells.
    #[must_use]
    pub fn new(name: impl Into<String>, place: Place) -> Self {
        Self {
            name: name.into(),
            header_place: place.clone(),
            place,
            addresses: Vec::new(),
            header: Reads::No,
            trust: Trust::Everybody,
            outsiders: Outsiders::Refused,
            tls: ListenTls::None,
            protocol: None,
            privileged: Vec::new(),
            waits: None,
            waits_place: None,
            wants_tls: None,
        }
    }
}

impl Connect {
    /// A connection without header, TLS and check; the reader changes what the configuration tells.
    #[must_use]
    pub fn new(name: impl Into<String>, place: Place, to: Address) -> Self {
        Self {
            name: name.into(),
            sends_place: place.clone(),
            place,
            to,
            from: Vec::new(),
            sends: Sends::Nothing,
            tls: ConnectTls::None,
            check: None,
            protocol: None,
            serves: Vec::new(),
        }
    }
}

impl Place {
    /// Line `line` of `file`, which reads `text`.
    #[must_use]
    pub fn new(file: impl Into<String>, line: usize, text: &str) -> Self {
        Self { file: file.into(), line, text: crate::excerpt(text.trim().as_bytes()) }
    }

    /// File and line only, as editors take them.
    #[must_use]
    pub fn spot(&self) -> String {
        if self.line == 0 { self.file.clone() } else { format!("{}:{}", self.file, self.line) }
    }
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

/// The entry that holds `ip`; none at all where an entry cannot be read and none of the others holds it.
pub(super) fn entry_of(entries: &[Entry], ip: IpAddr) -> Option<Option<&Entry>> {
    let held = entries.iter().find(|entry| entry.network.is_some_and(|network| network.contains(&ip)));
    match held {
        Some(entry) => Some(Some(entry)),
        None if entries.iter().all(|entry| entry.network.is_some()) => Some(None),
        None => None,
    }
}

impl Protocol {
    /// Whether it is a mail protocol, whose servers judge clients by their address.
    #[must_use]
    pub const fn is_mail(self) -> bool {
        !matches!(self, Self::Http | Self::Tcp)
    }

    /// What is usually spoken on that port.
    #[must_use]
    pub const fn of_port(port: u16) -> Option<Self> {
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
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

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}
