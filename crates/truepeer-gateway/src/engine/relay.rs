//! Relay: move bytes both ways until the end.
//!
//! Half-close is passed on, and bytes are exact under back-pressure: nothing is read from one side while the other
//! has not taken what was read before. Memory per connection: two small structs, and a buffer only for what one
//! side has not taken yet (at most [`SCRATCH`] bytes); the read buffer is one per worker.

mod flow;
mod pipe;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use truepeer::FirstBytes;
use truepeer::proto::Version;

use super::say::discard_briefly;
use super::{Socket, Traffic, later, now, until};
use flow::{Ending, Failure, Flow, Sides};

/// How long silence may last once the backend has ended its stream or either side broke: as long as a kernel waits
/// for the other end's FIN.
const AFTER_END: Duration = Duration::from_secs(60);
/// A timer is never set nearer than this, so that a clock that jumps cannot make a relay spin.
const TICK: Duration = Duration::from_millis(1);
/// What is still there after so long is likely to stay.
const LASTING: Duration = Duration::from_secs(1);

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
    /// Judges the client's first bytes; nothing if they are judged and gone.
    pub first_bytes: Option<FirstBytes>,
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
    let mut to_client = Flow::open(early.of_backend);
    // What broke first: what breaks later is mostly its consequence.
    let mut broke = None;
    let mut last_activity = now();
    let mut lasting_from = Some(later(last_activity, LASTING));
    let mut timer = until(later(last_activity, idle.min(LASTING)));

    poll_fn(|cx| {
        loop {
            let moved = traffic.total();
            let ending = |other: &Flow| match other.is_finished() && broke.is_none() {
                true => Ending::Close,
                false => Ending::Tell,
            };
            let count = |len| traffic.add_in(len);
            let there = Sides { source: client, sink: backend, count, ending: ending(&to_client) };
            let there = to_backend.poll(cx, &there);
            if let Some(end) = to_backend.stop.take() {
                return Poll::Ready(*end);
            }
            let failed = to_backend.failure.is_some();
            let ending = if failed { Ending::Tell } else { ending(&to_backend) };
            let count = |len| traffic.add_out(len);
            let back = to_client.poll(cx, &Sides { source: backend, sink: client, count, ending });
            broke = broke.take().or_else(|| broken(&mut to_backend, &mut to_client));
            if there.is_ready() && back.is_ready() {
                return Poll::Ready(broke.take().unwrap_or(RelayEnd::Done));
            }
            if back.is_ready() || broke.is_some() {
                idle = idle.min(AFTER_END);
            }
            let now = now();
            if traffic.total() != moved {
                last_activity = now;
            }
            // One timer for silence, for held bytes and for what only lasting connections need. It is moved only when
            // it fires or has become too late, so that a busy connection costs no timer work.
            let silent_at = later(last_activity, idle);
            let due = to_backend.due().map_or(silent_at, |held| held.min(silent_at));
            if timer.due() > due {
                timer.reset(due);
            }
            ready!(Pin::new(&mut timer).poll(cx));
            if silent_at <= now {
                return Poll::Ready(broke.take().unwrap_or(RelayEnd::Idle));
            }
            if lasting_from.is_some_and(|from| from <= now) {
                lasting_from = None;
                client.set_lasting();
                backend.set_lasting();
            }
            to_backend.expire_guard(now);
            let next = to_backend.due().map_or(silent_at, |held| held.min(silent_at));
            let next = lasting_from.map_or(next, |from| next.min(from));
            timer.reset(next.max(later(now, TICK)));
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

#[cfg(test)]
mod tests;
