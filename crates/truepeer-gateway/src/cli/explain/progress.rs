//! How far a long log is read: a bar on standard error, if that is a terminal.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Drawn seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(200);
const WIDTH: u64 = 30;

/// The bar; it takes itself away when dropped.
#[derive(Debug)]
pub(super) struct Progress {
    on_terminal: bool,
    len: Option<u64>,
    read: u64,
    drawn: Instant,
    /// Whether there is something to take away.
    is_there: bool,
}

impl Progress {
    /// `len`: bytes to read in all, if that is known.
    pub(super) fn new(on_terminal: bool, len: Option<u64>) -> Self {
        Self { on_terminal, len, read: 0, drawn: Instant::now(), is_there: false }
    }

    /// So many bytes more were read.
    pub(super) fn add(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(u64::try_from(bytes).unwrap_or(0));
        if !self.on_terminal || self.drawn.elapsed() < EVERY {
            return;
        }
        self.drawn = Instant::now();
        self.is_there = true;
        let text = bar(self.read, self.len);
        let _ = write!(io::stderr(), "\r{text}\x1b[K");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_there {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(read: u64, len: Option<u64>) -> String {
    const MB: u64 = 1_000_000;
    let Some(len) = len.filter(|len| *len > 0) else { return format!("{} MB read", read / MB) };
    let part = |of: u64| read.min(len).saturating_mul(of).checked_div(len).unwrap_or(0);
    let full = usize::try_from(part(WIDTH)).unwrap_or(0);
    let rest = usize::try_from(WIDTH.saturating_sub(part(WIDTH))).unwrap_or(0);
    format!("[{}{}] {} % of {} MB", "#".repeat(full), ".".repeat(rest), part(100), len / MB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_the_part_that_was_read() {
        assert_eq!(
            bar(150_000_000, Some(300_000_000)),
            format!("[{}{}] 50 % of 300 MB", "#".repeat(15), ".".repeat(15))
        );
        assert_eq!(bar(7_000_000, None), "7 MB read");
        // A file that grows while it is read.
        assert!(bar(500, Some(300)).contains("100 %"));
    }
}
