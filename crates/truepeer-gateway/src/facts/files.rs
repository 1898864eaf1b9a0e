//! Opening a file without waiting for it: a pipe that nobody writes to would let its reader hang.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file was not opened.
#[derive(Debug)]
pub enum Unopened {
    /// What the system says.
    System(io::Error),
    /// It is there, and a directory, a pipe, a socket or a device.
    NotAFile,
}

/// Opens the regular file at `path` for reading. A disk that does not answer blocks it all the same.
///
/// # Errors
/// [`Unopened`].
pub fn open_regular(path: &Path) -> Result<File, Unopened> {
    // Opened first and judged by its descriptor, so that nothing else can take its place in between.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = options.open(path).map_err(Unopened::System)?;
    if file.metadata().map_err(Unopened::System)?.is_file() { Ok(file) } else { Err(Unopened::NotAFile) }
}
