//! The operator's way in: commands over a UNIX socket that only root and this user may open.
//!
//! One request a connection: a line of JSON, answered by lines of JSON; a feed goes on with one order a line. Served on
//! the control thread; asked by the commands of the same name through [`client`]. It sees the server through its
//! [`View`] and gives the main thread [`Order`]s; it touches no connection's bytes, and nothing here is reachable from
//! the status page.

mod before;
pub mod client;
mod deny;
mod feed;
mod lines;
mod look;
mod page;
pub mod reply;
mod report;
mod request;
mod serve;
mod why;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::config::Advice;
use crate::control::predecessors::Predecessors;
use crate::server::{Bound, View};

pub(crate) use before::answer_successor;
pub use page::{ClientsBy, ConnectionsBy, ListOrder, MAX_ROWS, MAX_SEARCH, MAX_SKIP, PageRequest, Subject};
pub use request::{Filter, OpenConnections, Request, Upgrade, network};
pub(crate) use serve::{AdminPlaces, Presence, serve};

/// The longest request line.
const MAX_REQUEST: usize = 64 * 1024;
/// From accept until a request must be there.
const REQUEST_TIME: Duration = Duration::from_secs(3);
/// For a whole answer, the work behind it included.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Feeds at once; one more is refused, so that operators always find room.
const MAX_FEEDS: usize = 4;
/// Beside what a successor may take until it is ready: for its check before, and the handing over.
const UPGRADE_MARGIN: Duration = Duration::from_secs(60);
/// Orders of a feed that are made together, at most.
const MAX_BATCH: usize = 1024;
/// Orders that may wait for the main thread.
pub(crate) const ORDERS_QUEUED: usize = 4;

/// What the main thread is asked to do, and whom to tell how it went.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// Let another process take this one's place.
    Upgrade(Upgrade, oneshot::Sender<Result<reply::Upgraded, String>>),
}

/// A reload that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// What is listened on now.
    pub listening: Vec<Bound>,
    /// What is valid but surprising.
    pub advice: Vec<Advice>,
    /// Settings that changed and are read at start only.
    pub restart_for: Vec<String>,
}

/// What answering needs.
#[derive(Debug, Clone)]
pub struct AdminContext {
    /// The server.
    pub view: View,
    /// The main thread.
    pub orders: mpsc::Sender<Order>,
    /// The processes whose place this one has taken.
    pub before: Predecessors,
}
