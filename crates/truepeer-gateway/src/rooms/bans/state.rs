//! The state file: bans survive a restart.
//!
//! Written by the admin task after changes, read at start; blocks, so never on a worker. The text is one line for
//! the version and one for each ban, fields separated by tabs:
//!
//! ```text
//! truepeer-bans 1
//! clock<TAB>1700000000000<TAB>4711000<TAB>0c2c5b0e-4f5e-4b8e-9f0a-1d2e3f405162
//! 192.0.2.7/32<TAB>1700000000<TAB>1700003600<TAB>fail2ban sshd
//! ```
//!
//! A line of `clock` says where wall clock and boot clock stood, in milliseconds, when the lines behind it were written,
//! see `mark`. The others are bans: network, since, until (seconds since 1970), reason, and the node where another one
//! ordered the ban. The reason is
//! free text; it holds no tab and no line feed by construction. A line without its line feed was cut off and does
//! not count. Lines that cannot be read are skipped, counted and named; the others are kept.
//!
//! Later lines may follow, see `journal`: the last line of a network counts, and one that ends at 0
//! lifts it.
//!
//! One process writes the file. A crash at any point leaves the old file or the new one, at worst beside a
//! temporary file that the next save replaces.

use core::fmt;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::mark::Mark;
use super::nodes::NodeName;
use super::order::BanReason;
use super::{Ban, MAX_BANS, secs, time};
use crate::facts::files::{Unopened, open_regular};
use crate::facts::network::parse_network;
use ipnet::IpNet;

/// What a state file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedBans {
    /// The bans, in the order of the file, those included that have ended.
    pub bans: Vec<Ban>,
    /// How many lines were skipped.
    pub skipped: usize,
    /// The first [`MAX_NAMED_LINES`] of them.
    pub bad_lines: Vec<BadStateLine>,
}

/// A line of a state file that was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadStateLine {
    /// Counted from 1; line 1 holds the version.
    pub line: u32,
    /// What is wrong with it.
    pub reason: BadStateReason,
}

/// Why a line was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadStateReason {
    /// It has no line feed: the file was cut off here.
    CutOff,
    /// It is not UTF-8, or longer than any line that we write.
    Encoding,
    /// It has not four fields, or five of which the last is a node.
    Fields,
    /// The first field is no network.
    Network,
    /// The second or third field is no time.
    Time,
    /// More bans than [`MAX_BANS`] came before.
    TooMany,
}

/// Why a state file is not used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StateError {
    /// It is there and cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Its first line is not the one that this version writes. Saving would destroy it.
    NotOurs {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the file at `path`, with all times by the wall clock as it is now. A missing or an empty one holds no bans.
/// Blocks.
///
/// # Errors
/// [`StateError`]; the file must not be saved over then.
pub fn load(path: &Path) -> Result<LoadedBans, StateError> {
    load_at(path, Mark::now(SystemTime::now()).as_ref())
}

/// The same by the clocks of `now`; times stay as they are written where there are none.
pub(super) fn load_at(path: &Path, now: Option<&Mark>) -> Result<LoadedBans, StateError> {
    let unreadable = |cause| StateError::Unreadable { path: path.to_owned(), cause };
    match open_regular(path) {
        Err(Unopened::System(cause)) if cause.kind() == io::ErrorKind::NotFound => Ok(LoadedBans::default()),
        Err(Unopened::System(cause)) => Err(unreadable(cause)),
        Err(Unopened::NotAFile) => {
            let what = "this is no file, but a directory, a pipe or a device";
            Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, what)))
        }
        Ok(file) => decode(BufReader::new(file), now)
            .map_err(unreadable)?
            .ok_or_else(|| StateError::NotOurs { path: path.to_owned() }),
    }
}

/// Replaces the file at `path` by one with these bans, as a whole or not at all; `mark` is where the clocks stand.
/// Blocks.
///
/// # Errors
/// What the system says. The old file is untouched then; only if the disk itself fails at the last step, the new one
/// stands in its place and may not outlive a power failure.
pub fn save(path: &Path, bans: &[Ban], mark: Option<&Mark>) -> io::Result<()> {
    // Before anything is changed: what cannot be opened cannot be flushed behind the rename.
    let folder =
        File::open(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    let temporary = temporary(path);
    // Left over from a crash. Not opened: it could be a link to elsewhere.
    match std::fs::remove_file(&temporary) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let written = write_new(&temporary, bans, mark).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The error says more than a failure to clean up would.
        let _ = std::fs::remove_file(&temporary);
        return written;
    }
    // The rename itself must reach the disk.
    folder.sync_all()
}

fn write_new(path: &Path, bans: &[Ban], mark: Option<&Mark>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut text = BufWriter::new(file);
    encode(&mut text, bans, mark)?;
    text.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The text of a state file with `bans`, and where the clocks stand now.
#[must_use]
pub fn to_text(bans: &[Ban]) -> Vec<u8> {
    let mut text = Vec::new();
    // Memory takes everything.
    let _ = encode(&mut text, bans, Mark::now(SystemTime::now()).as_ref());
    text
}

/// What [`to_text`] has written; `None` if it is something else.
#[must_use]
pub fn of_text(text: &[u8]) -> Option<Vec<Ban>> {
    let now = Mark::now(SystemTime::now());
    decode(text, now.as_ref()).ok()?.filter(|loaded| loaded.skipped == 0).map(|loaded| loaded.bans)
}

/// Writes the text of a state file.
fn encode(text: &mut impl Write, bans: &[Ban], mark: Option<&Mark>) -> io::Result<()> {
    writeln!(text, "{VERSION}")?;
    encode_mark(text, mark)?;
    for ban in bans {
        encode_line(text, ban)?;
    }
    Ok(())
}

/// One line that is appended.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// This ban holds from now on.
    Added(&'a Ban),
    /// No ban of this network holds any more.
    Removed(IpNet),
}

/// Writes lines that follow a whole file; the last mark holds for them where there is none here. A ban that is lifted is
/// a line that ends at 0.
pub(super) fn encode_changes(
    text: &mut impl Write,
    changes: &[Change<'_>],
    mark: Option<&Mark>,
) -> io::Result<()> {
    encode_mark(text, mark)?;
    for change in changes {
        match change {
            Change::Added(ban) => encode_line(text, ban)?,
            Change::Removed(network) => writeln!(text, "{network}\t0\t0\t")?,
        }
    }
    Ok(())
}

fn encode_mark(text: &mut impl Write, mark: Option<&Mark>) -> io::Result<()> {
    mark.map_or(Ok(()), |mark| writeln!(text, "{}", mark.line()))
}

fn encode_line(text: &mut impl Write, ban: &Ban) -> io::Result<()> {
    let (since, until) = (secs(ban.since), secs(ban.until));
    write!(text, "{}\t{since}\t{until}\t{}", ban.network, ban.reason.as_str())?;
    match &ban.node {
        Some(node) => writeln!(text, "\t{node}"),
        None => writeln!(text),
    }
}

/// Reads the text of a state file; `None` if it is none of ours.
fn decode(mut text: impl BufRead, now: Option<&Mark>) -> io::Result<Option<LoadedBans>> {
    let mut mark = None;
    let mut loaded = LoadedBans::default();
    let mut latest: HashMap<IpNet, usize> = HashMap::new();
    let mut bans: Vec<Option<Ban>> = Vec::new();
    let mut buf = Vec::new();
    let mut line: u32 = 0;
    loop {
        buf.clear();
        let cap = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        if text.by_ref().take(cap).read_until(b'\n', &mut buf)? == 0 {
            loaded.bans = bans.into_iter().flatten().collect();
            return Ok(Some(loaded));
        }
        line = line.saturating_add(1);
        let content = match buf.strip_suffix(b"\n") {
            Some(content) => Ok(content),
            None if buf.len() < MAX_LINE => Err(BadStateReason::CutOff),
            None => {
                text.skip_until(b'\n')?;
                Err(BadStateReason::Encoding)
            }
        };
        if line == 1 {
            match content {
                Ok(content) if content == VERSION.as_bytes() => continue,
                // The very beginning of our own first line: nothing can be lost.
                Err(BadStateReason::CutOff) if VERSION.as_bytes().starts_with(&buf) => {}
                _ => return Ok(None),
            }
        }
        if let Some(found) = content.ok().and_then(Mark::parse) {
            mark = Some(found);
            continue;
        }
        let ban = match content {
            // A line about a network that is known already takes no place.
            Ok(content) => decode_line(content).and_then(|ban| {
                let fits =
                    latest.len() < MAX_BANS || latest.contains_key(&ban.network) || secs(ban.until) == 0;
                if fits { Ok(ban) } else { Err(BadStateReason::TooMany) }
            }),
            Err(reason) => Err(reason),
        };
        match ban {
            // The last line of a network counts; one that ends in 1970 says that the ban was lifted.
            Ok(ban) => {
                let network = ban.network;
                let ban = (secs(ban.until) > 0).then_some(ban);
                let ban = match (&mark, now) {
                    (Some(mark), Some(now)) => ban.map(|ban| mark.moved_to(now, ban)),
                    _ => ban,
                };
                let before = match ban {
                    Some(_) => latest.insert(network, bans.len()),
                    None => latest.remove(&network),
                };
                if let Some(slot) = before.and_then(|at| bans.get_mut(at)) {
                    *slot = None;
                }
                bans.extend(ban.map(Some));
            }
            Err(reason) => {
                loaded.skipped = loaded.skipped.saturating_add(1);
                if loaded.bad_lines.len() < MAX_NAMED_LINES {
                    loaded.bad_lines.push(BadStateLine { line, reason });
                }
            }
        }
    }
}

fn decode_line(content: &[u8]) -> Result<Ban, BadStateReason> {
    let content = std::str::from_utf8(content).map_err(|_| BadStateReason::Encoding)?;
    let mut fields = content.split('\t');
    let (Some(network), Some(since), Some(until), Some(reason), node, None) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(BadStateReason::Fields);
    };
    let node = node.map(|node| NodeName::new(node).ok_or(BadStateReason::Fields)).transpose()?;
    let network = parse_network(network).map_err(|_| BadStateReason::Network)?;
    let seconds = |text: &str| text.parse().map(time).map_err(|_| BadStateReason::Time);
    let (since, until, reason) = (seconds(since)?, seconds(until)?, BanReason::new(reason));
    Ok(Ban { network, since, until, reason, node })
}

/// In the same directory, so that renaming replaces; always the same name, so that crashes leave one at most.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

impl fmt::Display for BadStateLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl fmt::Display for BadStateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("cut off"),
            Self::Encoding => f.write_str("not a line of text"),
            Self::Fields => f.write_str("not four fields"),
            Self::Network => f.write_str("no network"),
            Self::Time => f.write_str("no time"),
            Self::TooMany => write!(f, "more than {MAX_BANS} bans"),
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, .. } => write!(f, "{}: cannot be read", path.display()),
            Self::NotOurs { path } => write!(
                f,
                "{}: the first line is not \"{VERSION}\"; move the file away if it may be replaced",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { cause, .. } => Some(cause),
            Self::NotOurs { .. } => None,
        }
    }
}

/// How many bad lines are named; the others are counted.
pub const MAX_NAMED_LINES: usize = 5;

/// The first line.
const VERSION: &str = "truepeer-bans 1";

/// Longer than any line that is written: a network, two times and a reason.
const MAX_LINE: usize = 512;

#[cfg(test)]
pub(super) mod tests;
