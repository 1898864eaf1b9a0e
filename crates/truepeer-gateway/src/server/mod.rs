//! The server: binds, proves, starts the workers, takes a new configuration, and ends everything in order.
//!
//! It knows the rooms only by their doors. Signals are the command's; files are the configuration's.

mod bound;
mod doors;
mod error;
pub mod health;
mod held;
pub mod keeper;
mod keepers;
pub mod names;
mod posts;
pub mod prober;
pub mod pulse;
pub mod registry;
mod shutter;
mod shutters;
mod supervised;
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
use crate::door::{Ids, OwnCount, WorkerContext};
use crate::engine::label::Labels;
use crate::engine::{self, Admission, Bell, Given, Lingering, PendingHeaders, later};
use crate::facts::machine;
use crate::observe::log::Log;
use crate::observe::metrics::Metrics;
use crate::rooms::backend::Pool;
use crate::rooms::bans::denied::Denied;
use crate::rooms::bans::state;
use crate::rooms::identify::{Acquaintances, Recent};
use crate::rooms::limits::Limits;
use crate::server::pulse::Pulse;
use crate::server::registry::Registry;
use crate::server::worker::{POSTS_QUEUED, PortCommand, Post, Stop, Tools};

pub use bound::Bound;
use bound::named_once;
use doors::Common;
pub use doors::own_addresses;
pub use error::StartError;
use held::{For, HeldAddress, sockets};
use keepers::Keepers;
pub use view::{Layout, ListeningAt, View};

/// How long backends may take to prove themselves before clients are accepted without them; a client whose backend is
/// not proved by then hears a temporary refusal.
const PROOF_TIME: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub struct Server {
    drain_timeout: Duration,
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

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when it began, and those that waited in the kernel's queue.
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
        let bans = config.admin.state.as_deref().map(state::load).transpose().map_err(StartError::State)?;
        Self::start_given(config, log, Given::default(), bans.unwrap_or_default())
    }

    /// The same on `given` sockets, each of which serves the address that it is bound to, with the `bans` that the state
    /// file holds.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start_given(
        config: &Config,
        log: &Log,
        given: Given,
        bans: state::LoadedBans,
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
            for whom in [For::Clients, For::HealthChecks] {
                for address in whom.binds(listener) {
                    if !self.held(whom).iter().any(|held| held.is(address, &listener.id)) {
                        let listening = self.bind(listener, whom, address)?;
                        fresh.push((whom, address.clone(), listening));
                    }
                }
            }
        }
        let pools = doors::pools(config, &self.layout.load().pools, &self.changed, &self.labels);
        self.keepers.keep(pools.clone(), PROOF_TIME)?;

        // From here on nothing fails.
        let names = doors::names(config, &self.layout.load().names);
        // A proxy that comes before its name has an answer would be taken for a client.
        let named = self.keepers.name(names.clone(), doors::attending(config, &self.denied), PROOF_TIME);
        let _ = named.recv();
        self.keepers.shut(Vec::new());
        doors::ask_where_shown(config, &pools);
        let common = Common::new(
            config,
            &names,
            self.own_connections.clone(),
            self.keepers.own_addresses().clone(),
            Arc::clone(&self.limits),
            self.denied.clone(),
            self.acquaintances.clone(),
        );
        self.denied.take(doors::guarded(&config.listeners, &names));
        let mut held: Vec<HeldAddress> = std::mem::take(&mut self.listening);
        held.append(&mut self.health);
        for listener in &config.listeners {
            // Every series exists from the start, before a worker counts the first connection; the last shard is that
            // of health checks.
            for shard in 0..=self.posts.len() {
                let _ = self.metrics.shard(shard, &listener.id);
            }
            let Some(door) = common.door(listener, &pools).map(Arc::new) else { continue };
            for whom in [For::Clients, For::HealthChecks] {
                for address in whom.binds(listener) {
                    let is = |held: &HeldAddress| held.whom == whom && held.is(address, &listener.id);
                    if let Some(at) = held.iter().position(is) {
                        let mut kept = held.swap_remove(at);
                        kept.door.store(Arc::clone(&door));
                        if let Some(listening) = &kept.listening {
                            kept.bound = Bound::of(listening, listener);
                        }
                        if !whom.is_shut_without_backend(listener, address) {
                            let was = kept.tell.send_replace(PortCommand::Listen);
                            if was == PortCommand::Shut {
                                shutters::say_opened(&listener.id, &kept.bound.address);
                            }
                        }
                        self.hold(kept);
                    } else if let Some(at) =
                        fresh.iter().position(|(of, bind, _)| *of == whom && bind == address)
                    {
                        let (whom, bind, listening) = fresh.swap_remove(at);
                        self.post(whom, bind, listening, &door);
                    }
                }
            }
        }
        for gone in held {
            // The workers may have given it up already.
            gone.tell.send_replace(PortCommand::Leave);
        }
        let held = self.listening.iter().chain(&self.health);
        self.keepers.shut(held.filter_map(HeldAddress::shuttered).collect());
        self.drain_timeout = config.server.drain_timeout;
        let mut listening: Vec<ListeningAt> = self.listening.iter().map(HeldAddress::view).collect();
        listening.dedup_by(|next, one| next.bound == one.bound);
        let health = self.health.iter().map(HeldAddress::view).collect();
        let advice = self.listening.iter().chain(&self.health).filter_map(HeldAddress::advice);
        let advice = config.advice.iter().cloned().chain(advice).collect();
        self.layout.store(Arc::new(Layout { pools, names, listening, health, advice }));
        Ok(())
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
        let open = self.accept_no_more(later(Instant::now(), self.drain_timeout));
        self.draining = Some(open);
        open
    }

    /// Accepts no more but what the kernel has queued, lets open connections end until the drain timeout, then cuts them.
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
                let ids = Ids::new(started, number);
                let recent = Recent::default();
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
            drop(held.listening.take());
        }
        // Asked at the last moment, since workers accept until then, and those in the queue are counted by whoever takes
        // them.
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

/// Ends a drain early.
#[derive(Debug, Clone)]
pub struct Cutter(watch::Sender<Stop>);

impl Cutter {
    /// Cuts what is still open.
    pub fn cut(&self) {
        self.0.send_replace(Stop::DrainUntil(Instant::now()));
    }
}
