//! A stream of bytes becomes lines, joined by single spaces, in a bounded buffer.
//!
//! Joined, so that a part of a text that was wrapped over two lines still stands in one piece. Knows nothing of what
//! lines mean.

/// See `LogReader::LINE_MAX`.
pub(super) const LINE_MAX: usize = 16 * 1024;
/// How many lines before and behind a line are kept, since a text may be wrapped over that many.
pub(super) const AROUND: usize = 4;
/// So much is gathered before it is looked at.
const BATCH: usize = 128 * 1024;

/// Where a line is in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Counted from 1.
    pub(super) number: u64,
}

/// Lines to look at.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// All of them, a space between each two.
    pub(super) text: &'a [u8],
    pub(super) lines: &'a [Line],
    /// The lines that are due; those before and behind are only there for wrapped texts.
    pub(super) due: std::ops::Range<usize>,
    /// Up to here something was found already; to be set by the reader.
    pub(super) done: &'a mut usize,
}

/// The lines so far.
#[derive(Debug)]
pub(super) struct Lines {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// Where the line begins that has no end yet.
    open: usize,
    /// Whether the open line has reached its bound.
    full: bool,
    due: usize,
    done: usize,
    count: u64,
    cut: u64,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { text: Vec::new(), lines: Vec::new(), open: 0, full: false, due: 0, done: 0, count: 0, cut: 0 }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn cut(&self) -> u64 {
        self.cut
    }

    pub(super) fn feed(&mut self, piece: &[u8], look: &mut impl FnMut(Batch<'_>)) {
        let mut rest = piece;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (line, behind) = match end {
                Some(end) => (rest.get(..end).unwrap_or(rest), rest.get(end.saturating_add(1)..)),
                None => (rest, None),
            };
            self.append(line);
            if end.is_some() {
                self.end_line();
                if self.text.len() >= BATCH {
                    self.look(AROUND, look);
                }
            }
            rest = behind.unwrap_or_default();
        }
    }

    pub(super) fn finish(&mut self, look: &mut impl FnMut(Batch<'_>)) {
        if self.text.len() > self.open {
            self.end_line();
        }
        self.look(0, look);
    }

    fn append(&mut self, part: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.text.len().saturating_sub(self.open));
        self.full |= part.len() > room;
        self.text.extend_from_slice(part.get(..part.len().min(room)).unwrap_or(part));
    }

    /// Takes away what wrapping and quoting put at the beginning, and what a line ends in.
    fn end_line(&mut self) {
        self.count = self.count.saturating_add(1);
        self.cut = self.cut.saturating_add(u64::from(self.full));
        self.full = false;
        let line = self.text.get(self.open..).unwrap_or_default();
        let padding = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'>' | b'|')).count();
        let trailing = line.iter().rev().take_while(|byte| matches!(byte, b'\r' | b' ')).count();
        self.text.truncate(self.text.len().saturating_sub(trailing).max(self.open));
        if padding > 0 {
            let behind = self.open.saturating_add(padding).min(self.text.len());
            self.text.drain(self.open..behind);
        }
        self.lines.push(Line { start: self.open, end: self.text.len(), number: self.count });
        self.text.push(b' ');
        self.open = self.text.len();
    }

    /// Shows what is due, but for the last `keep` lines, and forgets what nothing can need any more.
    fn look(&mut self, keep: usize, look: &mut impl FnMut(Batch<'_>)) {
        let until = self.lines.len().saturating_sub(keep);
        if self.due < until {
            look(Batch {
                text: self.text.get(..self.open).unwrap_or_default(),
                lines: &self.lines,
                due: self.due..until,
                done: &mut self.done,
            });
            self.due = until;
        }
        let gone = self.due.saturating_sub(AROUND);
        let Some(from) = self.lines.get(gone).map(|line| line.start) else { return };
        self.text.drain(..from);
        self.lines.drain(..gone);
        for line in &mut self.lines {
            line.start = line.start.saturating_sub(from);
            line.end = line.end.saturating_sub(from);
        }
        self.open = self.open.saturating_sub(from);
        self.done = self.done.saturating_sub(from);
        self.due = self.due.saturating_sub(gone);
    }
}
