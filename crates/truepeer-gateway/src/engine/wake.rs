//! Waking somebody who waits, so that the rooms need not name the runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// A bell: rung once, it wakes its one waiter, now or later.
#[derive(Debug, Default)]
pub struct Wake {
    state: Mutex<State>,
    /// The same as the state says, for whoever waits already and is polled for something else.
    rung: AtomicBool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Silent,
    Waited(Waker),
    Rung,
}

impl Wake {
    /// Rings; any number of rings before the next wait count as one.
    pub fn wake(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, State::Rung);
        self.rung.store(true, Ordering::Release);
        drop(state);
        if let State::Waited(waiter) = before {
            waiter.wake();
        }
    }

    /// Waits for the next ring; there is one waiter at a time.
    ///
    /// # Cancel safety
    /// Dropping the future loses no ring.
    pub fn woken(&self) -> Woken<'_> {
        Woken { wake: self, waits: NOBODY }
    }
}

/// The bell has no waker of ours.
const NOBODY: usize = 0;

/// Waits for a [`Wake`]. Polled again by the same task while nothing has rung, it takes no lock: a connection is polled
/// for each of its messages.
#[derive(Debug)]
#[must_use]
pub struct Woken<'a> {
    wake: &'a Wake,
    /// Which waker the bell has of us: by its address, which says enough for one task.
    waits: usize,
}

impl Future for Woken<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = cx.waker().data().addr();
        if self.waits == task && task != NOBODY && !self.wake.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let mut state = self.wake.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Rung = *state {
            *state = State::Silent;
            self.wake.rung.store(false, Ordering::Release);
            drop(state);
            self.waits = NOBODY;
            return Poll::Ready(());
        }
        *state = State::Waited(cx.waker().clone());
        drop(state);
        self.waits = task;
        Poll::Pending
    }
}

/// A bell that everybody hears who has a [`Subscription`] to it.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<watch::Sender<()>>);

/// Hears one bell.
#[derive(Debug)]
pub struct Subscription(watch::Receiver<()>);

impl Bell {
    /// Rings; any number of rings before somebody listens again count as one for them.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears every ring from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.0.subscribe())
    }
}

impl Subscription {
    /// Waits for the next ring; for ever if nobody is left to ring.
    ///
    /// # Cancel safety
    /// Dropping the future loses no ring.
    pub async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
