//! A simulated world behind the verbs of this folder: sockets without descriptors, time that never passes by itself, and
//! whatever a network can do to a connection. For tests of everything above; nothing of it is in the product.
//!
//! One world belongs to one thread for as long as it lasts. The loop, its table of readiness, its timers and every verb
//! are the product's own; what is played is the kernel below them: reading, writing, connecting and accepting
//! ([`wire`]), edges of readiness, and the clock, which jumps to the next deadline when nobody has anything to do.
//! Where nobody ever will have, it says so instead of waiting.

#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

mod wire;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use truepeer::PeerAddress;

use super::Address;

pub(crate) use wire::{Ours, Theirs, WireRead};

/// Turns of the loop before a schedule counts as one that spins.
const MOST_TURNS: u64 = 300_000;
/// So long no schedule lasts.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

thread_local! {
    static WORLD: RefCell<Option<Rc<Inner>>> = const { RefCell::new(None) };
}

/// The world of this thread; the kernel is back when this is dropped.
pub(crate) struct World(Rc<Inner>);

/// How a connection attempt begins.
pub(crate) enum DialBegins {
    /// It fails at once.
    Fails(Errno),
    /// It stands at once, as on one host.
    Stands(Ours),
    /// Nobody has answered yet.
    Begins(Ours),
}

/// Somebody who has connected and waits to be accepted.
pub(super) struct Caller {
    pub(super) ours: Ours,
    pub(super) peer: PeerAddress,
    pub(super) reached: Option<SocketAddr>,
}

type Network = Box<dyn FnMut(&Address, &[u8]) -> DialBegins>;

struct Inner {
    began: Instant,
    now: Cell<Instant>,
    turns: Cell<u64>,
    events: RefCell<Vec<(u64, EventFlags)>>,
    network: RefCell<Option<Network>>,
    queue: RefCell<VecDeque<Caller>>,
    /// What accepting fails with, before it goes on.
    lacks: RefCell<VecDeque<Errno>>,
    acceptor: RefCell<Option<Waker>>,
    /// Our ends of connections that are open.
    open: Cell<usize>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("open", &self.open()).finish_non_exhaustive()
    }
}

impl World {
    /// Begins. `network` answers every connection attempt, given the address and what is to be written first.
    pub(crate) fn begin(network: impl FnMut(&Address, &[u8]) -> DialBegins + 'static) -> Self {
        let began = Instant::now();
        let inner = Rc::new(Inner {
            began,
            now: Cell::new(began),
            turns: Cell::new(0),
            events: RefCell::default(),
            network: RefCell::new(Some(Box::new(network))),
            queue: RefCell::default(),
            lacks: RefCell::default(),
            acceptor: RefCell::default(),
            open: Cell::new(0),
        });
        WORLD.set(Some(Rc::clone(&inner)));
        Self(inner)
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// Somebody connects to us and waits to be accepted.
    pub(crate) fn call(&self, peer: PeerAddress, reached: Option<SocketAddr>, room: usize) -> Theirs {
        let (theirs, ours) = wire::pair(&self.0, room);
        self.0.queue.borrow_mut().push_back(Caller { ours, peer, reached });
        self.wake_acceptor();
        theirs
    }

    /// The next accepts fail for want of something.
    pub(crate) fn lack(&self, errno: Errno) {
        self.0.lacks.borrow_mut().push_back(errno);
        self.wake_acceptor();
    }

    /// How many wait to be accepted.
    pub(crate) fn queued(&self) -> usize {
        self.0.queue.borrow().len()
    }

    /// Our ends that are open now, those of callers who wait included.
    pub(crate) fn open(&self) -> usize {
        self.0.open.get()
    }

    fn wake_acceptor(&self) {
        if let Some(waker) = self.0.acceptor.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever the network holds may hold this world.
        drop(self.0.network.borrow_mut().take());
        drop(std::mem::take(&mut *self.0.queue.borrow_mut()));
        WORLD.set(None);
    }
}

/// A connection of which our end is in nobody's hands yet; each direction holds `room` bytes.
pub(crate) fn connection(room: usize) -> (Theirs, Ours) {
    wire::pair(&world().expect("a world has begun"), room)
}

/// What this thread's loop still holds: sockets, and deadlines that somebody waits for.
pub(crate) fn held_by_loop() -> (usize, usize) {
    super::run::here(|here| (here.reactor.known(), here.timers.waiting())).unwrap_or_default()
}

/// Lets everybody else have one turn of the loop.
pub(crate) async fn turn() {
    let mut is_over = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn world() -> Option<Rc<Inner>> {
    WORLD.with_borrow(Clone::clone)
}

/// What time it is there.
pub(super) fn now() -> Option<Instant> {
    world().map(|world| world.now.get())
}

/// The same for people.
pub(super) fn wall() -> Option<SystemTime> {
    const STARTED: Duration = Duration::from_secs(1_800_000_000);
    let world = world()?;
    Some(SystemTime::UNIX_EPOCH + STARTED + (world.now.get() - world.began))
}

/// The loop is about to wait for so long: the clock jumps there, if nothing has happened that it does not know of.
pub(super) fn pass(patience: Option<Duration>) {
    let Some(world) = world() else { return };
    world.turns.set(world.turns.get() + 1);
    assert!(world.turns.get() < MOST_TURNS, "the loop spins");
    if !world.events.borrow().is_empty() || patience == Some(Duration::ZERO) {
        return;
    }
    let Some(patience) = patience else { panic!("everybody waits, and for nothing") };
    world.now.set(world.now.get() + patience);
    assert!(world.now.get() - world.began < LONGEST, "somebody waits for ever");
}

/// What has happened to sockets since the last call, as epoll would tell it.
pub(super) fn take_events() -> Option<Vec<(u64, EventFlags)>> {
    world().map(|world| std::mem::take(&mut *world.events.borrow_mut()))
}

/// Begins to connect to `address`, in order to write `opening` first.
pub(super) fn dial(address: &Address, opening: &[u8]) -> Option<io::Result<(Ours, bool)>> {
    let world = world()?;
    let mut network = world.network.borrow_mut();
    Some(match network.as_mut()?(address, opening) {
        DialBegins::Fails(errno) => Err(errno.into()),
        DialBegins::Stands(ours) => Ok((ours, true)),
        DialBegins::Begins(ours) => Ok((ours, false)),
    })
}

/// The next who waits to be accepted; `None` in the real world.
pub(super) fn poll_accept(cx: &mut Context<'_>) -> Option<Poll<io::Result<Caller>>> {
    let world = world()?;
    if let Some(errno) = world.lacks.borrow_mut().pop_front() {
        return Some(Poll::Ready(Err(errno.into())));
    }
    Some(match world.queue.borrow_mut().pop_front() {
        Some(caller) => Poll::Ready(Ok(caller)),
        None => {
            *world.acceptor.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }
    })
}

/// The same without waiting.
pub(super) fn accept_waiting() -> Option<io::Result<Option<Caller>>> {
    let world = world()?;
    if let Some(errno) = world.lacks.borrow_mut().pop_front() {
        return Some(Err(errno.into()));
    }
    let caller = world.queue.borrow_mut().pop_front();
    Some(Ok(caller))
}
