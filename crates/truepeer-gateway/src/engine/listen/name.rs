//! The names of UNIX sockets in the file system: each is removed by the socket that is found there.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The path of a UNIX socket that is ours; dropping it removes the path, unless another socket is there by now.
#[derive(Debug)]
pub(super) struct SocketName {
    path: PathBuf,
    /// Where it goes once it listens, in the place of what is there.
    later: Option<PathBuf>,
    /// Device and inode.
    id: (u64, u64),
    /// Not as long as a predecessor may go on with it.
    ours: Arc<AtomicBool>,
}

impl SocketName {
    /// The name of the socket that is at `path`.
    pub(super) fn of(path: PathBuf, later: Option<PathBuf>, ours: Arc<AtomicBool>) -> io::Result<Self> {
        let id = identity(&path)?;
        Ok(Self { path, later, id, ours })
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path stays when this is dropped: this one alone, since `ours` may be that of many.
    pub(super) fn leave(mut self) {
        self.ours = Arc::default();
    }

    /// Goes where it is to be found, in one step.
    pub(super) fn take_its_place(&mut self) -> io::Result<()> {
        if let Some(later) = &self.later {
            std::fs::rename(&self.path, later)?;
            self.path = later.clone();
            self.later = None;
        }
        Ok(())
    }
}

impl Drop for SocketName {
    fn drop(&mut self) {
        if self.ours.load(Ordering::Acquire) && identity(&self.path).is_ok_and(|id| id == self.id) {
            // A path that is gone meanwhile is what we wanted.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// A short name in the same folder, from which renaming replaces `path` in one step.
pub(super) fn beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{:x}.{number:x}", std::process::id()))
}

/// A socket file that nobody answers on is left over; anything else is not ours to remove.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}
