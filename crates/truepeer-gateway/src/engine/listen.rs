//! Listening sockets: made before anything is served, so that every mistake shows at start.

mod name;

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, Type};

use super::Given;
use super::accept::{self, Acceptor, Arrival, Place};
use super::inherited::{Taken, listens};
use super::socket::set_tcp_options;
use crate::facts::bind::{Bind, Families};
use name::{SocketName, beside, remove_stale};

/// Connections that the kernel holds for us until they are accepted.
const BACKLOG: i32 = 4096;

/// One address that is listened on: a socket for each worker.
#[derive(Debug)]
pub struct Listening {
    /// Where, with the port that the system chose.
    pub address: String,
    /// TCP only: the same as a value.
    pub tcp: Option<SocketAddr>,
    sockets: Vec<RawListener>,
    /// The same sockets once more, for a successor; none where the service manager gave them.
    kept: Vec<RawSocket>,
    /// A UNIX socket of our own, or of the process before: where it is found.
    name: Option<SocketName>,
    /// Whether the service manager holds it, too: then it is not ours to shut.
    pub given: bool,
}

/// Whether a bound address takes connections from the first moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// It does.
    Listens,
    /// TCP only: it is bound, so that nobody gets it by accident, and refuses connections until
    /// [`RawListener::listen`].
    Reserves,
    /// Another socket of this process has the address, or a part of it, and is about to give it up. Both are bound until
    /// then; this one takes connections from [`Listening::listen`] on, and dropping it before changes nothing.
    Beside,
}

/// One worker's share of a bound address, watched by no runtime.
#[derive(Debug)]
pub struct RawListener {
    socket: Raw,
    listens: bool,
}

#[derive(Debug)]
enum Raw {
    Tcp(std::net::TcpListener),
    Unix(UnixListener),
}

/// Why an address could not be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// The address as configured.
    pub address: String,
    /// What was tried.
    pub doing: &'static str,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, doing, error } = self;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is in use by another program (perhaps another truepeer): end it, or choose another `bind`"
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "{address}: not permitted to {doing}: ports below 1024 need CAP_NET_BIND_SERVICE, a UNIX socket a folder that this user may write"
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "{address} is no address of this machine: `bind` one that is, or a wildcard")
            }
            _ => write!(f, "{address}: cannot {doing}: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// Listens on `bind`, which `key` names, for each of `workers`: with the socket that the service manager gave for it, with
/// those of the process whose place this one takes, or with our own.
///
/// # Errors
/// [`ListenError`], in particular if any program, another truepeer included, already listens there.
pub fn bind(
    bind: &Bind,
    key: &str,
    workers: usize,
    binding: Binding,
    given: &Given,
) -> Result<Listening, ListenError> {
    let fail =
        |error| ListenError { address: bind.to_string(), doing: "take the service manager's socket", error };
    if let Some(socket) = given.find(bind).map_err(fail)? {
        return share(bind, socket, workers).map_err(fail);
    }
    let fail = |error| ListenError {
        address: bind.to_string(),
        doing: "take the socket of the process before",
        error,
    };
    if let Some(taken) = given.inherited().take(key, bind).map_err(fail)? {
        return inherit(bind, taken, workers).map_err(fail);
    }
    match bind {
        Bind::Tcp { addr, families } => bind_tcp(*addr, *families, workers, binding),
        Bind::Unix { path, mode } => bind_unix(path, *mode, workers, binding),
    }
}

impl Listening {
    /// A socket, watched from now on; called inside the runtime that accepts there.
    ///
    /// # Errors
    /// If the runtime cannot watch the socket.
    pub fn take_acceptor(&mut self) -> io::Result<Option<Acceptor>> {
        self.take_raw().map(RawListener::watch).transpose().map_err(|(error, _)| error)
    }

    /// Takes connections from now on, if it was only reserved, or bound beside another socket.
    ///
    /// # Errors
    /// `AddrInUse` if another program has taken the port meanwhile; the file system's, if a UNIX socket cannot take the
    /// place of the one before it.
    pub fn listen(&mut self) -> io::Result<()> {
        self.sockets.iter_mut().try_for_each(RawListener::listen)?;
        self.name.as_mut().map_or(Ok(()), SocketName::take_its_place)
    }

    /// What it is bound to: `configured`, with the port that the system chose.
    #[must_use]
    pub fn place(&self, configured: &Bind) -> Bind {
        match (configured, self.tcp) {
            (Bind::Tcp { families, .. }, Some(addr)) => Bind::Tcp { addr, families: *families },
            _ => configured.clone(),
        }
    }

    /// A socket as it is.
    #[must_use]
    pub fn take_raw(&mut self) -> Option<RawListener> {
        self.sockets.pop()
    }

    /// How many sockets were not taken yet: at least one for each worker at first.
    #[must_use]
    pub fn shares(&self) -> usize {
        self.sockets.len()
    }

    /// The sockets once more, for a successor; none where the service manager gave them.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn to_hand_on(&self) -> io::Result<Vec<OwnedFd>> {
        self.kept.iter().map(|socket| Ok(socket.try_clone()?.into())).collect()
    }

    /// A handle that stays with whoever may hand the address on, where the sockets are served by another thread.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn handle(&self) -> io::Result<Handle> {
        let sockets = self.kept.iter().map(RawSocket::try_clone).collect::<Result<_, _>>()?;
        Ok(Handle { sockets, given: self.given })
    }

    /// Nobody will accept here: a UNIX path goes. What is held of TCP stays until this is dropped, and listens no more
    /// once the workers have left ([`RawListener::shut`]): its descriptors are nobody's whose clients still wait.
    pub fn give_up(&mut self) {
        self.name = None;
        if self.tcp.is_none() {
            self.kept.clear();
        }
    }

    /// Somebody else has the address from now on: its path stays.
    pub fn leave_to_successor(mut self) {
        if let Some(name) = self.name.take() {
            name.leave();
        }
    }

    /// Splits off one worker's share.
    #[must_use]
    pub fn share(&mut self) -> Self {
        Self {
            address: self.address.clone(),
            tcp: self.tcp,
            sockets: self.sockets.pop().into_iter().collect(),
            kept: Vec::new(),
            name: None,
            given: self.given,
        }
    }
}

impl RawListener {
    /// A listening TCP socket.
    pub(super) fn tcp(socket: std::net::TcpListener) -> Self {
        Self { socket: Raw::Tcp(socket), listens: true }
    }

    /// A listening UNIX socket.
    pub(super) fn unix(socket: UnixListener) -> Self {
        Self { socket: Raw::Unix(socket), listens: true }
    }

    /// Takes connections from now on; nothing if it does already.
    ///
    /// # Errors
    /// `AddrInUse` if another program has taken the port while this socket did not listen. It is as before then.
    pub fn listen(&mut self) -> io::Result<()> {
        if let (Raw::Tcp(socket), false) = (&self.socket, self.listens) {
            SockRef::from(socket).listen(BACKLOG)?;
            self.listens = true;
        }
        Ok(())
    }

    /// Refuses connections from now on, as a port that nobody listens on does; the address stays ours.
    /// What is still in the queue is lost: take it with [`RawListener::accept_waiting`] before.
    ///
    /// A UNIX socket cannot come back from that and is left as it is.
    ///
    /// # Errors
    /// The system's.
    pub fn shut(&mut self) -> io::Result<()> {
        if let (Raw::Tcp(socket), true) = (&self.socket, self.listens) {
            // On Linux this ends listening and keeps a port that was bound by its number.
            SockRef::from(socket).shutdown(Shutdown::Read)?;
            self.listens = false;
        }
        Ok(())
    }

    /// The next connection that the kernel has ready, if there is one; called where it will be served. Those that were
    /// gone before they were taken are passed over.
    ///
    /// # Errors
    /// The system has no descriptor or no memory for it: it still waits, and others behind it.
    pub fn accept_waiting(&self) -> io::Result<Option<Arrival>> {
        if !self.listens {
            return Ok(None);
        }
        #[cfg(test)]
        if let Some(called) = super::simulated::accept_waiting() {
            return called.map(|caller| caller.map(accept::simulated));
        }
        let place = self.place();
        for _ in 0..BACKLOG {
            match accept::accept(self.as_fd(), place) {
                Ok(arrival) => return Ok(Some(arrival)),
                // `InvalidInput`: a worker that has the same socket has shut it.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput) =>
                {
                    break;
                }
                Err(error) if accept::is_of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Watches it from now on; called where its connections will be served.
    ///
    /// # Errors
    /// If a runtime cannot watch the socket, with the socket as it was.
    pub fn watch(self) -> Result<Acceptor, (io::Error, Self)> {
        let (place, listens) = (self.place(), self.listens);
        let raw = |fd: OwnedFd| match place {
            Place::Unix => Raw::Unix(fd.into()),
            Place::Tcp(_) | Place::AnyTcp => Raw::Tcp(fd.into()),
        };
        let fd = match self.socket {
            Raw::Tcp(listener) => listener.into(),
            Raw::Unix(listener) => listener.into(),
        };
        Acceptor::new(fd, place).map_err(|(error, fd)| (error, Self { socket: raw(fd), listens }))
    }

    fn place(&self) -> Place {
        match &self.socket {
            Raw::Tcp(listener) => listener.local_addr().map_or(Place::AnyTcp, Place::bound_to),
            Raw::Unix(_) => Place::Unix,
        }
    }
}

impl AsFd for RawListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Raw::Tcp(listener) => listener.as_fd(),
            Raw::Unix(listener) => listener.as_fd(),
        }
    }
}

/// The sockets of an address that another thread serves.
#[derive(Debug)]
pub struct Handle {
    sockets: Vec<RawSocket>,
    /// Whether the service manager gave them.
    pub given: bool,
}

impl Handle {
    /// As [`Listening::to_hand_on`].
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn to_hand_on(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| Ok(socket.try_clone()?.into())).collect()
    }
}

/// Sockets of the process before: each is accepted from, since the kernel shares connections out among all of a group.
fn inherit(bind: &Bind, taken: Taken, workers: usize) -> io::Result<Listening> {
    let Taken { sockets: kept, tcp, path, ours } = taken;
    let raw = |socket: RawSocket| {
        let listens = listens(&socket);
        let socket = match tcp {
            Some(_) => Raw::Tcp(socket.into()),
            None => Raw::Unix(UnixListener::from(OwnedFd::from(socket))),
        };
        RawListener { socket, listens }
    };
    let shares = kept.iter().cycle().take(kept.len().max(workers)).map(|socket| socket.try_clone().map(raw));
    Ok(Listening {
        address: tcp.map_or_else(|| bind.to_string(), |addr| addr.to_string()),
        tcp,
        sockets: shares.collect::<Result<_, _>>()?,
        kept,
        // A path that is gone, with a socket that goes on, is not ours to make again.
        name: path.and_then(|path| SocketName::of(path, None, ours).ok()),
        given: false,
    })
}

/// One given socket for all workers. It is not ours alone: what the service manager made, it removes, and while it
/// holds the socket open we cannot shut it.
fn share(bind: &Bind, socket: &RawSocket, workers: usize) -> io::Result<Listening> {
    let tcp = socket.local_addr()?.as_socket();
    let raw = |socket: RawSocket| match tcp {
        Some(_) => RawListener::tcp(socket.into()),
        None => RawListener::unix(UnixListener::from(OwnedFd::from(socket))),
    };
    let sockets = (0..workers).map(|_| socket.try_clone().map(raw));
    Ok(Listening {
        address: bind.to_string(),
        tcp,
        sockets: sockets.collect::<Result<_, _>>()?,
        kept: Vec::new(),
        name: None,
        given: true,
    })
}

/// Proves that nobody listens at `addr`, and returns it with the port that the system chose.
///
/// Two instances must not share a port by accident: a bind without `SO_REUSEPORT` fails if anybody listens there.
///
/// # Errors
/// [`ListenError`].
pub fn prove_free(addr: SocketAddr, families: Families) -> Result<SocketAddr, ListenError> {
    let fail = |doing| move |error| ListenError { address: addr.to_string(), doing, error };
    let proof = tcp_socket(addr, families).map_err(fail("make a socket"))?;
    proof.bind(&addr.into()).map_err(fail("bind"))?;
    Ok(proof.local_addr().map_err(fail("read the address"))?.as_socket().unwrap_or(addr))
}

fn bind_tcp(
    addr: SocketAddr,
    families: Families,
    workers: usize,
    binding: Binding,
) -> Result<Listening, ListenError> {
    let fail = |doing| move |error| ListenError { address: addr.to_string(), doing, error };
    // What is ours in part was free of others when that part was bound.
    let chosen = if binding == Binding::Beside { addr } else { prove_free(addr, families)? };
    let (mut sockets, mut kept) = (Vec::with_capacity(workers), Vec::with_capacity(workers));
    for _ in 0..workers {
        let socket = tcp_socket(addr, families).map_err(fail("make a socket"))?;
        socket.set_reuse_port(true).map_err(fail("share the port among workers"))?;
        set_tcp_options(&SockRef::from(&socket)).map_err(fail("set socket options"))?;
        // By its number, even if the system chose it: only then does it survive `shut`.
        socket.bind(&chosen.into()).map_err(fail("bind"))?;
        kept.push(socket.try_clone().map_err(fail("keep the socket"))?);
        sockets.push(RawListener { socket: Raw::Tcp(socket.into()), listens: false });
    }
    let address = chosen.to_string();
    let mut listening = Listening { address, tcp: Some(chosen), sockets, kept, name: None, given: false };
    if binding == Binding::Listens {
        // Only now: no connection may wait in a group that is not complete.
        listening.listen().map_err(fail("listen"))?;
    }
    Ok(listening)
}

fn tcp_socket(addr: SocketAddr, families: Families) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(families == Families::Own)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32, workers: usize, binding: Binding) -> Result<Listening, ListenError> {
    let address = format!("unix:{}", path.display());
    let fail = |doing| {
        let address = address.clone();
        move |error| ListenError { address, doing, error }
    };
    let (at, later) = match binding {
        Binding::Beside => (beside(path), Some(path.to_owned())),
        Binding::Listens | Binding::Reserves => (path.to_owned(), None),
    };
    remove_stale(&at).map_err(fail("replace what is there"))?;
    let socket =
        RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(fail("make a socket"))?;
    let sun_path = SockAddr::unix(&at).map_err(fail("use this path"))?;
    socket.bind(&sun_path).map_err(fail("bind"))?;
    let name =
        SocketName::of(at, later, Arc::new(AtomicBool::new(true))).map_err(fail("find its own socket"))?;
    std::fs::set_permissions(name.path(), std::fs::Permissions::from_mode(mode))
        .map_err(fail("set `socket-mode`"))?;
    // Only now can anybody connect: the mode is right from the first moment on.
    socket.listen(BACKLOG).map_err(fail("listen"))?;
    let kept = vec![socket.try_clone().map_err(fail("keep the socket"))?];
    let listener = UnixListener::from(OwnedFd::from(socket));
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets
            .push(RawListener::unix(listener.try_clone().map_err(fail("share the socket among workers"))?));
    }
    sockets.push(RawListener::unix(listener));
    Ok(Listening { address, tcp: None, sockets, kept, name: Some(name), given: false })
}

#[cfg(test)]
impl Listening {
    /// One worker's share of an address in a simulated world, where `stand_in` is never looked at.
    pub(crate) fn simulated(stand_in: OwnedFd) -> Self {
        let sockets = vec![RawListener::unix(UnixListener::from(stand_in))];
        Self {
            address: "simulated".to_owned(),
            tcp: None,
            sockets,
            kept: Vec::new(),
            name: None,
            given: false,
        }
    }
}
