//! What is in the table of a loop: futures, and what lasts and is small.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::elsewhere::TaskWaker;
use super::here;
use crate::engine::Free;

/// Something that goes on in the table of a loop.
///
/// What it waits for there (sockets, deadlines, a [`Cut`](super::Cut)) wakes it by its place. Whoever waits for something
/// else needs a waker, which only futures have: `cx` wakes nobody.
pub trait Task {
    /// Goes on as far as it can. When it has ended, what it returns takes its place.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Then>;

    /// It has ended: its memory may serve another.
    fn over(self: Box<Self>) {}
}

/// What follows a task.
pub type Then = Option<Box<dyn Task>>;

/// A future that nothing follows.
pub(super) fn alone(future: impl Future<Output = ()> + 'static) -> Box<dyn Task> {
    Box::new(Alone { future: Box::pin(future), own: Own::default() })
}

/// As `alone`, to follow another task.
pub fn then(future: impl Future<Output = ()> + 'static) -> Then {
    Some(alone(future))
}

struct Alone {
    future: Pin<Box<dyn Future<Output = ()>>>,
    own: Own,
}

impl Task for Alone {
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Then> {
        let Some(waker) = self.own.waker() else { return Poll::Pending };
        self.future.as_mut().poll(&mut Context::from_waker(waker)).map(|()| None)
    }
}

/// The waker of a future, made when it is polled first.
#[derive(Default)]
struct Own(Option<(Arc<TaskWaker>, Waker)>);

impl Own {
    fn waker(&mut self) -> Option<&Waker> {
        if self.0.is_none() {
            let made = here(|here| TaskWaker::new(here.current(), here.elsewhere()))?;
            let waker = Waker::from(Arc::clone(&made));
            self.0 = Some((made, waker));
        }
        self.0.as_ref().map(|(_, waker)| waker)
    }

    /// Another future is to be woken by it.
    fn moves_here(&self) {
        if let Some((waker, _)) = &self.0 {
            here(|here| waker.moves_to(here.current()));
        }
    }
}

/// Futures of one kind that are kept: several kilobytes for each, and most are needed for one turn.
const FUTURES_KEPT: usize = 8;

/// Futures of one kind that do the same for one after the other, each with what it is given: to make one anew would mean to
/// move several kilobytes each time.
#[derive(Debug)]
pub struct FuturePool<A>(Rc<Kept<A>>);

struct Kept<A> {
    free: Free<Box<Pooled<A>>, FUTURES_KEPT>,
    make: Box<dyn Fn(Rc<Turns<A>>) -> Lasting>,
}

/// A future that never ends by itself.
type Lasting = Pin<Box<dyn Future<Output = ()>>>;

impl<A> fmt::Debug for Kept<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl<A: 'static> FuturePool<A> {
    /// Of futures as `make` makes them, which wait for one turn after the other.
    pub fn new<F: Future<Output = ()> + 'static>(make: impl Fn(Rc<Turns<A>>) -> F + 'static) -> Self {
        let make = Box::new(move |turns| -> Lasting { Box::pin(make(turns)) });
        Self(Rc::new(Kept { free: Free::new(), make }))
    }

    pub(super) fn task(&self, begins: A) -> Box<dyn Task> {
        let pooled = match self.0.free.take() {
            Some(mut pooled) => {
                pooled.is_new = true;
                pooled
            }
            None => {
                let turns = Rc::new(Turns { begins: Cell::new(None), ended: Cell::new(None) });
                let (future, home) = ((self.0.make)(Rc::clone(&turns)), Rc::downgrade(&self.0));
                Box::new(Pooled { future, turns, is_new: false, own: Own::default(), home })
            }
        };
        pooled.turns.begins.set(Some(begins));
        pooled
    }
}

/// How a future of a [`FuturePool`] is told of its next turn, and tells of its end.
pub struct Turns<A> {
    begins: Cell<Option<A>>,
    ended: Cell<Option<Then>>,
}

impl<A> Turns<A> {
    /// What the next turn begins with.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&self) -> A {
        poll_fn(|_| self.begins.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// A turn is over; the next is to be waited for at once. What follows takes its place in the table.
    pub fn over(&self, then: Then) {
        self.ended.set(Some(then));
    }
}

impl<A> fmt::Debug for Turns<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

struct Pooled<A> {
    future: Lasting,
    turns: Rc<Turns<A>>,
    /// Whether it has not been polled since its turn began.
    is_new: bool,
    own: Own,
    home: Weak<Kept<A>>,
}

impl<A: 'static> Task for Pooled<A> {
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Then> {
        if std::mem::take(&mut self.is_new) {
            self.own.moves_here();
        }
        let Some(waker) = self.own.waker() else { return Poll::Pending };
        if self.future.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            return Poll::Ready(None);
        }
        self.turns.ended.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn over(self: Box<Self>) {
        if let Some(home) = self.home.upgrade() {
            home.free.keep(self);
        }
    }
}
