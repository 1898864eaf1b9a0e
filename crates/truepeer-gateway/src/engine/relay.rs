//! Relay: move bytes both ways until the end.
//!
//! Half-close is passed on, and bytes are exact under back-pressure: nothing is read from one side while the other
//! has not taken what was read before. Memory per connection: one small struct, and a buffer only for what one side has
//! not taken yet (at most [`SCRATCH`] bytes); the read buffer is one per worker.

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
use std::time::Duration;

use truepeer::FirstBytes;

use super::Free;
use super::say::discard_briefly;
use super::{Sleep, Socket, Traffic, moment, until};
use crate::facts::instant::CompactInstant;
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

/// What guards both directions.
#[derive(Debug)]
pub struct Guard {
    /// Judges the client's first bytes; nothing if they are judged and gone.
    pub first_bytes: Option<FirstBytes>,
    /// Judges the backend's lines up to the client's first byte; nothing where they say nothing of our header.
    pub first_lines: Option<FirstLines>,
    /// Hears what the backend says first, where somebody wants to know.
    pub overheard: Option<Overheard>,
    /// Whether the client's bytes wait until the backend has said something: it may not know the client before it does.
    pub after_greeting: bool,
}

/// The two who are relayed between.
#[derive(Debug)]
pub struct Pair {
    /// The client's connection.
    pub client: Socket,
    /// The backend's connection, which has heard who the client is.
    pub backend: Socket,
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
pub fn relay(pair: Pair, early: Early, guard: Guard) -> Relay {
    let now = moment();
    let Guard { first_bytes, first_lines, overheard, after_greeting } = guard;
    let extra = Extra { guard: first_bytes, lines: first_lines, overheard, after_greeting, trouble: None };
    Relay {
        pair: Some(pair),
        to_backend: Flow::beginning_with(early.of_client),
        to_client: Flow::beginning_with(early.of_backend),
        extra: (!extra.is_over(false)).then(|| extra.boxed()),
        began: now,
        last_activity: now,
        timer: until(now.later(LASTING)),
    }
}

/// A relay that goes on. Small, and no future: thousands of these are idle at any time, and each is polled in the table
/// of its worker by whoever owns it.
///
/// Dropping it ends it; bytes that were read and not yet written are lost with the connection.
#[must_use]
pub struct Relay {
    /// Gone only while the client's bytes are thrown away.
    pair: Option<Pair>,
    to_backend: Flow,
    to_client: Flow,
    /// What is about the first bytes only, and what few relays come to.
    extra: Option<Box<Extra>>,
    began: CompactInstant,
    last_activity: CompactInstant,
    timer: Sleep,
}

/// What few relays come to.
enum Trouble {
    /// What broke first: what breaks later is mostly its consequence.
    Broke(Failure),
    /// The end, while the client's bytes are thrown away.
    Discarding(Pin<Box<dyn Future<Output = ()>>>, Option<RelayEnd>),
}

/// Who judges or hears the first bytes; and what goes wrong.
#[derive(Default)]
struct Extra {
    /// While this is here, nothing of the client's is written.
    guard: Option<FirstBytes>,
    lines: Option<FirstLines>,
    overheard: Option<Overheard>,
    /// Whether nothing of the client's is written before the backend has said something.
    after_greeting: bool,
    trouble: Option<Trouble>,
}

thread_local! {
    /// Boxes of first bytes that are judged: most relays need one for a moment, where any does.
    static BOXES: Free<Box<Extra>> = const { Free::new() };
}

impl Extra {
    fn boxed(self) -> Box<Self> {
        match BOXES.with(Free::take) {
            Some(mut kept) => {
                *kept = self;
                kept
            }
            None => Box::new(self),
        }
    }

    /// Nobody needs it any more.
    fn keep(self: Box<Self>) {
        BOXES.with(|boxes| boxes.keep(self));
    }

    /// Whether nothing is left to judge, or to tell of; `has_greeted` is whether the backend has said something.
    fn is_over(&self, has_greeted: bool) -> bool {
        self.guard.is_none()
            && self.lines.is_none()
            && self.overheard.is_none()
            && self.trouble.is_none()
            && (has_greeted || !self.after_greeting)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(Pair { client, backend }) = self.pair.take() {
            client.close_with(backend);
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("to_backend", &self.to_backend).finish_non_exhaustive()
    }
}

impl Relay {
    /// Goes on; both directions may be silent as long as `idle`, and `traffic` is what it has moved. The end is told once.
    pub fn poll(&mut self, cx: &mut Context<'_>, idle: Duration, traffic: &Traffic) -> Poll<RelayEnd> {
        if !matches!(self.trouble(), Some(Trouble::Discarding(..))) {
            let end = ready!(self.move_bytes(cx, idle, traffic));
            let is_backends = matches!(end, RelayEnd::BackendFailed(_));
            let Some(pair) = self.pair.take_if(|_| is_backends) else { return Poll::Ready(end) };
            // The backend closed while the client was still sending: its last words must not be lost to a reset.
            let discarding = async move { discard_briefly(&pair.client).await };
            self.note_trouble(Trouble::Discarding(Box::pin(discarding), Some(end)));
        }
        let trouble = self.extra.as_mut().and_then(|extra| extra.trouble.as_mut());
        let Some(Trouble::Discarding(discarding, end)) = trouble else { return Poll::Pending };
        ready!(discarding.as_mut().poll(cx));
        end.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// How long it has lasted.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        moment().since(self.began)
    }

    /// What the backend has said, where somebody wants to know and has not heard enough.
    #[must_use]
    pub fn overheard(&self) -> Option<&Overheard> {
        self.extra.as_ref()?.overheard.as_ref()
    }

    /// Whether it has lasted so long that nothing more is overheard.
    #[must_use]
    pub fn has_listened(&self) -> bool {
        self.pair.as_ref().is_none_or(|pair| pair.client.is_lasting())
    }

    /// What the backend was heard to say, for whoever has heard enough; nothing more is overheard.
    #[must_use]
    pub fn take_overheard(&mut self, traffic: &Traffic) -> Option<Overheard> {
        let overheard = self.extra.as_mut()?.overheard.take();
        self.release(traffic);
        overheard
    }

    /// The client's connection, behind the end; the backend's is closed.
    #[must_use]
    pub fn into_client(mut self) -> Option<Socket> {
        self.pair.take().map(|pair| pair.client)
    }

    fn move_bytes(&mut self, cx: &mut Context<'_>, idle: Duration, traffic: &Traffic) -> Poll<RelayEnd> {
        loop {
            let moved = traffic.total();
            // What the backend says of our header is heard before a byte of the client's goes on.
            if self.extra.as_ref().is_some_and(|extra| extra.lines.is_some())
                && let Poll::Ready(Some(end)) = self.poll_back(cx, traffic)
            {
                return Poll::Ready(end);
            }
            let waits = self.extra.as_ref().is_some_and(|extra| extra.after_greeting)
                && traffic.bytes_out() == 0
                && !self.to_client.is_finished();
            let there = match if waits { Poll::Pending } else { self.poll_there(cx, traffic) } {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            };
            if traffic.bytes_in() > 0
                && let Some(extra) = &mut self.extra
            {
                extra.lines = None;
                self.release(traffic);
            }
            let back = match self.poll_back(cx, traffic) {
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
            let idle = if back.is_ready() || self.trouble().is_some() { idle.min(AFTER_END) } else { idle };
            let now = moment();
            if traffic.total() != moved {
                self.last_activity = now;
            }
            // One timer for silence, for held bytes and for what only lasting connections need. It is moved only when
            // it fires or has become too late, so that a busy connection costs no timer work.
            let due = self.due(idle);
            if self.timer.due() > due {
                self.timer.reset(due);
            }
            ready!(Pin::new(&mut self.timer).poll(cx));
            if self.silent_at(idle) <= now {
                return Poll::Ready(self.broken().unwrap_or(RelayEnd::Idle));
            }
            let lasts_from = self.began.later(LASTING);
            if !self.has_listened()
                && lasts_from <= now
                && let Some(Pair { client, backend }) = &self.pair
            {
                client.set_lasting();
                backend.set_lasting();
            }
            if let Some(extra) = &mut self.extra {
                if extra
                    .guard
                    .as_ref()
                    .and_then(FirstBytes::wake_at)
                    .is_some_and(|due| CompactInstant::from(due) <= now)
                    && let Some(end) = end_hold(&mut extra.guard)
                {
                    return Poll::Ready(end);
                }
                self.release(traffic);
            }
            let due = self.due(idle);
            let next = if self.has_listened() { due } else { due.min(lasts_from) };
            self.timer.reset(next.max(now.later(TICK)));
        }
    }

    /// The direction from the client to the backend.
    fn poll_there(&mut self, cx: &mut Context<'_>, traffic: &Traffic) -> Poll<Option<RelayEnd>> {
        let ending = self.ending(&self.to_client);
        let count = |len| traffic.add_in(len);
        let Some(Pair { client, backend }) = &self.pair else { return Poll::Pending };
        let sides = Sides { source: client, sink: backend, count, ending, overheard: None };
        let mut unguarded = None;
        let guard = self.extra.as_mut().map_or(&mut unguarded, |extra| &mut extra.guard);
        self.to_backend.poll(cx, &sides, guard)
    }

    /// The direction from the backend to the client.
    fn poll_back(&mut self, cx: &mut Context<'_>, traffic: &Traffic) -> Poll<Option<RelayEnd>> {
        let ending = self.ending(&self.to_backend);
        let count = |len| traffic.add_out(len);
        let Some(Pair { client, backend }) = &self.pair else { return Poll::Pending };
        let is_lasting = client.is_lasting();
        let mut extra = self.extra.as_mut();
        let lines = extra.as_mut().and_then(|extra| extra.lines.take());
        let overheard = match &extra {
            Some(extra) if !is_lasting => extra.overheard.as_ref(),
            _ => None,
        };
        let sides = Sides { source: backend, sink: client, count, ending, overheard };
        let mut judge = Backward { lines, last: self.last_activity };
        let polled = self.to_client.poll(cx, &sides, &mut judge);
        if let Some(extra) = &mut self.extra {
            extra.lines = judge.lines;
        }
        polled
    }

    /// What becomes of a sink whose source has ended, given the `other` direction.
    fn ending(&self, other: &Flow) -> Ending {
        match other.is_finished() && !other.has_failed() && self.trouble().is_none() {
            true => Ending::Close,
            false => Ending::Tell,
        }
    }

    /// Gives back what is about the first bytes, once nobody needs it.
    fn release(&mut self, traffic: &Traffic) {
        let has_greeted = traffic.bytes_out() > 0;
        if let Some(extra) = self.extra.take_if(|extra| extra.is_over(has_greeted)) {
            extra.keep();
        }
    }

    fn trouble(&self) -> Option<&Trouble> {
        self.extra.as_ref()?.trouble.as_ref()
    }

    fn note_trouble(&mut self, trouble: Trouble) {
        self.extra.get_or_insert_with(|| Extra::default().boxed()).trouble = Some(trouble);
    }

    /// When silence is too long.
    fn silent_at(&self, idle: Duration) -> CompactInstant {
        self.last_activity.later(idle)
    }

    /// When silence is too long, or bytes were held long enough.
    fn due(&self, idle: Duration) -> CompactInstant {
        let held = self.extra.as_ref().and_then(|extra| extra.guard.as_ref()?.wake_at());
        held.map_or(self.silent_at(idle), |held| self.silent_at(idle).min(held.into()))
    }

    fn note_failures(&mut self) {
        let there = self.to_backend.take_failure().map(|failure| match failure {
            Fault::Source(error) => Failure::Client(error),
            Fault::Sink(error) => Failure::Backend(error),
        });
        let back = self.to_client.take_failure().map(|failure| match failure {
            Fault::Source(error) => Failure::Backend(error),
            Fault::Sink(error) => Failure::Client(error),
        });
        let first = match (there, back) {
            // Whoever does not send any more is the first to be named.
            (Some(Failure::Backend(_)), Some(client @ Failure::Client(_))) => Some(client),
            (there, back) => there.or(back),
        };
        if let Some(first) = first
            && self.trouble().is_none()
        {
            self.note_trouble(Trouble::Broke(first));
        }
    }

    fn broken(&mut self) -> Option<RelayEnd> {
        Some(match self.extra.as_mut()?.trouble.take()? {
            Trouble::Broke(Failure::Client(error)) => RelayEnd::ClientFailed(error),
            Trouble::Broke(Failure::Backend(error)) => RelayEnd::BackendFailed(error),
            Trouble::Discarding(..) => return None,
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
