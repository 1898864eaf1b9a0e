//! A stream that does exactly what its script says: bytes, pauses, silence, ends, errors, short writes.
//!
//! Called by tests of everything that reads a header or writes one. Knows nothing of headers: it moves bytes, and
//! it counts what was done to it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
mod tests;

/// One thing that happens to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes are there, as if they had come in one segment.
    Bytes(Vec<u8>),
    /// Nothing this time; the reader is woken at once and asks again.
    Yield,
    /// Nothing until [`Handle::release`].
    Wait,
    /// The other side has ended its half.
    Eof,
    /// The read fails.
    Error(io::ErrorKind),
}

/// A stream that follows a script. When the script is over, reads stay pending for ever: a silent peer.
#[derive(Debug)]
pub struct ScriptedStream(Arc<Mutex<State>>);

/// The test's end of a [`ScriptedStream`].
#[derive(Debug, Clone)]
pub struct Handle(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    steps: VecDeque<Step>,
    reader: Option<Waker>,
    polled: usize,
    writes: Vec<Vec<u8>>,
    write_limit: Option<usize>,
    write_yields: usize,
    dropped: bool,
    on_drop: Option<Waker>,
}

impl ScriptedStream {
    /// A stream that does `steps`, and the handle to watch it by.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Step>) -> (Self, Handle) {
        let state = Arc::new(Mutex::new(State { steps: steps.into_iter().collect(), ..State::default() }));
        (Self(Arc::clone(&state)), Handle(state))
    }

    /// A peer that connects and never says a word.
    #[must_use]
    pub fn silent() -> (Self, Handle) {
        Self::new([])
    }

    /// `bytes` cut into pieces at `cuts`, with a pause between any two.
    #[must_use]
    pub fn in_pieces(bytes: &[u8], cuts: &[usize]) -> (Self, Handle) {
        let mut steps = Vec::new();
        let mut rest = bytes;
        let mut done = 0_usize;
        for &cut in cuts {
            let (piece, after) = rest.split_at_checked(cut.saturating_sub(done)).unwrap_or((rest, &[]));
            if !piece.is_empty() {
                steps.extend([Step::Bytes(piece.to_vec()), Step::Yield]);
            }
            done = done.saturating_add(piece.len());
            rest = after;
        }
        if !rest.is_empty() {
            steps.push(Step::Bytes(rest.to_vec()));
        }
        Self::new(steps)
    }
}

impl Handle {
    /// Ends the [`Step::Wait`] in front, if there is one, and wakes the reader.
    pub fn release(&self) {
        let mut state = lock(&self.0);
        if state.steps.front() == Some(&Step::Wait) {
            state.steps.pop_front();
        }
        wake(state.reader.take());
    }

    /// Adds to the end of the script and wakes the reader.
    pub fn push(&self, step: Step) {
        let mut state = lock(&self.0);
        state.steps.push_back(step);
        wake(state.reader.take());
    }

    /// A write takes at most `limit` bytes from now on.
    pub fn limit_writes(&self, limit: usize) {
        lock(&self.0).write_limit = Some(limit);
    }

    /// The next `times` writes take nothing and ask to be repeated.
    pub fn delay_writes(&self, times: usize) {
        lock(&self.0).write_yields = times;
    }

    /// Every write so far, one item for each call that took bytes.
    #[must_use]
    pub fn writes(&self) -> Vec<Vec<u8>> {
        lock(&self.0).writes.clone()
    }

    /// How often the stream was asked for bytes.
    #[must_use]
    pub fn reads_polled(&self) -> usize {
        lock(&self.0).polled
    }

    /// Whether the stream is gone, which is how a connection is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.0).dropped
    }

    /// Ready when the stream is gone.
    pub async fn closed(&self) {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.dropped {
                return Poll::Ready(());
            }
            state.on_drop = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl AsyncRead for ScriptedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        state.polled = state.polled.saturating_add(1);
        match state.steps.pop_front() {
            Some(Step::Bytes(bytes)) => {
                let (now, later) = bytes.split_at(bytes.len().min(buf.remaining()));
                buf.put_slice(now);
                if !later.is_empty() {
                    state.steps.push_front(Step::Bytes(later.to_vec()));
                }
                Poll::Ready(Ok(()))
            }
            Some(Step::Yield) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Eof) => {
                state.steps.push_front(Step::Eof);
                Poll::Ready(Ok(()))
            }
            Some(Step::Error(kind)) => Poll::Ready(Err(kind.into())),
            Some(Step::Wait) => {
                state.steps.push_front(Step::Wait);
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for ScriptedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        if let Some(left) = state.write_yields.checked_sub(1) {
            state.write_yields = left;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = state.write_limit.unwrap_or(buf.len()).min(buf.len());
        state.writes.push(buf.iter().copied().take(taken).collect());
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.poll_write(cx, &whole)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for ScriptedStream {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.dropped = true;
        wake(state.on_drop.take());
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
