//! From what a person pastes or names to the bytes of a header: hexadecimal, base64, text with escapes, or as they are.
//!
//! Guesses from the text alone, and only where one reading gives a header or nothing else can be meant.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use truepeer::proto::{V1_SIGNATURE, V2_SIGNATURE};
use truepeer_doctor::logs::unescape;

/// The most that is read of a file or of standard input, captures and logs apart: the longest header is 65,551 bytes,
/// and a dump of it has a few characters for each.
pub const MOST: u64 = 1024 * 1024;

/// How bytes are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum InputFormat {
    /// Whichever of the others it looks like
    Auto,
    /// Digits in base 16, separated or not, or a dump as `xxd` or `hexdump -C` prints it
    Hex,
    /// Base64, of either alphabet
    Base64,
    /// Text with escapes such as \r, \x0d, \015
    Escaped,
    /// The bytes themselves
    Raw,
    /// A packet capture, pcap or pcapng
    Pcap,
}

/// Reads at most [`MOST`] bytes.
///
/// # Errors
/// When reading fails, or there is more.
pub fn read_all(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MOST.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MOST) {
        return Err(io::Error::other(format!(
            "more than {MOST} bytes, which is no header; `--log` reads logs of any length"
        )));
    }
    Ok(bytes)
}

/// The bytes that `text` stands for.
///
/// # Errors
/// Where it is not what `format` says, with what is wrong.
pub fn bytes(text: &[u8], format: InputFormat) -> Result<Vec<u8>, String> {
    match format {
        InputFormat::Raw | InputFormat::Pcap => Ok(text.to_vec()),
        InputFormat::Hex => hex(text).ok_or_else(|| "no pairs of digits in base 16 (0-9, a-f)".to_owned()),
        InputFormat::Base64 => base64(text).ok_or_else(|| "no base64".to_owned()),
        InputFormat::Escaped => Ok(escaped(text)),
        InputFormat::Auto => Ok(guess(text)),
    }
}

fn guess(text: &[u8]) -> Vec<u8> {
    if begins_header(text) && !text.contains(&b'\\') {
        return text.to_vec();
    }
    if let Some(bytes) = hex(text) {
        return bytes;
    }
    if let Some(bytes) = base64(text).filter(|bytes| begins_header(bytes)) {
        return bytes;
    }
    let bytes = escaped(text);
    if begins_header(&bytes) || text.contains(&b'\\') { bytes } else { text.to_vec() }
}

fn begins_header(bytes: &[u8]) -> bool {
    bytes.starts_with(&V1_SIGNATURE) || bytes.starts_with(&V2_SIGNATURE)
}

/// A shell's quotation may have left a line end of its own.
fn escaped(text: &[u8]) -> Vec<u8> {
    let text = if text.contains(&b'\\') { text.trim_ascii_end() } else { text };
    let quoted = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    unescape(quoted.unwrap_or(text))
}

/// Digits in base 16, two for each byte; `None` if there is anything else.
fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut digits = Vec::new();
    for line in text.lines() {
        // A dump ends with the offset of its end.
        if u64::from_str_radix(line.trim(), 16)
            .is_ok_and(|end| line.trim().len() > 6 && end > 0 && end.saturating_mul(2) == len(&digits))
        {
            break;
        }
        let line = dumped(line).unwrap_or(line);
        let line = line.replace("\\x", " ").replace("0x", " ");
        for word in line.split(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | ';' | '-' | '<' | '>'))
        {
            for c in word.chars() {
                digits.push(u8::try_from(c.to_digit(16)?).ok()?);
            }
        }
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    (!pairs.is_empty() && rest.is_empty())
        .then(|| pairs.iter().map(|[high, low]| high.wrapping_mul(16).wrapping_add(*low)).collect())
}

fn len(digits: &[u8]) -> u64 {
    u64::try_from(digits.len()).unwrap_or(u64::MAX)
}

/// The bytes of a line of a dump, between its offset and its text.
fn dumped(line: &str) -> Option<&str> {
    const OFFSET: std::ops::RangeInclusive<usize> = 4..=16;
    let (offset, rest) = line.split_once([':', ' '])?;
    let is_offset = OFFSET.contains(&offset.len())
        && offset.chars().all(|c| c.is_ascii_hexdigit())
        && (line.get(offset.len()..)?.starts_with(':') || rest.starts_with(' '));
    let rest = rest.trim_start();
    let bytes = rest.split_once("  |").or_else(|| rest.rsplit_once("  ")).map_or(rest, |(bytes, _)| bytes);
    is_offset.then_some(bytes)
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    [STANDARD, STANDARD_NO_PAD, URL_SAFE]
        .iter()
        .find_map(|alphabet| alphabet.decode(&text).ok())
        .filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

    #[test]
    fn every_way_to_write_a_header_down_is_read() {
        for (text, expected) in [
            (&b"0d0a0d0a000d0a515549540a20000000"[..], V2),
            (b"0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A 20 00 00 00\n", V2),
            (b"0x0d,0x0a,0x0d,0x0a,0x00,0x0d,0x0a,0x51,0x55,0x49,0x54,0x0a,0x20,0x00,0x00,0x00", V2),
            (br"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00", V2),
            (br"\r\n\r\n\0\r\nQUIT\n \x00\x00\x00", V2),
            (br"\r\n\r\n\000\r\nQUIT\n \000\000\000", V2),
            (b"DQoNCgANClFVSVQKIAAAAA==\n", V2),
            (b"DQoNCgANClFVSVQKIAAAAA", V2),
            (b"00000000: 0d0a 0d0a 000d 0a51 5549 540a 2000 0000  .......QUIT. ...\n", V2),
            (
                b"00000000  0d 0a 0d 0a 00 0d 0a 51  55 49 54 0a 20 00 00 00  |.......QUIT. ...|\n00000010\n",
                V2,
            ),
            (V2, V2),
            (V1, V1),
            (br"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n", V1),
            (b"\"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\\r\\n\"\n", V1),
            (b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n"),
            (b"", b""),
        ] {
            assert_eq!(
                bytes(text, InputFormat::Auto).unwrap().escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_not_what_was_said_is_refused() {
        assert!(bytes(b"0d0", InputFormat::Hex).is_err());
        assert!(bytes(b"zz", InputFormat::Hex).is_err());
        assert!(bytes(b"??", InputFormat::Base64).is_err());
        assert_eq!(bytes(b"0d0a", InputFormat::Raw).unwrap(), b"0d0a");
    }
}
