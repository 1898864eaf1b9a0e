//! Where lines go: one writer thread behind one bounded queue, for records and for events alike.
//!
//! No connection ever waits for the destination: a line that finds the queue full is dropped and counted, and the
//! count is written out as soon as there is room again. Refusals of one cause are folded, so that a stranger cannot
//! fill the log.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

use crate::config::LogFormat;
use crate::folding::{Cause, Example, Fold, Folding};
use crate::outcome::Level;
use crate::record::Line;

/// Lines that may wait for the destination.
const QUEUE: usize = 8192;
/// How often summaries of folded records are looked for.
const SUMMARIES: Duration = Duration::from_secs(5);

/// What becomes of the records of refused connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusals {
    /// Many of one cause are summed up, so that a stranger cannot fill the log.
    Fold,
    /// Each is written: for demonstrations and tests.
    WriteAll,
}

/// Takes lines; cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct Log {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    lost_ever: Arc<AtomicU64>,
    folding: Arc<Mutex<Folding>>,
    refusals: Refusals,
    /// How lines look.
    pub format: LogFormat,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Close,
}

/// The writer thread; ending it writes out what is queued.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Starts a writer to `destination`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        format: LogFormat,
        refusals: Refusals,
        destination: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, Writer)> {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let folding = Arc::new(Mutex::new(Folding::default()));
        let log = Self {
            queue: queue.clone(),
            lost: Arc::clone(&lost),
            lost_ever: Arc::default(),
            folding: Arc::clone(&folding),
            refusals,
            format,
        };
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&lines, destination, &lost, &folding, format))?;
        Ok((log, Writer { queue, thread: Some(thread) }))
    }

    /// Queues one line, given without its line end.
    pub fn line(&self, line: String) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.lost_ever.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were dropped since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_ever.load(Ordering::Relaxed)
    }
}

impl Log {
    /// Queues the line of a refused connection, unless there were too many of its cause of late; those are counted and
    /// summed up later. `line` is made only if it is shown; what became of it is returned.
    pub fn refused(&self, cause: &Cause, example: Example, line: impl FnOnce() -> String) -> Fold {
        if self.refusals == Refusals::WriteAll {
            self.line(line());
            return Fold::Show;
        }
        let mut folding = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let fold = folding.note(cause, example, Instant::now());
        drop(folding);
        if fold == Fold::Show {
            self.line(line());
        }
        fold
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Blocks only while the destination does; the process ends right after.
        if self.queue.send(Message::Close).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn write_lines(
    lines: &Receiver<Message>,
    mut destination: impl Write,
    lost: &AtomicU64,
    folding: &Mutex<Folding>,
    format: LogFormat,
) {
    const BATCH: usize = 64 * 1024;
    let mut batch = Vec::with_capacity(BATCH);
    let mut open = true;
    while open {
        let mut next = match lines.recv_timeout(SUMMARIES) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Close),
        };
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(line.as_bytes());
                    batch.push(b'\n');
                }
                Message::Close => open = false,
            }
            next = if batch.len() < BATCH { lines.try_recv().ok() } else { None };
        }
        let mut folding = folding.lock().unwrap_or_else(PoisonError::into_inner);
        let summaries = if open { folding.due(Instant::now()) } else { folding.finish() };
        drop(folding);
        for summary in summaries {
            batch.extend_from_slice(summary.to_line(format, SystemTime::now()).as_bytes());
            batch.push(b'\n');
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut line = Line::new(format, SystemTime::now(), Level::Warn);
            line.text("event", "lines_lost");
            line.number("lines", lost);
            line.text("cause", "the log destination did not take lines as fast as they came");
            batch.extend_from_slice(line.finish().as_bytes());
            batch.push(b'\n');
        }
        // A destination that fails (disk full, closed pipe) costs lines, never connections.
        let _ = destination.write_all(&batch).and_then(|()| destination.flush());
        batch.clear();
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
        let mut fields = Fields(Line::new(self.log.format, SystemTime::now(), level));
        event.record(&mut fields);
        self.log.line(fields.0.finish());
    }
}

struct Fields(Line);

impl Visit for Fields {
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
