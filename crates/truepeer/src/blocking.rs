//! One header off a blocking socket, for servers with a thread for each connection and no runtime.
//!
//! Drives the reader as the IO shell does: it decides nothing and keeps nothing.

use core::fmt;
use std::io::{self, Read};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::{ClientIdentity, HeaderReader, IdentifyError, Progress};

/// A blocking socket whose reads can be given an end.
pub trait BlockingSocket {
    /// As `std::io::Read::read`.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`] when the time is over.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// The time after which a read gives up.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets the time after which a read gives up; `None` is never.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
}

/// Both kinds of sockets do the same by the same names.
macro_rules! socket {
    ($socket:ty) => {
        impl BlockingSocket for $socket {
            fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
                Read::read(&mut &*self, buf)
            }

            fn read_timeout(&self) -> io::Result<Option<Duration>> {
                <$socket>::read_timeout(self)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$socket>::set_read_timeout(self, timeout)
            }
        }
    };
}

socket!(TcpStream);
#[cfg(unix)]
socket!(UnixStream);

/// Reads the header of a peer that must send one, until the reader's deadline. Not one byte beyond it is read: the
/// client's own bytes are the next that come out of `socket`.
///
/// To be called in the connection's own thread, never in the one that accepts. The socket's read timeout is put back to
/// what it was. For sockets in non-blocking mode use [`HeaderReader`] itself.
///
/// ```no_run
/// use std::net::TcpListener;
/// use std::time::{Duration, Instant};
/// use truepeer::{ClientIdentity, HeaderReader, HeaderRules, PeerAddress, TrustDecision, TrustPolicy};
/// use truepeer::{TrustedNetworks, read_header};
///
/// let policy = TrustPolicy::from(TrustedNetworks::parse(["192.0.2.10"])?);
/// let (socket, peer) = TcpListener::bind("0.0.0.0:7007")?.accept()?;
/// let peer = PeerAddress::tcp(peer);
/// let identity = match policy.decide(peer) {
///     TrustDecision::ExpectHeader => {
///         let deadline = Instant::now() + Duration::from_secs(5);
///         read_header(&socket, &HeaderReader::new(HeaderRules::new(), peer, deadline))?
///     }
///     TrustDecision::Direct => ClientIdentity::direct(peer, socket.local_addr().ok()).ok_or("no address")?,
///     TrustDecision::Refuse => return Ok(()),
/// };
/// # let _ = identity;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ReadHeaderError::Identify`] for what is no good header, or not there in time; [`ReadHeaderError::Io`] if the socket
/// broke. The connection is of no use then.
pub fn read_header<S: BlockingSocket>(
    socket: &S,
    reader: &HeaderReader,
) -> Result<ClientIdentity, ReadHeaderError> {
    let kept = socket.read_timeout()?;
    let identity = read(socket, reader);
    socket.set_read_timeout(kept)?;
    identity
}

fn read<S: BlockingSocket>(socket: &S, reader: &HeaderReader) -> Result<ClientIdentity, ReadHeaderError> {
    const CHUNK: usize = 512;
    let mut received = Vec::new();
    loop {
        let at_least = match reader.advance(&received)? {
            Progress::Done { identity, .. } => return Ok(identity),
            Progress::NeedMore { at_least } => at_least,
        };
        let left = reader.deadline().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(reader.expired(&received).into());
        }
        // Systems round down to what they can count, and nothing would be for ever.
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut chunk = [0; CHUNK];
        let room = chunk.get_mut(..at_least.min(CHUNK)).unwrap_or_default();
        match socket.read(room) {
            Ok(0) => return Err(reader.ended(&received).into()),
            Ok(len) => received.extend_from_slice(chunk.get(..len).unwrap_or_default()),
            Err(error) => match error.kind() {
                // The time that is left decides, at the next turn.
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
                _ => return Err(error.into()),
            },
        }
    }
}

/// Why a blocking read has no identity.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadHeaderError {
    /// What came is no good header, or did not come in time.
    Identify(IdentifyError),
    /// The socket broke.
    Io(io::Error),
}

impl fmt::Display for ReadHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identify(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the connection broke before its header was complete: {error}"),
        }
    }
}

impl core::error::Error for ReadHeaderError {}

impl From<ReadHeaderError> for io::Error {
    fn from(error: ReadHeaderError) -> Self {
        match error {
            ReadHeaderError::Identify(error) => error.into(),
            ReadHeaderError::Io(error) => error,
        }
    }
}

impl From<IdentifyError> for ReadHeaderError {
    fn from(error: IdentifyError) -> Self {
        Self::Identify(error)
    }
}

impl From<io::Error> for ReadHeaderError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
