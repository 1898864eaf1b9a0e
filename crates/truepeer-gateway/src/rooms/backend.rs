//! Backends: which address next, and which are ready. Decisions and shared state; no socket, no clock.
//!
//! The keeper asks addresses whether they read our header and writes the answers here; connections read them.

pub mod connect;
mod programs;
mod reached;
mod settings;
mod target;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use truepeer::ClientIdentity;

use crate::engine::label::Labels;
use crate::engine::program::{Required, ToSay};
use crate::engine::{Address, Bell, DialError, FirstLines, Wake};
use crate::facts::address::Family;
use crate::facts::ports::PortRange;
use crate::facts::program::SocketLabel;
use crate::facts::protocol::{FirstSpeaker, Protocol};
use crate::rooms::handoff::{self, Counter, Dialled, Introduction, Names, Proof, Untellable};

pub use programs::{Exec, Full, Programs, Slot};
pub use reached::Reached;
pub use settings::{Backend, BackendAddress, Check};
pub use target::{MISREADS, MUTE, Target};

/// Whether an address may be handed clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Not asked yet, or being asked again after a failure.
    Unasked,
    /// It greeted with our header, and did not without.
    Proved,
    /// As proved, but it turns away clients whom our header names with an address of this family.
    InPart {
        /// The family.
        refuses: Family,
        /// What it said, escaped and cut.
        saw: String,
    },
    /// It accepts connections; whether it reads our header cannot be asked in its protocol.
    Unproven,
    /// It must not be handed clients.
    Unready(Unready),
}

impl Readiness {
    /// Whether clients may be handed to it.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        matches!(self, Self::Proved | Self::InPart { .. } | Self::Unproven)
    }

    /// Whether a client of this family may be handed to it; `None` is one that it is not told of.
    #[must_use]
    pub fn may_serve_family(&self, family: Option<Family>) -> bool {
        match self {
            Self::InPart { refuses, .. } => family != Some(*refuses),
            other => other.may_serve(),
        }
    }
}

/// Why an address must not be handed clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// It greets without waiting for a header: it would take our address for every client's.
    IgnoresHeader {
        /// What it said, escaped and cut.
        saw: String,
    },
    /// It does not greet a peer that sent the header which it should read.
    RefusesHeader {
        /// What it did.
        saw: String,
    },
    /// It does not let us tell it who the client is.
    RefusesHandoff {
        /// What it did.
        saw: String,
    },
    /// It has not said yet whether it reads our header: it is silent, or its answer is unfinished. Proves nothing.
    Slow {
        /// What it did so far.
        saw: String,
    },
    /// It cannot be connected to.
    Unreachable {
        /// What the system said.
        error: String,
    },
    /// This host lacked something to ask it with: a descriptor, memory, a source port.
    NotAsked {
        /// What the system said.
        error: String,
    },
}

impl Unready {
    /// Stable token in logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::IgnoresHeader { .. } => "backend_ignores_header",
            Self::RefusesHeader { .. } => "backend_refuses_header",
            Self::RefusesHandoff { .. } => "backend_refuses_handoff",
            Self::Slow { .. } => "backend_slow",
            Self::Unreachable { .. } => "backend_unreachable",
            Self::NotAsked { .. } => "backend_not_asked",
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IgnoresHeader { saw } => {
                write!(
                    f,
                    "it does not read our header, and would take our address for every client's ({saw})"
                )
            }
            Self::RefusesHeader { saw } => {
                write!(f, "it does not greet a peer that sends our header ({saw})")
            }
            Self::RefusesHandoff { saw } => {
                write!(f, "it does not believe truepeer who the client is: {saw}")
            }
            Self::Slow { saw } => write!(f, "it has not shown yet whether it reads our header ({saw})"),
            Self::Unreachable { error } => f.write_str(error),
            Self::NotAsked { error } => write!(f, "it could not be asked: {error}"),
        }
    }
}

/// The addresses of one backend in one language, shared by all workers.
#[derive(Debug)]
pub struct Pool {
    /// Its configuration.
    pub backend: Arc<Backend>,
    /// The language of the listeners that hand clients to it; the keeper asks in it.
    pub protocol: Protocol,
    /// Whether the backend's greeting is in clear text and can be read.
    pub greeting: Greeting,
    hostname: Arc<str>,
    labels: Labels,
    targets: ArcSwap<Vec<Arc<Target>>>,
    turn: AtomicUsize,
    wake: Wake,
    ask_all: AtomicBool,
    ask_regularly: AtomicBool,
    /// Whether it was said that TLVs do not fit.
    said_over_budget: AtomicBool,
    /// Whether it was said that its programs' connections do not say their client.
    said_unlabelled: AtomicBool,
    programs: Arc<Programs>,
    changed: Bell,
}

/// Whether a backend can be asked if it reads our header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// It greets first, in clear text.
    Readable,
    /// Its client speaks first, or TLS does.
    NotReadable,
}

impl Pool {
    /// A pool without addresses; the keeper fills it.
    #[must_use]
    pub fn new(backend: Arc<Backend>, protocol: Protocol, greeting: Greeting) -> Self {
        Self {
            backend,
            protocol,
            greeting,
            hostname: "localhost".into(),
            labels: Labels::default(),
            targets: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            wake: Wake::default(),
            ask_all: AtomicBool::new(false),
            ask_regularly: AtomicBool::new(false),
            said_over_budget: AtomicBool::new(false),
            said_unlabelled: AtomicBool::new(false),
            programs: Arc::default(),
            changed: Bell::default(),
        }
    }

    /// Whether TLVs did not fit into its header for the first time, which is to be said then.
    #[must_use]
    pub fn is_first_over_budget(&self) -> bool {
        !self.said_over_budget.swap(true, Ordering::Relaxed)
    }

    /// Rings `changed` whenever it may have become reachable, or is no more.
    #[must_use]
    pub fn ringing(self, changed: Bell) -> Self {
        Self { changed, ..self }
    }

    /// Counts its programs together with those of another pool of the same backend.
    #[must_use]
    pub fn counting_with(self, programs: Arc<Programs>) -> Self {
        Self { programs, ..self }
    }

    /// Its programs that run, if it is one.
    #[must_use]
    pub fn programs(&self) -> &Arc<Programs> {
        &self.programs
    }

    /// Calls this host `hostname` where it is asked for its name.
    #[must_use]
    pub fn calling_itself_as(self, hostname: Arc<str>) -> Self {
        Self { hostname, ..self }
    }

    /// Has its backend's sockets say who the client is by these, if that is its way.
    #[must_use]
    pub fn labelling_with(self, labels: Labels) -> Self {
        Self { labels, ..self }
    }

    /// What has a backend's sockets say who the client is.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What the connection of a program of `exec` is to say itself.
    fn to_say(&self, exec: &Exec, introduction: &Introduction) -> Option<ToSay> {
        let required = match exec.label {
            SocketLabel::Never => return None,
            SocketLabel::IfPossible => Required::No,
            SocketLabel::Required => Required::Yes,
        };
        Some(ToSay { labels: self.labels.clone(), label: introduction.label()?, required })
    }

    /// The connections of its programs do not say their client, for this reason: said once.
    pub fn note_unlabelled(&self, cause: &str) {
        const REMEDY: &str = "nothing, if the program takes the client from its environment (`exec.label = false` says so); if it asks the socket, it finds the proxy there: `exec.label = true` lets nobody in until its socket says the client";
        if !self.said_unlabelled.swap(true, Ordering::Relaxed) {
            let backend = &*self.backend.id;
            tracing::info!(event = "program_not_labelled", backend, cause, remedy = REMEDY);
        }
    }

    /// Connects to `address` as whom `introduction` says, and writes `opening` first.
    ///
    /// # Errors
    /// [`DialError`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn dial(
        &self,
        introduction: &Introduction,
        address: &Address,
        opening: &[u8],
    ) -> Result<Dialled, DialError> {
        introduction.dial(address, opening, self.backend.connect_timeout, &self.labels).await
    }

    /// What it calls this host.
    #[must_use]
    pub fn calls_itself(&self) -> &str {
        &self.hostname
    }

    /// What the backend is to be told about the client of `identity`, who reached us at `reached`.
    ///
    /// # Errors
    /// [`Untellable`].
    pub fn introduce(
        &self,
        identity: &ClientIdentity,
        reached: Option<SocketAddr>,
        names: Names<'_>,
    ) -> Result<Introduction, Untellable> {
        let counter = Counter { protocol: self.protocol, hostname: Arc::clone(&self.hostname) };
        handoff::introduce(self.backend.telling(), &counter, identity, reached, names)
    }

    /// What to change, where one of its addresses is unready for this reason.
    #[must_use]
    pub fn remedy(&self, why: &Unready) -> &'static str {
        match why {
            Unready::IgnoresHeader { .. }
            | Unready::RefusesHeader { .. }
            | Unready::RefusesHandoff { .. } => self.backend.telling().remedy(),
            Unready::Slow { .. } => {
                "nothing, if this delay is intended: truepeer waits for the answer; otherwise find what delays its greeting (mostly a look-up of truepeer's own address), or raise backend.<id>.proof-timeout"
            }
            Unready::Unreachable { .. } if self.backend.exec().is_some() => self.backend.telling().remedy(),
            Unready::Unreachable { .. } => {
                "start the backend, or correct its `address`; until then clients hear a temporary refusal"
            }
            Unready::NotAsked { .. } => {
                "raise the limit that is reached (LimitNOFILE=, net.ipv4.ip_local_port_range); it is asked again and again"
            }
        }
    }

    /// Whether its addresses are to be proved, not only connected to.
    #[must_use]
    pub fn is_provable(&self) -> bool {
        match self.backend.handoff.facts().proof {
            _ if self.backend.has_range() => false,
            Proof::Nothing | Proof::MayRun => false,
            // What a client could say there for itself is asked, whatever `check` says.
            Proof::Accepts | Proof::AcceptsUnsaid => true,
            Proof::GreetsOnlyWith | Proof::ReachedAsClient => {
                self.greeting == Greeting::Readable && self.check() == Check::Protocol
            }
        }
    }

    /// How its addresses are asked whether they work.
    #[must_use]
    pub fn check(&self) -> Check {
        if self.backend.has_range() {
            return Check::None;
        }
        let has_words = self.greeting == Greeting::Readable && self.protocol.has_words();
        match self.backend.check {
            None | Some(Check::Protocol) if has_words => Check::Protocol,
            Some(check @ (Check::Connect | Check::None)) => check,
            None | Some(Check::Protocol) => Check::None,
        }
    }

    /// The addresses as they are now.
    #[must_use]
    pub fn targets(&self) -> Arc<Vec<Arc<Target>>> {
        self.targets.load_full()
    }

    /// How `address`, one of its own, is called: with all of its ports.
    #[must_use]
    pub fn name_of(&self, address: &Address) -> String {
        match address {
            Address::Tcp(first) if self.backend.has_range() => {
                let last = first.port().saturating_add(self.backend.ports.saturating_sub(1));
                PortRange::new(*first, last).map_or_else(|| address.to_string(), |range| range.to_string())
            }
            _ => address.to_string(),
        }
    }

    /// Replaces the addresses; those that stay keep what is known of them.
    pub fn set_addresses(&self, addresses: Vec<Address>) {
        let known = self.targets();
        let keep = |address: Address| {
            let found = known.iter().find(|target| target.address == address);
            found.map_or_else(|| Arc::new(Target::new(address)), Arc::clone)
        };
        self.targets.store(Arc::new(addresses.into_iter().map(keep).collect()));
        self.changed.ring();
    }

    /// A client of `family` found the end right behind our header at `target`: it is asked about that form, if it was
    /// asked about the other one only.
    pub fn suspect(&self, target: &Target, family: Option<Family>) {
        if self.is_provable() && family == Some(target.asked_family().other()) && target.suspect() {
            self.wake.wake();
        }
    }

    /// The addresses to try for the next client of `family`, in order: those that may serve it, each client starting
    /// one further. `None` is a client that no header tells of.
    pub fn next(&self, family: Option<Family>) -> impl Iterator<Item = Arc<Target>> + use<> {
        let targets = self.targets.load();
        let serving = || targets.iter().filter(|target| target.may_serve_family(family));
        let count = serving().count();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let start = turn.checked_rem(count).unwrap_or(0);
        let mut next = serving().cycle().skip(start).take(count);
        let tries: [_; MAX_TRIES] = std::array::from_fn(|_| next.next().map(Arc::clone));
        tries.into_iter().flatten()
    }

    /// Whether a client would be served now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.targets.load().iter().any(|target| target.readiness().may_serve())
    }

    /// Notes what was found out about one of its addresses.
    pub fn note(&self, target: &Target, readiness: Readiness) {
        target.set_readiness(readiness);
        self.changed.ring();
    }

    /// A connection found `target` unreachable: no further client is sent there until it is asked again.
    pub fn mark_unreachable(&self, target: &Target, error: String) {
        self.note(target, Readiness::Unready(Unready::Unreachable { error }));
        self.wake.wake();
    }

    /// A connection found that `target` takes no client from us: none is sent there until it is asked again.
    pub fn mark_refusing(&self, target: &Target, saw: String) {
        self.note(target, Readiness::Unready(Unready::RefusesHandoff { saw }));
        self.wake.wake();
    }

    /// A connection found that `target` takes our header for the client's words: no client is sent there until it is
    /// asked again. Returns what is known of it now.
    pub fn mark_ignoring(&self, target: &Target, saw: String) -> Unready {
        let why = Unready::IgnoresHeader { saw };
        self.note(target, Readiness::Unready(why.clone()));
        self.wake.wake();
        why
    }

    /// Who judges the first lines of an address that is told of a client by `introduction`: nobody where they do not
    /// show whether it reads our header.
    #[must_use]
    pub fn first_lines(&self, introduction: &Introduction) -> Option<FirstLines> {
        let shows = self.is_provable()
            && self.backend.handoff.facts().proof == Proof::GreetsOnlyWith
            && self.protocol.first_speaker() == FirstSpeaker::Server
            && !introduction.header.bytes.is_empty();
        shows.then(|| FirstLines::new(self.protocol))
    }

    /// Whether the backend speaks first, and only once its own socket has said who the client is. What a client says
    /// before is not to lie there: a connection that is not accepted when labels end would show us.
    #[must_use]
    pub fn speaks_once_it_knows(&self) -> bool {
        self.backend.handoff.facts().fades
            && self.greeting == Greeting::Readable
            && self.protocol.first_speaker() == FirstSpeaker::Server
    }

    /// Whether addresses that serve are asked again and again whether they still do, because somebody wants to know
    /// before a client finds out.
    pub fn ask_regularly(&self, wanted: bool) {
        if self.ask_regularly.swap(wanted, Ordering::Relaxed) != wanted {
            // The keeper may be asleep for as long as it was not wanted.
            self.wake.wake();
        }
    }

    /// Whether they are.
    #[must_use]
    pub fn is_asked_regularly(&self) -> bool {
        self.ask_regularly.load(Ordering::Relaxed)
    }

    /// Has every address asked again, those that serve included; they go on serving meanwhile.
    pub fn ask_again(&self) {
        self.ask_all.store(true, Ordering::Relaxed);
        self.wake.wake();
    }

    /// Whether every address is to be asked now; asking for it once means one round.
    #[must_use]
    pub fn take_ask_all(&self) -> bool {
        self.ask_all.swap(false, Ordering::Relaxed)
    }

    /// Woken when a connection has found an address unreachable.
    #[must_use]
    pub fn needs_asking(&self) -> &Wake {
        &self.wake
    }
}

/// Addresses tried for one client.
const MAX_TRIES: usize = 4;

#[cfg(test)]
mod tests;
