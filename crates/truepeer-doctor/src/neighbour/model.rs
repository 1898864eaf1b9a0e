//! The facts about a neighbour. Each says where it was written, so that a finding can name file and line.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use truepeer::IpNet;

use super::{Address, CheckForm, ConnectTls, ListenTls, Outsiders, Protocol, Reads, Sends, Trust};
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
    /// What is wrong with this configuration alone, no matter who is on the other side.
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

/// How long somebody waits, and the line that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// How long.
    pub time: Duration,
    /// Where it is written.
    pub place: Place,
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
    /// What the configuration calls it: a backend, a server, a cluster.
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
    /// How long it lets connecting take, where that is written; a program's own default is nobody's choice.
    pub patience: Option<Patience>,
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
    /// How long it waits for an answer, where that is told or known.
    pub patience: Option<Patience>,
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

    /// What is told of its wait, or else the program's `usual` one; zero is "for ever".
    pub(super) fn wait(&mut self, told: Option<Patience>, usual: Option<Duration>) {
        self.waits = told.as_ref().map_or(usual, |told| Some(told.time).filter(|time| !time.is_zero()));
        self.waits_place = told.map(|told| told.place);
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
            patience: None,
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

/// The entry that holds `ip`; none at all where an entry cannot be read and none of the others holds it.
pub(super) fn entry_of(entries: &[Entry], ip: IpAddr) -> Option<Option<&Entry>> {
    let held = entries.iter().find(|entry| entry.network.is_some_and(|network| network.contains(&ip)));
    match held {
        Some(entry) => Some(Some(entry)),
        None if entries.iter().all(|entry| entry.network.is_some()) => Some(None),
        None => None,
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

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}
