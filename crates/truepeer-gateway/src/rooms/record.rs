//! The record: the one line that a connection leaves, filled along the way and written at the end, whatever happens.
//!
//! Peer and client are always two fields. Text from the wire is escaped before it gets here or by the writer.

mod entry;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use truepeer::{ClientIdentity, Endpoint, IdentitySource, Role};

use crate::facts::program::Exit;
use crate::rooms::backend::Backend;
use crate::rooms::handoff::Substituted;

pub use entry::{Entry, Found, HeaderState};
pub use words::{RefusedBy, Scope, Source};

/// Proxies behind proxies, the nearest first. Few connections have one, and each holds this as long as it lasts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "one word where there is none, instead of three")]
pub struct Hops(Option<Box<Vec<Endpoint>>>);

impl Hops {
    /// One more, farther away than those before.
    pub fn push(&mut self, hop: Endpoint) {
        self.0.get_or_insert_default().push(hop);
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Endpoint] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// What a connection leaves.
#[derive(Debug)]
pub struct Record {
    /// The connection as others may see it while it is open: id, listener, peer, bytes.
    pub entry: Arc<Entry>,
    /// Listed proxies that headers named before the last one, the nearest first.
    pub hops: Hops,
    /// Whether a trusted peer is taken for the client itself, since no header came.
    pub presumed: bool,
    /// Whom the connection is for.
    pub client: Option<Endpoint>,
    /// Why it is the proxy's own, if it is.
    pub own: Option<&'static str>,
    /// Where the client wanted to go.
    pub destination: Option<Endpoint>,
    /// How we know.
    pub source: Option<IdentitySource>,
    /// TLS between client and proxy, as conveyed.
    pub tls: Option<TlsFacts>,
    /// The proxy's id for the connection, escaped.
    pub proxy_id: Option<String>,
    /// The backend, and which of its addresses.
    pub backend: Option<(Arc<str>, String)>,
    /// How it was told.
    pub handoff: Option<&'static str>,
    /// What our header says that the proxy did not: `destination`, `client_port` or both.
    pub substituted: Option<&'static str>,
    /// How the program ended that the connection was given to.
    pub exit: Option<Exit>,
    /// Which kind of rule the client was refused by.
    pub refusal: Option<RefusedBy>,
    /// The rule itself: a line of a list with its place, or its code.
    pub rule: Option<Box<str>>,
    /// The limit that would have refused it, were it enforced.
    pub would_refuse: Option<RefusedBy>,
    /// What came where a header was due, escaped and cut; only where no identity was reached.
    pub seen: Option<Box<str>>,
    /// The likely cause in words.
    pub cause: Option<String>,
    /// What to change, and on which side.
    pub remedy: Option<String>,
    /// How long each room took.
    pub times: Times,
    /// When the connection was accepted.
    pub accepted: Instant,
}

/// TLS facts for the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// Such as `TLSv1.3`, escaped.
    pub version: String,
    /// Cipher name, escaped.
    pub cipher: Option<String>,
    /// Common name of a certificate that the proxy verified, escaped.
    pub verified_name: Option<String>,
}

/// Wall time per room; `None` for rooms that were not entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// From accept to identity.
    pub identify: Option<Duration>,
    /// Choosing and connecting to a backend, our header included.
    pub handoff: Option<Duration>,
    /// From the first to the last byte.
    pub relay: Option<Duration>,
}

impl Record {
    /// The record of a connection that has just arrived.
    #[must_use]
    pub fn new(entry: Arc<Entry>, accepted: Instant) -> Self {
        Self {
            entry,
            hops: Hops::default(),
            presumed: false,
            client: None,
            own: None,
            destination: None,
            source: None,
            tls: None,
            proxy_id: None,
            backend: None,
            handoff: None,
            substituted: None,
            exit: None,
            refusal: None,
            rule: None,
            would_refuse: None,
            seen: None,
            cause: None,
            remedy: None,
            times: Times::default(),
            accepted,
        }
    }

    /// Notes who the client is.
    pub fn identified(&mut self, identity: &ClientIdentity, now: Instant) {
        self.client = identity.client();
        self.entry.identified(self.client);
        self.own = match identity.role() {
            Role::ProxyOwn(own) => Some(own.code()),
            Role::Client(_) => None,
        };
        self.destination = identity.destination();
        self.source = Some(identity.source());
        self.tls = identity.tls().map(|tls| TlsFacts {
            version: tls.version().map_or_else(|| "unknown".to_owned(), escape),
            cipher: tls.cipher().map(escape),
            verified_name: tls.verified_common_name().map(escape),
        });
        self.proxy_id = identity.unique_id().map(escape);
        self.times.identify = Some(now.saturating_duration_since(self.accepted));
    }

    /// Notes what the backend is told.
    pub fn handed(&mut self, backend: &Backend, substituted: Substituted) {
        self.handoff = Some(backend.handoff.name());
        let Substituted { destination, client_port, client_address } = substituted;
        self.substituted = match (destination, client_address, client_port) {
            (true, true, true) => Some("destination,client_address,client_port"),
            (true, true, false) => Some("destination,client_address"),
            (true, false, true) => Some("destination,client_port"),
            (true, false, false) => Some("destination"),
            (false, true, true) => Some("client_address,client_port"),
            (false, true, false) => Some("client_address"),
            (false, false, true) => Some("client_port"),
            (false, false, false) => None,
        };
    }

    /// Notes which backend was reached.
    pub fn reached(&mut self, backend: &Arc<str>, address: String) {
        self.entry.reached(Arc::clone(backend), address.clone());
        self.backend = Some((Arc::clone(backend), address));
    }
}

fn escape(bytes: &[u8]) -> String {
    const LONGEST: usize = 128;
    bytes.get(..LONGEST).unwrap_or(bytes).escape_ascii().to_string()
}
