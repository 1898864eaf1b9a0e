//! Words of a line, the same in every protocol of lines.

/// The first word of a line in capitals, for comparing, and what follows the space behind it.
pub(super) fn verb(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut words = line.splitn(2, |byte| *byte == b' ');
    (words.next().unwrap_or_default().to_ascii_uppercase(), words.next().unwrap_or_default())
}
