//! Who judges the first bytes of a direction: the guard of the client's, and that of the backend's first lines.

use truepeer::{FirstBytes, Held, Verdict};

use super::first_lines::{FirstLines, Judged};
use super::{RelayEnd, Stopped};
use crate::engine::{moment, now};
use crate::facts::instant::CompactInstant;

/// Judges what was read before it is written. One that is done costs nothing.
pub(super) trait ByteGuard {
    /// Judges what waits; the relay's end, if that is the verdict.
    fn judge(&mut self, waiting: &mut Vec<u8>, source: SourceState) -> Option<RelayEnd>;

    /// Whether what waits is not to be written yet.
    fn holds(&self) -> bool;

    /// Whether what is read next is to be judged.
    fn is_on(&self) -> bool;
}

/// Whether more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceState {
    GoesOn,
    Ended,
}

impl ByteGuard for Option<FirstBytes> {
    fn judge(&mut self, waiting: &mut Vec<u8>, source: SourceState) -> Option<RelayEnd> {
        match self.as_mut()?.inspect(waiting, now()) {
            Verdict::Header(_) => return Some(RelayEnd::Stopped(Stopped::Header(std::mem::take(waiting)))),
            Verdict::Pass => *self = None,
            // The client sends no more: a prefix stays what it is, and nothing is nothing.
            Verdict::Hold if source == SourceState::Ended && waiting.is_empty() => *self = None,
            Verdict::Hold if source == SourceState::Ended => return end_hold(self),
            Verdict::Hold => {}
        }
        None
    }

    fn holds(&self) -> bool {
        self.is_some()
    }

    fn is_on(&self) -> bool {
        self.is_some()
    }
}

/// The backend's first lines, and when something was passed on last.
pub(super) struct Backward {
    pub(super) lines: Option<FirstLines>,
    pub(super) last: CompactInstant,
}

impl ByteGuard for Backward {
    fn judge(&mut self, waiting: &mut Vec<u8>, source: SourceState) -> Option<RelayEnd> {
        let lines = self.lines.as_mut()?;
        if !waiting.is_empty() {
            let now = moment();
            match lines.inspect(waiting, now.since(self.last)) {
                Judged::AnswersHeader => {
                    return Some(RelayEnd::Stopped(Stopped::HeaderAnswered(std::mem::take(waiting))));
                }
                Judged::Pass => self.last = now,
                Judged::Hold => {}
            }
        }
        if lines.is_over() || source == SourceState::Ended {
            self.lines = None;
        }
        None
    }

    fn holds(&self) -> bool {
        self.lines.as_ref().is_some_and(FirstLines::holds)
    }

    fn is_on(&self) -> bool {
        self.lines.is_some()
    }
}

/// What becomes of held bytes when waiting ends: they go on, or that is the end.
pub(super) fn end_hold(guard: &mut Option<FirstBytes>) -> Option<RelayEnd> {
    match guard.as_ref().map(FirstBytes::expire) {
        Some(Held::End) => Some(RelayEnd::HeldBack),
        Some(Held::Release) | None => {
            *guard = None;
            None
        }
    }
}
