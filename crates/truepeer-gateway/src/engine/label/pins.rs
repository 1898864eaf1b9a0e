//! Maps and links that outlive this process, in a folder of a bpf file system.
//!
//! Connections that a backend has from an earlier process still say their client then. A folder below the named one holds
//! what belongs to one edition of the programs, so that another version of truepeer begins anew beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::lack::Lack;
use super::layout::{KEY, PENDING, State};
use crate::engine::bpf::{Link, Map, MapLayout, TypeInfo};

/// One edition's folder.
#[derive(Debug)]
pub(super) struct Pins(PathBuf);

impl Pins {
    /// The folder of `edition` below `folder`; made if it is not there.
    pub(super) fn open(folder: &Path, edition: u64) -> Result<Self, Lack> {
        let pins = Self(folder.join(format!("{edition:016x}")));
        fs::create_dir_all(&pins.0).map_err(|error| pins.wrong(&error))?;
        Ok(pins)
    }

    /// The map that is kept as `name`, or a new one, which is kept from now on.
    pub(super) fn map(&self, layout: MapLayout, name: &str, types: Option<&TypeInfo>) -> Result<Map, Lack> {
        let path = self.0.join(name);
        match Map::open(&path, layout) {
            Ok(map) => return Ok(map),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.wrong(&error)),
        }
        let map = Map::create(layout, name, types).map_err(|error| Lack::loading("maps", &error))?;
        match map.pin(&path) {
            Ok(()) => Ok(map),
            // Another process was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Map::open(&path, layout).map_err(|error| self.wrong(&error))
            }
            Err(error) => Err(self.wrong(&error)),
        }
    }

    /// The link that is kept as `name` of the control group with this number, or what `make` makes, which is kept from
    /// now on.
    pub(super) fn link(
        &self,
        number: u64,
        name: &str,
        make: impl Fn() -> io::Result<Link>,
    ) -> io::Result<Link> {
        let path = self.0.join(format!("{number}-{name}"));
        let make = || {
            let link = make()?;
            link.pin(&path)?;
            Ok(link)
        };
        kept_or(|| Link::open(&path), make)
    }

    /// Removes what is kept of control groups that are gone.
    pub(super) fn forget_the_gone(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let is_links =
                name.to_str().is_some_and(|name| name.starts_with(|first: char| first.is_ascii_digit()));
            if is_links && Link::open(&path).is_ok_and(|link| link.cgroup().is_ok_and(|number| number == 0)) {
                // Another process may have been quicker.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn wrong(&self, error: &io::Error) -> Lack {
        Lack::NotKept { path: self.0.clone(), error: error.to_string() }
    }
}

/// What is there, or else made; if another process makes it at the same moment, that one's.
fn kept_or<T>(open: impl Fn() -> io::Result<T>, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(),
        made => made,
    }
}

/// Removes labels that an earlier process has laid ready and whose time is over; none of another process is.
pub(super) fn sweep(pending: &Map, now: u64) -> io::Result<()> {
    let mut gone = Vec::new();
    let mut key = [0; KEY];
    let mut before = None;
    while pending.next_key(before.as_ref().map(<[u8; KEY]>::as_slice), &mut key)? {
        let mut bytes = [0; PENDING];
        if pending.lookup(&key, &mut bytes)? && State::deadline(&bytes) < now {
            gone.push(key);
        }
        before = Some(key);
    }
    for key in gone {
        let _ = pending.delete(&key)?;
    }
    Ok(())
}
