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
mod limits;
mod listeners;
mod load;
mod nearest;
mod networks;
mod problem;
mod proxy;
mod read;
mod resolve;
mod sets;
mod setting;
mod settings;
mod sockets;
mod surroundings;
mod tree;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use truepeer::{HeaderRules, IpNet, TrustPolicy};

use crate::facts::protocol::Protocol;
use crate::rooms::access::AccessRules;
use crate::rooms::handoff::kind::Kind;
use crate::rooms::limits::Policy;
use crate::rooms::refuse::RefusalText;

pub use admin::{Admin, Status};
pub use docs::{explain, reference, sample};
pub use load::{DEFAULT_PATH, Loaded, Origin, demonstration, load};
pub use problem::{Colour, ConfigErrors, Problem};
pub use resolve::{Surroundings, resolve};
pub use sockets::{binds, sockets};
pub use surroundings::{is_supervised, read as read_surroundings};

/// Everything that one run needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[server.listener.<id>]`, in the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// `[backend.<id>]`, in the order of the file.
    pub backends: Vec<Arc<Backend>>,
    /// `[log]`
    pub log: Log,
    /// `[admin]`
    pub admin: Admin,
    /// `[status]`
    pub status: Status,
    /// What `check` and the start-up log say about a configuration that is valid but surprising.
    pub advice: Vec<Advice>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What greetings and refusals call this host.
    pub hostname: String,
    /// Connections at once; `None` derives it from the descriptor limit.
    pub max_connections: Option<u32>,
    /// Headers that may be unfinished at once, over all listeners.
    pub max_pending: u32,
    /// Clients that limits count at once, over all listeners; taken at start.
    pub max_clients: u32,
    /// How long open connections may go on after SIGTERM.
    pub drain_timeout: Duration,
}

/// `[server.listener.<id>]`
#[derive(Debug, Clone)]
pub struct Listener {
    /// The name in logs and metrics.
    pub id: Arc<str>,
    /// Where it listens; at least one.
    pub binds: Vec<Bind>,
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
    /// Which headers are accepted.
    pub header: HeaderRules,
    /// One deadline for the whole header, from accept on.
    pub header_timeout: Duration,
    /// What happens to connections that the proxy makes for itself.
    pub own: OwnConnections,
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

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// TCP. An IPv6 wildcard serves IPv4 as well unless the same port is also bound to an IPv4 address.
    Tcp {
        /// Address and port; port 0 lets the system choose.
        addr: SocketAddr,
        /// Which families the socket serves.
        families: Families,
    },
    /// A UNIX socket.
    Unix {
        /// The path, made at start and removed at the end.
        path: PathBuf,
        /// Permission bits, 0600 by default.
        mode: u32,
    },
}

impl fmt::Display for Bind {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addr, .. } => addr.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which families a TCP socket serves. Decided here; the system's default never decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// The one of its address.
    Own,
    /// `[::]` that serves IPv4, too.
    Both,
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

/// `require-secure`: clients for whom no TLS was conveyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InsecureClients {
    /// They may enter.
    #[default]
    Admit,
    /// They hear that TLS is required.
    Refuse,
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
    /// Whether a balancer is shown if its backends can be reached, so that somebody must find out before a client does.
    #[must_use]
    pub fn shows_reachability(&self) -> bool {
        self.when_backend_down == WhenBackendDown::CloseListener || !self.health_binds.is_empty()
    }
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

/// `proxy.unsafe-accept-implausible-clients`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImplausibleClients {
    /// They end as `client_implausible`.
    #[default]
    Refuse,
    /// They are believed.
    UnsafeAccept,
}

/// `[backend.<id>]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The name in logs and metrics.
    pub id: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// How it learns who the client is.
    pub handoff: Handoff,
    /// Where it is; several are spread over. Empty for `whoami` only, which is started by us.
    pub addresses: Vec<BackendAddress>,
    /// Wall time for one connect.
    pub connect_timeout: Duration,
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
}

/// `backend.<id>.handoff`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handoff {
    /// A v2 header.
    ProxyV2,
    /// A v1 header.
    ProxyV1,
    /// Nothing: the backend sees us as the client.
    None,
}

impl Handoff {
    /// The word in the configuration and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProxyV2 => "proxy-v2",
            Self::ProxyV1 => "proxy-v1",
            Self::None => "none",
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// Where lines go.
    pub target: LogTarget,
    /// How they look.
    pub format: LogFormat,
}

/// `log.file`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// A file, made if it is not there, and opened anew on each reload.
    File(PathBuf),
}

/// `log.connections`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLines {
    /// A line when the backend is reached, and the record at the end.
    Both,
    /// The record only.
    End,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
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
