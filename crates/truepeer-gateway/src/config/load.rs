//! The configuration from its file: which one, and what is wrong when it cannot be read.
//!
//! The only part of the configuration that reads files; `resolve` judges the text.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::facts::files::{Unopened, open_regular};

use super::problem::{ConfigErrors, Problem};
use super::resolve::resolve;
use super::surroundings::Surroundings;
use super::{Config, surroundings};

/// Where the configuration is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/truepeer/truepeer.toml";

/// The demonstration on loopback.
const EMBEDDED: &str = include_str!("embedded.toml");
const EMBEDDED_NAME: &str = "the built-in demonstration";

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// Whose word it is.
    pub origin: Origin,
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This file: the one that was named, or that at [`DEFAULT_PATH`].
    File(PathBuf),
    /// Built in: no file was named and none is at [`DEFAULT_PATH`].
    Demonstration,
}

/// What may be read as a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// Whatever can be read, such as a pipe that somebody writes it into.
    Anything,
    /// Files only: what was read before is to be there again.
    Files,
}

/// Reads the configuration at `path` whatever it is; see [`load_from`].
///
/// # Errors
/// As [`load_from`].
pub fn load(path: Option<&Path>) -> Result<Loaded, ConfigErrors> {
    load_from(path, Readable::Anything)
}

/// Reads the configuration at `path`; without one, that at [`DEFAULT_PATH`] or, where that is missing, the built-in
/// demonstration.
///
/// # Errors
/// Everything that is wrong with the file. A missing one is an error where it was named, and where this process was
/// started by a service manager or as PID 1: nobody would see that only a demonstration runs.
pub fn load_from(path: Option<&Path>, readable: Readable) -> Result<Loaded, ConfigErrors> {
    if let Some(path) = path {
        return Ok(Loaded { config: read(path, readable)?, origin: Origin::File(path.to_owned()) });
    }
    let default = Path::new(DEFAULT_PATH);
    match std::fs::symlink_metadata(default) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => {
            return Ok(Loaded { config: read(default, readable)?, origin: Origin::File(default.to_owned()) });
        }
    }
    if surroundings::is_supervised() {
        return Err(ConfigErrors::without_text(
            DEFAULT_PATH,
            Problem::new("there is no configuration")
                .note("a service without one would serve a demonstration on loopback, and no mail")
                .help(format!("write {DEFAULT_PATH}, or name another file with `--config FILE`")),
        ));
    }
    Ok(Loaded { config: demonstration()?, origin: Origin::Demonstration })
}

/// The built-in configuration; its advice is left out, for nobody can follow it.
///
/// # Errors
/// If what is built in is wrong, which a test rules out.
pub fn demonstration() -> Result<Config, ConfigErrors> {
    let config = resolve(EMBEDDED, EMBEDDED_NAME, &surroundings::read())?;
    Ok(Config { advice: Vec::new(), ..config })
}

fn read(path: &Path, readable: Readable) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let unreadable = |cause: String| ConfigErrors::without_text(&name, Problem::new(cause));
    let bytes = match readable {
        Readable::Anything => std::fs::read(path).map_err(|error| unreadable(cause(&error)))?,
        Readable::Files => {
            let mut file = open_regular(path).map_err(|error| {
                unreadable(match error {
                    Unopened::System(error) => cause(&error),
                    Unopened::NotAFile => {
                        "this is no file, but a directory, a pipe or a device: a reload reads files only"
                            .to_owned()
                    }
                })
            })?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| unreadable(cause(&error)))?;
            bytes
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line =
            error.as_bytes().get(..at).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        unreadable(format!("line {} is not UTF-8 (byte {at} of the file)", line.saturating_add(1)))
    })?;
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    resolve(&text, &name, &Surroundings { directory, ..surroundings::read() })
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not read the file".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_resolves_on_this_machine_and_advises_nothing() {
        let config = demonstration().unwrap();
        assert_eq!(config.listeners.len(), 4);
        assert_eq!(config.advice, []);
    }
}
