//! Sockets that a service manager made, listens on, and gave to us (socket activation).
//!
//! What such a socket is bound to decides which address of the configuration it serves; names only help to tell them
//! apart. So the configuration alone says where we listen, and a socket unit that says something else is found at
//! start. Taken once by `run`; used wherever something is bound.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};
use socket2::{SockRef, Socket as RawSocket};

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
}

/// One of them.
#[derive(Debug)]
struct GivenSocket {
    label: Label,
    place: Place,
    socket: RawSocket,
}

/// How a given socket is called in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its descriptor.
    pub number: u32,
    /// `FileDescriptorName=`, or the name of the socket unit.
    pub name: Option<String>,
}

/// What a given socket is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp {
        addr: SocketAddr,
        families: Families,
    },
    Unix(PathBuf),
    /// A UNIX socket without a path.
    Unnamed,
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
        socket: Label,
        /// What it is.
        seen: String,
    },
    /// The configuration does not bind its address.
    Unwanted {
        /// Which.
        socket: Label,
        /// Where it listens.
        at: String,
        /// What the configuration binds, each with its key.
        binds: Vec<String>,
    },
    /// Two are bound to the same address.
    Twice {
        /// The first.
        one: Label,
        /// The second.
        other: Label,
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
                "LISTEN_FDS={count} promises descriptors {FIRST} to {last}, but descriptor {number} is not open: whoever started truepeer must pass them on",
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

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {}", self.number)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " ({name:?})"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addr, .. } => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Unnamed => f.write_str("a UNIX address without a path"),
        }
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
            GivenSocket::new(Label { number, name }, descriptor.into_std())
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
        Ok(Self { sockets: sockets.into() })
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
    fn new(label: Label, descriptor: OwnedFd) -> Result<Self, GivenError> {
        match place(&descriptor) {
            Ok(Ok(place)) => Ok(Self { label, place, socket: RawSocket::from(descriptor) }),
            Ok(Err(seen)) => Err(GivenError::Kind { socket: label, seen: seen.to_owned() }),
            Err(error) => Err(GivenError::Kind { socket: label, seen: format!("unusable ({error})") }),
        }
    }
}

impl Place {
    /// Whether `bind` means this address, however it is to be listened on there.
    fn is(&self, bind: &Bind) -> bool {
        match (self, bind) {
            // A scope or a flow label is no part of the address as it is configured.
            (Self::Tcp { addr: has, .. }, Bind::Tcp { addr: wants, .. }) => {
                (has.ip(), has.port()) == (wants.ip(), wants.port())
            }
            (Self::Unix(has), Bind::Unix { path, .. }) => has == path,
            _ => false,
        }
    }
}

/// What a descriptor is bound to, or what it is instead of a listening stream socket.
fn place(descriptor: &OwnedFd) -> io::Result<Result<Place, &'static str>> {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    match sockopt::socket_type(descriptor) {
        Err(rustix::io::Errno::NOTSOCK) => return Ok(Err("no socket")),
        Ok(SocketType::STREAM) => {}
        Ok(SocketType::DGRAM) => return Ok(Err("a datagram socket")),
        Ok(_) => return Ok(Err("neither a stream nor a datagram socket")),
        Err(error) => return Err(error.into()),
    }
    let family = sockopt::socket_domain(descriptor)?;
    if ![AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX].contains(&family) {
        return Ok(Err("a socket of another address family"));
    }
    let protocol = sockopt::socket_protocol(descriptor)?;
    if family != AddressFamily::UNIX && ![Some(ipproto::TCP), Some(ipproto::MPTCP)].contains(&protocol) {
        return Ok(Err("a stream socket of another protocol than TCP"));
    }
    if !sockopt::socket_acceptconn(descriptor)? {
        return Ok(Err("a stream socket that does not listen"));
    }
    let local = SockRef::from(descriptor).local_addr()?;
    let path = || local.as_pathname().map_or(Place::Unnamed, |path| Place::Unix(path.to_owned()));
    let Some(addr) = local.as_socket() else { return Ok(Ok(path())) };
    let both = addr.is_ipv6() && addr.ip().is_unspecified() && !sockopt::ipv6_v6only(descriptor)?;
    let families = if both { Families::Both } else { Families::Own };
    Ok(Ok(Place::Tcp { addr, families }))
}

fn is_closed(number: u32) -> bool {
    // Where nobody can look, the promise is believed.
    let all = Path::new("/proc/self/fd");
    all.is_dir() && std::fs::symlink_metadata(all.join(number.to_string())).is_err()
}

fn mode_of(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}

#[cfg(test)]
mod tests;
