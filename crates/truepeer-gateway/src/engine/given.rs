//! Sockets that a service manager made, listens on, and gave to us (socket activation).
//!
//! What such a socket is bound to decides which address of the configuration it serves; names only help to tell them
//! apart. So the configuration alone says where we listen, and a socket unit that says something else is found at
//! start. Taken once by `run`; used wherever something is bound.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use socket2::{SockRef, Socket as RawSocket};

use super::inherited::Inherited;
use super::place::{Place, mode_of, place};
use super::socket::set_tcp_options;
use crate::facts::bind::{Bind, Families};

/// The first descriptor of those that were given.
const FIRST: u32 = 3;
/// The most that are taken.
const MOST: u32 = 1024;

/// The sockets; cheap to clone. All of them stay open as long as one clone does, so that an address that a reload gave
/// up can be taken again by the next.
#[derive(Debug, Clone, Default)]
pub struct Given {
    sockets: Arc<[GivenSocket]>,
    /// What this process has from the one whose place it takes.
    inherited: Inherited,
}

/// One of them.
#[derive(Debug)]
struct GivenSocket {
    label: SocketName,
    place: Place,
    socket: RawSocket,
}

/// How a given socket is called in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketName {
    /// Its descriptor.
    pub number: u32,
    /// `FileDescriptorName=`, or the name of the socket unit.
    pub name: Option<String>,
}

/// Why given sockets cannot be used; always the operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GivenError {
    /// `LISTEN_FDS` is no number of descriptors.
    Count(String),
    /// A descriptor that should be there is not.
    Missing {
        /// The descriptor.
        number: u32,
        /// How many were promised.
        count: u32,
    },
    /// It is nothing that connections can be accepted from.
    Kind {
        /// Which.
        socket: SocketName,
        /// What it is.
        seen: String,
    },
    /// The configuration does not bind its address.
    Unwanted {
        /// Which.
        socket: SocketName,
        /// Where it listens.
        at: String,
        /// What the configuration binds, each with its key.
        binds: Vec<String>,
    },
    /// Two are bound to the same address.
    Twice {
        /// The first.
        one: SocketName,
        /// The second.
        other: SocketName,
        /// Where both listen.
        at: String,
    },
}

impl fmt::Display for GivenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(seen) => write!(
                f,
                "LISTEN_FDS={seen:?} is no number from 0 to {MOST}: it is set by the service manager, together with LISTEN_PID"
            ),
            Self::Missing { number, count } => write!(
                f,
                "LISTEN_FDS={count} promises descriptors {FIRST} to {last}, but descriptor {number} is not open: the program that started truepeer must pass them on",
                last = FIRST.saturating_add(*count).saturating_sub(1)
            ),
            Self::Kind { socket, seen } => write!(
                f,
                "the service manager gave {socket}, which is {seen}: only listening TCP and UNIX stream sockets can be served (ListenStream= with Accept=no in the socket unit)"
            ),
            Self::Unwanted { socket, at, binds } => write!(
                f,
                "the service manager gave {socket}, which listens on {at}, but the configuration binds {binds}: make ListenStream= in the socket unit and `bind` the same address",
                binds = if binds.is_empty() { "nothing".to_owned() } else { binds.join(", ") }
            ),
            Self::Twice { one, other, at } => write!(
                f,
                "the service manager gave two sockets for {at}, {one} and {other}: remove one of them (or ReusePort=)"
            ),
        }
    }
}

impl std::error::Error for GivenError {}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {}", self.number)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " ({name:?})"))
    }
}

impl Given {
    /// Takes what `LISTEN_FDS` speaks of, if `LISTEN_PID` is this process.
    ///
    /// To be called once, before anything is opened. The variables stay, which is harmless: they name this process, so
    /// that no other believes them, and the descriptors are closed on exec.
    ///
    /// # Errors
    /// [`GivenError`] unless each is a listening stream socket.
    pub fn take() -> Result<Self, GivenError> {
        if std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
            return Ok(Self::default());
        }
        let Some(count) = std::env::var_os("LISTEN_FDS") else { return Ok(Self::default()) };
        let count = count.to_string_lossy();
        let number = count.parse().ok().filter(|number: &u32| *number <= MOST);
        let count = number.ok_or_else(|| GivenError::Count(count.into_owned()))?;
        // Before they are owned: to own and close a descriptor that is not there would abort the process.
        if let Some(number) = (FIRST..FIRST.saturating_add(count)).find(|number| is_closed(*number)) {
            return Err(GivenError::Missing { number, count });
        }
        let taken = sd_listen_fds::get().map_err(|error| GivenError::Count(format!("{count} ({error})")))?;
        let sockets = (FIRST..).zip(taken).map(|(number, (name, descriptor))| {
            GivenSocket::new(SocketName { number, name }, descriptor.into_std())
        });
        Self::of(sockets.collect::<Result<_, _>>()?)
    }

    fn of(sockets: Vec<GivenSocket>) -> Result<Self, GivenError> {
        for (at, one) in sockets.iter().enumerate() {
            let same = |other: &&GivenSocket| other.place == one.place && one.place != Place::Unnamed;
            if let Some(other) = sockets.iter().skip(at.saturating_add(1)).find(same) {
                let (one, other, at) = (one.label.clone(), other.label.clone(), one.place.to_string());
                return Err(GivenError::Twice { one, other, at });
            }
        }
        Ok(Self { sockets: sockets.into(), inherited: Inherited::default() })
    }

    /// What the service manager gave to the process whose place this one takes, and what that one listened on itself.
    ///
    /// # Errors
    /// As [`Given::take`].
    pub fn handed_on(sockets: Vec<(SocketName, OwnedFd)>, inherited: Inherited) -> Result<Self, GivenError> {
        let sockets = sockets.into_iter().map(|(label, socket)| GivenSocket::new(label, socket));
        Ok(Self { inherited, ..Self::of(sockets.collect::<Result<_, _>>()?)? })
    }

    /// What the service manager gave, once more, for a successor.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn to_hand_on(&self) -> io::Result<Vec<(SocketName, OwnedFd)>> {
        let copy = |given: &GivenSocket| Ok((given.label.clone(), given.socket.try_clone()?.into()));
        self.sockets.iter().map(copy).collect()
    }

    /// What this process has from the one whose place it takes.
    #[must_use]
    pub fn inherited(&self) -> &Inherited {
        &self.inherited
    }

    /// Whether every one is bound to one of `binds`, each given with the key that names it.
    ///
    /// # Errors
    /// [`GivenError::Unwanted`] for the first that is not: its clients would be kept waiting by the kernel for ever.
    pub fn check(&self, binds: &[(String, Bind)]) -> Result<(), GivenError> {
        let Some(socket) = self.unwanted(binds).next() else { return Ok(()) };
        Err(GivenError::Unwanted {
            socket: socket.label.clone(),
            at: socket.place.to_string(),
            binds: binds.iter().map(|(key, bind)| format!("{bind} ({key})")).collect(),
        })
    }

    /// The addresses of those that are bound to none of `binds`.
    #[must_use]
    pub fn unused(&self, binds: &[(String, Bind)]) -> Vec<String> {
        self.unwanted(binds).map(|socket| socket.place.to_string()).collect()
    }

    /// Whether one of them serves `bind`.
    #[must_use]
    pub fn has(&self, bind: &Bind) -> bool {
        self.sockets.iter().any(|socket| socket.place.is(bind))
    }

    /// The one that serves `bind`, ready to be accepted from.
    ///
    /// # Errors
    /// If it listens there, but not as `bind` says.
    pub(super) fn find(&self, bind: &Bind) -> io::Result<Option<&RawSocket>> {
        let Some(found) = self.sockets.iter().find(|socket| socket.place.is(bind)) else { return Ok(None) };
        match (&found.place, bind) {
            (Place::Tcp { families: has, .. }, Bind::Tcp { families: wants, .. }) if has != wants => {
                return Err(io::Error::other(match has {
                    Families::Own => {
                        "it serves IPv6 only, and `bind` means IPv4, too: write BindIPv6Only=both in the socket unit, or `bind` an IPv4 address as well"
                    }
                    Families::Both => {
                        "it serves IPv4, too, and `bind` leaves IPv4 to another address: write BindIPv6Only=ipv6-only in the socket unit"
                    }
                }));
            }
            (Place::Tcp { .. }, _) => set_tcp_options(&SockRef::from(&found.socket))?,
            (Place::Unix(path), Bind::Unix { mode, .. }) => {
                // A path that we cannot see (another root) says nothing about who may connect.
                if let Some(has) = mode_of(path).filter(|has| has != mode) {
                    return Err(io::Error::other(format!(
                        "its mode is {has:04o}, and `socket-mode` is {mode:04o}: write SocketMode={mode:04o} in the socket unit, or change `socket-mode`"
                    )));
                }
            }
            (Place::Unix(_) | Place::Unnamed, _) => {}
        }
        found.socket.set_nonblocking(true)?;
        Ok(Some(&found.socket))
    }

    fn unwanted<'s>(&'s self, binds: &'s [(String, Bind)]) -> impl Iterator<Item = &'s GivenSocket> {
        self.sockets.iter().filter(|socket| !binds.iter().any(|(_, bind)| socket.place.is(bind)))
    }
}

impl GivenSocket {
    fn new(label: SocketName, descriptor: OwnedFd) -> Result<Self, GivenError> {
        match place(&descriptor) {
            Ok(Ok(place)) => Ok(Self { label, place, socket: RawSocket::from(descriptor) }),
            Ok(Err(seen)) => Err(GivenError::Kind { socket: label, seen: seen.to_owned() }),
            Err(error) => Err(GivenError::Kind { socket: label, seen: format!("unusable ({error})") }),
        }
    }
}

fn is_closed(number: u32) -> bool {
    // Where nobody can look, the promise is believed.
    let all = Path::new("/proc/self/fd");
    all.is_dir() && std::fs::symlink_metadata(all.join(number.to_string())).is_err()
}

#[cfg(test)]
mod tests;
