//! The log's destination: takes lines, or blocks, as the schedule says.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};

use crate::facts::lines::LogFormat;
use crate::observe::log::{Log, RefusalLines, Writer};

/// Waits for the log's thread, of two seconds each.
const WAITS: u32 = 30;

#[derive(Default)]
struct Sheet {
    written: Vec<u8>,
    is_blocked: bool,
}

/// What the log is written on.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<(Mutex<Sheet>, Condvar)>);

impl Paper {
    pub(super) fn new() -> (Self, Log, Writer) {
        let paper = Self::default();
        let (log, writer) = Log::start(LogFormat::Text, RefusalLines::WriteAll, paper.clone()).unwrap();
        (paper, log, writer)
    }

    /// Takes nothing from now on: whoever writes waits.
    pub(super) fn block(&self) {
        self.0.0.lock().unwrap().is_blocked = true;
    }

    pub(super) fn unblock(&self) {
        self.0.0.lock().unwrap().is_blocked = false;
        self.0.1.notify_all();
    }

    /// The lines since the last call, once all are written.
    pub(super) fn take(&self, log: &Log) -> Vec<String> {
        self.unblock();
        // It happens behind every line that waits; a busy machine may need more than one wait for it.
        let happened = (0..WAITS).any(|_| log.switch(None, LogFormat::Text).is_ok());
        assert!(happened, "the log does not write");
        let written = std::mem::take(&mut self.0.0.lock().unwrap().written);
        String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Paper {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let sheet = self.0.0.lock().unwrap();
        let mut sheet = self.0.1.wait_while(sheet, |sheet| sheet.is_blocked).unwrap();
        sheet.written.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
