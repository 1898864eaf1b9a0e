//! What strangers say, made fit to be seen: escaped, so that no terminal obeys it, and cut.

/// At most `most` bytes of `bytes`, escaped; how many are left out is said behind.
#[must_use]
pub fn shown(bytes: &[u8], most: usize) -> String {
    let kept = bytes.get(..most).unwrap_or(bytes);
    let left = bytes.len().saturating_sub(kept.len());
    let mut text = kept.escape_ascii().to_string();
    if left > 0 {
        text.push_str(&format!(" ... ({left} bytes more)"));
    }
    text
}

/// Text of a protocol, line by line: each escaped and cut, without its end; at most `lines` of them.
#[must_use]
pub fn shown_lines(bytes: &[u8], lines: usize) -> Vec<String> {
    let all: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let mut out: Vec<String> = all
        .iter()
        .take(lines)
        .map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            shown(line.strip_suffix(b"\r").unwrap_or(line), MAX_LINE)
        })
        .collect();
    let left = all.len().saturating_sub(lines);
    if left > 0 {
        out.push(format!("... ({left} lines more)"));
    }
    out
}

/// How much of a line is shown.
const MAX_LINE: usize = 200;

/// Escapes what a terminal would obey, and keeps line ends, tabs and text of any language.
///
/// `pending` holds a character that is not whole yet; it belongs to one stream.
pub fn for_terminal(bytes: &[u8], pending: &mut Vec<u8>) -> String {
    let mut out = String::new();
    pending.extend_from_slice(bytes);
    let all = std::mem::take(pending);
    let mut rest = all.as_slice();
    loop {
        let (good, bad) = match std::str::from_utf8(rest) {
            Ok(text) => (text, None),
            Err(error) => {
                let (good, behind) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(good).unwrap_or_default(), Some((behind, error.error_len())))
            }
        };
        for c in good.chars() {
            match c {
                '\n' | '\t' => out.push(c),
                '\r' => {}
                // Directions of writing, too, which are not control characters to everybody.
                c if c.is_control()
                    || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
                {
                    out.extend(c.escape_default());
                }
                c => out.push(c),
            }
        }
        match bad {
            None => return out,
            Some((behind, None)) => {
                *pending = behind.to_vec();
                return out;
            }
            Some((behind, Some(len))) => {
                let (bad, behind) = behind.split_at(len.min(behind.len()));
                out.push_str(&bad.escape_ascii().to_string());
                rest = behind;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(shown(b"\x1b[2J\xff\r\n", 100), "\\x1b[2J\\xff\\r\\n");
        assert_eq!(shown(b"abcdef", 4), "abcd ... (2 bytes more)");
        assert_eq!(shown_lines(b"a\r\nb\nc", 2), ["a", "b", "... (1 lines more)"]);
        let mut pending = Vec::new();
        assert_eq!(
            for_terminal("grüß\r\n\t\u{1b}]0;x\u{7}\u{202e}".as_bytes(), &mut pending),
            "grüß\n\t\\u{1b}]0;x\\u{7}\\u{202e}"
        );
        assert_eq!(for_terminal(b"\xc3", &mut pending), "");
        assert_eq!(for_terminal(b"\xbc\xff\x9b1m", &mut pending), "ü\\xff\\x9b1m");
        assert_eq!(pending, b"");
    }
}
