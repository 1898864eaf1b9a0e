//! Control: the thread that answers the operator (`admin`) and, apart from that, monitoring (`status`).
//!
//! Started by `run`; a reload may give it other addresses, of which the new ones are bound before the old ones end. It
//! has a runtime of its own, so that no worker ever waits for it, and sees the server through its [`View`]. It goes on
//! while the server drains, and ends with the process.

pub mod admin;
mod cut;
pub mod manager;
mod page;
mod places;
pub mod predecessors;
mod shared;
pub mod status;
pub mod succession;
pub mod successor;

use std::fmt;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use crate::config::{Config, StatusPage};
use crate::control::admin::{Order, Presence};
use crate::control::predecessors::Predecessors;
use crate::engine::{Binding, Given, Handle, ListenError, Listening, Offer, bind};
use crate::facts::bind::Bind;
use crate::server::View;
use shared::Sharing;

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
    page: StatusPage,
    wanted: Vec<(Purpose, Bind)>,
    fresh: Vec<(Purpose, Bind, Listening, Handle)>,
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
    view: View,
    sharing: Option<Sharing>,
    /// Whether there is a page for people.
    page: watch::Sender<StatusPage>,
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
    handle: Handle,
    /// Where it is, unless the service manager holds it, too.
    own_place: Option<Bind>,
    /// Dropping it ends the serving, once those who have asked are answered; so does [`Left`].
    until: oneshot::Sender<Left>,
}

/// Somebody else serves the address from now on.
#[derive(Debug)]
struct Left;

/// What the thread is given for each of them.
#[derive(Debug)]
struct Port {
    purpose: Purpose,
    hosts: status::Hosts,
    listening: Listening,
    until: oneshot::Receiver<Left>,
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
        Self::beside(config, &[], given, &[])
    }

    /// Binds what `config` asks for and `served` does not have, beside those of `leaving` that have it now.
    fn beside(
        config: &Config,
        served: &[Served],
        given: &Given,
        leaving: &[Bind],
    ) -> Result<Self, ControlError> {
        let wanted = wanted(config);
        let mut fresh = Vec::new();
        for (purpose, address) in &wanted {
            if !served.iter().any(|served| served.is(*purpose, address)) {
                let is_ours = leaving.iter().any(|gone| gone.overlaps(address));
                let binding = if is_ours { Binding::Beside } else { Binding::Listens };
                let listening = bind(address, purpose.key(), 1, binding, given)
                    .map_err(|error| ControlError::Listen { key: purpose.key(), error })?;
                // Here, where it may fail: nothing does once a configuration is taken.
                let handle = listening.handle().map_err(|error| ControlError::Listen {
                    key: purpose.key(),
                    error: ListenError { address: address.to_string(), doing: "keep the socket", error },
                })?;
                fresh.push((*purpose, address.clone(), listening, handle));
            }
        }
        Ok(Self { page: config.status.page, wanted, fresh })
    }
}

impl Control {
    /// What serves sockets from [`Control::take`] on; what is ordered there reaches the processes `before`, too. Orders
    /// for the main thread come out of the second value.
    ///
    /// # Errors
    /// [`ControlError::System`].
    pub fn start(
        page: StatusPage,
        view: View,
        before: Predecessors,
    ) -> Result<(Self, mpsc::Receiver<Order>), ControlError> {
        let (orders, ordered) = mpsc::channel(admin::ORDERS_QUEUED);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ControlError::System)?;
        let (ports, received) = mpsc::channel(PORTS_QUEUED);
        let desk = admin::AdminContext { view: view.clone(), orders, before };
        let (presence, present) = watch::channel(Presence::Somewhere);
        let (page, pages) = watch::channel(page);
        let pages = page::Pages::new(desk.view.clone(), pages);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            // What waits for sockets stays on one thread.
            .spawn(move || {
                LocalSet::new().block_on(&runtime, attend(received, desk, present, pages));
                // A disk that does not answer must not hold up the end.
                runtime.shutdown_background();
            })
            .map_err(ControlError::System)?;
        let (ports, thread) = (Some(ports), Some(thread));
        Ok((Self { served: Vec::new(), ports, thread, presence, view, sharing: None, page }, ordered))
    }

    /// Binds what a new `config` asks for and is not served yet; [`Control::take`] serves it. What others of this
    /// process give up, `elsewhere`, is bound beside them.
    ///
    /// # Errors
    /// [`ControlError::Listen`]; everything goes on as it was.
    pub fn prepare(
        &self,
        config: &Config,
        given: &Given,
        elsewhere: &[Bind],
    ) -> Result<Sockets, ControlError> {
        Sockets::beside(config, &self.served, given, &[elsewhere, &self.leaving(config)].concat())
    }

    /// Addresses of ours that `config` does not have as they are.
    #[must_use]
    pub fn leaving(&self, config: &Config) -> Vec<Bind> {
        let wanted = wanted(config);
        let stays = |served: &&Served| wanted.iter().any(|(purpose, bind)| served.is(*purpose, bind));
        self.served
            .iter()
            .filter(|served| !stays(served))
            .filter_map(|served| served.own_place.clone())
            .collect()
    }

    /// Serves what was prepared, then ends what is not wanted any more; anyone who has asked there is still answered.
    pub fn take(&mut self, sockets: Sockets) {
        let Sockets { page, wanted, fresh } = sockets;
        self.page.send_replace(page);
        for (purpose, bind, mut listening, handle) in fresh {
            let (until, told) = oneshot::channel();
            let address = listening.address.clone();
            if let Err(error) = listening.listen() {
                failed(&address, &error);
                continue;
            }
            let own_place = (!listening.given).then(|| listening.place(&bind));
            let hosts = match &bind {
                Bind::Tcp { addr, .. } if !addr.ip().is_loopback() => status::Hosts::Any,
                Bind::Tcp { .. } | Bind::Unix { .. } => status::Hosts::OfThisMachine,
            };
            if let Some(ports) = &self.ports {
                // A thread that is gone has panicked and said so.
                let _ = ports.blocking_send(Port { purpose, hosts, listening, until: told });
            }
            self.served.push(Served { purpose, bind, address, handle, own_place, until });
        }
        self.served.retain(|served| wanted.iter().any(|(purpose, bind)| served.is(*purpose, bind)));
        let has_admin = wanted.iter().any(|(purpose, _)| *purpose == Purpose::Admin);
        self.presence.send_replace(if has_admin { Presence::Somewhere } else { Presence::Nowhere });
    }

    /// Shares with other front doors from now on as `config` says, or with none.
    ///
    /// # Errors
    /// [`ControlError::System`]; nothing is shared then.
    pub fn share(&mut self, config: &Config) -> Result<(), ControlError> {
        match &config.shared {
            Some(settings) if self.sharing.as_ref().is_some_and(|sharing| sharing.has(settings)) => {}
            Some(settings) => {
                // The one before has to end first.
                drop(self.sharing.take());
                self.sharing = Some(Sharing::start(settings, &self.view).map_err(ControlError::System)?);
            }
            None => drop(self.sharing.take()),
        }
        Ok(())
    }

    /// What is listened on here, but for what the service manager gave.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn offers(&self) -> io::Result<Vec<Offer>> {
        let offer = |served: &Served| {
            let (key, bind) = (served.purpose.key().to_owned(), served.bind.to_string());
            Ok(Offer { key, bind, sockets: served.handle.to_hand_on()? })
        };
        self.served.iter().map(offer).collect()
    }

    /// Gives up those of the offers that `taken` says, by their places in [`Control::offers`], and what the service manager
    /// gave; ends the others. Whoever has asked is still answered.
    pub fn hand_over(&mut self, taken: impl Fn(usize) -> bool) {
        self.presence.send_replace(Presence::Elsewhere);
        for (number, served) in self.served.drain(..).enumerate() {
            if taken(number) || served.handle.given {
                // A thread that is gone has panicked and said so.
                let _ = served.until.send(Left);
            }
        }
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

/// Where `config` wants it.
fn wanted(config: &Config) -> Vec<(Purpose, Bind)> {
    let admin = config.admin.bind().into_iter().map(|bind| (Purpose::Admin, bind));
    let status = config.status.binds.iter().cloned().map(|bind| (Purpose::Status, bind));
    admin.chain(status).collect()
}

/// How often it is looked whether the wall clock was set, by which the state file has the ends of bans.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// How long a process that was replaced stays for answers.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Serves each port that comes, until nobody can send one any more.
async fn attend(
    mut ports: mpsc::Receiver<Port>,
    desk: admin::AdminContext,
    presence: watch::Receiver<Presence>,
    pages: page::Pages,
) {
    let mut kept = JoinSet::new();
    kept.spawn_local(pages.clone().keep());
    let mut served = JoinSet::new();
    let mut following = JoinSet::new();
    let mut look = tokio::time::interval(CLOCK_CHECK);
    let replaced = presence.clone();
    let rooms = (admin::AdminPlaces::new(presence), status::StatusPlaces::default());
    loop {
        tokio::select! {
            port = ports.recv() => match port {
                Some(port) => {
                    drop(served.spawn_local(serve(port, desk.clone(), rooms.clone(), pages.clone())));
                }
                None => break,
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
    // A process that was replaced may end at once, and whoever has asked it is to be answered: also who came in the
    // moment in which another one took the place.
    if *replaced.borrow() == Presence::Elsewhere {
        let _ = timeout(LAST_ANSWERS, async { while served.join_next().await.is_some() {} }).await;
    }
}

async fn serve(
    port: Port,
    desk: admin::AdminContext,
    (operators, monitors): (admin::AdminPlaces, status::StatusPlaces),
    pages: page::Pages,
) {
    let Port { purpose, hosts, mut listening, until } = port;
    let acceptor = match listening.take_acceptor() {
        Ok(Some(acceptor)) => acceptor,
        Ok(None) => return,
        Err(error) => return failed(&listening.address, &error),
    };
    let until = async move {
        match until.await {
            Ok(Left) => listening.leave_to_successor(),
            // A sender that is gone is how it is told. A UNIX path goes before its socket does: what another process makes
            // there must not be removed.
            Err(_) => drop(listening),
        }
    };
    match purpose {
        Purpose::Admin => admin::serve(acceptor, desk, operators, until).await,
        Purpose::Status => {
            let context = status::StatusContext { view: desk.view, pages, hosts };
            status::serve(acceptor, context, monitors, until).await;
        }
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
