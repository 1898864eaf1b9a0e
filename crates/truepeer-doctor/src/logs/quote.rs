//! The bytes that a log line quotes: back from how the program wrote them.

/// The most that is read of a quotation.
const MOST: usize = 256;

/// The bytes behind `introduction` in `line`, up to the end of the quotation or of the line.
///
/// `None` where the line does not have the introduction.
pub(super) fn behind(line: &[u8], introduction: &str) -> Option<Vec<u8>> {
    let lower = line.to_ascii_lowercase();
    let at = memchr::memmem::find(&lower, introduction.as_bytes())?.saturating_add(introduction.len());
    let mut rest = line.get(at..)?;
    while let [b' ' | b'\\', more @ ..] = rest {
        // The backslash of a quotation mark inside JSON; any other one belongs to the quoted bytes.
        if rest.first() == Some(&b'\\') && more.first() != Some(&b'"') {
            break;
        }
        rest = more;
    }
    if let Some(bytes) = decimal_list(rest) {
        return Some(bytes);
    }
    let rest = rest.strip_prefix(b"&quot;").unwrap_or(rest);
    // Marks as word processors and chats make them.
    if let Some(inner) = rest.strip_prefix("\u{201c}".as_bytes()) {
        let end = memchr::memmem::find(inner, "\u{201d}".as_bytes()).unwrap_or(inner.len());
        return Some(unescape(inner.get(..end.min(MOST))?));
    }
    let quoted = match rest {
        [mark @ (b'"' | b'\'' | b'`'), inner @ ..] => {
            let end = inner.windows(2).position(|pair| ends(pair, *mark));
            let whole = || inner.iter().position(|byte| byte == mark);
            inner.get(..end.or_else(whole).unwrap_or(inner.len()))?
        }
        _ => rest,
    };
    let quoted = quoted.strip_suffix(b"\\").unwrap_or(quoted);
    Some(unescape(quoted.get(..quoted.len().min(MOST)).unwrap_or(quoted)))
}

/// `[71 69 84]`, as Go and others print bytes; nothing where a number is none.
fn decimal_list(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"[")?;
    let inner = inner.get(..inner.iter().take(MOST.saturating_mul(5)).position(|byte| *byte == b']')?)?;
    let words = inner.split(|byte| matches!(byte, b' ' | b',')).filter(|word| !word.is_empty()).take(MOST);
    let bytes: Option<Vec<u8>> = words.map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}

/// Whether two addresses and two ports stand right behind `from`, past marks: what a version 1 line ends in.
pub(super) fn addresses_behind(line: &[u8], from: usize) -> bool {
    let rest = line.get(from..).unwrap_or_default();
    let is_mark = |byte: &u8| matches!(byte, b' ' | b':' | b'=' | b'(' | b'\'' | b'"' | b'[' | b'<' | b'`');
    let marks = rest.iter().take(6).take_while(|byte| is_mark(byte)).count();
    let mut words = rest.get(marks..).unwrap_or_default().splitn(5, |byte| *byte == b' ');
    let mut addr = || -> Option<std::net::IpAddr> { std::str::from_utf8(words.next()?).ok()?.parse().ok() };
    if addr().is_none() || addr().is_none() {
        return false;
    }
    let source = words.next().is_some_and(|word| is_port(word, word.len()));
    // The quotation, or the line, may end behind the last one.
    source
        && words.next().is_some_and(|word| {
            let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
            is_port(word, digits)
        })
}

/// Whether the first `len` characters are all digits of one port.
fn is_port(word: &[u8], len: usize) -> bool {
    let digits = word.get(..len).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.is_some_and(|digits| digits.parse::<u16>().is_ok())
}

/// A mark that closes: something other than text follows.
fn ends(pair: &[u8], mark: u8) -> bool {
    pair.first() == Some(&mark)
        && pair.get(1).is_some_and(|next| matches!(next, b' ' | b',' | b')' | b'\\' | b'"'))
}

/// Bytes from text with `\r`, `\x16`, `\026`, `\u0016`, as programs write them; twice where JSON wrote the backslashes
/// once more.
#[must_use]
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let once = pass(text);
    if memchr::memchr(b'\\', &once).is_some() { pass(&once) } else { once }
}

fn pass(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let (byte, used) = match (first, behind) {
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', [b'a', ..]) => (7, 1),
            (b'\\', [b'\\', ..]) => (b'\\', 1),
            (b'\\', [b'"', ..]) => (b'"', 1),
            (b'\\', [b'x', high, low, ..]) if is_hex(*high, *low) => (hex(*high, *low), 3),
            (b'\\', [b'u', b'0', b'0', high, low, ..]) if is_hex(*high, *low) => (hex(*high, *low), 5),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                let digit = |digit: u8| digit.wrapping_sub(b'0');
                (
                    digit(*a)
                        .wrapping_mul(64)
                        .wrapping_add(digit(*b).wrapping_mul(8))
                        .wrapping_add(digit(*c)),
                    3,
                )
            }
            (b'\\', [b'0', ..]) => (0, 1),
            _ => (*first, 0),
        };
        bytes.push(byte);
        rest = behind.get(used..).unwrap_or_default();
    }
    bytes
}

fn is_hex(high: u8, low: u8) -> bool {
    high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
}

/// Two digits that are hexadecimal.
fn hex(high: u8, low: u8) -> u8 {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digit(high).unwrap_or(0).wrapping_mul(16).wrapping_add(digit(low).unwrap_or(0))
}

/// The number right behind `from`, in base 10 or 16, past marks and a word such as "received".
pub(super) fn number_behind(line: &[u8], from: usize) -> Option<u64> {
    const WORDS: &[&[u8]] = &[b"received", b"got", b"was", b"is", b"value", b"byte", b"of"];
    let is_mark =
        |byte: &u8| matches!(byte, b' ' | b':' | b'=' | b'(' | b',' | b'\'' | b'"' | b'[' | b'<' | b'`');
    let mut rest = line.get(from..)?;
    for _ in 0..3 {
        rest = rest.get(rest.iter().take(4).take_while(|byte| is_mark(byte)).count()..)?;
        let word = WORDS.iter().find(|word| rest.len() > word.len() && rest.starts_with(word));
        let Some(word) = word else { break };
        rest = rest.get(word.len()..)?;
    }
    // The character itself, whose marks were passed.
    match rest {
        [b'\\', b'r', b'\'' | b'"' | b'`', ..] => return Some(u64::from(b'\r')),
        [b'\\', b'n', b'\'' | b'"' | b'`', ..] => return Some(u64::from(b'\n')),
        [letter, b'\'' | b'"' | b'`', ..] if letter.is_ascii_alphabetic() => return Some(u64::from(*letter)),
        _ => {}
    }
    let hexadecimal = rest.strip_prefix(b"0x").or_else(|| rest.strip_prefix(b"\\x"));
    let (digits, base) = hexadecimal.map_or((rest, 10), |digits| (digits, 16));
    let len = digits.iter().take(9).take_while(|byte| char::from(**byte).is_digit(base)).count();
    // A letter or a dot behind it belongs to something else: `80ms`, `13.2`.
    let behind = digits.get(len..)?;
    let more = match behind {
        [b'.', next, ..] => next.is_ascii_digit(),
        [byte, ..] => byte.is_ascii_alphanumeric(),
        [] => false,
    };
    let text = std::str::from_utf8(digits.get(..len)?).ok()?;
    if more { None } else { u64::from_str_radix(text, base).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_bytes_are_read_as_the_program_wrote_them() {
        for (line, expected) in [
            (&br#"broken header: "" while reading"#[..], &b""[..]),
            (br#"broken header: "GET / HTTP/1.1 Host: x" while reading"#, b"GET / HTTP/1.1 Host: x"),
            (br#"{"log":"broken header: \"\" while"}"#, b""),
            (br#"{"log":"broken header: \"\\u0016\\u0003\" while"}"#, b"\x16\x03"),
            (br"broken header: EHLO client.example\r\n", b"EHLO client.example\r\n"),
            (br"broken header: \026\003\001", b"\x16\x03\x01"),
            (br"broken header: \r\n\r\n\000\r\nQUIT\n!", b"\r\n\r\n\0\r\nQUIT\n!"),
            (br"broken header: '\x0d\x0a'", b"\r\n"),
            ("broken header: \u{201c}GET / HTTP/1.1\u{201d} while".as_bytes(), b"GET / HTTP/1.1"),
        ] {
            assert_eq!(behind(line, "broken header:").as_deref(), Some(expected), "{}", line.escape_ascii());
        }
        assert_eq!(behind(b"nothing", "broken header:"), None);
    }

    #[test]
    fn a_number_is_read_right_behind_its_name() {
        for (line, expected) in [
            ("type 80", Some(80)),
            ("type: 0x50)", Some(80)),
            ("type, received: 82", Some(82)),
            ("type,13}", Some(13)),
            ("type (13); more", Some(13)),
            ("type '\\x0d'", Some(13)),
            ("type=80.", Some(80)),
            ("type 'P' (0x50)", Some(80)),
            ("type '\\r'", Some(13)),
            ("type 80ms", None),
            ("type 13.2", None),
            ("type of 80", Some(80)),
            ("type frame", None),
            ("type", None),
        ] {
            assert_eq!(number_behind(line.as_bytes(), 4), expected, "{line}");
        }
    }
}
