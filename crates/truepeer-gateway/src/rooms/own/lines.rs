//! Bytes to lines, within a bound. Knows no protocol.

/// Puts lines together from pieces of any size.
///
/// Memory: at most [`Lines::MAX`] bytes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

/// What [`Lines::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole line without its end.
    Line {
        /// The bytes before CRLF or LF.
        text: Vec<u8>,
        /// How many bytes it took, its end included.
        taken: usize,
    },
    /// The rest is the beginning of a line, and kept.
    Wait,
    /// A line over the bound; nothing sensible can follow.
    TooLong,
}

impl Lines {
    /// The longest line, its end included.
    pub(super) const MAX: usize = 1024;

    /// The next line of what was kept and of `rest`, which is moved on behind it.
    ///
    /// A bare LF ends a line, too: nothing is passed on, so no two readers can disagree about where a line ends.
    pub(super) fn next(&mut self, rest: &mut &[u8]) -> Next {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (piece, behind) = match end {
            Some(end) => rest.split_at(end.saturating_add(1)),
            None => (*rest, &[][..]),
        };
        *rest = behind;
        if self.partial.len().saturating_add(piece.len()) > Self::MAX {
            self.partial = Vec::new();
            return Next::TooLong;
        }
        self.partial.extend_from_slice(piece);
        if end.is_none() {
            return Next::Wait;
        }
        let mut text = std::mem::take(&mut self.partial);
        let taken = text.len();
        for end in [b'\n', b'\r'] {
            text.pop_if(|last| *last == end);
        }
        Next::Line { text, taken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Next) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match lines.next(&mut rest) {
                    Next::Line { text, .. } => found.push(text),
                    Next::Wait => break,
                    Next::TooLong => return (found, Next::TooLong),
                }
            }
        }
        (found, Next::Wait)
    }

    #[test]
    fn lines_end_with_crlf_or_lf_and_nothing_else() {
        let (found, _) = lines_of(&[b"a\r\nb\n\r\n\nc\rd\r\r\ne"]);
        assert_eq!(found, [&b"a"[..], b"b", b"", b"", b"c\rd\r"]);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_lines() {
        let whole = b"EHLO lab.test\r\nNO\0OP\nQUIT\r\n";
        let expected = lines_of(&[whole]);
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at(at);
            assert_eq!(lines_of(&[head, tail]), expected, "split at {at}");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(lines_of(&bytes), expected);
    }

    #[test]
    fn the_longest_line_is_read_and_one_byte_more_is_not() {
        let mut line = vec![b'x'; Lines::MAX - 2];
        line.extend_from_slice(b"\r\n");
        assert_eq!(lines_of(&[&line]).0, [vec![b'x'; Lines::MAX - 2]]);
        line.insert(0, b'x');
        assert_eq!(lines_of(&[&line]), (vec![], Next::TooLong));
        let endless = vec![b'x'; Lines::MAX + 1];
        assert_eq!(lines_of(&[&endless]), (vec![], Next::TooLong));
        assert_eq!(lines_of(&endless.chunks(1).collect::<Vec<_>>()), (vec![], Next::TooLong));
    }
}
