//! A piece of what somebody else wrote, so that it can stand in one line on any terminal.
//!
//! Used for every `seen`. Knows nothing of what the piece means.

/// The most characters that an excerpt has, the mark of a cut included.
pub const EXCERPT_MAX: usize = 240;
/// Stands where an excerpt was cut.
const CUT: &str = "...";

/// `text` on one line, cut to [`EXCERPT_MAX`] characters.
///
/// Printable ASCII and letters and digits of any script stay; everything else, such as line ends, terminal escapes
/// and marks that change the direction of writing, is shown as its number.
#[must_use]
pub fn excerpt(text: &[u8]) -> String {
    let room = EXCERPT_MAX.saturating_sub(CUT.len());
    let mut shown = String::new();
    let mut len = 0_usize;
    for chunk in text.utf8_chunks() {
        let (valid, invalid) = (chunk.valid().chars(), chunk.invalid().iter());
        for piece in valid.map(escape).chain(invalid.map(|byte| format!("\\x{byte:02x}"))) {
            len = len.saturating_add(piece.chars().count());
            if len > room {
                shown.push_str(CUT);
                return shown;
            }
            shown.push_str(&piece);
        }
    }
    shown
}

fn escape(character: char) -> String {
    match character {
        ' '..='~' => character.to_string(),
        _ if character.is_alphanumeric() => character.to_string(),
        '\r' | '\n' | '\t' => character.escape_default().to_string(),
        '\0'..='\x7f' => format!("\\x{:02x}", u32::from(character)),
        _ => character.escape_default().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_move_a_cursor_is_shown_as_a_number() {
        assert_eq!(excerpt(b"a\r\n\x1b[31m\"b\"\xff"), "a\\r\\n\\x1b[31m\"b\"\\xff");
        assert_eq!(excerpt("größe \u{202e}x".as_bytes()), "größe \\u{202e}x");
        assert_eq!(excerpt(b"C:\\x"), "C:\\x");
    }

    #[test]
    fn an_excerpt_is_never_longer_than_its_bound() {
        let shown = excerpt(&[b'\n'; 100_000]);
        assert!(shown.len() <= EXCERPT_MAX && shown.ends_with("..."), "{shown}");
        assert_eq!(excerpt(&[b'x'; EXCERPT_MAX - 3]).len(), EXCERPT_MAX - 3);
    }
}
