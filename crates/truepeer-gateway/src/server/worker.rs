//! A worker: one thread, one executor, its own listening sockets. No connection ever moves to another.
//!
//! It owns every connection it accepts until that connection's record is written.

mod gate;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::connection;
use crate::door::{Door, WorkerContext};
use crate::engine::{
    AcceptPause, Acceptor, Admission, Arrival, Listening, Tasks, in_time, later, now, until, wall,
};
use crate::facts::lines::LogFormat;
use crate::facts::outcome::{Level, Outcome};
use crate::observe::folding::{Cause, Example, Fold, Standing};
use crate::observe::habits::Did;
use crate::observe::log::Log;
use crate::observe::metrics::{Metrics, Shard};
use crate::observe::record::{Observer, line as record_line};
use crate::rooms::record::{Record, RefusedBy};
use crate::server::registry::{Listed, Registry};
use crate::server::supervised::begun_again;
use crate::server::trouble::Trouble;

pub(crate) use gate::PostGate;

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
    let mut orders = Orders::new(post.told.clone());
    let connections = Tasks::default();
    let mut stop = tools.stop.clone();
    let counters = Counters::new(&tools, &post.door.load());
    let served = |arrival: Arrival| {
        let door = post.door.load_full();
        let counters = counters.of(&door);
        serve(arrival, door, Rc::clone(&desk), counters, &tools)
    };
    let mut pause = AcceptPause::default();
    let address = post.listening.address.clone();
    let why = begun_again("post", &address, async || {
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return Ended::Stopped,
                order = orders.next() => {
                    let obeyed = match order {
                        PortCommand::Leave => return Ended::Retired,
                        PortCommand::Listen => gate.open(),
                        PortCommand::Shut => gate.shut(|arrival| connections.spawn(served(arrival))),
                    };
                    orders.obeyed(obeyed, &post.listening.address);
                }
                accepted = next(gate.acceptor(), &pause, &tools, &counters) => match accepted {
                    Ok(arrival) => {
                        pause.succeeded();
                        if let Some(lasted) = tools.trouble.accepted(arrival.at) {
                            let seconds = lasted.as_secs();
                            tracing::info!(event = "accept_recovered", seconds);
                        }
                        connections.spawn(served(arrival));
                    }
                    Err(error) => {
                        counters.last().accept_failed();
                        back_off(&mut pause, &error, &post.listening.address, &tools.trouble);
                    },
                }
            }
        }
    })
    .await;
    let takes_queue = match why {
        Ended::Retired => true,
        // A successor gets what waits at a given socket. A stop without time leaves nobody to serve.
        Ended::Stopped => !post.listening.given && !is_over(*stop.borrow()),
    };
    if takes_queue {
        // What the kernel has already accepted for us is served; only then is the address given up.
        let take = |arrival| {
            if why == Ended::Stopped {
                tools.queued.fetch_add(1, Ordering::Relaxed);
            }
            connections.spawn(served(arrival));
        };
        leave(gate, take, &mut pause, &stop, &post.listening.address, &tools.trouble).await;
    } else {
        drop(gate);
    }
    if drain(&connections, stop).await == Drain::Over {
        tools.cut.fetch_add(u32::try_from(connections.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
    connections.cut();
}

/// Gives a post up once all have been taken who are queued there. Where the system lacks something for that, it is tried
/// again and again for [`QUEUE_PATIENCE`], but not past the end of a drain; connections go on and end meanwhile.
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

/// The counters of one worker's post: looked up again only when a reload gave its address to another listener.
struct Counters {
    metrics: Arc<Metrics>,
    worker: usize,
    last: RefCell<Arc<Shard>>,
    /// Whether a pause was counted that still goes on.
    paused: Cell<bool>,
}

impl Counters {
    fn new(tools: &Tools, door: &Door) -> Self {
        let last = RefCell::new(tools.metrics.shard(tools.worker, &door.listener.id));
        Self { metrics: Arc::clone(&tools.metrics), worker: tools.worker, last, paused: Cell::default() }
    }

    fn of(&self, door: &Door) -> Arc<Shard> {
        let mut last = self.last.borrow_mut();
        if last.listener() != &door.listener.id {
            *last = self.metrics.shard(self.worker, &door.listener.id);
        }
        Arc::clone(&last)
    }

    fn last(&self) -> Arc<Shard> {
        Arc::clone(&self.last.borrow())
    }
}

/// Why a post is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The server stops.
    Stopped,
    /// Only this address is no longer wanted.
    Retired,
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

async fn next(
    acceptor: Option<&Acceptor>,
    pause: &AcceptPause,
    tools: &Tools,
    counters: &Counters,
) -> io::Result<Arrival> {
    let Some(acceptor) = acceptor else { return std::future::pending().await };
    let admission = &tools.admission;
    if pause.lasts() || admission.is_full() {
        acceptor.rest();
    }
    pause.over().await;
    // Asked anew at each turn of the worker; a pause goes on through many.
    if admission.is_full() && !counters.paused.replace(true) {
        counters.last().accept_paused();
    }
    if admission.is_full() && tools.trouble.full(now()) {
        let (cause, remedy) =
            ("server.max-connections is reached", "accepting pauses until a connection ends");
        tracing::warn!(event = "accept_paused", cause, remedy);
    }
    admission.room().await;
    counters.paused.set(false);
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

/// One connection, from arrival to record.
fn serve(
    arrival: Arrival,
    door: Arc<Door>,
    desk: Rc<WorkerContext>,
    counters: Arc<Shard>,
    tools: &Tools,
) -> impl Future<Output = ()> + use<> {
    let listener = &door.listener;
    let listed = tools.registry.open(desk.ids.next(), listener.id.clone(), listener.protocol, arrival.peer);
    let entry = Arc::clone(&listed.entry);
    let seen = Observer::new(Record::new(Arc::clone(&entry), arrival.at), counters);
    // Kept out of the future, which holds its arguments as long as it lives.
    let (arrival, permit) = (Box::new(arrival), tools.admission.enter());
    let mut open =
        OpenRecord { seen, _listed: listed, outcome: None, log: tools.log.clone(), stop: tools.stop.clone() };
    async move {
        let outcome = tokio::select! {
            biased;
            outcome = connection::walk(arrival, &door, &desk, &mut open.seen) => outcome,
            () = entry.cut().woken() => {
                // It has the connection, and we have not.
                entry.end_program();
                Err(Outcome::Cut)
            }
        };
        let (Ok(outcome) | Err(outcome)) = outcome;
        open.end(outcome);
        drop(permit);
    }
}

/// A record that is written when it is dropped: at the end, when the connection is cut, and after a mistake of ours.
struct OpenRecord {
    seen: Observer,
    _listed: Listed,
    outcome: Option<Outcome>,
    log: Log,
    stop: watch::Receiver<Stop>,
}

impl OpenRecord {
    fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        let cut = *self.stop.borrow() != Stop::No && !std::thread::panicking();
        let unfinished = if cut { Outcome::Drained } else { Outcome::Internal };
        let outcome = self.outcome.unwrap_or(unfinished);
        // Before the line: whoever has read it finds it counted.
        self.seen.ended(outcome, now());
        let Record { entry, source, presumed, own, .. } = &self.seen.record;
        if let Some(did) = Did::of(outcome, *source, *presumed, own.is_some()) {
            self.log.peer_did(&entry.listener, entry.peer, did);
        }
        if outcome.facts().level == Level::Debug {
            return;
        }
        let line = |format: LogFormat| record_line(&self.seen.record, outcome, format, now(), wall());
        if outcome.was_served() {
            return self.log.line(line);
        }
        let entry = &self.seen.record.entry;
        let cause = Cause {
            listener: Arc::clone(&entry.listener),
            outcome,
            rule: self.seen.record.refusal.map(RefusedBy::code),
        };
        let standing = Standing::of(outcome, entry.peer, self.seen.record.source);
        let client = self.seen.record.client.map(|client| client.ip);
        let example = Example { peer: entry.peer, client, standing };
        if self.log.refused(&cause, example, line) == Fold::Count {
            self.seen.counters.folded();
        }
    }
}

#[cfg(test)]
mod tests;
