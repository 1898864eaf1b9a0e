//! Listening sockets that a running truepeer hands to the one that takes its place.
//!
//! The kernel's queues stay as they are: both processes hold the same sockets for a while, and whoever connects is
//! accepted by one of them. Until the successor is told that they are its own, it removes no path of them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::sockopt;
use socket2::Socket as RawSocket;

use super::place::{DEAF, Place, name, place};
use crate::facts::bind::Bind;

/// The most sockets that are handed over: of every address one for each worker.
pub const MOST_INHERITED: usize = 1 << 20;

/// One address that is offered to a successor: what it is for, and its sockets.
#[derive(Debug)]
pub struct Offer {
    /// The setting that names it.
    pub key: String,
    /// As it is written there.
    pub bind: String,
    /// One for each worker, or one that all share.
    pub sockets: Vec<OwnedFd>,
}

/// What was handed to this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Inherited(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Vec<Heirloom>>,
    taken: Mutex<Vec<usize>>,
    /// Whether the predecessor has given them up.
    ours: Arc<AtomicBool>,
}

/// One address with its sockets.
#[derive(Debug)]
struct Heirloom {
    number: usize,
    key: String,
    bind: String,
    place: Place,
    sockets: Vec<RawSocket>,
}

/// Sockets of one address that this process serves from now on.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) sockets: Vec<RawSocket>,
    pub(super) tcp: Option<SocketAddr>,
    /// The path that is to be removed at the end, once it is ours.
    pub(super) path: Option<PathBuf>,
    pub(super) ours: Arc<AtomicBool>,
}

impl Inherited {
    /// One socket more of the offer `number`.
    ///
    /// # Errors
    /// It is no socket that could be served.
    pub fn add(&self, number: usize, key: &str, bind: &str, socket: OwnedFd) -> io::Result<()> {
        let mut waiting = lock(&self.0.waiting);
        if let Some(heirloom) = waiting.iter_mut().find(|heirloom| heirloom.number == number) {
            heirloom.sockets.push(socket.into());
            return Ok(());
        }
        let place = place(&socket)?.or_else(|seen| match seen {
            // Shut, as long as no backend can be reached.
            DEAF => name(&socket),
            seen => Err(io::Error::other(seen)),
        })?;
        let place = match (place, bind.strip_prefix("unix:")) {
            // A reload may have given it another name than it was bound to, which the kernel does not follow.
            (Place::Unix(_), Some(path)) => Place::Unix(PathBuf::from(path)),
            (place, _) => place,
        };
        let (key, bind) = (key.to_owned(), bind.to_owned());
        waiting.push(Heirloom { number, key, bind, place, sockets: vec![socket.into()] });
        Ok(())
    }

    /// The numbers of the offers that are served here from now on.
    #[must_use]
    pub fn taken(&self) -> Vec<usize> {
        lock(&self.0.taken).clone()
    }

    /// The predecessor has given up what was taken; what was not is closed.
    pub fn settle(&self) {
        self.0.ours.store(true, Ordering::Release);
        lock(&self.0.waiting).clear();
    }

    /// The sockets that serve `bind`, which `key` names.
    pub(super) fn take(&self, key: &str, bind: &Bind) -> io::Result<Option<Taken>> {
        let mut waiting = lock(&self.0.waiting);
        let Some(at) = waiting.iter().position(|heirloom| heirloom.is(key, bind)) else { return Ok(None) };
        let heirloom = waiting.swap_remove(at);
        drop(waiting);
        heirloom.place.fits(bind).map_err(io::Error::other)?;
        lock(&self.0.taken).push(heirloom.number);
        let (tcp, path) = match heirloom.place {
            Place::Tcp { addr, .. } => (Some(addr), None),
            Place::Unix(path) => (None, Some(path)),
            Place::Unnamed => (None, None),
        };
        Ok(Some(Taken { sockets: heirloom.sockets, tcp, path, ours: Arc::clone(&self.0.ours) }))
    }
}

impl Heirloom {
    /// Whether this serves what `key` binds as `bind`. Where the system chose the port, only the same setting means the
    /// same address.
    fn is(&self, key: &str, bind: &Bind) -> bool {
        match bind {
            Bind::Tcp { addr, .. } if addr.port() == 0 => self.key == key && self.bind == bind.to_string(),
            _ => purpose(&self.key) == purpose(key) && self.place.is(bind),
        }
    }
}

/// Listeners may pass their addresses on to one another; those of another purpose have other sockets.
fn purpose(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(of, setting)| if of.starts_with("server.") { setting } else { key })
}

/// Whether connections arrive there, or the address is only held.
pub(super) fn listens(socket: &RawSocket) -> bool {
    sockopt::socket_acceptconn(socket).unwrap_or(true)
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
