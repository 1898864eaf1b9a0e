//! What the configuration says of a backend.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::programs::Exec;
use crate::rooms::handoff::{Handoff, Kind, LabelSettings, OwnTlvs, Telling, TlvChoice};

/// `[backend.<id>]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The name in logs and metrics.
    pub id: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// How it learns who the client is.
    pub handoff: Handoff,
    /// Which facts about the client travel besides addresses.
    pub tlvs: TlvChoice,
    /// What we add to them.
    pub own_tlvs: OwnTlvs,
    /// Where it is; several are spread over. Empty for `whoami` only, which is started by us.
    pub addresses: Vec<BackendAddress>,
    /// How many ports each of them has: one, or the length of a range, of which the address names the first.
    pub ports: u16,
    /// Wall time for one connect.
    pub connect_timeout: Duration,
    /// Wall time for each answer when it is asked whether it reads our header.
    pub proof_timeout: Duration,
    /// What its labels are and where its socket is made; read with `handoff = "label"` only.
    pub label: LabelSettings,
    /// How it is asked whether it works; `None`: as its listeners' protocols allow.
    pub check: Option<Check>,
}

/// How a backend is asked whether it works, beside what its clients show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// In the listener's protocol, with a goodbye or a whole request.
    Protocol,
    /// By a connection without a byte, also while it works.
    Connect,
    /// By a connection without a byte, but never while it works: its clients show that.
    None,
}

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A host name, resolved again and again; the last good answer is kept.
    Host {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// `unix:` path.
    Unix(PathBuf),
    /// Nowhere: a program that is started for each connection.
    Program(Arc<Exec>),
}

impl Backend {
    /// Whether each port of a listener has one of its own here.
    ///
    /// Nobody asks these whether they work: one of FTP's is open for the moment of a transfer, for one client, and
    /// another one that connects takes its place.
    #[must_use]
    pub const fn has_range(&self) -> bool {
        self.ports > 1
    }

    /// The program that it is, if it is one.
    #[must_use]
    pub fn exec(&self) -> Option<&Arc<Exec>> {
        self.addresses.iter().find_map(|address| match address {
            BackendAddress::Program(exec) => Some(exec),
            BackendAddress::Socket(_) | BackendAddress::Host { .. } | BackendAddress::Unix(_) => None,
        })
    }

    /// How it is told who the client is.
    #[must_use]
    pub const fn telling(&self) -> Telling<'_> {
        let Self { kind, handoff, tlvs, own_tlvs, label, .. } = self;
        Telling { kind: *kind, handoff: *handoff, tlvs: *tlvs, own_tlvs: *own_tlvs, label }
    }
}
