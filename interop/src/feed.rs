//! What a program or a server sends, gathered by a thread, so that a case can wait for an event with a deadline.
//!
//! Called by everything that waits. It must not know what the bytes mean.

use core::time::Duration;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::verdict::{Result, failed};

/// How long a case waits for one event before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A place in a feed: what lies behind it is news.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark(usize);

/// Bytes as they arrive from one or more sources; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    sources: usize,
    copy: Option<File>,
}

impl Feed {
    /// Reads `source` to its end on a thread of its own.
    pub(crate) fn follow(&self, mut source: impl Read + Send + 'static) {
        self.add_source();
        let feed = self.clone();
        // The thread ends with its source, and every source is a child or a socket that the harness closes.
        thread::spawn(move || {
            let mut buf = [0_u8; 4096];
            loop {
                match source.read(&mut buf) {
                    Ok(0) => break,
                    Ok(len) => feed.push(buf.get(..len).unwrap_or_default()),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            feed.drop_source();
        });
    }

    /// From now on, writes what arrives to `file` as well, as a log daemon would.
    pub(crate) fn copy_to(&self, file: File) {
        self.state().copy = Some(file);
    }

    /// The place after everything that has arrived.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.state().bytes.len())
    }

    /// The whole lines behind `mark`.
    pub(crate) fn lines(&self, mark: Mark) -> Vec<String> {
        split_lines(self.state().bytes.get(mark.0..).unwrap_or_default())
    }

    /// The first line behind `mark` for which `is_it` holds. `what` names the event in the failure.
    pub(crate) fn wait_line(&self, mark: Mark, what: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        self.wait(what, PATIENCE, |bytes, _| {
            split_lines(bytes.get(mark.0..).unwrap_or_default()).into_iter().find(|line| is_it(line))
        })
    }

    /// The next line and the place after it.
    pub(crate) fn next_line(&self, mark: Mark, what: &str) -> Result<(String, Mark)> {
        self.wait(what, PATIENCE, |bytes, _| {
            let rest = bytes.get(mark.0..)?;
            let len = rest.iter().position(|byte| *byte == b'\n')?.saturating_add(1);
            let line = String::from_utf8_lossy(rest.get(..len)?).trim_end().to_owned();
            Some((line, Mark(mark.0.saturating_add(len))))
        })
    }

    /// `len` bytes behind `mark`, and the place after them.
    pub(crate) fn next_bytes(&self, mark: Mark, len: usize, what: &str) -> Result<(Vec<u8>, Mark)> {
        let end = mark.0.saturating_add(len);
        self.wait(what, PATIENCE, |bytes, _| Some((bytes.get(mark.0..end)?.to_vec(), Mark(end))))
    }

    /// Everything behind `mark`, once every source has ended.
    pub(crate) fn wait_end(&self, mark: Mark, what: &str, patience: Duration) -> Result<Vec<u8>> {
        self.wait(what, patience, |bytes, ended| {
            ended.then(|| bytes.get(mark.0..).unwrap_or_default().to_vec())
        })
    }

    fn wait<T>(&self, what: &str, patience: Duration, find: impl Fn(&[u8], bool) -> Option<T>) -> Result<T> {
        let deadline = Instant::now().checked_add(patience);
        let mut state = self.state();
        loop {
            let ended = state.sources == 0;
            if let Some(found) = find(&state.bytes, ended) {
                return Ok(found);
            }
            let left = deadline.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
            if ended {
                return failed(format!("{what}: the other side ended first"));
            }
            if left.is_zero() {
                return failed(format!("{what}: not within {} s", patience.as_secs()));
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn add_source(&self) {
        let mut state = self.state();
        state.sources = state.sources.saturating_add(1);
    }

    fn drop_source(&self) {
        let mut state = self.state();
        state.sources = state.sources.saturating_sub(1);
        self.0.changed.notify_all();
    }

    fn push(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.bytes.extend_from_slice(bytes);
        if let Some(copy) = &mut state.copy {
            // Whoever reads the copy misses what it lacks.
            let _missed = copy.write_all(bytes);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The complete lines in `bytes`; a last line without an end is not complete.
fn split_lines(bytes: &[u8]) -> Vec<String> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default()).lines().map(str::to_owned).collect()
}
