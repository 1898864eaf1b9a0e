//! The loop of one worker: its tasks, what they wait for, and the clock.
//!
//! One thread, one epoll instance, no runtime. A turn is: poll every task that was woken, then wait once for sockets,
//! timers and other threads. Tasks never move to another thread. A task costs one allocation, its future; what wakes it
//! stays with its place in the table.
//! Bound: as many tasks as connections and listening sockets; nothing here grows otherwise.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;

use super::reactor::Reactor;
use super::timers::Timers;

thread_local! {
    static HERE: RefCell<Option<Rc<Loop>>> = const { RefCell::new(None) };
}

/// One worker's loop.
pub(super) struct Loop {
    pub(super) reactor: Reactor,
    pub(super) timers: Timers,
    tasks: RefCell<Table>,
    ready: RefCell<Vec<u32>>,
    elsewhere: Arc<Elsewhere>,
    turn: Cell<u64>,
}

/// The loop that this thread runs, if it runs one.
pub(super) fn here<T>(act: impl FnOnce(&Loop) -> T) -> Option<T> {
    HERE.try_with(|here| here.borrow().as_deref().map(act)).ok().flatten()
}

/// Runs `future`, and every task that it has spawned into a [`Tasks`], on this thread.
///
/// # Errors
/// If the system gives no epoll instance.
pub fn run<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let elsewhere = Arc::new(Elsewhere { woken: Mutex::default(), event });
    let here = Rc::new(Loop {
        reactor: Reactor::new(&elsewhere.event)?,
        timers: Timers::default(),
        tasks: RefCell::default(),
        ready: RefCell::default(),
        elsewhere,
        turn: Cell::new(0),
    });
    HERE.with(|current| current.replace(Some(Rc::clone(&here))));
    let done = here.run_until(pin!(future));
    here.drop_tasks(|_| true);
    HERE.with(|current| current.replace(None));
    done
}

impl Loop {
    /// Which turn this is; whoever has had its share of one goes on in the next.
    pub(super) fn turn(&self) -> u64 {
        self.turn.get()
    }

    fn run_until<T>(&self, mut root: Pin<&mut impl Future<Output = T>>) -> io::Result<T> {
        let root_waker = TaskWaker::new(ROOT, &self.elsewhere);
        root_waker.wake_by_ref();
        let mut batch = Vec::new();
        loop {
            self.turn.set(self.turn.get().wrapping_add(1));
            mem::swap(&mut batch, &mut *self.ready.borrow_mut());
            for index in batch.drain(..) {
                if index != ROOT {
                    self.poll_task(index);
                    continue;
                }
                root_waker.taken();
                let waker = Waker::from(Arc::clone(&root_waker));
                if let Poll::Ready(done) = root.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(done);
                }
            }
            let patience =
                if self.ready.borrow().is_empty() { self.timers.next_in() } else { Some(Default::default()) };
            if self.reactor.wait(patience)? {
                self.take_woken_elsewhere();
            }
            self.timers.advance();
        }
    }

    fn poll_task(&self, index: u32) {
        let mut tasks = self.tasks.borrow_mut();
        let Some(place) = tasks.places.get_mut(index as usize) else { return };
        place.handle.taken();
        // Out of the table while it runs, since it may spawn others.
        let Some(mut future) = place.future.take() else { return };
        let waker = place.waker.clone();
        drop(tasks);
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        if let Ok(Poll::Pending) = polled {
            if let Some(place) = self.tasks.borrow_mut().places.get_mut(index as usize) {
                place.future = Some(future);
            }
            return;
        }
        // Dropped before it is counted out: whoever waits for the end of all finds nothing of them left. A task that
        // panicked has said so; what it held is given back.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
        self.tasks.borrow_mut().free(index);
    }

    fn spawn(&self, set: &Rc<Set>, future: Pin<Box<dyn Future<Output = ()>>>) {
        let mut tasks = self.tasks.borrow_mut();
        set.live.set(set.live.get().saturating_add(1));
        let index = tasks.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(tasks.places.len()).unwrap_or(ROOT);
            let handle = TaskWaker::new(index, &self.elsewhere);
            let waker = Waker::from(Arc::clone(&handle));
            tasks.places.push(Place { future: None, set: None, handle, waker });
            index
        });
        if let Some(place) = tasks.places.get_mut(index as usize) {
            (place.future, place.set) = (Some(future), Some(Rc::clone(set)));
            place.handle.wake_by_ref();
        }
    }

    /// Drops the tasks of the sets that `which` says. Whoever is being polled is not among them.
    fn drop_tasks(&self, which: impl Fn(&Rc<Set>) -> bool) {
        let count = self.tasks.borrow().places.len();
        for index in 0..count {
            let mut tasks = self.tasks.borrow_mut();
            let Some(place) = tasks.places.get_mut(index) else { continue };
            if !place.set.as_ref().is_some_and(&which) {
                continue;
            }
            let future = place.future.take();
            drop(tasks);
            if future.is_some() {
                drop(future);
                self.tasks.borrow_mut().free(u32::try_from(index).unwrap_or(ROOT));
            }
        }
    }

    fn take_woken_elsewhere(&self) {
        let woken = mem::take(&mut *self.elsewhere.woken.lock().unwrap_or_else(PoisonError::into_inner));
        self.ready.borrow_mut().extend(woken);
    }
}

/// The number of the future that the loop was started for.
const ROOT: u32 = u32::MAX;

#[derive(Default)]
struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
}

struct Place {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    set: Option<Rc<Set>>,
    /// Twice the same: what is woken, and how it is handed out. Both stay for the next task here, which may then be
    /// polled once in vain.
    handle: Arc<TaskWaker>,
    waker: Waker,
}

impl Table {
    fn free(&mut self, index: u32) {
        let set = self.places.get_mut(index as usize).and_then(|place| place.set.take());
        if let Some(set) = set {
            self.free.push(index);
            set.ended_one();
        }
    }
}

/// Wakes one task.
struct TaskWaker {
    index: u32,
    queued: AtomicBool,
    elsewhere: Arc<Elsewhere>,
}

/// How other threads reach the loop.
struct Elsewhere {
    woken: Mutex<Vec<u32>>,
    event: OwnedFd,
}

impl TaskWaker {
    fn new(index: u32, elsewhere: &Arc<Elsewhere>) -> Arc<Self> {
        Arc::new(Self { index, queued: AtomicBool::new(false), elsewhere: Arc::clone(elsewhere) })
    }

    /// It is about to be polled, so that the next wake-up counts again.
    ///
    /// Read as well as written: whoever found it queued already has not queued it, and what they changed before must be
    /// seen by this poll. A mere write may become visible after the poll has looked.
    fn taken(&self) {
        self.queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_here = here(|here| {
            let is_mine = Arc::ptr_eq(&here.elsewhere, &self.elsewhere);
            if is_mine {
                here.ready.borrow_mut().push(self.index);
            }
            is_mine
        });
        if is_here != Some(true) {
            let mut woken = self.elsewhere.woken.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = woken.is_empty();
            woken.push(self.index);
            drop(woken);
            if is_first {
                // It fails only when the counter is full, and then the loop is awake.
                let _ = rustix::io::write(&self.elsewhere.event, &1_u64.to_ne_bytes());
            }
        }
    }
}

/// Tasks that somebody owns: dropping this drops them.
#[derive(Default)]
pub struct Tasks(Rc<Set>);

#[derive(Default)]
struct Set {
    live: Cell<usize>,
    waiter: RefCell<Option<Waker>>,
}

impl Set {
    fn ended_one(&self) {
        self.live.set(self.live.get().saturating_sub(1));
        if self.live.get() == 0
            && let Some(waiter) = self.waiter.take()
        {
            waiter.wake();
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("live", &self.0.live.get()).finish_non_exhaustive()
    }
}

impl Tasks {
    /// Begins with `future` in this loop's next turn; nothing where no loop runs.
    ///
    /// A panic ends the task and nothing else.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        here(|here| here.spawn(&self.0, Box::pin(future)));
    }

    /// How many have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.live.get()
    }

    /// Whether all have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all have ended. One waiter at a time.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn emptied(&self) {
        poll_fn(|cx| {
            if self.is_empty() {
                return Poll::Ready(());
            }
            self.0.waiter.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Drops those that have not ended.
    pub fn cut(&self) {
        here(|here| here.drop_tasks(|set| Rc::ptr_eq(set, &self.0)));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.cut();
    }
}

#[cfg(test)]
mod tests;
