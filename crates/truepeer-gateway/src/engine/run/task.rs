//! What is in the table of a loop: futures, and what lasts and is small.

use std::fmt;
use std::future::Future;
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

/// Futures of one kind whose memory is kept: several kilobytes for each, and most need theirs for one turn.
const FUTURES_KEPT: usize = 8;

/// Memory for futures of one kind, which many need one after the other.
pub struct FuturePool<F>(Rc<Free<Box<Pooled<F>>, FUTURES_KEPT>>);

impl<F> Default for FuturePool<F> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<F> fmt::Debug for FuturePool<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FuturePool").finish_non_exhaustive()
    }
}

impl<F: Future<Output = Then> + 'static> FuturePool<F> {
    pub(super) fn task(&self, make: impl FnOnce() -> F) -> Box<dyn Task> {
        match self.0.take() {
            Some(mut pooled) => {
                pooled.future.set(Some(make()));
                pooled.is_new = true;
                pooled
            }
            None => Box::new(Pooled {
                future: Box::pin(Some(make())),
                is_new: false,
                own: Own::default(),
                home: Rc::downgrade(&self.0),
            }),
        }
    }
}

struct Pooled<F> {
    future: Pin<Box<Option<F>>>,
    /// Whether it has not been polled since its memory was used again.
    is_new: bool,
    own: Own,
    home: Weak<Free<Box<Self>, FUTURES_KEPT>>,
}

impl<F: Future<Output = Then> + 'static> Task for Pooled<F> {
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Then> {
        if std::mem::take(&mut self.is_new) {
            self.own.moves_here();
        }
        let Some(waker) = self.own.waker() else { return Poll::Pending };
        match self.future.as_mut().as_pin_mut() {
            Some(future) => future.poll(&mut Context::from_waker(waker)),
            None => Poll::Ready(None),
        }
    }

    fn over(mut self: Box<Self>) {
        self.future.set(None);
        if let Some(home) = self.home.upgrade() {
            home.keep(self);
        }
    }
}
