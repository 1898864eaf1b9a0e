//! A listener's strings, for anyone who does not hold the listener: a signal handler, a reload, a status page.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::TrustPolicy;

/// Steers a listener that is busy elsewhere, in `axum::serve` or in a task's accept loop. Cheap to clone.
///
/// ```no_run
/// # use truepeer::{ProxyListener, TrustedNetworks};
/// # async fn serve(mut listener: ProxyListener, stop: impl Future<Output = ()> + Send + 'static) {
/// let handle = listener.handle();
/// tokio::spawn(async move {
///     stop.await;
///     handle.stop_accepting();
/// });
/// while let Some(stream) = listener.next().await {
///     // Everybody who had come is served, and then the loop ends.
/// #   drop(stream);
/// }
/// # }
/// ```
///
/// Memory: a pointer; the listener's own share is under 200 bytes, besides the policy.
#[derive(Debug, Clone)]
pub struct ListenerHandle(Arc<Shared>);

impl ListenerHandle {
    /// Replaces the trust policy for every connection that is accepted from now on.
    pub fn set_policy(&self, policy: impl Into<TrustPolicy>) {
        self.0.set_policy(policy.into());
    }

    /// The trust policy for connections that are accepted from now on.
    #[must_use]
    pub fn policy(&self) -> Arc<TrustPolicy> {
        self.0.policy()
    }

    /// How many connections wait for their header, for their TLS handshake, or for being handed out.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.headers.load(Ordering::Relaxed).saturating_add(self.0.handshakes.load(Ordering::Relaxed))
    }

    /// Closes the listening socket and drains: anyone who has arrived is still identified and handed out, as far as its
    /// header (and handshake) comes in time. Then the listener ends: `next` is `None`, streams end, and
    /// [`drained`](Self::drained) is ready.
    ///
    /// The listener does this the next time that it is polled, for which it is woken.
    pub fn stop_accepting(&self) {
        self.0.stopping.store(true, Ordering::Release);
        wake(lock(&self.0.listener).take());
    }

    /// Ready when the listener has ended, everybody who had arrived having been handed out or sent away, or when it was
    /// dropped. For servers whose accept loop is not theirs, such as `axum::serve(..).with_graceful_shutdown(..)`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn drained(&self) {
        poll_fn(|cx| self.0.poll_drained(cx)).await;
    }
}

/// What a listener and its handles have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    policy: Mutex<Arc<TrustPolicy>>,
    headers: AtomicUsize,
    handshakes: AtomicUsize,
    stopping: AtomicBool,
    ended: AtomicBool,
    /// The task that polls the listener.
    listener: Mutex<Option<Waker>>,
    /// The tasks that wait for the end, each once.
    waiting: Mutex<Vec<Waker>>,
}

impl Shared {
    pub(crate) fn new(policy: TrustPolicy) -> Arc<Self> {
        Arc::new(Self {
            policy: Mutex::new(Arc::new(policy)),
            headers: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            listener: Mutex::new(None),
            waiting: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn handle(self: &Arc<Self>) -> ListenerHandle {
        ListenerHandle(Arc::clone(self))
    }

    pub(crate) fn policy(&self) -> Arc<TrustPolicy> {
        Arc::clone(&lock(&self.policy))
    }

    pub(crate) fn set_policy(&self, policy: TrustPolicy) {
        *lock(&self.policy) = Arc::new(policy);
    }

    /// Whether to stop; if not, this task is woken when to.
    pub(crate) fn is_stopping(&self, cx: &Context<'_>) -> bool {
        let mut listener = lock(&self.listener);
        match &mut *listener {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        drop(listener);
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn set_headers(&self, count: usize) {
        self.headers.store(count, Ordering::Relaxed);
    }

    #[cfg(feature = "tokio-rustls")]
    pub(crate) fn set_handshakes(&self, count: usize) {
        self.handshakes.store(count, Ordering::Release);
        if count == 0 && self.ended.load(Ordering::Acquire) {
            self.wake_waiting();
        }
    }

    /// No connection comes any more. What is in the middle of a handshake may still.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake_waiting();
    }

    fn poll_drained(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = lock(&self.waiting);
        if self.ended.load(Ordering::Acquire) && self.handshakes.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The listener's own share; with it the listener is gone.
#[derive(Debug)]
pub(crate) struct Owner(pub(crate) Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.handshakes.store(0, Ordering::Release);
        self.0.set_headers(0);
        self.0.end();
    }
}

/// Nothing that is done under these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
