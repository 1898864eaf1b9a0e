//! Where the survey reads: this machine, or a folder that was recorded from one.
//!
//! Everything is bounded, only plain files are opened (a pipe of a stranger's would never end), and nothing is written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};

/// The root of what is looked at.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    recorded: bool,
    /// Whether links lead only within it: a container's own may point anywhere.
    closed: bool,
}

/// Where a recorded machine keeps what programs printed: one file for each command, blanks and all, `/` as `_`.
const PRINTED: &str = "printed";

impl Root {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        Self { path: PathBuf::from("/"), recorded: false, closed: false }
    }

    /// A folder that was recorded; nothing is run or asked there.
    #[must_use]
    pub fn recorded(path: &Path) -> Self {
        Self { path: path.to_owned(), recorded: true, closed: false }
    }

    /// The files that a process in a container sees.
    #[must_use]
    pub fn within(&self, pid: u32) -> Self {
        Self { path: self.place(&format!("/proc/{pid}/root")), recorded: self.recorded, closed: true }
    }

    /// Whether it is a container's.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.closed
    }

    /// Whether this is not the machine that we are on.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Where the file of that absolute path is.
    #[must_use]
    pub fn place(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// At most `most` bytes of a plain file.
    ///
    /// # Errors
    /// Where it cannot be read, or is something else.
    pub fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A plain file as a whole, as text.
    ///
    /// # Errors
    /// Where it cannot be read, is something else, or is longer.
    pub fn text(&self, path: &str, most: u64) -> io::Result<String> {
        let bytes = self.read(path, most.saturating_add(1))?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > most) {
            return Err(io::Error::other(format!("longer than {most} bytes")));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A plain file, open for reading.
    ///
    /// # Errors
    /// Where it cannot be opened, or is something else.
    pub fn open(&self, path: &str) -> io::Result<File> {
        // Without waiting, should it be a pipe after all.
        let file = File::from(self.descriptor(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a plain file"));
        }
        Ok(file)
    }

    fn descriptor(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if !self.closed {
            return Ok(rustix::fs::open(self.place(path), flags, Mode::empty())?);
        }
        let root = rustix::fs::open(&self.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        // No magic links, either: a container has a /proc of its own.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
    }

    /// Where a link leads.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<String> {
        Some(fs::read_link(self.place(path)).ok()?.to_string_lossy().into_owned())
    }

    /// The names in a folder, in order; at most `most`.
    #[must_use]
    pub fn names(&self, path: &str, most: usize) -> Vec<String> {
        let Ok(folder) = self.descriptor(path, OFlags::RDONLY | OFlags::DIRECTORY) else {
            return Vec::new();
        };
        let Ok(entries) = Dir::new(folder) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .take(most)
            .collect();
        names.sort_unstable();
        names
    }

    /// Whether there is a folder of that name.
    #[must_use]
    pub fn is_folder(&self, path: &str) -> bool {
        self.descriptor(path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// What a recorded machine keeps of a command's output.
    ///
    /// # Errors
    /// Where it keeps nothing.
    pub fn printed(&self, command: &str, most: u64) -> io::Result<String> {
        self.text(&format!("{PRINTED}/{}", command.replace('/', "_")), most)
    }
}
