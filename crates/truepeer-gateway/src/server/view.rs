//! What others may know of a running server: its connections, backends, addresses, and whether it is stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::Advice;
use crate::door::Door;
use crate::engine::Admission;
use crate::facts::machine;
use crate::observe::log::Log;
use crate::observe::metrics::{BackendGauge, Format, Gauges, Metrics, Totals};
use crate::observe::recent::Recent;
use crate::observe::turned_away::RefusalsOfCause;
use crate::rooms::backend::Pool;
use crate::rooms::bans::denied::Denied;
use crate::rooms::identify::habit::Remark;
use crate::rooms::identify::{Acquaintances, Sender};
use crate::rooms::limits::Limits;
use crate::rooms::trust::Named;
use crate::server::Bound;
use crate::server::registry::Registry;
use crate::server::worker::{PortCommand, Stop};

/// A window into a server; cheap to clone, never in its way.
#[derive(Debug, Clone)]
pub struct View {
    /// The connections that are open now.
    pub registry: Registry,
    /// How many, and whether there is room for more.
    pub admission: Admission,
    /// When the server was started.
    pub started: SystemTime,
    /// Clients that are kept out for a while.
    pub denied: Denied,
    pub(super) pending: Arc<AtomicU32>,
    pub(super) max_pending: u32,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    pub(super) acquaintances: Acquaintances,
    pub(super) limits: Arc<Limits>,
    pub(super) layout: Arc<ArcSwap<Layout>>,
    pub(super) stop: watch::Receiver<Stop>,
}

/// What the latest configuration amounts to.
#[derive(Debug, Default)]
pub struct Layout {
    /// The backends, one pool for each language.
    pub pools: Vec<Arc<Pool>>,
    /// The names that are trusted, by any listener.
    pub names: Vec<Arc<Named>>,
    /// The listeners, with what is behind each.
    pub listening: Vec<ListeningAt>,
    /// The health ports.
    pub health: Vec<ListeningAt>,
    /// What is valid in it but surprising, by itself or with the given sockets.
    pub advice: Vec<Advice>,
}

/// One address that is listened on, and where its clients go.
#[derive(Debug, Clone)]
pub struct ListeningAt {
    /// The address.
    pub bound: Bound,
    /// What is behind it.
    pub door: Arc<Door>,
    pub(super) told: watch::Receiver<PortCommand>,
}

impl ListeningAt {
    /// Whether nobody listens there for now, because no backend can be reached.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        *self.told.borrow() == PortCommand::Shut
    }
}

impl View {
    /// The latest configuration's backends and listeners.
    #[must_use]
    pub fn layout(&self) -> Arc<Layout> {
        self.layout.load_full()
    }

    /// Whether the server accepts no more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Connections whose header is not complete yet.
    #[must_use]
    pub fn pending_headers(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    /// The most of them.
    #[must_use]
    pub fn max_pending_headers(&self) -> u32 {
        self.max_pending
    }

    /// What peers do again and again, and the operator should know of.
    #[must_use]
    pub fn habits(&self) -> Vec<Remark> {
        self.acquaintances.remarks()
    }

    /// The latest refusals, and who came how often.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        self.log.recent()
    }

    /// The peers whose headers came, with what these told.
    #[must_use]
    pub fn senders(&self) -> Vec<Sender> {
        self.acquaintances.senders()
    }

    /// Who was turned away in the hour before `now`.
    #[must_use]
    pub fn turned_away(&self, now: Instant) -> Vec<RefusalsOfCause> {
        self.log.turned_away().of_last_hour(now)
    }

    /// What each listener has counted.
    #[must_use]
    pub fn totals(&self) -> Vec<Totals> {
        self.metrics.totals()
    }

    /// Everything that is counted, as text.
    #[must_use]
    pub fn metrics(&self, format: Format) -> String {
        let descriptors = machine::descriptors();
        let gauges = Gauges {
            started: self.started.duration_since(UNIX_EPOCH).unwrap_or_default(),
            max_connections: self.admission.max().into(),
            pending_headers: self.pending_headers().into(),
            max_pending_headers: self.max_pending.into(),
            active_bans: u64::try_from(self.denied.count()).unwrap_or(u64::MAX),
            sharing: self.denied.sharing().status(Instant::now()),
            lost_log_lines: self.log.lost(),
            open_descriptors: descriptors.open,
            max_descriptors: descriptors.max,
            limits: self.limits.status(),
            backends: self.backends(),
        };
        self.metrics.render(&gauges, format)
    }

    /// One gauge for each backend, though it may have a pool for each language.
    fn backends(&self) -> Vec<BackendGauge> {
        let mut gauges: Vec<BackendGauge> = Vec::new();
        for pool in &self.layout().pools {
            let gauge = BackendGauge::of(pool);
            match gauges.iter_mut().find(|other| other.backend == gauge.backend) {
                Some(other) => other.add(&gauge),
                None => gauges.push(gauge),
            }
        }
        gauges
    }

    /// The counts that limits go by.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits)
    }

    /// Whether clients are not to be sent here before the store of `[shared]` was read.
    #[must_use]
    pub fn awaits_store(&self) -> bool {
        self.denied.sharing().is_awaited()
    }

    /// The names of all listeners, each once.
    #[must_use]
    pub fn listeners(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for at in &self.layout().listening {
            if !names.contains(&at.bound.listener) {
                names.push(Arc::clone(&at.bound.listener));
            }
        }
        names
    }

    /// The listeners of which some clients would not be served now; none of them means that the server is ready.
    #[must_use]
    pub fn unready(&self) -> Vec<Arc<str>> {
        self.listeners().into_iter().filter(|listener| self.is_ready(listener) != Some(true)).collect()
    }

    /// Whether all clients of `listener` would be served now; `None` if there is no such listener.
    ///
    /// With `backend-when-secure`, both backends must be ready: a balancer that asks can send clients to where all of
    /// them are served.
    #[must_use]
    pub fn is_ready(&self, listener: &str) -> Option<bool> {
        let layout = self.layout();
        let mut found = layout.listening.iter().filter(|at| &*at.bound.listener == listener).peekable();
        found.peek()?;
        Some(!self.is_draining() && found.any(|at| at.door.is_ready() && !at.is_shut()))
    }
}
