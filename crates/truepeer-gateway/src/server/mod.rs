//! The server: binds, proves, starts the workers, takes a new configuration, and ends everything in order.
//!
//! It knows the rooms only by their doors. Signals are the command's; files are the configuration's.

mod bound;
mod doors;
mod drain;
mod error;
pub mod health;
mod held;
mod keeper;
mod keepers;
pub mod names;
mod posts;
mod prober;
pub mod pulse;
pub mod registry;
mod shutter;
mod shutters;
mod succession;
mod supervised;
mod take;
pub mod trouble;
mod view;
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::config::{self, Advice, Config};
use crate::door::{OwnCount, WorkerContext, ids_of};
use crate::engine::label::Labels;
use crate::engine::{self, Admission, Bell, Given, Lingering, PendingHeaders, later};
use crate::facts::machine;
use crate::observe::log::Log;
use crate::observe::metrics::Metrics;
use crate::rooms::backend::Pool;
use crate::rooms::bans::denied::Denied;
use crate::rooms::bans::state;
use crate::rooms::identify::{Acquaintances, RecentPeers};
use crate::rooms::limits::Limits;
use crate::server::pulse::Pulse;
use crate::server::registry::Registry;
use crate::server::worker::{POSTS_QUEUED, PortCommand, Post, Stop, Tools};

pub use bound::Bound;
use bound::named_once;
pub use doors::own_addresses;
pub use drain::{Cutter, Drained};
pub use error::StartError;
pub use held::Leaving;
use held::{HeldAddress, sockets};
use keepers::Keepers;
pub use succession::Succeed;
pub use view::{Layout, ListeningAt, View};

/// A running server.
#[derive(Debug)]
pub struct Server {
    drain_timeout: Duration,
    upgrade_drain_timeout: Duration,
    /// Asked before the first connection is accepted, where this process takes another's place.
    succeed: Option<Succeed>,
    listening: Vec<HeldAddress>,
    given: Given,
    /// The health ports.
    health: Vec<HeldAddress>,
    layout: Arc<ArcSwap<Layout>>,
    started: SystemTime,
    own_connections: OwnCount,
    acquaintances: Acquaintances,
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
    /// Connections that waited in the kernel's queue when a drain began.
    queued: Arc<AtomicU32>,
    posts: Vec<mpsc::Sender<Post>>,
    workers: Vec<JoinHandle<()>>,
    pulse: Option<Pulse>,
    /// Connections that were open when a drain began.
    draining: Option<u32>,
    keepers: Keepers,
    /// Stay where they are across configurations: open connections are still asked who they are.
    labels: Labels,
    /// Rings when a backend may have come or gone.
    changed: Bell,
}

impl Server {
    /// Binds every address, asks every backend, and starts the workers.
    ///
    /// Returns once connections are accepted. Backends that did not answer by then are asked again and again.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(config: &Config, log: &Log) -> Result<Self, StartError> {
        let bans = config.admin.state.as_deref().map(state::load).transpose().map_err(StartError::State)?;
        Self::start_given(config, log, Given::default(), bans.unwrap_or_default(), None)
    }

    /// The same on `given` sockets, each of which serves the address that it is bound to, with the `bans` that the
    /// state file holds; with `succeed`, in the place of another process.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start_given(
        config: &Config,
        log: &Log,
        given: Given,
        bans: state::LoadedBans,
        succeed: Option<Succeed>,
    ) -> Result<Self, StartError> {
        let descriptors = machine::raise_descriptor_limit();
        let room = machine::room(
            descriptors,
            sockets(config),
            config.server.max_connections,
            config.server.max_pending,
        )
        .map_err(StartError::Descriptors)?;
        let (stop, told) = watch::channel(Stop::No);
        let changed = Bell::default();
        let mut server = Self {
            drain_timeout: config.server.drain_timeout,
            upgrade_drain_timeout: config.server.upgrade_drain_timeout,
            succeed,
            listening: Vec::new(),
            given,
            health: Vec::new(),
            layout: Arc::default(),
            started: SystemTime::now(),
            own_connections: OwnCount::default(),
            acquaintances: Acquaintances::default(),
            pending: Arc::default(),
            max_pending: room.pending,
            metrics: Arc::default(),
            log: log.clone(),
            limits: Limits::new(
                usize::try_from(config.server.max_clients).unwrap_or(usize::MAX),
                Instant::now(),
            ),
            denied: Denied::restore(config.admin.state.clone(), bans, doors::guarded(&config.listeners, &[])),
            admission: Admission::new(room.connections),
            registry: Registry::default(),
            stop,
            cut: Arc::default(),
            queued: Arc::default(),
            posts: Vec::new(),
            workers: Vec::new(),
            pulse: None,
            draining: None,
            keepers: Keepers::start(changed.clone())?,
            labels: Labels::kept_in(config.server.label_pins.clone()),
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
            queued: Arc::clone(&server.queued),
        };
        server.start_workers(&tools)?;
        server.take(config)?;
        Ok(server)
    }

    /// The sockets that the service manager gave.
    #[must_use]
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// Addresses of given sockets that `config` does not bind.
    #[must_use]
    pub fn unused(&self, config: &Config) -> Vec<String> {
        self.given.unused(&config::binds(config))
    }

    /// What is valid in the latest configuration but surprising, by itself or with the given sockets.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        self.layout.load().advice.clone()
    }

    /// What is listened on; an address that is shut because no backend can be reached is not.
    #[must_use]
    pub fn listening(&self) -> Vec<Bound> {
        open(&self.listening)
    }

    /// Where health checks are answered; a health port that is shut is not among them.
    #[must_use]
    pub fn health(&self) -> Vec<Bound> {
        open(&self.health)
    }

    /// Every address that was made open, for clients and then for health checks: those that were shut at first are said
    /// to open when they do.
    #[must_use]
    pub fn made_open(&self) -> [Vec<Bound>; 2] {
        [&self.listening, &self.health].map(|held| {
            let open = held.iter().filter(|held| !held.was_shut);
            named_once(open.map(|held| &held.bound))
        })
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
            acquaintances: self.acquaintances.clone(),
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

    /// What asks the workers whether they are alive; the first caller has it.
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
        let open = self.accept_no_more(later(Instant::now(), self.drain_timeout));
        self.draining = Some(open);
        open
    }

    /// Accepts no more but what the kernel has queued, lets open connections end until the drain timeout, then cuts
    /// them.
    /// [`Cutter::cut`] ends the drain at once.
    #[must_use]
    pub fn drain(mut self) -> Drained {
        let open = self.stop_accepting();
        self.wait_for_workers();
        let open = open.saturating_add(self.queued.load(Ordering::Relaxed));
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
        let lingering = Arc::new(AtomicU32::new(0));
        for (number, beat) in beats.into_iter().enumerate() {
            let (send, posts) = mpsc::channel(POSTS_QUEUED);
            let lingering = Arc::clone(&lingering);
            let (tools, total) = (Tools { worker: number, ..tools.clone() }, Arc::clone(&self.pending));
            let body = move || {
                let pending = PendingHeaders::new(max_pending, total);
                let lingering = Lingering::new(tools.admission.max(), lingering);
                let ids = ids_of(started, number);
                let recent = RecentPeers::default();
                let desk = WorkerContext { pending, lingering, recent, ids, log: tools.log.clone() };
                if let Err(error) = engine::run(beat.during(worker::work(posts, desk, tools))) {
                    let cause = error.to_string();
                    tracing::error!(event = "worker_failed", cause);
                }
            };
            self.workers.push(std::thread::Builder::new().name(format!("worker-{number}")).spawn(body)?);
            self.posts.push(send);
        }
        Ok(())
    }

    /// Returns how many connections are open then.
    fn accept_no_more(&mut self, drain_until: Instant) -> u32 {
        self.keepers.shut(Vec::new());
        // UNIX paths go while we still listen: a successor that finds the path free, or nobody on it, makes its own
        // there, which must not be removed when our drain ends. Given sockets go as well: if the service manager has
        // closed its own, nobody shall wait in a queue that nobody empties.
        self.given = Given::default();
        for health in &self.health {
            if health.is_shut_without_backend() {
                health.tell.send_replace(PortCommand::Shut);
            }
        }
        for held in self.listening.iter_mut().chain(&mut self.health) {
            if let Some(listening) = &mut held.listening {
                listening.give_up();
            }
        }
        // Asked at the last moment, since workers accept until then, and those in the queue are counted by the code
        // that takes them.
        let open = self.admission.open();
        self.stop.send_replace(Stop::DrainUntil(drain_until));
        open
    }

    fn wait_for_workers(&mut self) {
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so.
            let _ = worker.join();
        }
    }
}

/// Those that are not shut.
fn open(held: &[HeldAddress]) -> Vec<Bound> {
    named_once(held.iter().filter(|held| *held.tell.borrow() == PortCommand::Listen).map(|held| &held.bound))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept_no_more(Instant::now());
        self.wait_for_workers();
        self.labels.settle();
    }
}
