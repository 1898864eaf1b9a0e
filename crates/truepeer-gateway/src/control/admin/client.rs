//! The commands' end of the admin socket; blocking, since a command has nothing else to do.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{ANSWER_TIME, OpenConnections, Request};

/// The longest line of an answer that is read.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// How long an answer may take: a little more than the server allows itself.
const PATIENCE: Duration = ANSWER_TIME.saturating_add(Duration::from_secs(5));

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// The socket cannot be connected to.
    Unreachable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
        /// Whose it is, if it can be seen.
        owner: Option<u32>,
    },
    /// The answer broke off, or was none.
    Broken(String),
    /// The server says no, and why.
    Refused(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Unreachable { path, error, owner } = self else {
            let (Self::Broken(text) | Self::Refused(text)) = self else { return Ok(()) };
            return f.write_str(text);
        };
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound => write!(
                f,
                "there is no socket at {path}: either truepeer is not running, or it runs with another `[admin] socket` (`--socket PATH` names one)"
            ),
            io::ErrorKind::ConnectionRefused => write!(
                f,
                "nobody answers on {path}: truepeer is not running, and left its socket behind; the next start replaces it"
            ),
            io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "this user may not open {path}: run the command as root, or as the user that truepeer runs as"
                )?;
                owner.map_or(Ok(()), |uid| write!(f, " (uid {uid})"))
            }
            _ => write!(f, "cannot connect to {path}: {error}"),
        }
    }
}

impl std::error::Error for AskError {}

/// The lines of an answer, up to the last one, which carries `ok`.
#[derive(Debug)]
pub struct Answer {
    lines: BufReader<UnixStream>,
    line: Vec<u8>,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// One of many.
    Item(Value),
    /// The end, and all went well.
    Done(Value),
}

/// Asks the server behind `socket`.
///
/// # Errors
/// If it cannot be reached. What it says comes with [`Answer::next_line`].
pub fn ask(socket: &Path, request: &Request) -> Result<Answer, AskError> {
    let unreachable = |error| AskError::Unreachable {
        path: socket.to_owned(),
        error,
        owner: std::fs::metadata(socket).ok().map(|found| found.uid()),
    };
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    let sent = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(format!("{}\n", request.to_line()).as_bytes()));
    sent.map_err(|error| AskError::Broken(format!("the request could not be sent: {error}")))?;
    Ok(Answer { lines: BufReader::new(stream), line: Vec::new() })
}

/// Opens a feed of orders.
///
/// Returns where they go, one request a line, and where their answers come from, in the same order.
///
/// # Errors
/// [`AskError`].
pub fn feed(socket: &Path, open: OpenConnections) -> Result<(UnixStream, Answer), AskError> {
    let mut answer = ask(socket, &Request::Feed(open))?;
    answer.next_line()?;
    let orders = answer.lines.get_ref().try_clone();
    let orders =
        orders.map_err(|error| AskError::Broken(format!("the feed could not be opened: {error}")))?;
    Ok((orders, answer))
}

/// Asks for what is answered in one line.
///
/// # Errors
/// [`AskError`].
pub fn ask_once(socket: &Path, request: &Request) -> Result<Value, AskError> {
    match ask(socket, request)?.next_line()? {
        Line::Done(value) => Ok(value),
        Line::Item(_) => Err(AskError::Broken("the answer has more lines than it should".to_owned())),
    }
}

impl Answer {
    /// The next line.
    ///
    /// # Errors
    /// [`AskError::Broken`] if it ends before its last line, [`AskError::Refused`] with the server's reason.
    pub fn next_line(&mut self) -> Result<Line, AskError> {
        let line = self.next_of_feed(|| true)?;
        line.ok_or_else(|| broken("the server closed the connection"))?
    }

    /// The next line of a feed, which may take as long as nobody waits for it; `None` once the server has closed. The
    /// inner error is one order's: the feed goes on.
    ///
    /// `awaited`: whether an order without an answer is on its way.
    ///
    /// # Errors
    /// [`AskError::Broken`].
    pub fn next_of_feed(
        &mut self,
        awaited: impl Fn() -> bool,
    ) -> Result<Option<Result<Line, AskError>>, AskError> {
        self.line.clear();
        let mut was_awaited = awaited();
        loop {
            let left = MAX_LINE.saturating_sub(u64::try_from(self.line.len()).unwrap_or(u64::MAX));
            match self.lines.by_ref().take(left).read_until(b'\n', &mut self.line) {
                Ok(0) if self.line.is_empty() => return Ok(None),
                Ok(_) => return Ok(Some(parse(&self.line)?)),
                // Nothing came for the whole of our patience.
                Err(error) if is_timeout(&error) && !was_awaited => was_awaited = awaited(),
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

/// What one line says; the outer error is that it is none.
fn parse(line: &[u8]) -> Result<Result<Line, AskError>, AskError> {
    let value: Value = serde_json::from_slice(line).map_err(broken)?;
    Ok(match value.get("ok").and_then(Value::as_bool) {
        None => Ok(Line::Item(value)),
        Some(true) => Ok(Line::Done(value)),
        Some(false) => {
            let why = value.get("error").and_then(Value::as_str).unwrap_or("the server refused");
            Err(AskError::Refused(why.to_owned()))
        }
    })
}

fn broken(why: impl fmt::Display) -> AskError {
    AskError::Broken(format!("the answer broke off: {why}"))
}

/// A read timeout shows as either, depending on the system.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
