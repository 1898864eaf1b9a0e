//! Stalwart's own reading of its configuration: text up to 0.15, JSON since 0.16, as entries of one flat list.
//!
//! What the entries mean is the caller's to say; [`lists`] says what Stalwart makes of a list of networks.

mod flat;
pub mod lists;
mod objects;

use std::fmt;

pub use flat::{Assignment, Position, Syntax};

/// Why nothing came of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, where there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl Unreadable {
    /// On that line.
    #[must_use]
    pub fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line: Some(line), reason: reason.into() }
    }

    /// In the whole file.
    #[must_use]
    pub fn whole(reason: impl Into<String>) -> Self {
        Self { line: None, reason: reason.into() }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for Unreadable {}

/// How Stalwart's configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Keys and values, up to 0.15.
    Text,
    /// Objects in JSON, since 0.16.
    Objects,
}

impl Form {
    /// JSON begins with a brace or a bracket that no table's name follows.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let behind = |bracket| text.strip_prefix(bracket).map(str::trim_start);
        match behind('[') {
            _ if text.starts_with('{') => Self::Objects,
            Some(rest) if rest.starts_with(['{', ']']) || rest.is_empty() => Self::Objects,
            _ => Self::Text,
        }
    }
}

/// Reads a whole configuration, in whichever form it is.
///
/// # Errors
/// If it is neither, at the first line that cannot be read.
pub fn read(text: &str) -> Result<(Form, Vec<Assignment>), Unreadable> {
    let form = Form::of(text);
    let entries = match form {
        Form::Text => flat::read(text)?,
        Form::Objects => objects::read(text)?,
    };
    Ok((form, entries))
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Object(name) => f.write_str(name),
        }
    }
}
