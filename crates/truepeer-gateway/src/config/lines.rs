//! Which line a byte of the file is on: read once, then looked up, so that a file of any length is linear.

/// Where each line ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    ends: Vec<usize>,
}

impl Lines {
    /// The lines of `text`, which is read once.
    pub(super) fn new(text: &str) -> Self {
        #[cfg(test)]
        READ.with(|read| read.set(read.get().saturating_add(text.len())));
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at);
        Self { ends: ends.collect() }
    }

    /// The number of the line that holds byte `at`, from 1.
    pub(super) fn number(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at).saturating_add(1)
    }
}

#[cfg(test)]
thread_local! {
    /// Bytes that this thread has read for line numbers.
    pub(super) static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_its_end() {
        let lines = Lines::new("a\n\nbc\nd");
        let numbers: Vec<_> = (0..=7).map(|at| lines.number(at)).collect();
        assert_eq!(numbers, [1, 1, 2, 3, 3, 3, 4, 4]);
        assert_eq!(Lines::default().number(9), 1);
    }
}
