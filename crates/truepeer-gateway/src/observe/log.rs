//! Where lines go: one writer thread behind one bounded queue, for records and for events alike.
//!
//! No connection ever waits for the destination: a line that finds the queue full is dropped and counted, and the
//! count is written out where the gap is. Refusals of one cause are folded, so that a stranger cannot fill the log.
//! Destination and format may change while lines come; none is lost, doubled or split by that.

mod destination;
mod queue;
mod writer;

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

use crate::facts::lines::LogFormat;
use crate::facts::outcome::Level;
use crate::observe::folding::{Cause, Example, Fold, Folding};
use crate::observe::line::Line;
use crate::observe::recent::Recent;
use crate::observe::turned_away::TurnedAway;

pub use destination::{Configured, Destination, OpenError};
pub use queue::LINES;
use queue::{Pushed, Queue, Switch};

/// How long the end waits for a destination that does not take the last lines.
pub const LAST_LINES: Duration = Duration::from_secs(3);
/// How long a caller that changes destination or format waits for it to happen.
pub const SWITCH_TIME: Duration = Duration::from_secs(2);

/// The largest buffer that a thread keeps for its next line.
const LONG_LINE: usize = 4096;

thread_local! {
    static SCRATCH: Cell<String> = const { Cell::new(String::new()) };
}

/// What becomes of the records of refused connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalLines {
    /// Many of one cause are summed up, so that a stranger cannot fill the log.
    Fold,
    /// Each is written: for demonstrations and tests.
    WriteAll,
}

/// Takes lines; cheap to clone, never waits for the destination.
#[derive(Debug, Clone)]
pub struct Log {
    queue: Arc<Queue>,
    kept: Arc<Kept>,
    refusals: RefusalLines,
}

/// What is kept in mind between lines. Each has a lock of its own, so that a page or an operator who reads one of them
/// holds up neither the log nor the others.
#[derive(Debug)]
struct Kept {
    folding: Mutex<Folding>,
    recent: Recent,
    turned_away: TurnedAway,
}

/// The writer thread; dropping this writes out what is queued, for [`LAST_LINES`] at most.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    /// Never sent to: it is dropped when the thread ends.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// The destination takes no lines, so neither it nor the format has changed yet; both do as soon as it takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotYet;

impl Log {
    /// Starts a writer to `destination`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        format: LogFormat,
        refusals: RefusalLines,
        destination: impl Write + Send + 'static,
    ) -> io::Result<(Self, Writer)> {
        let queue = Arc::new(Queue::new(format));
        let turned_away = TurnedAway::since(Instant::now());
        let kept = Arc::new(Kept { folding: Mutex::default(), recent: Recent::default(), turned_away });
        let writer = writer::Writer::new(Arc::clone(&queue), Arc::clone(&kept), Box::new(destination));
        let (alive, ended) = sync_channel(0);
        let body = move || {
            let _alive = alive;
            writer.run();
        };
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(body)?;
        let log = Self { queue: Arc::clone(&queue), kept, refusals };
        Ok((log, Writer { queue, ended, thread: Some(thread) }))
    }

    /// Queues one line, which `write` writes without its line end.
    pub fn line(&self, write: impl Fn(LogFormat, &mut String)) {
        // A buffer of this thread's own; anyone who logs while a line is written begins with a fresh one.
        let mut text = SCRATCH.take();
        loop {
            // Written without holding the queue; written again in the rare case that the format changes meanwhile.
            let format = self.queue.format();
            text.clear();
            write(format, &mut text);
            if self.queue.push(format, &text) == Pushed::Dealt {
                break;
            }
        }
        if text.capacity() <= LONG_LINE {
            SCRATCH.set(text);
        }
    }

    /// Queues the line of a refused connection, unless there were too many of its cause of late; those are counted and
    /// summed up later. `write` is called only if it is shown; what became of it is returned.
    pub fn refused(&self, cause: &Cause, example: Example, write: impl Fn(LogFormat, &mut String)) -> Fold {
        if self.refusals == RefusalLines::WriteAll {
            self.line(write);
            return Fold::Show;
        }
        let mut folding = self.kept.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let fold = folding.note(cause, example, Instant::now());
        drop(folding);
        if fold == Fold::Show {
            self.line(write);
        }
        fold
    }

    /// The refusals of the last hour.
    #[must_use]
    pub fn turned_away(&self) -> &TurnedAway {
        &self.kept.turned_away
    }

    /// What happened of late.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        &self.kept.recent
    }

    /// Has lines look like `format` from now on and, if there is one, go to `destination`. Lines that were queued
    /// before look and go as they would have.
    ///
    /// Waits until it has happened, for [`SWITCH_TIME`] at most.
    ///
    /// # Errors
    /// [`NotYet`].
    pub fn switch(
        &self,
        destination: Option<Box<dyn Write + Send>>,
        format: LogFormat,
    ) -> Result<(), NotYet> {
        let (done, happened) = sync_channel(0);
        self.queue.push_switch(Switch { destination, format, done });
        match happened.recv_timeout(SWITCH_TIME) {
            Err(RecvTimeoutError::Timeout) => Err(NotYet),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }

    /// Lines that were dropped since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        // A thread that hangs in its destination ends with the process.
        if self.ended.recv_timeout(LAST_LINES) != Err(RecvTimeoutError::Timeout)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Turns `tracing` events into lines of the same form.
#[derive(Debug)]
pub struct Events {
    log: Log,
}

impl Events {
    /// Writes events of at least `info` to `log`.
    #[must_use]
    pub fn new(log: Log) -> Self {
        Self { log }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= tracing::Level::INFO && metadata.target().starts_with("truepeer")
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        self.log.line(|format, text| {
            let mut fields = Fields(Line::new(format, SystemTime::now(), level, text));
            event.record(&mut fields);
            fields.0.finish();
        });
    }
}

struct Fields<'a>(Line<'a>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.number(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.text(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests;
