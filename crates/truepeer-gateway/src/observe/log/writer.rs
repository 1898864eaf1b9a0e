//! The writer: the one thread that waits for the log's destination, so that nobody else does.
//!
//! What the destination does not take stays here and in the queue until it does. Bound: [`super::LINES`] lines in the
//! queue and one batch here; whatever comes when both are full is counted as lost. A line that was written in part is
//! finished before anything else follows it.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::facts::lines::LogFormat;
use crate::facts::outcome::Level;
use crate::observe::line::Line;

use super::Kept;
use super::queue::{Lines, Message, Phase, Queue, Switch};

/// How often summaries of folded records are looked for.
const SUMMARIES: Duration = Duration::from_secs(5);
/// How long a destination is left alone that has failed, such as a full disk.
const RETRY: Duration = Duration::from_secs(1);
/// The same for one that only asks to be tried again.
const RETRY_SOON: Duration = Duration::from_millis(20);

/// What the thread works with.
pub(super) struct Writer {
    queue: Arc<Queue>,
    kept: Arc<Kept>,
    destination: Box<dyn Write + Send>,
    format: LogFormat,
    batch: Batch,
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>, kept: Arc<Kept>, destination: Box<dyn Write + Send>) -> Self {
        let format = queue.format();
        Self { queue, kept, destination, format, batch: Batch::default() }
    }

    /// Writes until the queue is closing and empty.
    pub(super) fn run(mut self) {
        let mut messages = Vec::new();
        loop {
            let phase = self.queue.take(SUMMARIES, &mut messages);
            let is_last = phase == Phase::Closing && messages.is_empty();
            for message in messages.drain(..) {
                match message {
                    Message::Lines(lines) => self.queue.reuse(self.batch.take(lines)),
                    Message::Lost(lines) => self.add_lost(lines),
                    Message::Switch(switch) => {
                        // What it does not take now, the next one gets.
                        let _ = self.batch.write_to(&mut *self.destination);
                        self.switch(switch);
                    }
                }
            }
            self.add_summaries(is_last);
            self.write();
            if is_last {
                return;
            }
        }
    }

    /// Writes the batch, however long that takes; what is closing gives up where the destination fails.
    fn write(&mut self) {
        let mut failed: Option<(Instant, String)> = None;
        while let Err(error) = self.batch.write_to(&mut *self.destination) {
            let soon = error.kind() == ErrorKind::WouldBlock;
            failed.get_or_insert_with(|| (Instant::now(), error.to_string()));
            if let Some(switch) = self.queue.take_switch() {
                self.switch(switch);
            } else if self.queue.phase() == Phase::Closing && !soon {
                return self.batch.clear();
            } else {
                self.queue.pause(if soon { RETRY_SOON } else { RETRY });
            }
        }
        if let Some((since, cause)) = failed
            && since.elapsed() >= RETRY
        {
            self.add_recovered(since.elapsed(), &cause);
        }
    }

    fn switch(&mut self, switch: Switch) {
        let Switch { destination, format, done } = switch;
        self.format = format;
        if let Some(destination) = destination {
            self.batch.rewind();
            self.destination = destination;
        }
        drop(done);
    }

    fn add_lost(&mut self, lines: u64) {
        self.batch.add(|text| {
            let mut line = Line::new(self.format, SystemTime::now(), Level::Warn, text);
            line.text("event", "lines_lost");
            line.number("lines", lines);
            line.text("cause", "the log's destination did not take lines as fast as they came");
            line.finish();
        });
    }

    /// To be written with the next batch, at the latest when summaries are looked for.
    fn add_recovered(&mut self, after: Duration, cause: &str) {
        self.batch.add(|text| {
            let mut line = Line::new(self.format, SystemTime::now(), Level::Warn, text);
            line.text("event", "log_recovered");
            line.text("cause", cause);
            line.number("seconds", after.as_secs());
            line.finish();
        });
    }

    fn add_summaries(&mut self, is_last: bool) {
        let mut folding = self.kept.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let summaries = if is_last { folding.finish() } else { folding.due(Instant::now()) };
        drop(folding);
        for summary in summaries {
            self.batch.add(|text| summary.write(self.format, SystemTime::now(), text));
        }
    }
}

/// Whole lines, of which the first bytes may be written already.
#[derive(Debug, Default)]
struct Batch {
    text: String,
    written: usize,
}

impl Batch {
    /// One more line, which `write` writes without its end.
    fn add(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.text.push('\n');
    }

    /// Takes lines with their ends, and gives a buffer back that is not needed any more.
    fn take(&mut self, Lines { text, .. }: Lines) -> String {
        if self.text.is_empty() {
            return std::mem::replace(&mut self.text, text);
        }
        self.text.push_str(&text);
        text
    }

    /// Writes what is left; after an error, the next call goes on where this one stopped.
    fn write_to(&mut self, destination: &mut dyn Write) -> io::Result<()> {
        while let Some(left) = self.text.as_bytes().get(self.written..).filter(|left| !left.is_empty()) {
            match destination.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.written = self.written.saturating_add(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.clear();
        destination.flush()
    }

    /// Takes back the line that was written in part, and leaves those that were written whole.
    fn rewind(&mut self) {
        let written = self.text.as_bytes().get(..self.written).unwrap_or_default();
        let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        // Behind a line end, which is a whole character.
        self.text.drain(..whole);
        self.written = 0;
    }

    fn clear(&mut self) {
        self.text.clear();
        self.written = 0;
    }
}
