//! Set notation: `{"192.0.2.10", "::1"}` becomes `["192.0.2.10", "::1"]` before the parser sees it.
//!
//! Stalwart's documentation writes lists of networks that way, which is not TOML. Only braces that hold nothing but
//! strings, commas, blanks and comments are touched, so an inline table never is. The length stays the same, and with
//! it every position. What is inside strings and comments is no brace.

/// A text that a TOML parser can read, and where it was changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bracketed {
    /// As long as the original.
    pub(super) text: String,
    /// Positions of the opening braces that were replaced, ascending.
    pub(super) opened: Vec<usize>,
}

/// Replaces the braces of every set.
pub(super) fn bracket_sets(text: &str) -> Bracketed {
    let mut bytes = text.as_bytes().to_vec();
    let mut opened = Vec::new();
    let mut scan = Scan { rest: text.as_bytes(), at: 0 };
    while let Some(byte) = scan.peek() {
        match byte {
            b'{' => {
                let open = scan.at;
                scan.skip(1);
                // A look ahead from here: a failed one changes nothing, and the scan goes on behind the brace.
                if let Some(close) = scan.clone().end_of_set() {
                    if let Some(byte) = bytes.get_mut(open) {
                        *byte = b'[';
                    }
                    if let Some(byte) = bytes.get_mut(close) {
                        *byte = b']';
                    }
                    opened.push(open);
                }
            }
            _ => scan.skip_token(),
        }
    }
    // One ASCII byte replaced another, so this is still UTF-8.
    let text = String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned());
    Bracketed { text, opened }
}

#[derive(Clone)]
struct Scan<'t> {
    rest: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    fn skip(&mut self, count: usize) {
        let count = count.min(self.rest.len());
        self.rest = self.rest.get(count..).unwrap_or_default();
        self.at = self.at.saturating_add(count);
    }

    /// Moves past a string, a comment, or one byte.
    fn skip_token(&mut self) {
        match self.peek() {
            Some(b'"' | b'\'') => self.skip_string(),
            Some(b'#') => self.skip(self.rest.iter().take_while(|byte| **byte != b'\n').count()),
            _ => self.skip(1),
        }
    }

    fn skip_string(&mut self) {
        let Some(quote) = self.peek() else { return };
        let long = self.rest.starts_with(&[quote; 3]);
        let (width, escapes) = (if long { 3 } else { 1 }, quote == b'"');
        self.skip(width);
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' if escapes => self.skip(2),
                b'\n' if !long => return, // not closed: the parser will say so
                _ if long && self.rest.starts_with(&[quote; 3]) => {
                    // Up to two quotes may stand right before the closing three.
                    let run = self.rest.iter().take_while(|byte| **byte == quote).count();
                    return self.skip(run.min(5));
                }
                _ if !long && byte == quote => return self.skip(1),
                _ => self.skip(1),
            }
        }
    }

    /// From behind an opening brace: the position of the brace that closes a set.
    fn end_of_set(mut self) -> Option<usize> {
        let mut strings = 0_usize;
        let mut needs_comma = false;
        loop {
            match self.peek()? {
                b' ' | b'\t' | b'\r' | b'\n' | b'#' => self.skip_token(),
                b'"' | b'\'' if !needs_comma => {
                    self.skip_string();
                    strings = strings.saturating_add(1);
                    needs_comma = true;
                }
                b',' if needs_comma => {
                    self.skip(1);
                    needs_comma = false;
                }
                // `{}` is an empty inline table and stays one.
                b'}' if strings > 0 => return Some(self.at),
                _ => return None,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str) {
        let bracketed = bracket_sets(before);
        assert_eq!(bracketed.text, after);
        for at in bracketed.opened {
            assert_eq!(&before[at..=at], "{");
        }
    }

    #[test]
    fn sets_become_lists() {
        check(r#"a = {"127.0.0.0/8", "::1"}"#, r#"a = ["127.0.0.0/8", "::1"]"#);
        check(r#"a = {"", "::1", ""}"#, r#"a = ["", "::1", ""]"#);
        check(
            "a = { '192.0.2.1' , # } the first\n  \"192.0.2.2\",\n}",
            "a = [ '192.0.2.1' , # } the first\n  \"192.0.2.2\",\n]",
        );
        check(r#"a = {"x\"}"} # }"#, r#"a = ["x\"}"] # }"#);
    }

    #[test]
    fn nothing_else_is_touched() {
        for text in [
            r#"a = { "x" = "y" }"#,
            r#"a = { x = ["{", "}"] }"#,
            "a = {}",
            r#"a = "{'x'}""#,
            "a = '{\"x\"}'",
            "# {\"x\"}\n",
            "a = \"\"\"\n{\"x\"}\\\"\"\" {\"\"\"\"\"",
            "a = '''{'x'}'''''\n",
            r#"a = {"x" "y"}"#,
            r#"a = {"x",,"y"}"#,
            r#"a = {"x""#,
            "a = {\"x\n\"}",
            r#"a = {,"x"}"#,
            r#"a = "not closed {"#,
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_set_inside_an_inline_table_is_found() {
        check(r#"proxy = { trusted-networks = {"::1"} }"#, r#"proxy = { trusted-networks = ["::1"] }"#);
    }

    #[test]
    fn length_never_changes() {
        for text in ["{\"ä\", 'ß'}", "{", "{\"\\", "\"\"\"", "'''\\", "{\"a\"}{\"b\"}"] {
            assert_eq!(bracket_sets(text).text.len(), text.len());
        }
    }
}
