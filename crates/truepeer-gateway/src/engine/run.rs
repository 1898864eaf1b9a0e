//! The loop of one worker: its tasks, what they wait for, and the clock.
//!
//! One thread, one epoll instance, no runtime. A turn is: poll every task that was woken, then wait once for sockets,
//! timers and other threads. Tasks never move to another thread, and whatever they wait for here wakes them by their
//! place in the table.
//! Bound: as many tasks as connections and listening sockets; nothing here grows otherwise.

mod elsewhere;
mod task;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustix::event::EventfdFlags;

use super::reactor::Reactor;
use super::timers::Timers;
use elsewhere::{Elsewhere, TaskWaker};

pub use elsewhere::{Cut, Reach};
pub use task::{FuturePool, Task, Then, Turns, then};

thread_local! {
    static HERE: RefCell<Option<Rc<Loop>>> = const { RefCell::new(None) };
}

/// One worker's loop.
pub(super) struct Loop {
    pub(super) reactor: Reactor,
    pub(super) timers: Timers,
    tasks: RefCell<Table>,
    ready: RefCell<Vec<u32>>,
    root_is_ready: Cell<bool>,
    /// Who is being polled.
    current: Cell<u32>,
    elsewhere: Arc<Elsewhere>,
    turn: Cell<u64>,
}

/// The loop that this thread runs, if it runs one.
pub(super) fn here<T>(act: impl FnOnce(&Loop) -> T) -> Option<T> {
    HERE.try_with(|here| here.borrow().as_deref().map(act)).ok().flatten()
}

/// Has the task that is being polled polled again in the next turn.
pub(super) fn again(cx: &Context<'_>) {
    if here(|here| here.wake(here.current())).is_none() {
        cx.waker().wake_by_ref();
    }
}

/// Runs `future`, and every task that it has spawned into a [`Tasks`], on this thread.
///
/// # Errors
/// If the system gives no epoll instance.
pub fn run<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let elsewhere = Arc::new(Elsewhere::new(event));
    let here = Rc::new(Loop {
        reactor: Reactor::new(elsewhere.event())?,
        timers: Timers::default(),
        tasks: RefCell::default(),
        ready: RefCell::default(),
        root_is_ready: Cell::new(false),
        current: Cell::new(ROOT),
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

    /// The number of the task that is being polled: whoever waits for something is woken by it.
    pub(super) fn current(&self) -> u32 {
        self.current.get()
    }

    /// How other threads reach this loop.
    fn elsewhere(&self) -> &Arc<Elsewhere> {
        &self.elsewhere
    }

    /// Has a task polled in the next turn.
    pub(super) fn wake(&self, index: u32) {
        let was_ready = if index == ROOT {
            self.root_is_ready.replace(true)
        } else {
            let mut tasks = self.tasks.borrow_mut();
            let is_ready = tasks.is_ready.get_mut(index as usize);
            is_ready.is_none_or(|is_ready| mem::replace(is_ready, true))
        };
        if !was_ready {
            self.ready.borrow_mut().push(index);
        }
    }

    fn run_until<T>(&self, mut root: Pin<&mut impl Future<Output = T>>) -> io::Result<T> {
        let root_waker = Waker::from(TaskWaker::new(ROOT, &self.elsewhere));
        self.wake(ROOT);
        let mut batch = Vec::new();
        loop {
            self.turn.set(self.turn.get().wrapping_add(1));
            mem::swap(&mut batch, &mut *self.ready.borrow_mut());
            for index in batch.drain(..) {
                if index != ROOT {
                    self.poll_task(index);
                    continue;
                }
                self.root_is_ready.set(false);
                self.current.set(ROOT);
                if let Poll::Ready(done) = root.as_mut().poll(&mut Context::from_waker(&root_waker)) {
                    return Ok(done);
                }
            }
            let patience =
                if self.ready.borrow().is_empty() { self.timers.next_in() } else { Some(Default::default()) };
            #[cfg(test)]
            super::simulated::pass(patience);
            if self.reactor.wait(self.timers.now(), patience, |task| self.wake(task))? {
                self.elsewhere.take(|task| self.wake(task));
            }
            self.timers.advance(|task| self.wake(task));
        }
    }

    fn poll_task(&self, index: u32) {
        let mut tasks = self.tasks.borrow_mut();
        if let Some(is_ready) = tasks.is_ready.get_mut(index as usize) {
            *is_ready = false;
        }
        let Some(place) = tasks.places.get_mut(index as usize) else { return };
        // Out of the table while it runs, since it may spawn others.
        let Some(mut task) = place.task.take() else { return };
        drop(tasks);
        self.current.set(index);
        loop {
            let polled =
                catch_unwind(AssertUnwindSafe(|| task.poll(&mut Context::from_waker(Waker::noop()))));
            match polled {
                Ok(Poll::Pending) => {
                    if let Some(place) = self.tasks.borrow_mut().places.get_mut(index as usize) {
                        place.task = Some(task);
                    }
                    return;
                }
                Ok(Poll::Ready(Some(next))) => mem::replace(&mut task, next).over(),
                Ok(Poll::Ready(None)) => {
                    // Before it is counted out: whoever waits for the end of all finds nothing of them left.
                    let _ = catch_unwind(AssertUnwindSafe(|| task.over()));
                    return self.free(index);
                }
                Err(_) => {
                    // It has said so; what it held is given back.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
                    return self.free(index);
                }
            }
        }
    }

    /// Polls a task that is not being polled while another one is.
    fn poll_within(&self, index: u32) {
        let outer = self.current.get();
        self.poll_task(index);
        self.current.set(outer);
    }

    /// Takes a task into the table, where it waits; returns its place.
    fn spawn(&self, set: &Rc<Set>, task: Box<dyn Task>) -> u32 {
        let mut tasks = self.tasks.borrow_mut();
        set.live.set(set.live.get().saturating_add(1));
        let index = tasks.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(tasks.places.len()).unwrap_or(ROOT);
            tasks.places.push(Place { task: None, set: None });
            tasks.is_ready.push(false);
            index
        });
        if let Some(place) = tasks.places.get_mut(index as usize) {
            (place.task, place.set) = (Some(task), Some(Rc::clone(set)));
        }
        index
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
            let task = place.task.take();
            drop(tasks);
            if task.is_some() {
                drop(task);
                self.free(u32::try_from(index).unwrap_or(ROOT));
            }
        }
    }

    fn free(&self, index: u32) {
        let mut tasks = self.tasks.borrow_mut();
        let set = tasks.places.get_mut(index as usize).and_then(|place| place.set.take());
        if let Some(set) = set {
            tasks.free.push(index);
            drop(tasks);
            set.ended_one();
        }
    }
}

/// The number of the future that the loop was started for. A [`Cut`] has room for no greater one.
const ROOT: u32 = u32::MAX >> 1;

#[derive(Default)]
struct Table {
    places: Vec<Place>,
    /// Of each place, whether it is to be polled; beside them, since every connection has one.
    is_ready: Vec<bool>,
    free: Vec<u32>,
}

/// Where a task is. The next one here may be polled once in vain, for what its predecessor waited for.
struct Place {
    task: Option<Box<dyn Task>>,
    set: Option<Rc<Set>>,
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
        here(|here| here.wake(here.spawn(&self.0, task::alone(future))));
    }

    /// As [`Tasks::spawn`], of a future of `pool` whose turn begins with `begins`, and polled once before this returns: what
    /// a connection came with is mostly all that it needs, and then the next one finds the same memory free.
    pub fn spawn_from<A: 'static>(&self, pool: &FuturePool<A>, begins: A) {
        let task = pool.task(begins);
        here(|here| here.poll_within(here.spawn(&self.0, task)));
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
