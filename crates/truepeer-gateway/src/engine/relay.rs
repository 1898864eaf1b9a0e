//! Relay: move bytes both ways until the end.
//!
//! Half-close is passed on, and bytes are exact under back-pressure: nothing is read from one side while the other
//! has not taken what was read before. Memory per connection: two small structs, and a buffer only for what one
//! side has not taken yet (at most [`SCRATCH`] bytes); the read buffer is one per worker.

mod first_lines;
mod flow;
mod judge;
mod overheard;
mod pipe;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use truepeer::FirstBytes;

use super::say::discard_briefly;
use super::{Sleep, Socket, Traffic, later, now, until};
use flow::{Ending, Fault, Flow, Sides};
use judge::{Backward, end_hold};

pub use first_lines::FirstLines;
pub use overheard::Overheard;

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
    /// The client's bytes could still become a header when waiting ended. None of them was passed on.
    HeldBack,
    /// None of the client's bytes was passed on, and none may be.
    Stopped(Stopped),
}

/// Why a client's bytes do not go on.
#[derive(Debug)]
pub enum Stopped {
    /// They begin with a header; they are here.
    Header(Vec<u8>),
    /// The backend answers our header as if it were the client's first command. What it said, as far as the client has
    /// not heard it, is here.
    HeaderAnswered(Vec<u8>),
}

/// What guards both directions, and how long silence may last.
#[derive(Debug)]
pub struct Guard {
    /// Judges the client's first bytes; nothing if they are judged and gone.
    pub first_bytes: Option<FirstBytes>,
    /// Judges the backend's lines up to the client's first byte; nothing where they say nothing of our header.
    pub first_lines: Option<FirstLines>,
    /// Whether the client's bytes wait until the backend has said something: it may not know the client before it does.
    pub after_greeting: bool,
    /// How long both directions may be silent.
    pub idle: Duration,
}

/// The two who are relayed between.
#[derive(Debug)]
pub struct Pair {
    /// The client's connection.
    pub client: Socket,
    /// The backend's connection, which has heard who the client is.
    pub backend: Socket,
    /// Hears what the backend says first, where somebody wants to know.
    pub overheard: Option<Overheard>,
}

/// What came before the relay began.
#[derive(Debug, Default)]
pub struct Early {
    /// The client's bytes behind the header.
    pub of_client: Vec<u8>,
    /// What the backend has said to the client.
    pub of_backend: Vec<u8>,
}

/// Relays between the two of `pair`, beginning with what came `early`.
///
/// # Cancel safety
/// Dropping the future ends the relay; bytes that were read and not yet written are lost with the connection.
pub fn relay<'a>(pair: &'a Pair, early: Early, guard: Guard, traffic: &'a Traffic) -> Relay<'a> {
    let now = now();
    let mut to_client = Flow::beginning_with(early.of_backend);
    to_client.first_lines = guard.first_lines;
    Relay {
        pair,
        traffic,
        to_backend: Flow::beginning_with(early.of_client),
        to_client,
        guard: guard.first_bytes,
        after_greeting: guard.after_greeting,
        idle: guard.idle,
        broke: None,
        last_activity: now,
        lasting_from: Some(later(now, LASTING)),
        timer: until(later(now, guard.idle.min(LASTING))),
        discarding: None,
    }
}

/// A relay that goes on. A future of its own and not an `async fn`, which would hold its arguments twice: thousands of
/// these are idle at any time.
#[must_use]
pub struct Relay<'a> {
    pair: &'a Pair,
    traffic: &'a Traffic,
    to_backend: Flow,
    to_client: Flow,
    /// While this is here, nothing of the client's is written.
    guard: Option<FirstBytes>,
    /// Whether nothing of the client's is written before the backend has said something.
    after_greeting: bool,
    idle: Duration,
    /// What broke first: what breaks later is mostly its consequence.
    broke: Option<Failure>,
    last_activity: Instant,
    lasting_from: Option<Instant>,
    timer: Sleep,
    /// The end, while the client's bytes are thrown away.
    discarding: Option<Box<Discarding<'a>>>,
}

type Discarding<'a> = (Pin<Box<dyn Future<Output = ()> + 'a>>, Option<RelayEnd>);

impl fmt::Debug for Relay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("to_backend", &self.to_backend).finish_non_exhaustive()
    }
}

impl Future for Relay<'_> {
    type Output = RelayEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let this = &mut *self;
        if this.discarding.is_none() {
            let end = ready!(this.move_bytes(cx));
            if !matches!(end, RelayEnd::BackendFailed(_)) {
                return Poll::Ready(end);
            }
            // The backend closed while the client was still sending: its last words must not be lost to a reset.
            this.discarding = Some(Box::new((Box::pin(discard_briefly(&this.pair.client)), Some(end))));
        }
        let Some(discarding) = &mut this.discarding else { return Poll::Pending };
        ready!(discarding.0.as_mut().poll(cx));
        discarding.1.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Guard {
    /// Takes it over; what is left judges nothing.
    pub fn take(&mut self) -> Self {
        Self { first_bytes: self.first_bytes.take(), first_lines: self.first_lines.take(), ..*self }
    }
}

impl Relay<'_> {
    fn move_bytes(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let (Pair { client, backend, .. }, traffic) = (self.pair, self.traffic);
        loop {
            let moved = traffic.total();
            // What the backend says of our header is heard before a byte of the client's goes on.
            if self.to_client.first_lines.is_some()
                && let Poll::Ready(Some(end)) = self.poll_back(cx)
            {
                return Poll::Ready(end);
            }
            let ending = self.ending(&self.to_client);
            let count = |len| traffic.add_in(len);
            let sides = Sides { source: client, sink: backend, count, ending, overheard: None };
            let waits = self.after_greeting && traffic.bytes_out() == 0 && !self.to_client.is_finished();
            let polled = match waits {
                true => Poll::Pending,
                false => self.to_backend.poll(cx, &sides, &mut self.guard),
            };
            let there = match polled {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            };
            if traffic.bytes_in() > 0 {
                self.to_client.first_lines = None;
            }
            let back = match self.poll_back(cx) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            };
            if waits && (traffic.bytes_out() > 0 || back.is_ready()) {
                continue;
            }
            self.note_failures();
            if there.is_ready() && back.is_ready() {
                return Poll::Ready(self.broken().unwrap_or(RelayEnd::Done));
            }
            if back.is_ready() || self.broke.is_some() {
                self.idle = self.idle.min(AFTER_END);
            }
            let now = now();
            if traffic.total() != moved {
                self.last_activity = now;
            }
            // One timer for silence, for held bytes and for what only lasting connections need. It is moved only when
            // it fires or has become too late, so that a busy connection costs no timer work.
            let due = self.due();
            if self.timer.due() > due {
                self.timer.reset(due);
            }
            ready!(Pin::new(&mut self.timer).poll(cx));
            if later(self.last_activity, self.idle) <= now {
                return Poll::Ready(self.broken().unwrap_or(RelayEnd::Idle));
            }
            if self.lasting_from.is_some_and(|from| from <= now) {
                self.lasting_from = None;
                client.set_lasting();
                backend.set_lasting();
            }
            if self.guard.as_ref().and_then(FirstBytes::wake_at).is_some_and(|due| due <= now)
                && let Some(end) = end_hold(&mut self.guard)
            {
                return Poll::Ready(end);
            }
            let next = self.lasting_from.map_or(self.due(), |from| from.min(self.due()));
            self.timer.reset(next.max(later(now, TICK)));
        }
    }

    /// The direction from the backend to the client.
    fn poll_back(&mut self, cx: &mut Context<'_>) -> Poll<Option<RelayEnd>> {
        let ending = self.ending(&self.to_backend);
        let count = |len| self.traffic.add_out(len);
        let Pair { client, backend, overheard } = self.pair;
        let overheard = overheard.as_ref().filter(|_| self.lasting_from.is_some());
        let sides = Sides { source: backend, sink: client, count, ending, overheard };
        let mut judge = Backward { lines: self.to_client.first_lines.take(), last: self.last_activity };
        let polled = self.to_client.poll(cx, &sides, &mut judge);
        self.to_client.first_lines = judge.lines;
        polled
    }

    /// What becomes of a sink whose source has ended, given the `other` direction.
    fn ending(&self, other: &Flow) -> Ending {
        match other.is_finished() && other.failure.is_none() && self.broke.is_none() {
            true => Ending::Close,
            false => Ending::Tell,
        }
    }

    /// When silence is too long, or bytes were held long enough.
    fn due(&self) -> Instant {
        let silent_at = later(self.last_activity, self.idle);
        self.guard.as_ref().and_then(FirstBytes::wake_at).map_or(silent_at, |held| held.min(silent_at))
    }

    fn note_failures(&mut self) {
        let there = self.to_backend.failure.take().map(|failure| match failure {
            Fault::Source(error) => Failure::Client(error),
            Fault::Sink(error) => Failure::Backend(error),
        });
        let back = self.to_client.failure.take().map(|failure| match failure {
            Fault::Source(error) => Failure::Backend(error),
            Fault::Sink(error) => Failure::Client(error),
        });
        let first = match (there, back) {
            // Whoever does not send any more is the first to be named.
            (Some(Failure::Backend(_)), Some(client @ Failure::Client(_))) => Some(client),
            (there, back) => there.or(back),
        };
        self.broke = self.broke.take().or(first);
    }

    fn broken(&mut self) -> Option<RelayEnd> {
        self.broke.take().map(|failure| match failure {
            Failure::Client(error) => RelayEnd::ClientFailed(error),
            Failure::Backend(error) => RelayEnd::BackendFailed(error),
        })
    }
}

/// Whose connection broke.
#[derive(Debug)]
enum Failure {
    Client(io::Error),
    Backend(io::Error),
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
