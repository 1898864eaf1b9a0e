//! Where the configuration wants the log: standard error, or a file that somebody else rotates.
//!
//! Called by the command that starts and reloads. It must not know what lines say.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::facts::lines::{LogSettings, LogTarget};

use super::{Log, NotYet, RefusalLines, Writer};

/// Permission bits of a file that we make: for its owner and the group that reads logs.
const MODE: u32 = 0o640;

/// The log of a running server, and what the configuration says of it.
#[derive(Debug)]
pub struct Configured {
    log: Log,
    config: LogSettings,
}

/// Where lines may go, open already.
pub struct Destination(Box<dyn Write + Send>);

impl Destination {
    /// Opens `target`. A disk that does not answer blocks it.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(target: &LogTarget) -> Result<Self, OpenError> {
        open(target).map(Self)
    }
}

/// The file of the log cannot be used.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    cause: io::Error,
}

impl Configured {
    /// Starts the log that `config` asks for, to the `destination` that it names.
    ///
    /// # Errors
    /// No thread.
    pub fn start(
        config: &LogSettings,
        destination: Destination,
        refusals: RefusalLines,
    ) -> io::Result<(Self, Writer)> {
        let (log, writer) = Log::start(config.format, refusals, destination.0)?;
        Ok((Self { log, config: config.clone() }, writer))
    }

    /// What takes the lines.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What is to be opened again, since somebody may have moved the old file away; `None` if it is no file.
    #[must_use]
    pub fn file(&self) -> Option<LogTarget> {
        (self.config.target != LogTarget::Stderr).then(|| self.config.target.clone())
    }

    /// Goes on in `opened`, the same file; lines that came before are in the old one when this returns. If it could not
    /// be opened, the old one goes on.
    ///
    /// # Errors
    /// What is wrong, in words; it is in the log already.
    pub fn go_on_in(&self, opened: Result<Destination, String>) -> Result<(), String> {
        let opened = opened.map_err(|cause| {
            complain(&cause, "the log goes on where it was; correct this and reload again")
        })?;
        self.switch(Some(opened))
    }

    /// What is to be opened for `wanted`, if that is another place than now.
    #[must_use]
    pub fn elsewhere(&self, wanted: &LogSettings) -> Option<LogTarget> {
        (wanted.target != self.config.target).then(|| wanted.target.clone())
    }

    /// Becomes what `wanted` asks for, at the `destination` that was opened for it, if it is another one.
    ///
    /// # Errors
    /// As [`Configured::go_on_in`].
    pub fn take(&mut self, wanted: &LogSettings, destination: Option<Destination>) -> Result<(), String> {
        let changes = destination.is_some() || wanted.format != self.config.format;
        self.config = wanted.clone();
        if changes { self.switch(destination) } else { Ok(()) }
    }

    fn switch(&self, destination: Option<Destination>) -> Result<(), String> {
        let destination = destination.map(|Destination(destination)| destination);
        self.log.switch(destination, self.config.format).map_err(|NotYet| {
            let cause = "the log's destination takes no lines, so it could not be left yet";
            complain(cause, "the change is made as soon as it takes one; restart truepeer if it never will")
        })
    }
}

fn complain(cause: &str, remedy: &str) -> String {
    tracing::warn!(event = "log_not_reopened", key = "log.file", cause, remedy);
    format!("{cause}: {remedy}")
}

fn open(target: &LogTarget) -> Result<Box<dyn Write + Send>, OpenError> {
    match target {
        // A descriptor of our own: what `std` locks while it writes must stay free for a panic's last words.
        LogTarget::Stderr => match io::stderr().as_fd().try_clone_to_owned() {
            Ok(stderr) => Ok(Box::new(File::from(stderr))),
            Err(_) => Ok(Box::new(io::stderr())),
        },
        LogTarget::File(path) => match open_file(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(cause) => Err(OpenError { path: path.clone(), cause }),
        },
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A pipe that nobody reads is an error, not a wait without end; and no terminal becomes ours.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.append(true).mode(MODE).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let file = options.create_new(true).open(path)?;
            // As documented, whatever umask we were started with.
            file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
            file
        }
        opened => opened?,
    };
    let kind = file.metadata()?.file_type();
    if !(kind.is_file() || kind.is_char_device() || kind.is_fifo()) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is neither a file, a pipe nor a device"));
    }
    // The writer may wait; it is there for that.
    fcntl_setfl(&file, fcntl_getfl(&file)?.difference(OFlags::NONBLOCK))?;
    Ok(file)
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "log.file: {path} cannot be opened for writing: {}: ", self.cause)?;
        let folder = self.path.parent().unwrap_or(&self.path).display();
        match self.cause.kind() {
            ErrorKind::NotFound => write!(
                f,
                "make the folder {folder} for truepeer's user (`LogsDirectory=truepeer` in a service unit makes \
                 /var/log/truepeer)"
            ),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => write!(
                f,
                "let truepeer's user write in {folder} (`LogsDirectory=truepeer` in a service unit makes \
                 /var/log/truepeer), or name another file"
            ),
            _ if self.cause.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                f.write_str("nothing reads this pipe, or it is a socket: name a file, or \"stderr\"")
            }
            _ => f.write_str("name a file in a folder that truepeer's user may write to, or \"stderr\""),
        }
    }
}

impl std::error::Error for OpenError {}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").finish_non_exhaustive()
    }
}
