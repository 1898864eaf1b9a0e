//! Which lines are written, how they look, and where they go: what `[log]` and `log.connections` may say.

use std::path::PathBuf;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// Where lines go.
    pub target: LogTarget,
    /// How they look.
    pub format: LogFormat,
}

/// `log.file`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// A file, made if it is not there, and opened anew on each reload.
    File(PathBuf),
}

/// `log.connections`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLines {
    /// A line when the backend is reached, and the record at the end.
    Both,
    /// The record only.
    End,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
