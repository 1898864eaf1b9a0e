//! Relay: move bytes both ways until the end.
//!
//! Half-close is passed on, and bytes are exact under back-pressure: nothing is read from one side while the other
//! has not taken what was read before. Memory per connection: two small structs, and a buffer only for what one
//! side has not taken yet (at most [`SCRATCH`] bytes); the read buffer is one per worker.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use truepeer::proto::Version;
use truepeer::{FirstBytes, Held, Verdict};

use super::say::discard_briefly;
use super::{Socket, Traffic, later};

/// One read takes at most so much; also the most that waits for a side that does not take it.
const SCRATCH: usize = 64 * 1024;
/// Reads in one turn before other connections get theirs.
const ROUNDS: u32 = 16;
/// How long silence may last once the backend has ended its stream or either side broke: as long as a kernel waits
/// for the other end's FIN.
const AFTER_END: Duration = Duration::from_secs(60);
/// A timer is never set nearer than this, so that a clock that jumps cannot make a relay spin.
const TICK: Duration = Duration::from_millis(1);

thread_local! {
    /// One read buffer for all connections of a worker: a relay uses it only inside one poll.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// How a relay ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both sides ended their streams and got everything.
    Done,
    /// Both directions were silent for the idle limit.
    Idle,
    /// The client's connection broke.
    ClientFailed(io::Error),
    /// The backend's connection broke.
    BackendFailed(io::Error),
    /// The client's bytes begin with a header. None of them was passed on; they are here.
    Header(Version, Vec<u8>),
    /// The client's bytes could still become a header when waiting ended. None of them was passed on.
    HeldBack,
}

/// What guards the client-to-backend direction, and how long silence may last.
#[derive(Debug)]
pub struct Guard {
    /// Judges the client's first bytes.
    pub first_bytes: FirstBytes,
    /// How long both directions may be silent.
    pub idle: Duration,
}

/// What came before the relay began.
#[derive(Debug, Default)]
pub struct Early {
    /// The client's bytes behind the header.
    pub of_client: Vec<u8>,
    /// What the backend has said to the client.
    pub of_backend: Vec<u8>,
}

/// Relays between `client` and `backend`, beginning with what came `early`.
///
/// # Cancel safety
/// Dropping the future ends the relay; bytes that were read and not yet written are lost with the connection.
pub async fn relay(
    client: &Socket,
    backend: &Socket,
    early: Early,
    guard: Guard,
    traffic: &Traffic,
) -> RelayEnd {
    let end = move_bytes(client, backend, early, guard, traffic).await;
    if matches!(end, RelayEnd::BackendFailed(_)) {
        // The backend closed while the client was still sending: its last words must not be lost to a reset.
        discard_briefly(client).await;
    }
    end
}

async fn move_bytes(
    client: &Socket,
    backend: &Socket,
    early: Early,
    guard: Guard,
    traffic: &Traffic,
) -> RelayEnd {
    let Guard { first_bytes, mut idle } = guard;
    let mut to_backend = Flow::guarded(early.of_client, first_bytes);
    let mut to_client = Flow { pending: early.of_backend, ..Flow::open() };
    // What broke first: what breaks later is mostly its consequence.
    let mut broke = None;
    let mut last_activity = Instant::now();
    let mut timer = pin!(tokio::time::sleep_until(later(last_activity, idle).into()));

    poll_fn(|cx| {
        loop {
            let moved = traffic.total();
            let there = to_backend.poll(cx, client, backend, |len| traffic.add_in(len));
            if let Some(end) = to_backend.stop.take() {
                return Poll::Ready(end);
            }
            let back = to_client.poll(cx, backend, client, |len| traffic.add_out(len));
            broke = broke.take().or_else(|| broken(&mut to_backend, &mut to_client));
            if there.is_ready() && back.is_ready() {
                return Poll::Ready(broke.take().unwrap_or(RelayEnd::Done));
            }
            if back.is_ready() || broke.is_some() {
                idle = idle.min(AFTER_END);
            }
            let now = Instant::now();
            if traffic.total() != moved {
                last_activity = now;
            }
            // One timer for silence and for held bytes. It is moved only when it fires or has become too late, so
            // that a busy connection costs no timer work.
            let due = to_backend
                .due()
                .map_or(later(last_activity, idle), |held| held.min(later(last_activity, idle)));
            if timer.deadline().into_std() > due {
                timer.as_mut().reset(due.into());
            }
            ready!(timer.as_mut().poll(cx));
            if later(last_activity, idle) <= now {
                return Poll::Ready(broke.take().unwrap_or(RelayEnd::Idle));
            }
            to_backend.expire_guard(now);
            let next = to_backend.due().unwrap_or_else(|| later(last_activity, idle));
            timer.as_mut().reset(next.max(later(now, TICK)).into());
        }
    })
    .await
}

/// What has broken since the last look, if anything did.
fn broken(to_backend: &mut Flow, to_client: &mut Flow) -> Option<RelayEnd> {
    Some(match (to_backend.failure.take(), to_client.failure.take()) {
        (Some(Failure::Source(error)), _) | (_, Some(Failure::Sink(error))) => RelayEnd::ClientFailed(error),
        (Some(Failure::Sink(error)), _) | (_, Some(Failure::Source(error))) => RelayEnd::BackendFailed(error),
        (None, None) => return None,
    })
}

#[derive(Debug)]
enum Failure {
    Source(io::Error),
    Sink(io::Error),
}

/// One direction.
#[derive(Debug)]
struct Flow {
    /// Read, and not yet taken by the sink.
    pending: Vec<u8>,
    source_ended: bool,
    finished: bool,
    failure: Option<Failure>,
    /// While this is here, nothing is written.
    guard: Option<FirstBytes>,
    /// The guard's verdict, if it ends the relay.
    stop: Option<RelayEnd>,
}

impl Flow {
    fn open() -> Self {
        Self {
            pending: Vec::new(),
            source_ended: false,
            finished: false,
            failure: None,
            guard: None,
            stop: None,
        }
    }

    fn guarded(early: Vec<u8>, guard: FirstBytes) -> Self {
        Self { pending: early, guard: Some(guard), ..Self::open() }
    }

    /// Moves what can be moved; ready when this direction has ended.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &Socket,
        sink: &Socket,
        mut count: impl FnMut(usize),
    ) -> Poll<()> {
        if self.finished {
            return Poll::Ready(());
        }
        let result = BUFFER.with_borrow_mut(|buffer| self.pump(cx, source, sink, buffer, &mut count));
        match ready!(result) {
            Ok(()) => {}
            Err(failure) => {
                // The other direction may still have last words to deliver; it ends by itself.
                if matches!(failure, Failure::Source(_)) {
                    let _ = sink.shutdown_write();
                }
                self.failure = Some(failure);
                self.pending = Vec::new();
            }
        }
        self.finished = true;
        Poll::Ready(())
    }

    fn pump(
        &mut self,
        cx: &mut Context<'_>,
        source: &Socket,
        sink: &Socket,
        buffer: &mut [u8],
        count: &mut impl FnMut(usize),
    ) -> Poll<Result<(), Failure>> {
        for _ in 0..ROUNDS {
            if self.is_held(Instant::now()) {
                if self.stop.is_some() {
                    return Poll::Ready(Ok(()));
                }
            } else {
                ready!(self.flush(cx, sink, count)).map_err(Failure::Sink)?;
                if self.source_ended {
                    return Poll::Ready(sink.shutdown_write().map_err(Failure::Sink));
                }
            }
            ready!(source.poll_read_ready(cx)).map_err(Failure::Source)?;
            let len = match source.try_read(buffer) {
                Ok(0) => {
                    self.source_ended = true;
                    continue;
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(Failure::Source(error))),
            };
            let mut rest = buffer.get(..len).unwrap_or_default();
            if self.guard.is_some() {
                self.pending.extend_from_slice(rest);
                continue;
            }
            match sink.try_write(rest) {
                Ok(len) => {
                    count(len);
                    rest = rest.get(len..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(Failure::Sink(error))),
            }
            if !rest.is_empty() {
                self.pending.extend_from_slice(rest);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is pending.
    fn flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Socket,
        count: &mut impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            let rest = self.pending.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match sink.poll_write_ready(cx) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            match sink.try_write(rest) {
                Ok(len) => {
                    count(len);
                    sent = sent.saturating_add(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => break Poll::Ready(Err(error)),
            }
        };
        if sent >= self.pending.len() {
            // An idle connection holds no buffer.
            self.pending = Vec::new();
        } else {
            self.pending.drain(..sent);
        }
        result
    }

    /// Whether the guard still holds everything back; sets `stop` if that ends the relay.
    fn is_held(&mut self, now: Instant) -> bool {
        let Some(guard) = self.guard.as_mut() else { return false };
        match guard.inspect(&self.pending, now) {
            Verdict::Pass => self.guard = None,
            Verdict::Header(version) => {
                self.stop = Some(RelayEnd::Header(version, std::mem::take(&mut self.pending)));
            }
            // The client sends no more: a prefix stays what it is, and nothing is nothing.
            Verdict::Hold if self.source_ended && self.pending.is_empty() => self.guard = None,
            Verdict::Hold if self.source_ended => self.end_hold(),
            Verdict::Hold => {}
        }
        self.guard.is_some()
    }

    /// When held bytes are due.
    fn due(&self) -> Option<Instant> {
        self.guard.as_ref().and_then(FirstBytes::wake_at)
    }

    fn expire_guard(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.end_hold();
        }
    }

    fn end_hold(&mut self) {
        match self.guard.as_ref().map(FirstBytes::expire) {
            Some(Held::End) => self.stop = Some(RelayEnd::HeldBack),
            Some(Held::Release) | None => self.guard = None,
        }
    }
}

#[cfg(test)]
mod tests;
