//! Listening sockets: made before anything is served, so that every mistake shows at start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, Type};

use super::socket::set_tcp_options;
use super::{Acceptor, Given};
use crate::config::{Bind, Families};

/// Connections that the kernel holds for us until they are accepted.
const BACKLOG: i32 = 4096;

/// One address that is listened on: a socket for each worker.
#[derive(Debug)]
pub struct Listening {
    /// Where, with the port that the system chose.
    pub address: String,
    /// TCP only: the same as a value.
    pub tcp: Option<SocketAddr>,
    sockets: Vec<Raw>,
    remove: Option<PathBuf>,
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

/// Listens on `bind` for each of `workers`: with the socket that the service manager gave for it, or with our own.
///
/// # Errors
/// [`ListenError`], in particular if any program, another truepeer included, already listens there.
pub fn bind(bind: &Bind, workers: usize, given: &Given) -> Result<Listening, ListenError> {
    let fail =
        |error| ListenError { address: bind.to_string(), doing: "take the service manager's socket", error };
    if let Some(socket) = given.find(bind).map_err(fail)? {
        return share(bind, socket, workers).map_err(fail);
    }
    match bind {
        Bind::Tcp { addr, families } => bind_tcp(*addr, *families, workers),
        Bind::Unix { path, mode } => bind_unix(path, *mode, workers),
    }
}

impl Listening {
    /// The sockets, one for each worker; called inside a worker's runtime for its own.
    ///
    /// # Errors
    /// If the runtime cannot watch the socket.
    pub fn take_acceptor(&mut self) -> io::Result<Option<Acceptor>> {
        Ok(match self.sockets.pop() {
            Some(Raw::Tcp(listener)) => Some(Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?)),
            Some(Raw::Unix(listener)) => Some(Acceptor::Unix(tokio::net::UnixListener::from_std(listener)?)),
            None => None,
        })
    }

    /// Splits off one worker's share.
    #[must_use]
    pub fn share(&mut self) -> Self {
        Self {
            address: self.address.clone(),
            tcp: self.tcp,
            sockets: self.sockets.pop().into_iter().collect(),
            remove: None,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(path) = &self.remove {
            // A path that is already gone is what we wanted.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// One given socket for all workers. It is not ours alone: what the service manager made, it removes.
fn share(bind: &Bind, socket: &RawSocket, workers: usize) -> io::Result<Listening> {
    let tcp = socket.local_addr()?.as_socket();
    let raw = |socket: RawSocket| match tcp {
        Some(_) => Raw::Tcp(socket.into()),
        None => Raw::Unix(UnixListener::from(OwnedFd::from(socket))),
    };
    let sockets = (0..workers).map(|_| socket.try_clone().map(raw));
    Ok(Listening {
        address: bind.to_string(),
        tcp,
        sockets: sockets.collect::<Result<_, _>>()?,
        remove: None,
    })
}

fn bind_tcp(addr: SocketAddr, families: Families, workers: usize) -> Result<Listening, ListenError> {
    let fail = |doing| move |error| ListenError { address: addr.to_string(), doing, error };
    // Two instances must not share a port by accident: a bind without SO_REUSEPORT fails if anybody is there.
    let proof = tcp_socket(addr, families).map_err(fail("make a socket"))?;
    proof.bind(&addr.into()).map_err(fail("bind"))?;
    let chosen = proof.local_addr().map_err(fail("read the address"))?.as_socket().unwrap_or(addr);
    drop(proof);
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = tcp_socket(addr, families).map_err(fail("make a socket"))?;
        socket.set_reuse_port(true).map_err(fail("share the port among workers"))?;
        set_tcp_options(&SockRef::from(&socket)).map_err(fail("set socket options"))?;
        socket.bind(&chosen.into()).map_err(fail("bind"))?;
        sockets.push(socket);
    }
    // Only now: no connection may wait in a group that is not complete.
    for socket in &sockets {
        socket.listen(BACKLOG).map_err(fail("listen"))?;
    }
    let sockets = sockets.into_iter().map(|socket| Raw::Tcp(socket.into())).collect();
    Ok(Listening { address: chosen.to_string(), tcp: Some(chosen), sockets, remove: None })
}

fn tcp_socket(addr: SocketAddr, families: Families) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(families == Families::Own)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32, workers: usize) -> Result<Listening, ListenError> {
    let address = format!("unix:{}", path.display());
    let fail = |doing| {
        let address = address.clone();
        move |error| ListenError { address, doing, error }
    };
    remove_stale(path).map_err(fail("replace what is there"))?;
    let socket =
        RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(fail("make a socket"))?;
    let name = SockAddr::unix(path).map_err(fail("use this path"))?;
    socket.bind(&name).map_err(fail("bind"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(fail("set `socket-mode`"))?;
    // Only now can anybody connect: the mode is right from the first moment on.
    socket.listen(BACKLOG).map_err(fail("listen"))?;
    let listener = UnixListener::from(OwnedFd::from(socket));
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(Raw::Unix(listener.try_clone().map_err(fail("share the socket among workers"))?));
    }
    sockets.push(Raw::Unix(listener));
    Ok(Listening { address, tcp: None, sockets, remove: Some(path.to_owned()) })
}

/// A socket file that nobody answers on is left over; anything else is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}
