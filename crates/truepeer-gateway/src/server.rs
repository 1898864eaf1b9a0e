//! The server: binds, proves, starts the workers, takes a new configuration, and ends everything in order.
//!
//! It knows the rooms only by their doors. Signals are the command's; files are the configuration's.

mod doors;
mod keepers;
mod shutter;
mod shutters;
mod view;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::backend::Pool;
use crate::bans::state::StateError;
use crate::config::{self, Bind, Config, WhenBackendDown};
use crate::denied::Denied;
use crate::door::{Desk, Door, Ids, OwnCount};
use crate::engine::{Admission, Bell, Binding, Given, ListenError, Listening, PendingHeaders, bind, later};
use crate::limits::Limits;
use crate::log::Log;
use crate::machine::{self, TooFewDescriptors};
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::registry::Registry;
use crate::worker::{self, POSTS_QUEUED, Post, Stop, Told, Tools};

use doors::Common;
use keepers::Keepers;
use shutters::Shuttered;
pub use view::{Layout, View};

/// How long backends may take to prove themselves before clients are accepted without them; a client whose backend is
/// not proved by then hears a temporary refusal.
const PROOF_TIME: Duration = Duration::from_secs(2);

/// Why a server could not be started.
#[derive(Debug)]
pub enum StartError {
    /// An address could not be listened on.
    Listen {
        /// The listener.
        listener: Arc<str>,
        /// Why.
        error: ListenError,
    },
    /// A reload wants another kind of socket where one is served.
    Kept {
        /// The listener.
        listener: Arc<str>,
        /// The address, as configured.
        address: Bind,
    },
    /// The configured numbers do not fit the descriptor limit.
    Descriptors(TooFewDescriptors),
    /// The state file cannot be used.
    State(StateError),
    /// The system refused a thread, a runtime or a socket.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { listener, error } => write!(f, "server.listener.{listener}.bind: {error}"),
            Self::Kept { listener, address } => {
                let what = match address {
                    Bind::Tcp { .. } => "whether it serves IPv4, too,",
                    Bind::Unix { .. } => "`socket-mode`",
                };
                write!(
                    f,
                    "server.listener.{listener}.bind: {address} is served already, and {what} is decided when its socket is made: restart to apply the change"
                )
            }
            Self::Descriptors(error) => error.fmt(f),
            Self::State(error) => match error {
                StateError::Unreadable { cause, .. } => write!(f, "admin.state: {error}: {cause}"),
                _ => write!(f, "admin.state: {error}"),
            },
            Self::System(error) => write!(f, "the system refused a thread or a socket: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    drain_timeout: Duration,
    listening: Vec<Held>,
    given: Given,
    layout: Arc<ArcSwap<Layout>>,
    started: SystemTime,
    own_connections: OwnCount,
    pending: Arc<AtomicU32>,
    max_pending: u32,
    metrics: Arc<Metrics>,
    log: Log,
    limits: Arc<Limits>,
    denied: Denied,
    admission: Admission,
    registry: Registry,
    stop: watch::Sender<Stop>,
    cut: Arc<AtomicU32>,
    posts: Vec<mpsc::Sender<Post>>,
    workers: Vec<JoinHandle<()>>,
    pulse: Option<Pulse>,
    /// Connections that were open when a drain began.
    draining: Option<u32>,
    keepers: Keepers,
    /// Rings when a backend may have come or gone.
    changed: Bell,
}

/// One bound address and what is behind it.
#[derive(Debug)]
struct Held {
    bind: Bind,
    bound: Bound,
    door: Arc<ArcSwap<Door>>,
    tell: watch::Sender<Told>,
    /// How many workers listen there now.
    open: Arc<AtomicU32>,
    /// Removes a UNIX path when it is dropped.
    listening: Option<Listening>,
}

impl Held {
    /// Whether this is what `listener` binds as `address`. Where the system chose the port, only the same listener
    /// means the same address.
    fn is(&self, address: &Bind, listener: &Arc<str>) -> bool {
        // Compared as configured: the bound address has the port that the system chose.
        let any_port = matches!(address, Bind::Tcp { addr, .. } if addr.port() == 0);
        self.bind == *address && (self.bound.listener == *listener || !any_port)
    }

    /// Whether this has the place of `address`, though as a socket of another kind.
    fn is_at(&self, address: &Bind) -> bool {
        match (&self.bind, address) {
            (Bind::Tcp { addr: has, .. }, Bind::Tcp { addr: wants, .. }) => has == wants && has.port() != 0,
            (Bind::Unix { path: has, .. }, Bind::Unix { path: wants, .. }) => has == wants,
            _ => false,
        }
    }

    fn view(&self) -> view::Listening {
        view::Listening {
            bound: self.bound.clone(),
            door: self.door.load_full(),
            told: self.tell.subscribe(),
        }
    }

    /// What shuts and opens it, if its listener wants that and it is ours alone.
    fn shuttered(&self) -> Option<Shuttered> {
        if self.listening.as_ref().is_none_or(|listening| listening.given) {
            return None;
        }
        let door = self.door.load_full();
        let (Bind::Tcp { families, .. }, Some(addr)) = (&self.bind, self.bound.tcp) else { return None };
        (door.listener.when_backend_down == WhenBackendDown::CloseListener).then(|| Shuttered {
            door,
            addr,
            families: *families,
            tell: self.tell.clone(),
            open: Arc::clone(&self.open),
        })
    }
}

/// One address that a listener listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The listener.
    pub listener: Arc<str>,
    /// The address, with the port that the system chose.
    pub address: String,
    /// The same as a value, for TCP.
    pub tcp: Option<SocketAddr>,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when it began.
    pub open: u32,
    /// Connections that were cut at its end.
    pub cut: u32,
}

impl Drained {
    /// Connections that ended by themselves meanwhile.
    #[must_use]
    pub fn done(&self) -> u32 {
        // One that arrived in the very moment may have been cut without having been counted.
        self.open.saturating_sub(self.cut)
    }
}

impl Server {
    /// Binds every address, asks every backend, and starts the workers.
    ///
    /// Returns once connections are accepted. Backends that did not answer by then are asked again and again.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(config: &Config, log: &Log) -> Result<Self, StartError> {
        Self::start_given(config, log, Given::default())
    }

    /// The same on `given` sockets, each of which serves the address that it is bound to.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start_given(config: &Config, log: &Log, given: Given) -> Result<Self, StartError> {
        let descriptors = machine::raise_descriptor_limit();
        let room = machine::room(descriptors, config.server.max_connections, config.server.max_pending)
            .map_err(StartError::Descriptors)?;
        let (stop, told) = watch::channel(Stop::No);
        let changed = Bell::default();
        let mut server = Self {
            drain_timeout: config.server.drain_timeout,
            listening: Vec::new(),
            given,
            layout: Arc::default(),
            started: SystemTime::now(),
            own_connections: OwnCount::default(),
            pending: Arc::default(),
            max_pending: room.pending,
            metrics: Arc::default(),
            log: log.clone(),
            limits: Limits::new(
                usize::try_from(config.server.max_clients).unwrap_or(usize::MAX),
                Instant::now(),
            ),
            denied: Denied::restore(config.admin.state.clone(), &config.listeners)
                .map_err(StartError::State)?,
            admission: Admission::new(room.connections),
            registry: Registry::default(),
            stop,
            cut: Arc::default(),
            posts: Vec::new(),
            workers: Vec::new(),
            pulse: None,
            draining: None,
            keepers: Keepers::start(changed.clone())?,
            changed,
        };
        let tools = Tools {
            admission: server.admission.clone(),
            registry: server.registry.clone(),
            log: log.clone(),
            metrics: Arc::clone(&server.metrics),
            trouble: Arc::default(),
            worker: 0,
            stop: told,
            cut: Arc::clone(&server.cut),
        };
        server.start_workers(&tools)?;
        server.take(config)?;
        Ok(server)
    }

    /// Takes a new configuration as a whole, or changes nothing.
    ///
    /// Open connections live on with what they came with. Addresses that stay keep their sockets and lose nothing;
    /// one that is gone is accepted from until its queue is empty, then closed. The numbers that descriptors and
    /// threads were sized by (`max-connections`, `max-pending`, `max-clients`, workers) stay as they were at start.
    ///
    /// # Errors
    /// [`StartError`]: an address that cannot be listened on; the old configuration goes on.
    pub fn take(&mut self, config: &Config) -> Result<(), StartError> {
        // Bind first: nothing else is touched if an address cannot be had.
        let mut fresh = Vec::new();
        for listener in &config.listeners {
            for address in &listener.binds {
                if !self.listening.iter().any(|held| held.is(address, &listener.id)) {
                    if self.listening.iter().any(|held| held.is_at(address)) {
                        let (listener, address) = (listener.id.clone(), address.clone());
                        return Err(StartError::Kept { listener, address });
                    }
                    let binding = match listener.when_backend_down {
                        WhenBackendDown::Answer => Binding::Listens,
                        WhenBackendDown::CloseListener => Binding::Reserves,
                    };
                    let listening = bind(address, self.posts.len(), binding, &self.given)
                        .map_err(|error| StartError::Listen { listener: listener.id.clone(), error })?;
                    fresh.push((address.clone(), listening));
                }
            }
        }
        let pools = doors::pools(config, &self.layout.load().pools, &self.changed);
        self.keepers.keep(pools.clone(), PROOF_TIME)?;

        // From here on nothing fails.
        self.keepers.shut(Vec::new());
        let common = Common::new(
            config,
            &pools,
            self.own_connections.clone(),
            Arc::clone(&self.limits),
            self.denied.clone(),
        );
        self.denied.take(&config.listeners);
        let mut held: Vec<Held> = std::mem::take(&mut self.listening);
        for listener in &config.listeners {
            // Every series exists from the start, before a worker counts the first connection.
            for worker in 0..self.posts.len() {
                let _ = self.metrics.shard(worker, &listener.id);
            }
            let Some(door) = common.door(listener, &pools).map(Arc::new) else { continue };
            for address in &listener.binds {
                if let Some(at) = held.iter().position(|held| held.is(address, &listener.id)) {
                    let mut kept = held.swap_remove(at);
                    kept.door.store(Arc::clone(&door));
                    kept.bound.listener = listener.id.clone();
                    if listener.when_backend_down == WhenBackendDown::Answer {
                        kept.tell.send_replace(Told::Listen);
                    }
                    self.listening.push(kept);
                } else if let Some(at) = fresh.iter().position(|(bind, _)| bind == address) {
                    let (bind, listening) = fresh.swap_remove(at);
                    self.post(bind, listening, &door);
                }
            }
        }
        for gone in held {
            // The workers may have given it up already.
            gone.tell.send_replace(Told::Leave);
        }
        self.keepers.shut(self.listening.iter().filter_map(Held::shuttered).collect());
        self.drain_timeout = config.server.drain_timeout;
        let listening = self.listening.iter().map(Held::view).collect();
        self.layout.store(Arc::new(Layout { pools, listening, advice: config.advice.clone() }));
        Ok(())
    }

    /// Addresses of given sockets that `config` does not bind.
    #[must_use]
    pub fn unused(&self, config: &Config) -> Vec<String> {
        self.given.unused(&config::binds(config))
    }

    /// What is listened on; an address that is shut because no backend can be reached is not.
    #[must_use]
    pub fn listening(&self) -> Vec<Bound> {
        let open = self.listening.iter().filter(|held| *held.tell.borrow() == Told::Listen);
        open.map(|held| held.bound.clone()).collect()
    }

    /// The first TCP address of a listener.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listening.iter().find(|held| &*held.bound.listener == listener)?.bound.tcp
    }

    /// The backends and what is known of them.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.layout.load().pools.clone()
    }

    /// A window for others.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            registry: self.registry.clone(),
            admission: self.admission.clone(),
            started: self.started,
            pending: Arc::clone(&self.pending),
            max_pending: self.max_pending,
            metrics: Arc::clone(&self.metrics),
            log: self.log.clone(),
            limits: Arc::clone(&self.limits),
            denied: self.denied.clone(),
            layout: Arc::clone(&self.layout),
            stop: self.stop.subscribe(),
        }
    }

    /// The connections that are open now.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The counts that limits go by.
    #[must_use]
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// What asks the workers whether they are alive; whoever takes it first has it.
    pub fn take_pulse(&mut self) -> Option<Pulse> {
        self.pulse.take()
    }

    /// How long a drain may take.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        self.drain_timeout
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> u32 {
        self.admission.open()
    }

    /// Begins a drain: nobody is accepted any more, and the drain timeout runs from now on. Returns how many
    /// connections are open at its beginning.
    pub fn stop_accepting(&mut self) -> u32 {
        if let Some(open) = self.draining {
            return open;
        }
        self.accept_no_more(later(Instant::now(), self.drain_timeout));
        let open = self.admission.open();
        self.draining = Some(open);
        open
    }

    /// Accepts no more, lets open connections end until the drain timeout, then cuts them.
    /// [`Cutter::cut`] ends the drain at once.
    #[must_use]
    pub fn drain(mut self) -> Drained {
        let open = self.stop_accepting();
        self.wait_for_workers();
        Drained { open, cut: self.cut.load(Ordering::Relaxed) }
    }

    /// Something that ends a drain early, for a second signal.
    #[must_use]
    pub fn cutter(&self) -> Cutter {
        Cutter(self.stop.clone())
    }

    fn start_workers(&mut self, tools: &Tools) -> io::Result<()> {
        let (started, max_pending) = (self.started, self.max_pending);
        let (pulse, beats) = Pulse::new(machine::workers());
        self.pulse = Some(pulse);
        for (number, beat) in beats.into_iter().enumerate() {
            let (send, posts) = mpsc::channel(POSTS_QUEUED);
            let (tools, total) = (Tools { worker: number, ..tools.clone() }, Arc::clone(&self.pending));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let body = move || {
                let pending = PendingHeaders::new(max_pending, total);
                let desk = Desk { pending, ids: Ids::new(started, number), log: tools.log.clone() };
                runtime.block_on(beat.during(worker::work(posts, desk, tools)));
            };
            self.workers.push(std::thread::Builder::new().name(format!("worker-{number}")).spawn(body)?);
            self.posts.push(send);
        }
        Ok(())
    }

    /// Gives each worker its share of a bound address.
    fn post(&mut self, bind: Bind, mut listening: Listening, door: &Arc<Door>) {
        let first = match shutters::at_first(door) {
            // What the service manager gives is not ours to shut: clients would wait there unanswered.
            _ if listening.given => Told::Listen,
            // Here, so that it listens once this returns. Somebody may have taken the port since it was reserved: then
            // it waits like one that has to be opened.
            Told::Listen if listening.listen().is_err() => Told::Shut,
            first => first,
        };
        let (tell, told) = watch::channel(first);
        let open = Arc::default();
        let current = Arc::new(ArcSwap::new(Arc::clone(door)));
        for worker in &self.posts {
            let post = Post {
                listening: listening.share(),
                door: Arc::clone(&current),
                told: told.clone(),
                open: Arc::clone(&open),
            };
            // A worker that is gone has panicked and said so; the others go on.
            let _ = worker.blocking_send(post);
        }
        let (address, tcp) = (listening.address.clone(), listening.tcp);
        let bound = Bound { listener: door.listener.id.clone(), address, tcp };
        self.listening.push(Held { bind, bound, door: current, tell, open, listening: Some(listening) });
    }

    fn accept_no_more(&mut self, drain_until: Instant) {
        self.keepers.shut(Vec::new());
        // UNIX paths go while we still listen: a successor that finds the path free, or nobody on it, makes its own
        // there, which must not be removed when our drain ends. Given sockets go as well: if the service manager has
        // closed its own, nobody shall wait in a queue that nobody empties.
        self.given = Given::default();
        for held in &mut self.listening {
            drop(held.listening.take());
        }
        self.stop.send_replace(Stop::DrainUntil(drain_until));
    }

    fn wait_for_workers(&mut self) {
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so.
            let _ = worker.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept_no_more(Instant::now());
        self.wait_for_workers();
    }
}

/// Ends a drain early.
#[derive(Debug, Clone)]
pub struct Cutter(watch::Sender<Stop>);

impl Cutter {
    /// Cuts what is still open.
    pub fn cut(&self) {
        self.0.send_replace(Stop::DrainUntil(Instant::now()));
    }
}
