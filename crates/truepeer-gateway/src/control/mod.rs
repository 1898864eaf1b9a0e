//! Control: the thread that answers the operator (`admin`) and, apart from that, monitoring (`status`).
//!
//! Started by `run`; a reload may give it other addresses, of which the new ones are bound before the old ones end. It
//! has a runtime of its own, so that no worker ever waits for it, and sees the server through its [`View`]. It goes on
//! while the server drains, and ends with the process.

pub mod admin;
pub mod manager;
mod places;
pub mod status;

use std::fmt;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::config::Config;
use crate::control::admin::{Order, Presence};
use crate::engine::{Binding, Given, ListenError, Listening, bind};
use crate::facts::bind::Bind;
use crate::server::View;

/// Why control could not be started.
#[derive(Debug)]
pub enum ControlError {
    /// An address could not be listened on.
    Listen {
        /// The setting that names it.
        key: &'static str,
        /// Why.
        error: ListenError,
    },
    /// The system refused a thread or a runtime.
    System(io::Error),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { key, error } => {
                write!(f, "{key}: {error}")?;
                if error.error.kind() == io::ErrorKind::NotFound {
                    f.write_str(": its folder must exist (`RuntimeDirectory=truepeer` in a service unit makes /run/truepeer)")?;
                }
                Ok(())
            }
            Self::System(error) => write!(f, "the system refused a thread: {error}"),
        }
    }
}

impl std::error::Error for ControlError {}

/// Where control is, as a configuration says it, with what had to be bound for that and is not served yet. Every
/// mistake shows before anything changes; dropping it gives up what was bound.
#[derive(Debug)]
pub struct Sockets {
    wanted: Vec<(Purpose, Bind)>,
    fresh: Vec<(Purpose, Bind, Listening)>,
}

/// The running thread; dropping it ends the thread.
#[derive(Debug)]
pub struct Control {
    served: Vec<Served>,
    /// Dropping it ends the thread.
    ports: Option<mpsc::Sender<Port>>,
    thread: Option<JoinHandle<()>>,
    /// Whether operators have a socket anywhere.
    presence: watch::Sender<Presence>,
}

/// Who is served at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Admin,
    Status,
}

/// One address that is served.
#[derive(Debug)]
struct Served {
    purpose: Purpose,
    bind: Bind,
    address: String,
    /// Dropping it ends the serving, once those who have asked are answered.
    _until: oneshot::Sender<()>,
}

/// What the thread is given for each of them.
#[derive(Debug)]
struct Port {
    purpose: Purpose,
    listening: Listening,
    until: oneshot::Receiver<()>,
}

/// Addresses that the thread may be told of before it takes them.
const PORTS_QUEUED: usize = 64;

impl Purpose {
    const fn key(self) -> &'static str {
        match self {
            Self::Admin => "admin.socket",
            Self::Status => "status.bind",
        }
    }
}

impl Sockets {
    /// Listens where `config` asks for it, on `given` sockets where there are such.
    ///
    /// # Errors
    /// [`ControlError::Listen`].
    pub fn bind(config: &Config, given: &Given) -> Result<Self, ControlError> {
        Self::beside(config, &[], given)
    }

    /// Binds what `config` asks for and `served` does not have.
    fn beside(config: &Config, served: &[Served], given: &Given) -> Result<Self, ControlError> {
        let admin = config.admin.bind().into_iter().map(|bind| (Purpose::Admin, bind));
        let status = config.status.binds.iter().cloned().map(|bind| (Purpose::Status, bind));
        let wanted: Vec<_> = admin.chain(status).collect();
        let mut fresh = Vec::new();
        for (purpose, address) in &wanted {
            if !served.iter().any(|served| served.is(*purpose, address)) {
                let listening = bind(address, 1, Binding::Listens, given)
                    .map_err(|error| ControlError::Listen { key: purpose.key(), error })?;
                fresh.push((*purpose, address.clone(), listening));
            }
        }
        Ok(Self { wanted, fresh })
    }

    /// Serves them. Orders for the main thread come out of the second value.
    ///
    /// # Errors
    /// [`ControlError::System`].
    pub fn serve(self, view: View) -> Result<(Control, mpsc::Receiver<Order>), ControlError> {
        let (orders, ordered) = mpsc::channel(admin::ORDERS_QUEUED);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ControlError::System)?;
        let (ports, received) = mpsc::channel(PORTS_QUEUED);
        let desk = admin::AdminContext { view, orders };
        let (presence, present) = watch::channel(Presence::Somewhere);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            // What waits for sockets stays on one thread.
            .spawn(move || {
                LocalSet::new().block_on(&runtime, attend(received, desk, present));
                // A disk that does not answer must not hold up the end.
                runtime.shutdown_background();
            })
            .map_err(ControlError::System)?;
        let mut control = Control { served: Vec::new(), ports: Some(ports), thread: Some(thread), presence };
        control.take(self);
        Ok((control, ordered))
    }
}

impl Control {
    /// Binds what a new `config` asks for and is not served yet; [`Control::take`] serves it.
    ///
    /// # Errors
    /// [`ControlError::Listen`]; everything goes on as it was.
    pub fn prepare(&self, config: &Config, given: &Given) -> Result<Sockets, ControlError> {
        Sockets::beside(config, &self.served, given)
    }

    /// Serves what was prepared, then ends what is not wanted any more; whoever has asked there is still answered.
    pub fn take(&mut self, sockets: Sockets) {
        let Sockets { wanted, fresh } = sockets;
        for (purpose, bind, listening) in fresh {
            let (until, told) = oneshot::channel();
            let address = listening.address.clone();
            if let Some(ports) = &self.ports {
                // A thread that is gone has panicked and said so.
                let _ = ports.blocking_send(Port { purpose, listening, until: told });
            }
            self.served.push(Served { purpose, bind, address, _until: until });
        }
        self.served.retain(|served| wanted.iter().any(|(purpose, bind)| served.is(*purpose, bind)));
        let has_admin = wanted.iter().any(|(purpose, _)| *purpose == Purpose::Admin);
        self.presence.send_replace(if has_admin { Presence::Somewhere } else { Presence::Nowhere });
    }

    /// Where status is served, with the ports that the system chose.
    pub fn status(&self) -> impl Iterator<Item = &str> {
        let status = self.served.iter().filter(|served| served.purpose == Purpose::Status);
        status.map(|served| served.address.as_str())
    }
}

impl Served {
    fn is(&self, purpose: Purpose, bind: &Bind) -> bool {
        self.purpose == purpose && self.bind == *bind
    }
}

/// How often it is looked whether the wall clock was set, by which the state file has the ends of bans.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// Serves each port that comes, until nobody can send one any more.
async fn attend(
    mut ports: mpsc::Receiver<Port>,
    desk: admin::AdminContext,
    presence: watch::Receiver<Presence>,
) {
    let mut served = JoinSet::new();
    let mut following = JoinSet::new();
    let mut look = tokio::time::interval(CLOCK_CHECK);
    let rooms = (admin::AdminPlaces::new(presence), status::StatusPlaces::default());
    loop {
        tokio::select! {
            port = ports.recv() => match port {
                Some(port) => drop(served.spawn_local(serve(port, desk.clone(), rooms.clone()))),
                None => return,
            },
            Some(_) = served.join_next(), if !served.is_empty() => {}
            // One at a time: it waits for the disk.
            _ = look.tick(), if following.is_empty() => {
                let denied = desk.view.denied.clone();
                following.spawn_blocking(move || denied.follow_clock());
            }
            Some(_) = following.join_next(), if !following.is_empty() => {}
        }
    }
}

async fn serve(
    port: Port,
    desk: admin::AdminContext,
    (operators, monitors): (admin::AdminPlaces, status::StatusPlaces),
) {
    let Port { purpose, mut listening, until } = port;
    let acceptor = match listening.take_acceptor() {
        Ok(Some(acceptor)) => acceptor,
        Ok(None) => return,
        Err(error) => return failed(&listening.address, &error),
    };
    let until = async move {
        // A sender that is gone is how it is told.
        let _ = until.await;
        // A UNIX path goes before its socket does: what a successor makes there must not be removed.
        drop(listening);
    };
    match purpose {
        Purpose::Admin => admin::serve(acceptor, desk, operators, until).await,
        Purpose::Status => status::serve(acceptor, desk.view, monitors, until).await,
    }
}

fn failed(address: &str, error: &io::Error) {
    let cause = error.to_string();
    tracing::error!(event = "listener_failed", address, cause);
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.ports.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so.
            let _ = thread.join();
        }
    }
}
