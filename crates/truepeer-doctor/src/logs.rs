//! Other programs' log lines and error texts: what they say about the PROXY protocol.
//!
//! Text of any length goes in, piece by piece, in bounded memory; what it means comes out, folded. A text is known by
//! its stable parts, no matter who logged it and how it was wrapped or prefixed; one that holds none is unknown.
//! A text without a row may still contain a header in disguise, see `disguise`.

mod address;
mod knowledge;
mod lines;
mod quote;
mod report;
mod table;

use lines::Lines;
pub use quote::unescape;
pub use report::{LogReport, Noted};

use knowledge::Knowledge;

/// Reads a log, a piece at a time.
///
/// Memory: at most about half a MiB for lines, and one entry for each kind of finding.
#[derive(Debug)]
pub struct LogReader {
    lines: Lines,
    report: LogReport,
    /// The whole text, as long as it is short enough to be one that was wrapped.
    short: Option<Vec<u8>>,
}

impl LogReader {
    /// The longest line that is read whole; what is beyond is left out and counted.
    pub const LINE_MAX: usize = lines::LINE_MAX;

    /// A reader at the beginning of a log.
    #[must_use]
    pub fn new() -> Self {
        Self { lines: Lines::new(), report: LogReport::default(), short: Some(Vec::new()) }
    }

    /// Reads the next piece, cut anywhere.
    pub fn feed(&mut self, piece: &[u8]) {
        let (knowledge, report) = (Knowledge::get(), &mut self.report);
        self.lines.feed(piece, &mut |text| knowledge.read(text, report));
        let fits = |short: &Vec<u8>| short.len().saturating_add(piece.len()) <= SHORT_MAX;
        self.short = self.short.take().filter(fits).map(|mut short| {
            short.extend_from_slice(piece);
            short
        });
    }

    /// Ends the log: what was found.
    #[must_use]
    pub fn finish(mut self) -> LogReport {
        let (knowledge, report) = (Knowledge::get(), &mut self.report);
        self.lines.finish(&mut |text| knowledge.read(text, report));
        if let Some(short) = self.short.filter(|_| report.findings.is_empty()) {
            knowledge.read_wrapped(&short, report);
        }
        report.lines = self.lines.count();
        report.cut_lines = self.lines.cut();
        self.report.settle();
        self.report
    }
}

/// The longest text that may be one line, wrapped at any character.
const SHORT_MAX: usize = 4096;

impl Default for LogReader {
    fn default() -> Self {
        Self::new()
    }
}

/// What one text means; several lines may be one wrapped text or several.
#[must_use]
pub fn explain(text: &[u8]) -> LogReport {
    let mut reader = LogReader::new();
    reader.feed(text);
    reader.finish()
}
