//! A worker: one thread, one executor, its own listening sockets. No connection ever moves to another.
//!
//! It owns every connection it accepts until that connection's record is written.

mod gate;
mod open;
mod serve;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::door::{Door, WorkerContext};
use crate::engine::{
    AcceptPause, Acceptor, Admission, Arrival, FuturePool, Listening, Tasks, in_time, later, now, until,
};
use crate::observe::log::Log;
use crate::observe::metrics::{Metrics, Shard};
use crate::server::registry::Registry;
use crate::server::supervised::begun_again;
use crate::server::trouble::Trouble;

pub(crate) use gate::PostGate;
use open::{OpenRecord, Threshold};
use serve::serve;

/// Posts that a worker may be told of before it takes them.
pub const POSTS_QUEUED: usize = 64;

/// What all workers are told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// Accept no more; open connections may go on until then.
    DrainUntil(Instant),
}

/// What a post is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortCommand {
    /// Accept.
    Listen,
    /// Accept no more for now, so that connecting fails.
    Shut,
    /// The configuration has no such address any more.
    Leave,
    /// Another process accepts there from now on; who waits in the queue is its.
    HandOver,
}

/// What every connection of a server is given.
#[derive(Debug, Clone)]
pub struct Tools {
    /// How many connections there may be.
    pub admission: Admission,
    /// Which connections are open.
    pub registry: Registry,
    /// Where records go.
    pub log: Log,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What was said of accepting that does not work.
    pub trouble: Arc<Trouble>,
    /// Which worker this is.
    pub worker: usize,
    /// Whether to go on.
    pub stop: watch::Receiver<Stop>,
    /// Counts the connections that a drain cut.
    pub cut: Arc<AtomicU32>,
    /// Counts the connections that waited in the kernel's queue when a drain began.
    pub queued: Arc<AtomicU32>,
}

/// One listening socket of one worker, and the door behind it.
#[derive(Debug)]
pub struct Post {
    /// This worker's share of a bound address.
    pub listening: Listening,
    /// The door, as the latest configuration has it.
    pub door: Arc<ArcSwap<Door>>,
    /// What becomes of the socket.
    pub told: watch::Receiver<PortCommand>,
    /// How many workers listen there now.
    pub open: Arc<AtomicU32>,
}

/// How long a worker waits before it tries again to listen where the system said no.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// How long a post that is given up waits for descriptors or memory to take those who are still queued there.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);

/// Attends the posts that it is told of, until `tools.stop` says so and every connection has ended or was cut.
///
/// # Cancel safety
/// Dropping the future cuts every connection; each leaves its record.
pub async fn work(mut posts: mpsc::Receiver<Post>, desk: WorkerContext, tools: Tools) {
    let desk = Rc::new(desk);
    let attended = Tasks::default();
    let mut stop = tools.stop.clone();
    while *stop.borrow_and_update() == Stop::No {
        tokio::select! {
            Some(post) = posts.recv() => attended.spawn(attend(post, Rc::clone(&desk), tools.clone())),
            // The sender outlives the workers; if it is gone, so is the server.
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    attended.emptied().await;
}

/// Accepts at one post and owns its connections.
async fn attend(mut post: Post, desk: Rc<WorkerContext>, tools: Tools) {
    let Some(socket) = post.listening.take_raw() else { return };
    let mut gate = PostGate::new(socket, Arc::clone(&post.open));
    if post.listening.given {
        gate = gate.of_others();
    }
    let mut orders = Orders::new(post.told.clone());
    let (connections, walks) = (Tasks::default(), FuturePool::new(serve));
    let stop = tools.stop.clone();
    let latest = Latest::new(&tools, Rc::clone(&desk), post.door.load_full());
    let take_in = |arrival: Arrival| {
        let threshold = latest.of(&post.door.load());
        connections.spawn_from(&walks, (OpenRecord::begin(&arrival, threshold), arrival));
    };
    let mut pause = AcceptPause::default();
    let address = post.listening.address.clone();
    let why = begun_again("post", &address, async || {
        let mut stop = stop.clone();
        // Waited for once, not anew for each connection, which would cost it two locks each.
        let mut stopping = pin!(stopped(&mut stop));
        loop {
            let order = {
                let mut ordered = pin!(orders.next());
                loop {
                    tokio::select! {
                        biased;
                        // First, so that the others are looked at once for all who came, and not for each: accepting
                        // takes no more at once than a few.
                        accepted = next(gate.acceptor(), &pause, &latest) => {
                            if let Some(arrival) = arrived(accepted, &mut pause, &latest, &post.listening.address) {
                                take_in(arrival);
                            }
                        }
                        () = &mut stopping => return Ended::Stopped,
                        order = &mut ordered => break order,
                    }
                }
            };
            let obeyed = match order {
                PortCommand::Leave => return Ended::Retired,
                PortCommand::HandOver => return Ended::HandedOver,
                PortCommand::Listen => gate.open(),
                PortCommand::Shut => gate.shut(take_in),
            };
            orders.obeyed(obeyed, &post.listening.address);
        }
    })
    .await;
    let is_anothers = *post.told.borrow() == PortCommand::HandOver;
    let takes_queue = match why {
        Ended::HandedOver => false,
        Ended::Retired => true,
        // A successor gets what waits at a given socket. A stop without time leaves nobody to serve.
        Ended::Stopped => !is_anothers && !post.listening.given && !is_over(*stop.borrow()),
    };
    if takes_queue {
        // What the kernel has already accepted for us is served; only then is the address given up.
        let take = |arrival| {
            if why == Ended::Stopped {
                tools.queued.fetch_add(1, Ordering::Relaxed);
            }
            take_in(arrival);
        };
        leave(gate, take, &mut pause, &stop, &post.listening.address, &tools.trouble).await;
    } else if is_anothers {
        drop(gate);
    } else {
        gate.abandon();
    }
    if drain(&connections, stop).await == Drain::Over {
        tools.cut.fetch_add(u32::try_from(connections.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
    connections.cut();
}

/// Gives a post up once all have been taken who are queued there. Where the system lacks something for that, it is
/// tried again and again for [`QUEUE_PATIENCE`], but not past the end of a drain; connections go on and end meanwhile.
async fn leave(
    mut gate: PostGate,
    mut take: impl FnMut(Arrival),
    pause: &mut AcceptPause,
    stop: &watch::Receiver<Stop>,
    address: &str,
    trouble: &Trouble,
) {
    let given_up = later(now(), QUEUE_PATIENCE);
    while let Err((error, left)) = gate.leave(&mut take) {
        let over = match *stop.borrow() {
            Stop::No => given_up,
            Stop::DrainUntil(until) => given_up.min(until),
        };
        if now() >= over {
            let cause = error.to_string();
            tracing::error!(event = "listener_failed", address, cause, "who waits in its queue is lost");
            return;
        }
        gate = left;
        back_off(pause, &error, address, trouble);
        // Whether the pause is over or the time changes nothing: both are looked at again.
        let _ = in_time(over, pause.over()).await;
    }
}

/// What the latest connections of one worker's post share: made anew only when a reload brought another door, and kept
/// until the first connection that comes through that.
struct Latest<'a> {
    tools: &'a Tools,
    threshold: RefCell<Rc<Threshold>>,
    /// Whether a pause was counted that still goes on.
    paused: Cell<bool>,
}

impl<'a> Latest<'a> {
    fn new(tools: &'a Tools, desk: Rc<WorkerContext>, door: Arc<Door>) -> Self {
        let threshold = RefCell::new(Rc::new(Threshold::new(tools, desk, door)));
        Self { tools, threshold, paused: Cell::default() }
    }

    fn of(&self, door: &Arc<Door>) -> Rc<Threshold> {
        let mut last = self.threshold.borrow_mut();
        if !Arc::ptr_eq(&last.door, door) {
            *last = Rc::new(Threshold::new(self.tools, Rc::clone(&last.desk), Arc::clone(door)));
        }
        Rc::clone(&last)
    }

    fn counters(&self) -> Arc<Shard> {
        Arc::clone(&self.threshold.borrow().counters)
    }
}

/// Why a post is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The server stops.
    Stopped,
    /// Only this address is no longer wanted.
    Retired,
    /// Another process has taken it.
    HandedOver,
}

fn is_over(stop: Stop) -> bool {
    matches!(stop, Stop::DrainUntil(until) if until <= now())
}

async fn stopped(stop: &mut watch::Receiver<Stop>) {
    // A sender that is gone means the same as its last word would.
    let _ = stop.wait_for(|stop| *stop != Stop::No).await;
}

/// What a post is told, and told again where the system said no.
#[derive(Debug)]
pub(crate) struct Orders {
    told: watch::Receiver<PortCommand>,
    again_at: Option<Instant>,
}

impl Orders {
    /// What `told` says from now on; what it says already comes first.
    pub(crate) fn new(mut told: watch::Receiver<PortCommand>) -> Self {
        told.mark_changed();
        Self { told, again_at: None }
    }

    /// The next order.
    ///
    /// # Cancel safety
    /// Dropping the future loses no order.
    pub(crate) async fn next(&mut self) -> PortCommand {
        let again = async {
            match self.again_at {
                Some(at) => until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.told.changed() => if changed.is_err() { return PortCommand::Leave },
            () = again => {}
        }
        *self.told.borrow_and_update()
    }

    /// Notes how the last order went.
    pub(crate) fn obeyed(&mut self, how: io::Result<()>, address: &str) {
        let first = self.again_at.is_none();
        self.again_at = how.as_ref().err().map(|_| later(now(), REOPEN_PAUSE));
        if let (Err(error), true) = (how, first) {
            let cause = error.to_string();
            tracing::error!(event = "listener_failed", address, cause);
        }
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    /// Every connection ended by itself.
    Empty,
    /// Time was over.
    Over,
}

/// Who came, if somebody did; after an error nobody is accepted for a while.
fn arrived(
    accepted: io::Result<Arrival>,
    pause: &mut AcceptPause,
    latest: &Latest<'_>,
    address: &str,
) -> Option<Arrival> {
    match accepted {
        Ok(arrival) => {
            pause.succeeded();
            if let Some(lasted) = latest.tools.trouble.accepted(arrival.at) {
                let seconds = lasted.as_secs();
                tracing::info!(event = "accept_recovered", seconds);
            }
            Some(arrival)
        }
        Err(error) => {
            latest.counters().accept_failed();
            back_off(pause, &error, address, &latest.tools.trouble);
            None
        }
    }
}

/// Waits until all connections have ended, or their time is over: that of a stop, which may come late or be shortened.
async fn drain(connections: &Tasks, mut stop: watch::Receiver<Stop>) -> Drain {
    while !connections.is_empty() {
        let over_at = match *stop.borrow_and_update() {
            Stop::No => None,
            Stop::DrainUntil(until) => Some(until),
        };
        let over = async {
            match over_at {
                Some(at) => until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = connections.emptied() => {}
            () = over => return Drain::Over,
            changed = stop.changed() => if changed.is_err() { return Drain::Over },
        }
    }
    Drain::Empty
}

async fn next(acceptor: Option<&Acceptor>, pause: &AcceptPause, latest: &Latest<'_>) -> io::Result<Arrival> {
    let Some(acceptor) = acceptor else { return std::future::pending().await };
    let tools = latest.tools;
    let admission = &tools.admission;
    if pause.lasts() || admission.is_full() {
        acceptor.rest();
    }
    pause.over().await;
    // Asked anew at each turn of the worker; a pause goes on through many.
    if admission.is_full() && !latest.paused.replace(true) {
        latest.counters().accept_paused();
    }
    if admission.is_full() && tools.trouble.full(now()) {
        let (cause, remedy) =
            ("server.max-connections is reached", "accepting pauses until a connection ends");
        tracing::warn!(event = "accept_paused", cause, remedy);
    }
    admission.room().await;
    latest.paused.set(false);
    acceptor.accept().await
}

/// Notes that nothing is accepted for a while; orders are followed meanwhile.
fn back_off(pause: &mut AcceptPause, error: &io::Error, address: &str, trouble: &Trouble) {
    if pause.after(error).is_some() && trouble.failed(now()) {
        let cause = error.to_string();
        let remedy =
            "accepting goes on as soon as it can; raise the descriptor limit if this is about descriptors";
        tracing::warn!(event = "accept_failed", address, cause, remedy);
    }
}

#[cfg(test)]
mod tests;
