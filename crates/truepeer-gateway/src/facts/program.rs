//! Programs that are given connections: which, what they are told, how they end.

use std::fmt;
use std::path::{Path, PathBuf};

/// A program that takes connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// Its absolute path.
    pub path: PathBuf,
    /// What follows it on the command line.
    pub arguments: Vec<String>,
    /// Where it starts.
    pub directory: PathBuf,
    /// As whom it runs, if not as we do.
    pub user: Option<User>,
}

/// Whom a program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct User {
    /// The number of the user.
    pub uid: u32,
    /// The number of its group; it is in no other.
    pub gid: u32,
}

/// Whether a program's socket is to say the client, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SocketLabel {
    /// Where this host allows it; elsewhere the environment alone says so.
    #[default]
    IfPossible,
    /// Always: without it nothing is started.
    Required,
    /// Never.
    Never,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exec:{}", self.path.display())
    }
}

/// What a program is told, besides where to look for other programs.
pub type Environment = Vec<(&'static str, String)>;

/// How a program ended. As small as the kernel tells it: every connection's record has room for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Whether `path` is one that a program may be named by: what is found in a folder that changes is another program.
#[must_use]
pub fn is_program_path(path: &str) -> bool {
    Path::new(path).is_absolute() && !path.contains('\0')
}
