//! `truepeer import stalwart`: our configuration from that of a Stalwart mail server.
//!
//! The doctor's crate reads both forms into entries of one flat list. `judge` says what each entry means, to Stalwart
//! and here, `write` puts our configuration down. Pure but for [`read_file`].

mod judge;
mod note;
mod plan;
mod write;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use truepeer_doctor::stalwart::{self, Form};

use crate::config::{self, Surroundings};

pub use note::{Note, NoteKind, Section};
pub use truepeer_doctor::stalwart::Unreadable;

/// The longest file that is read, in bytes; real ones have a few thousand.
pub const MAX_FILE: u64 = 1024 * 1024;

/// Where Stalwart is to listen once truepeer has its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// Its address.
    pub addr: IpAddr,
    /// Its ports there.
    pub ports: Ports,
}

impl Default for Behind {
    fn default() -> Self {
        Self { addr: Ipv4Addr::LOCALHOST.into(), ports: Ports::Moved }
    }
}

/// Which ports Stalwart has behind us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Each ten thousand higher, or the next free one.
    Moved,
    /// Those that it has: its address is another machine's or a container's.
    Kept,
}

/// What came of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Our configuration, with comments.
    pub config: String,
    /// What is to be known about it, in the order of the comments.
    pub notes: Vec<Note>,
    /// What has to change in Stalwart, a line each.
    pub stalwart: Vec<String>,
}

/// Reads the file at `path`, or standard input for `-`.
///
/// # Errors
/// If it cannot be read, is longer than [`MAX_FILE`], or is no UTF-8.
pub fn read_file(path: &Path) -> Result<String, Unreadable> {
    let opened: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        match std::fs::File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => return Err(Unreadable::whole(format!("the file cannot be read: {error}"))),
        }
    };
    let mut bytes = Vec::new();
    opened
        .take(MAX_FILE.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Unreadable::whole(format!("the file cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE) {
        return Err(Unreadable::whole(format!("this file is longer than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count();
        Unreadable::at(line.saturating_add(1), "this is not UTF-8")
    })
}

/// Makes our configuration of `text`, which `name` is said to hold.
///
/// # Errors
/// If it cannot be read, holds no listener that could be served, or would end as a configuration that `run` refuses.
pub fn import(text: &str, name: &str, behind: Behind) -> Result<Imported, Unreadable> {
    let (form, entries) = stalwart::read(text)?;
    let plan = judge::judge(&entries, form, behind)?;
    let imported = write::write(plan, name, form);
    // What is printed is what `run` takes, or nothing is printed.
    if let Err(errors) = config::resolve(&imported.config, name, &Surroundings::default()) {
        let why: Vec<_> = errors.problems().map(|(_, problem)| problem.title().to_owned()).collect();
        return Err(Unreadable::whole(format!(
            "`truepeer run` would not take what comes of it: {}",
            why.join("; ")
        )));
    }
    Ok(imported)
}

#[cfg(test)]
mod tests;
