//! Files with one address or network a line, as feeds and people write them.
//!
//! Read when a configuration is loaded, never by the walk of a connection. A bad line is skipped, counted and named;
//! a line that would shut out half the world, and a file that cannot be read, are errors, so that at a reload the
//! old list stays. Knows nothing of what the list is for.

use core::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::facts::files::{Unopened, open_regular};
use crate::facts::network::{NetworkError, WIDEST_V4, WIDEST_V6, is_too_wide, parse_network};

use super::table::{ListSource, MAX_ENTRIES, RuleList};

/// The readable lines of a file, and what was wrong with the others.
///
/// A line is an address or a network. What follows `#` or `;` is a comment; blank lines, space around the network, a
/// byte order mark and CRLF are fine. Anything else behind a network makes the line bad, even after a space: in a
/// file of columns (`first last`) a guess would shut out the wrong clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFile {
    list: RuleList,
    skipped: usize,
    bad_lines: Vec<BadLine>,
}

/// A line that was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub reason: BadLineReason,
}

/// Why a line was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadLineReason {
    /// It is no address or network.
    Network(NetworkError),
    /// Something that is no comment follows the network.
    Trailing,
    /// It is not UTF-8.
    Encoding,
    /// It is longer than [`MAX_LINE`].
    TooLong,
}

/// Why a file is not used at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListFileError {
    /// It is missing or cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is a directory, a pipe or a device.
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// A line holds a network wider than /8 (IPv4) or /16 (IPv6).
    TooWide {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u32,
        /// What stands there.
        network: IpNet,
    },
    /// It has more entries than a table may hold.
    TooMany {
        /// The file.
        path: PathBuf,
    },
}

impl ListFile {
    /// Reads the file at `path`, which must be a regular file. Blocks.
    ///
    /// # Errors
    /// [`ListFileError`]: fatal at start; at a reload the old list stays.
    pub fn read(path: &Path) -> Result<Self, ListFileError> {
        let unreadable = |cause| ListFileError::Unreadable { path: path.to_owned(), cause };
        match open_regular(path) {
            Ok(file) => Self::parse(path, BufReader::new(file)),
            Err(Unopened::System(cause)) => Err(unreadable(cause)),
            Err(Unopened::NotAFile) => Err(ListFileError::NotAFile { path: path.to_owned() }),
        }
    }

    /// As [`ListFile::read`], for a text that is already open; `path` names it.
    ///
    /// # Errors
    /// [`ListFileError`].
    pub fn parse(path: &Path, mut text: impl BufRead) -> Result<Self, ListFileError> {
        let list = RuleList::empty(ListSource::File(path.into()));
        let mut file = Self { list, skipped: 0, bad_lines: Vec::new() };
        let mut buf = Vec::new();
        let mut line: u32 = 0;
        while let Some(read) = read_line(&mut text, &mut buf)
            .map_err(|cause| ListFileError::Unreadable { path: path.to_owned(), cause })?
        {
            line = line.saturating_add(1);
            let bytes = if line == 1 { buf.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&buf) } else { &buf };
            let parsed = match read {
                ReadLine::Whole => parse_line(bytes),
                ReadLine::Cut => Err(BadLineReason::TooLong),
            };
            match parsed {
                Ok(None) => {}
                Ok(Some(network)) if is_too_wide(network) => {
                    return Err(ListFileError::TooWide { path: path.to_owned(), line, network });
                }
                Ok(Some(_)) if file.list.len() >= MAX_ENTRIES => {
                    return Err(ListFileError::TooMany { path: path.to_owned() });
                }
                Ok(Some(network)) => file.list.push(network, line),
                Err(reason) => file.skip(BadLine { line, reason }),
            }
        }
        Ok(file)
    }

    fn skip(&mut self, bad: BadLine) {
        self.skipped = self.skipped.saturating_add(1);
        if self.bad_lines.len() < MAX_NAMED_LINES {
            self.bad_lines.push(bad);
        }
    }

    /// How many networks it holds, repeated ones included.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.list.len()
    }

    /// How many lines were skipped.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The first [`MAX_NAMED_LINES`] of the lines that were skipped.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad_lines
    }

    /// The networks, for an [`AccessScope`](super::AccessScope).
    #[must_use]
    pub fn into_list(self) -> RuleList {
        self.list
    }
}

/// `deny.txt: 1203 entries, 2 lines skipped: line 7: not an IP address or network; line 9: ...`
impl fmt::Display for ListFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} entries", self.list.source(), self.entries())?;
        if self.skipped == 0 {
            return Ok(());
        }
        write!(f, ", {} lines skipped", self.skipped)?;
        for (index, bad) in self.bad_lines.iter().enumerate() {
            write!(f, "{} {bad}", if index == 0 { ":" } else { ";" })?;
        }
        if self.skipped > self.bad_lines.len() {
            f.write_str("; and more")?;
        }
        if self.list.is_empty() {
            f.write_str("; no line is a network: is this the right file?")?;
        }
        Ok(())
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl fmt::Display for BadLineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(reason) => reason.fmt(f),
            Self::Trailing => f.write_str("text behind the network; a comment begins with # or ;"),
            Self::Encoding => f.write_str("not UTF-8"),
            Self::TooLong => write!(f, "longer than {MAX_LINE} bytes"),
        }
    }
}

impl fmt::Display for ListFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, .. } => write!(f, "{}: cannot be read", path.display()),
            Self::NotAFile { path } => write!(f, "{}: not a regular file", path.display()),
            Self::TooWide { path, line, network } => write!(
                f,
                "{}, line {line}: {network} is wider than /{WIDEST_V4} (IPv4) or /{WIDEST_V6} (IPv6), which no file may hold; a network that is meant goes into the configuration itself",
                path.display()
            ),
            Self::TooMany { path } => write!(f, "{}: more than {MAX_ENTRIES} entries", path.display()),
        }
    }
}

impl std::error::Error for ListFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// How much of a line is in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadLine {
    Whole,
    /// The rest was read and dropped.
    Cut,
}

/// Reads one line without its line feed; `None` at the end of the text.
fn read_line(text: &mut impl BufRead, buf: &mut Vec<u8>) -> io::Result<Option<ReadLine>> {
    buf.clear();
    // One byte more than a line may have, for its line feed.
    let cap = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
    if text.by_ref().take(cap).read_until(b'\n', buf)? == 0 {
        return Ok(None);
    }
    if buf.last() == Some(&b'\n') {
        buf.pop();
    } else if buf.len() > MAX_LINE {
        text.skip_until(b'\n')?;
        return Ok(Some(ReadLine::Cut));
    }
    Ok(Some(ReadLine::Whole))
}

fn parse_line(bytes: &[u8]) -> Result<Option<IpNet>, BadLineReason> {
    // The comment goes first: feeds put names of any encoding into it.
    let content = bytes.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default().trim_ascii();
    if content.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(content).map_err(|_| BadLineReason::Encoding)?;
    match text.split_once(|c: char| c.is_ascii_whitespace()) {
        None => parse_network(text).map(Some).map_err(BadLineReason::Network),
        Some((first, _)) => Err(match parse_network(first) {
            Ok(_) => BadLineReason::Trailing,
            Err(reason) => BadLineReason::Network(reason),
        }),
    }
}

/// The longest line in bytes, its line feed not counted.
pub const MAX_LINE: usize = 1024;

/// How many bad lines are named; the others are counted.
pub const MAX_NAMED_LINES: usize = 5;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests;
