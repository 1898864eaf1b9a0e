//! The queue between those who log and the writer: in order, bounded, and never waited for by those who log.
//!
//! Asked by [`super::Log`] from every thread, and by the writer. It must not know what lines say or where they go.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::facts::lines::LogFormat;

/// Lines that may wait for the destination.
pub const LINES: usize = 8192;

/// Lines that the writer takes at once.
const AT_ONCE: usize = 256;
/// How long lines gather behind others that were just taken: so many are one write, and no connection wakes anybody.
/// A line behind a pause is taken at once.
const GATHER: Duration = Duration::from_millis(3);

/// What waits for the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// A line without its end.
    Line(String),
    /// So many lines are missing here.
    Lost(u64),
    /// What follows looks or goes otherwise.
    Switch(Switch),
}

/// Another destination, another format, or both.
pub(super) struct Switch {
    /// Where lines go from now on, if elsewhere.
    pub(super) destination: Option<Box<dyn Write + Send>>,
    /// How they look.
    pub(super) format: LogFormat,
    /// Dropped when it has taken place.
    pub(super) done: SyncSender<()>,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").field("format", &self.format).finish_non_exhaustive()
    }
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Pushed {
    /// It waits for the writer, or was counted as lost.
    Dealt,
    /// Lines look otherwise by now: it is to be made anew.
    Stale,
}

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is.
    Open,
    /// What waits is the rest.
    Closing,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug)]
struct State {
    messages: VecDeque<Message>,
    format: LogFormat,
    phase: Phase,
    /// Lost since the writer last took something.
    untold: u64,
    /// Lost since the start.
    lost: u64,
    /// What the writer waits for, so that nobody wakes it in vain: that is a system call.
    writer_waits: Waits,
    /// Whether the last it took were lines: then more are likely to follow at once.
    is_busy: bool,
}

/// What the writer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Nothing: it works.
    Not,
    /// Anything.
    News,
    /// More lines than it would take at once, or something that is no line.
    Many,
}

impl Queue {
    pub(super) fn new(format: LogFormat) -> Self {
        let (messages, phase) = (VecDeque::new(), Phase::Open);
        let state =
            State { messages, format, phase, untold: 0, lost: 0, writer_waits: Waits::Not, is_busy: false };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    /// How lines look now.
    pub(super) fn format(&self) -> LogFormat {
        self.state().format
    }

    /// Lines that found no room since the start.
    pub(super) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Queues a line that was made for `format`.
    pub(super) fn push(&self, format: LogFormat, line: String) -> Pushed {
        let mut state = self.state();
        if state.format != format {
            return Pushed::Stale;
        }
        if state.messages.len() >= LINES {
            state.untold = state.untold.saturating_add(1);
            state.lost = state.lost.saturating_add(1);
            return Pushed::Dealt;
        }
        state.messages.push_back(Message::Line(line));
        let wakes = match state.writer_waits {
            Waits::Not => false,
            Waits::News => true,
            Waits::Many => state.messages.len() == AT_ONCE,
        };
        drop(state);
        if wakes {
            self.news.notify_one();
        }
        Pushed::Dealt
    }

    /// Queues a switch behind every line that waits, whether there is room or not. It replaces one that waits, too, so
    /// that there is never more than one; a destination that waits is not taken back by a change of the format.
    pub(super) fn push_switch(&self, mut switch: Switch) {
        let mut state = self.state();
        let waiting = state.take_switch().and_then(|waiting| waiting.destination);
        switch.destination = switch.destination.or(waiting);
        state.format = switch.format;
        state.messages.push_back(Message::Switch(switch));
        self.tell(state);
    }

    /// Nothing is to come any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.phase = Phase::Closing;
        self.tell(state);
    }

    /// Takes the next messages, waiting up to `patience` for the first; without one, nothing came in time or the
    /// queue is closing.
    pub(super) fn take(&self, patience: Duration) -> (Vec<Message>, Phase) {
        if std::mem::take(&mut self.state().is_busy) {
            drop(self.wait(GATHER, Waits::Many, |state| state.phase == Phase::Closing || state.has_many()));
        }
        let is_enough = |state: &State| state.phase == Phase::Closing || !state.messages.is_empty();
        let mut state = self.wait(patience, Waits::News, is_enough);
        let count = state.messages.len().min(AT_ONCE);
        let taken: Vec<_> = state.messages.drain(..count).collect();
        state.is_busy = !taken.is_empty();
        // The gap is behind everything that waited, and there is room only now.
        let untold = std::mem::take(&mut state.untold);
        if untold > 0 {
            state.messages.push_back(Message::Lost(untold));
        }
        (taken, state.phase)
    }

    /// Waits until a switch waits, it begins to close, or `pause` is over.
    pub(super) fn pause(&self, pause: Duration) {
        let before = self.phase();
        drop(self.wait(pause, Waits::News, |state| state.phase != before || state.switch_at().is_some()));
    }

    /// Whether more is to come.
    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// The switch that waits, out of its turn.
    pub(super) fn take_switch(&self) -> Option<Switch> {
        self.state().take_switch()
    }

    /// Waits until `enough`, or the end of `patience`.
    fn wait(
        &self,
        patience: Duration,
        what: Waits,
        enough: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.writer_waits = what;
        let waited = self.news.wait_timeout_while(state, patience, |state| !enough(state));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.writer_waits = Waits::Not;
        state
    }

    fn tell(&self, state: MutexGuard<'_, State>) {
        let writer_waits = state.writer_waits;
        drop(state);
        if writer_waits != Waits::Not {
            self.news.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_many(&self) -> bool {
        self.messages.len() >= AT_ONCE || self.switch_at().is_some()
    }

    fn switch_at(&self) -> Option<usize> {
        self.messages.iter().position(|message| matches!(message, Message::Switch(_)))
    }

    fn take_switch(&mut self) -> Option<Switch> {
        match self.messages.remove(self.switch_at()?)? {
            Message::Switch(switch) => Some(switch),
            Message::Line(_) | Message::Lost(_) => None,
        }
    }
}
