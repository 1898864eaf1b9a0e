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
/// The largest buffer that is kept for the next lines.
const SPARE: usize = 256 * 1024;
/// How long lines gather behind others that were just taken: so many are one write, and no connection wakes anybody.
/// A line behind a pause is taken at once.
const GATHER: Duration = Duration::from_millis(10);

/// What waits for the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// Lines, one after the other.
    Lines(Lines),
    /// So many lines are missing here.
    Lost(u64),
    /// What follows looks or goes otherwise.
    Switch(Switch),
}

/// Some lines in one buffer, [`AT_ONCE`] at most: a line that is queued needs no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Each with its end.
    pub(super) text: String,
    /// How many.
    count: usize,
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
    /// Lines among the messages.
    lines: usize,
    /// A buffer that the writer is done with, for the next lines.
    spare: String,
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
        let state = State {
            messages: VecDeque::new(),
            lines: 0,
            spare: String::new(),
            format,
            phase: Phase::Open,
            untold: 0,
            lost: 0,
            writer_waits: Waits::Not,
            is_busy: false,
        };
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

    /// Queues a line that was made for `format`, and has no end yet.
    pub(super) fn push(&self, format: LogFormat, line: &str) -> Pushed {
        let mut state = self.state();
        if state.format != format {
            return Pushed::Stale;
        }
        if state.lines >= LINES {
            state.untold = state.untold.saturating_add(1);
            state.lost = state.lost.saturating_add(1);
            return Pushed::Dealt;
        }
        state.add(line);
        let wakes = match state.writer_waits {
            Waits::Not => false,
            Waits::News => true,
            Waits::Many => state.lines == AT_ONCE,
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

    /// Takes the next messages into `taken`, waiting up to `patience` for the first; without one, nothing came in time or
    /// the queue is closing. What is taken is little, and its room serves the next time, too.
    pub(super) fn take(&self, patience: Duration, taken: &mut Vec<Message>) -> Phase {
        if std::mem::take(&mut self.state().is_busy) {
            drop(self.wait(GATHER, Waits::Many, |state| state.phase == Phase::Closing || state.has_many()));
        }
        let is_enough = |state: &State| state.phase == Phase::Closing || !state.messages.is_empty();
        let mut state = self.wait(patience, Waits::News, is_enough);
        while let Some(message) = state.messages.pop_front() {
            let count = if let Message::Lines(lines) = &message { lines.count } else { 0 };
            taken.push(message);
            state.lines = state.lines.saturating_sub(count);
            if count > 0 {
                break;
            }
        }
        state.is_busy = !taken.is_empty();
        // The gap is behind everything that waited, and there is room only now.
        let untold = std::mem::take(&mut state.untold);
        if untold > 0 {
            state.messages.push_back(Message::Lost(untold));
        }
        state.phase
    }

    /// Waits until a switch waits, it begins to close, or `pause` is over.
    pub(super) fn pause(&self, pause: Duration) {
        let before = self.phase();
        drop(self.wait(pause, Waits::News, |state| state.phase != before || state.switch_at().is_some()));
    }

    /// Gives back a buffer of lines that are written.
    pub(super) fn reuse(&self, mut written: String) {
        written.clear();
        if written.capacity() <= SPARE {
            self.state().spare = written;
        }
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
    fn add(&mut self, line: &str) {
        if !matches!(self.messages.back(), Some(Message::Lines(lines)) if lines.count < AT_ONCE) {
            let lines = Lines { text: std::mem::take(&mut self.spare), count: 0 };
            self.messages.push_back(Message::Lines(lines));
        }
        if let Some(Message::Lines(lines)) = self.messages.back_mut() {
            lines.text.push_str(line);
            lines.text.push('\n');
            lines.count = lines.count.saturating_add(1);
            self.lines = self.lines.saturating_add(1);
        }
    }

    fn has_many(&self) -> bool {
        self.lines >= AT_ONCE || self.switch_at().is_some()
    }

    fn switch_at(&self) -> Option<usize> {
        self.messages.iter().position(|message| matches!(message, Message::Switch(_)))
    }

    fn take_switch(&mut self) -> Option<Switch> {
        match self.messages.remove(self.switch_at()?)? {
            Message::Switch(switch) => Some(switch),
            Message::Lines(_) | Message::Lost(_) => None,
        }
    }
}
