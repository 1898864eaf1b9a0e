//! Connect to a backend whose own accept and getpeername then say who the client is.
//!
//! Three steps. Our end of a connection is bound before it connects, so that both ends are known; what is to be said of
//! the client lies ready under these ends (`layout.rs`). When the connection stands, a program in the kernel moves that
//! to the backend's socket, before its accept can return (`programs.rs`). Before a byte goes on, it is looked up whether
//! that has happened: a backend outside the control group would take us for the client, and gets nothing.

mod cgroups;
mod dial;
mod hooks;
mod lack;
mod layout;
mod listeners;
mod loaded;
mod own;
mod pins;
mod programs;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::engine::later;
use crate::facts::cgroup::CgroupName;

use cgroups::Tree;
use hooks::Hooks;
use loaded::Loaded;

pub use dial::Shown;
pub use lack::Lack;
pub use own::NotSaid;

/// What the configuration says of a backend's labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The control group in which the backend makes its listening socket; found from who listens, if it is not said.
    pub cgroup: Option<CgroupName>,
    /// Whether the backend's getsockname says where the client wanted to go.
    pub destination: LabelDestination,
    /// Who stands for clients of IPv6 at a backend that listens on IPv4 only; nobody: they are refused.
    pub substitute: Option<Ipv4Addr>,
}

/// What a backend's own end is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelDestination {
    /// What it is.
    #[default]
    Own,
    /// Where the client wanted to go.
    Clients,
}

/// What a backend's socket is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The client; with port 0, the port of our end is shown.
    pub client: SocketAddr,
    /// Where it wanted to go, if the backend is to say that, too.
    pub destination: Option<SocketAddr>,
    /// Who stands for a client of IPv6 where only IPv4 can be said.
    pub substitute: Option<Ipv4Addr>,
}

/// The programs and where they are called; one for a server, whatever its configuration, so that a reload takes no
/// backend's labels away. Nothing is loaded before the first backend needs it.
#[derive(Debug, Clone, Default)]
pub struct Labels(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Read for each connection.
    loaded: ArcSwapOption<Loaded>,
    /// Changed by the thread that keeps backends.
    hooks: Mutex<Hooks>,
    turn: AtomicU32,
    /// Where labels are kept that outlive this process.
    pins: Option<PathBuf>,
}

impl Labels {
    /// Labels that outlive this process, kept in `pins`, a folder of a bpf file system; without one they end with it.
    #[must_use]
    pub fn kept_in(pins: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { pins, ..Inner::default() }))
    }

    /// Has the programs called where the listening socket of `backend` was made. Waits for nobody.
    ///
    /// # Errors
    /// [`Lack`].
    pub fn prepare(&self, backend: SocketAddr, settings: &Settings) -> Result<(), Lack> {
        let mut hooks = self.hooks();
        let loaded = self.load(&hooks)?;
        let tree = Tree::find()?;
        for folder in folders(&tree, backend, settings)? {
            hooks.put(&loaded, &folder, settings.destination)?;
        }
        hooks.serve(backend);
        Ok(())
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is loaded, by whoever holds the hooks: so it is loaded once.
    fn load(&self, _hooks: &MutexGuard<'_, Hooks>) -> Result<Arc<Loaded>, Lack> {
        if let Some(loaded) = self.0.loaded.load_full() {
            return Ok(loaded);
        }
        let loaded = Arc::new(Loaded::load(self.0.pins.as_deref())?);
        self.0.loaded.store(Some(Arc::clone(&loaded)));
        Ok(loaded)
    }

    /// Waits until backends have accepted what waits for them, at the end of a server: what they accept once the programs
    /// are gone would say our address. Two seconds at most, and not at all for labels that are kept.
    pub fn settle(&self) {
        if self.0.pins.is_some() {
            return;
        }
        let served = self.hooks().served();
        let give_up = later(Instant::now(), LAST_ACCEPTS);
        let waits = |backend: &SocketAddr| {
            listeners::of(*backend).is_ok_and(|found| found.iter().any(|one| one.waiting > 0))
        };
        for backend in &served {
            while waits(backend) && Instant::now() < give_up {
                std::thread::park_timeout(LOOK_AGAIN);
            }
        }
    }

    /// Why the socket of `backend` may not have taken a label, once the programs are in place, and what to change.
    #[must_use]
    pub fn diagnose(&self, backend: SocketAddr, settings: &Settings) -> String {
        let Ok(tree) = Tree::find() else { return Lack::NoCgroups.to_string() };
        let made_in = match listening(&tree, backend) {
            Ok(folders) => folders,
            Err(lack) => return format!("{lack}: {}", lack.change()),
        };
        let names = |folders: &[PathBuf]| {
            let names: Vec<_> = folders.iter().map(|one| tree.name(one).display().to_string()).collect();
            names.join(", ")
        };
        let Some(said) = &settings.cgroup else {
            return format!(
                "its listening socket was made in the control group {}, and does not take it: one with TCP_DEFER_ACCEPT (`deferred` in nginx, AcceptFilter in Apache) cannot, and something between here and there that changes addresses (DNAT, a published port) keeps it from arriving",
                names(&made_in)
            );
        };
        let is_below = |folder: &Path| tree.folder(said).is_ok_and(|said| folder.starts_with(said));
        if made_in.iter().all(|folder| is_below(folder)) {
            let as_found = Settings { cgroup: None, ..settings.clone() };
            return self.diagnose(backend, &as_found);
        }
        format!(
            "its listening socket was made in the control group {}, and `label.cgroup` says `{said}`: say `label.cgroup = \"{}\"`, or leave it out",
            names(&made_in),
            made_in.first().map(|one| tree.name(one).display().to_string()).unwrap_or_default()
        )
    }
}

/// How long a server's end may wait for backends that have connections to accept.
const LAST_ACCEPTS: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Where the programs are to be called.
fn folders(tree: &Tree, backend: SocketAddr, settings: &Settings) -> Result<Vec<PathBuf>, Lack> {
    match &settings.cgroup {
        Some(name) => Ok(vec![tree.folder(name)?]),
        None => listening(tree, backend),
    }
}

/// The control groups in which those who listen at `backend` were made, each once.
fn listening(tree: &Tree, backend: SocketAddr) -> Result<Vec<PathBuf>, Lack> {
    let found = listeners::of(backend).map_err(|error| Lack::NotTold { error: error.to_string() })?;
    let mut numbers: Vec<_> = found.into_iter().map(|one| one.cgroup).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Err(Lack::NobodyListens { address: backend });
    }
    let folder = |number| tree.numbered(number).ok_or(Lack::OutOfSight { number });
    numbers.into_iter().map(folder).collect()
}
