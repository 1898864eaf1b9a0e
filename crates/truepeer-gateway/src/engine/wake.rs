//! Waking somebody who waits, so that the rooms need not name the runtime.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::watch;

/// A bell: rung once, it wakes its one waiter, now or later.
#[derive(Debug, Default)]
pub struct Wake(Mutex<State>);

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
        let before =
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Rung);
        if let State::Waited(waiter) = before {
            waiter.wake();
        }
    }

    /// Waits for the next ring; there is one waiter at a time.
    ///
    /// # Cancel safety
    /// Dropping the future loses no ring.
    pub async fn woken(&self) {
        poll_fn(|cx| {
            let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &*rung {
                State::Rung => {
                    *rung = State::Silent;
                    return Poll::Ready(());
                }
                State::Waited(waiter) if waiter.will_wake(cx.waker()) => {}
                State::Silent | State::Waited(_) => *rung = State::Waited(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await;
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
