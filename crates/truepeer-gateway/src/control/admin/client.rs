//! The commands' end of the admin socket; blocking, since a command has nothing else to do.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{ANSWER_TIME, OpenConnections, Request, UPGRADE_MARGIN};
use crate::engine::later;

/// The longest line of an answer that is read.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// How long it may take until the server takes a connection and a request.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Who was told to ask again does it after so long.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long the answer to a question may take, line by line.
const QUICK: Duration = Duration::from_secs(10);
/// How long work may take: a little more than the server allows itself.
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
    /// It took too long.
    Late {
        /// Where.
        path: PathBuf,
        /// What was waited for.
        awaited: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The server ended a feed, and why.
    Ended(String),
    /// Another process takes the server's place at this moment.
    Again(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, error, owner) = match self {
            Self::Unreachable { path, error, owner } => (path, error, owner),
            Self::Broken(text) | Self::Refused(text) | Self::Again(text) => return f.write_str(text),
            Self::Ended(why) => return write!(f, "truepeer ended the feed: {why}"),
            Self::Late { path, awaited, waited } => {
                let (path, seconds) = (path.display(), waited.as_secs());
                return write!(
                    f,
                    "waited {seconds} s for {awaited} on {path}: truepeer is stopped, stuck or overloaded; its log says more"
                );
            }
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
pub struct ReplyLines {
    lines: BufReader<UnixStream>,
    line: Vec<u8>,
    path: PathBuf,
    awaited: &'static str,
    patience: Duration,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyLine {
    /// One of many.
    Item(Value),
    /// The end, and all went well.
    Done(Value),
}

/// Asks the server behind `socket`.
///
/// # Errors
/// If it cannot be reached. What it says comes with [`ReplyLines::next_line`].
pub fn ask(socket: &Path, request: &Request) -> Result<ReplyLines, AskError> {
    let unreachable = |error| AskError::Unreachable {
        path: socket.to_owned(),
        error,
        owner: std::fs::metadata(socket).ok().map(|found| found.uid()),
    };
    let late = |awaited| AskError::Late { path: socket.to_owned(), awaited, waited: CONNECT_TIME };
    let mut stream = match connect(socket) {
        Err(error) if is_timeout(&error) => return Err(late("a place in the queue")),
        connected => connected.map_err(unreachable)?,
    };
    match stream.write_all(format!("{}\n", request.to_line()).as_bytes()) {
        Err(error) if is_timeout(&error) => return Err(late("the request to be taken")),
        // A server that had no place for it says so before it closes.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => return Err(AskError::Broken(format!("the request could not be sent: {error}"))),
        Ok(()) => {}
    }
    // What follows in a feed has to wait while thousands before it are carried out.
    let sent = stream.set_write_timeout(Some(PATIENCE));
    sent.map_err(|error| AskError::Broken(format!("the request could not be sent: {error}")))?;
    let (awaited, patience) = match request {
        Request::Status => ("the status", QUICK),
        Request::Connections(_) => ("the list of connections", QUICK),
        Request::Denied => ("the list of bans", QUICK),
        Request::Page(_) => ("a page of connections", QUICK),
        Request::Clients(_) => ("a page of clients", QUICK),
        Request::Refusals(_) => ("the latest refusals", QUICK),
        Request::Why(_) => ("the reasons", QUICK),
        Request::Feed(_) => ("the feed's answer", PATIENCE),
        Request::Deny(..) => ("the ban to be made", PATIENCE),
        Request::Undeny(_) => ("the ban to be lifted", PATIENCE),
        Request::Reload => ("the reload", PATIENCE),
        Request::Upgrade(upgrade) => {
            let margin = UPGRADE_MARGIN.saturating_add(CONNECT_TIME);
            ("the new program to take over", upgrade.wait.saturating_add(margin))
        }
    };
    Ok(ReplyLines {
        lines: BufReader::new(stream),
        line: Vec::new(),
        path: socket.to_owned(),
        awaited,
        patience,
    })
}

/// The system waits for room in the queue as long as a write may take.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(CONNECT_TIME))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Opens a feed of orders.
///
/// Returns where they go, one request a line, and where their answers come from, in the same order.
///
/// # Errors
/// [`AskError`].
pub fn feed(socket: &Path, open: OpenConnections) -> Result<(UnixStream, ReplyLines), AskError> {
    let mut answer = ask(socket, &Request::Feed(open))?;
    answer.patience = QUICK;
    answer.next_line()?;
    answer.patience = PATIENCE;
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
    let until = later(Instant::now(), CONNECT_TIME);
    loop {
        match ask(socket, request)?.next_line() {
            Ok(ReplyLine::Done(value)) => return Ok(value),
            Ok(ReplyLine::Item(_)) => {
                return Err(AskError::Broken("the answer has more lines than it should".to_owned()));
            }
            Err(AskError::Again(_)) if Instant::now() < until => std::thread::park_timeout(ASK_AGAIN),
            Err(error) => return Err(error),
        }
    }
}

/// What an answer's line says.
///
/// # Errors
/// [`AskError::Broken`]: the server is of another version.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, AskError> {
    T::deserialize(value).map_err(|error| {
        AskError::Broken(format!(
            "the answer is not understood ({error}): the running server may be of another version"
        ))
    })
}

impl ReplyLines {
    /// The next line.
    ///
    /// # Errors
    /// [`AskError::Broken`] if it ends before its last line, [`AskError::Refused`] with the server's reason.
    pub fn next_line(&mut self) -> Result<ReplyLine, AskError> {
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
    ) -> Result<Option<Result<ReplyLine, AskError>>, AskError> {
        self.line.clear();
        let mut was_awaited = awaited();
        let mut since = Instant::now();
        loop {
            // One deadline for the whole line, however slowly it comes.
            let time = self.patience.checked_sub(since.elapsed()).filter(|time| !time.is_zero());
            let room = MAX_LINE.saturating_sub(self.line.len());
            match time.map_or_else(|| Err(io::ErrorKind::TimedOut.into()), |time| self.piece(time, room)) {
                Ok(Piece::End) if self.line.is_empty() => return Ok(None),
                Ok(Piece::End | Piece::Last) => return Ok(Some(parse(&self.line)?)),
                Ok(Piece::More) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing was due for the whole of our patience.
                Err(error) if is_timeout(&error) && !was_awaited => {
                    was_awaited = awaited();
                    since = Instant::now();
                }
                Err(error) if is_timeout(&error) => {
                    let Self { path, awaited, patience, .. } = self;
                    return Err(AskError::Late { path: path.clone(), awaited, waited: *patience });
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// Reads on, at most up to the end of the line, `room` bytes and `time`.
    fn piece(&mut self, time: Duration, room: usize) -> io::Result<Piece> {
        if self.lines.buffer().is_empty() {
            self.lines.get_ref().set_read_timeout(Some(time))?;
        }
        let bytes = self.lines.fill_buf()?;
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at.saturating_add(1));
        let taken = end.min(room);
        let Some(piece) = bytes.get(..taken).filter(|piece| !piece.is_empty()) else { return Ok(Piece::End) };
        self.line.extend_from_slice(piece);
        let last = piece.ends_with(b"\n");
        self.lines.consume(taken);
        Ok(if last { Piece::Last } else { Piece::More })
    }
}

/// What was read of a line.
enum Piece {
    More,
    /// Up to its end.
    Last,
    /// There is no more.
    End,
}

/// What one line says; the outer error is that it is none.
fn parse(line: &[u8]) -> Result<Result<ReplyLine, AskError>, AskError> {
    let value: Value = serde_json::from_slice(line).map_err(broken)?;
    Ok(match value.get("ok").and_then(Value::as_bool) {
        None => Ok(ReplyLine::Item(value)),
        Some(true) => Ok(ReplyLine::Done(value)),
        Some(false) => {
            let why = value.get("error").and_then(Value::as_str).unwrap_or("the server refused");
            if value.get("again").and_then(Value::as_bool) == Some(true) {
                return Err(AskError::Again(why.to_owned()));
            }
            if value.get("feed").and_then(Value::as_bool) == Some(false) {
                return Err(AskError::Ended(why.to_owned()));
            }
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
