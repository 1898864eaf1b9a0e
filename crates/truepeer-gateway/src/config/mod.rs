//! The resolved configuration: what the rooms read. Every value is checked, every default filled in.
//!
//! `settings` holds what may be written, each setting once. `tree` walks a file against it, `read` and its neighbours
//! judge the values, `resolve` puts them together, `problem` renders what is wrong, `docs` renders the documentation.
//! Only `load` and `surroundings` touch the system; everything else is pure.

mod access;
mod addresses;
mod admin;
mod backends;
mod docs;
mod exec;
mod hops;
mod labels;
mod limits;
mod lines;
mod listeners;
mod load;
mod missing;
mod names;
mod nearest;
mod networks;
mod own_tlvs;
mod problem;
mod proxy;
mod ranges;
mod read;
mod resolve;
mod said;
mod sets;
mod setting;
mod settings;
mod shared;
mod sockets;
mod surroundings;
mod tlvs;
mod tree;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use truepeer::{HeaderRules, IpNet, Nat64Prefix, NetworkSet, TrustPolicy};

use crate::facts::bind::Bind;
use crate::facts::lines::{ConnectionLines, LogSettings};
use crate::facts::ports::PortRange;
use crate::facts::protocol::{ClientTls, OwnConnections, Protocol};
use crate::rooms::access::{AccessRules, InsecureClients};
use crate::rooms::backend::Backend;
use crate::rooms::identify::{ImplausibleClients, MissingHeader};
use crate::rooms::limits::Policy;
use crate::rooms::refuse::RefusalText;

pub use admin::{Admin, Status, StatusPage};
pub use docs::{explain, reference, sample};
pub use load::{DEFAULT_PATH, Loaded, Origin, Readable, demonstration, load, load_from};
pub use names::TrustedName;
pub use problem::{Colour, ConfigErrors, Problem};
pub use resolve::resolve;
pub use said::{said_of_limits, said_of_peer};
pub use shared::Shared;
pub use sockets::{binds, sockets};
pub use surroundings::{Surroundings, default_gateways, is_supervised, read as read_surroundings};

/// Everything that one run needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: ServerSettings,
    /// `[server.listener.<id>]`, in the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// `[backend.<id>]`, in the order of the file.
    pub backends: Vec<Arc<Backend>>,
    /// `[log]`
    pub log: LogSettings,
    /// `[admin]`
    pub admin: Admin,
    /// `[status]`
    pub status: Status,
    /// `[shared]`; `None` where nothing is shared.
    pub shared: Option<Shared>,
    /// What `check` and the start-up log say about a configuration that is valid but surprising.
    pub advice: Vec<Advice>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// What greetings and refusals call this host.
    pub hostname: String,
    /// Connections at once; `None` derives it from the descriptor limit.
    pub max_connections: Option<u32>,
    /// Headers that may be unfinished at once, over all listeners.
    pub max_pending: u32,
    /// Clients that limits count at once, over all listeners; taken at start.
    pub max_clients: u32,
    /// How often trusted names are looked up.
    pub names_refresh: Duration,
    /// How long open connections may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How long they may go on after another process has taken this one's place.
    pub upgrade_drain_timeout: Duration,
    /// Where labels are kept that outlive the process; taken at start.
    pub label_pins: Option<PathBuf>,
}

/// `[server.listener.<id>]`
#[derive(Debug, Clone)]
pub struct Listener {
    /// The name in logs and metrics.
    pub id: Arc<str>,
    /// Where it listens; at least one. Each port of a range is one of its own here.
    pub binds: Vec<Bind>,
    /// The ranges of ports among them.
    pub ranges: Vec<PortRange>,
    /// Where balancers that send no header ask for its health.
    pub health_binds: Vec<Bind>,
    /// The language of its refusals.
    pub protocol: Protocol,
    /// Where its clients go.
    pub backend: Arc<Backend>,
    /// Where those of them go who came over TLS, if elsewhere.
    pub backend_when_secure: Option<Arc<Backend>>,
    /// What becomes of the listening sockets while none of these backends can be reached.
    pub when_backend_down: WhenBackendDown,
    /// Whether clients may enter for whom no TLS was conveyed.
    pub insecure: InsecureClients,
    /// What the operator adds to every refusal.
    pub refusal_text: Option<RefusalText>,
    /// Whether the client's bytes are TLS that passes through.
    pub tls: ClientTls,
    /// Who may speak for others here, and what of the rest.
    pub trust: TrustPolicy,
    /// The trusted networks with their places in the file, for those who ask why.
    pub trusted_lines: Vec<TrustedNetwork>,
    /// Who is trusted by name, beside those networks.
    pub trusted_names: Vec<TrustedName>,
    /// Which headers are accepted.
    pub header: HeaderRules,
    /// One deadline for the whole header, from accept on.
    pub header_timeout: Duration,
    /// What a trusted peer is that sends no header.
    pub missing: MissingHeader,
    /// Proxies that may stand inside a chain of headers.
    pub hops: NetworkSet,
    /// What happens to connections that the proxy makes for itself.
    pub own: OwnConnections,
    /// The prefixes of translators, whose clients are folded to the IPv4 addresses inside.
    pub nat64: Arc<[Nat64Prefix]>,
    /// Whether client addresses that cannot be true are refused.
    pub implausible: ImplausibleClients,
    /// How long both directions may be silent.
    pub idle_timeout: Duration,
    /// Which clients may enter.
    pub access: AccessRules,
    /// How many connections its clients may have.
    pub limits: Policy,
    /// Which lines a served connection leaves.
    pub lines: ConnectionLines,
}

/// One trusted network, and where the file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedNetwork {
    /// The network.
    pub network: IpNet,
    /// The key.
    pub key: Arc<str>,
    /// The line.
    pub line: usize,
}

/// `when-backend-down`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenBackendDown {
    /// Clients hear a temporary refusal in their language.
    #[default]
    Answer,
    /// Connections are refused by the system, so that a check that only connects fails.
    CloseListener,
}

impl Listener {
    /// The range of ports that `addr` belongs to.
    #[must_use]
    pub fn range_of(&self, addr: SocketAddr) -> Option<&PortRange> {
        // That of the address itself comes before one of all addresses.
        let here = self.ranges.iter().filter(|range| range.lane(addr).is_some());
        here.min_by_key(|range| range.first().ip() != addr.ip())
    }

    /// Which port of its range a client at `addr` has reached, counted from 0; 0 where there is no range.
    #[must_use]
    pub fn lane(&self, addr: Option<SocketAddr>) -> u16 {
        let found = addr.filter(|_| !self.ranges.is_empty()).and_then(|addr| self.range_of(addr)?.lane(addr));
        found.unwrap_or(0)
    }

    /// Whether a balancer is shown if its backends can be reached, so that somebody must find out before a client does.
    #[must_use]
    pub fn shows_reachability(&self) -> bool {
        self.when_backend_down == WhenBackendDown::CloseListener || !self.health_binds.is_empty()
    }
}

/// Valid, but worth a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The key that it is about.
    pub key: String,
    /// The line of the file that it is about, where there is one.
    pub line: Option<usize>,
    /// What it means and what to do.
    pub text: String,
}
