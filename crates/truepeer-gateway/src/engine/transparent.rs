//! Connect to a backend from the client's own address, and say what this host lacks for it.
//!
//! The backend's answers go to the client's address; a mark on the connection, a rule and a route bring them back here.
//! Nothing on the host is changed: whatever is missing is said as the command that gives it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket as RawSocket, Type};

use super::dial::{Begun, Failed, begin_tcp, stand};
use super::published::is_own;
use super::{DialError, Socket, in_time, later, now, say};

/// The mark of connections that carry a client's address.
const MARK: u32 = 0x7e0;

/// An address of documentation in each family: a client that nobody is.
#[must_use]
pub const fn nobody(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    }
}

/// Connects to `backend` as `client` within `timeout`, and writes `opening` (possibly empty) before anything else; with
/// another port where the client's is taken, or 0.
///
/// # Errors
/// See [`DialError`].
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn dial_as(
    client: SocketAddr,
    backend: SocketAddr,
    opening: &[u8],
    timeout: Duration,
) -> Result<Socket, DialError> {
    if client.is_ipv4() != backend.is_ipv4() {
        return Err(DialError::MixedFamilies(client.ip()));
    }
    let deadline = later(now(), timeout);
    let mut from = client;
    let (socket, sent) = loop {
        let connect = async {
            let begun = bound(from).and_then(|fd| begin_tcp(fd, &backend)).map_err(Failed::Connect)?;
            as_client(&begun, client.ip())?;
            stand(begun, opening).await
        };
        match in_time(deadline, connect).await {
            Some(Ok(connected)) => break connected,
            // The client's port is still in use towards this backend: an earlier connection of the same client.
            Some(Err(Failed::Connect(error))) if from.port() != 0 && is_taken(&error) => from.set_port(0),
            Some(Err(Failed::Connect(error))) => return Err(not_connected(error)),
            Some(Err(Failed::Send(error))) => return Err(DialError::Send(error)),
            None => return Err(DialError::Timeout(timeout)),
        }
    };
    if let Some(rest) = opening.get(sent..).filter(|rest| !rest.is_empty()) {
        say(&socket, rest, deadline).await.map_err(DialError::Send)?;
    }
    Ok(socket)
}

/// The one thing that must never be wrong, seen to before a byte is written.
fn as_client(begun: &Begun, client: IpAddr) -> Result<(), Failed> {
    let ours = SockRef::from(&begun.fd).local_addr().map_err(Failed::Connect)?;
    if ours.as_socket().is_some_and(|ours| ours.ip() == client) {
        return Ok(());
    }
    let error = io::Error::new(io::ErrorKind::PermissionDenied, "the system connects from another address");
    Err(Failed::Connect(error))
}

/// A socket that will connect from `client`.
fn bound(client: SocketAddr) -> io::Result<OwnedFd> {
    let socket = RawSocket::new(Domain::for_address(client), Type::STREAM.nonblocking().cloexec(), None)?;
    set_transparent(&socket, client.ip())?;
    // An earlier connection of the same client may still be in its last wait.
    socket.set_reuse_address(true)?;
    socket.bind(&client.into())?;
    Ok(socket.into())
}

fn set_transparent(socket: &RawSocket, ip: IpAddr) -> io::Result<()> {
    match ip {
        IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
    }
    socket.set_mark(MARK)
}

fn is_taken(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL))
}

fn not_connected(error: io::Error) -> DialError {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC) => {
            DialError::NoSocket(error)
        }
        Some(Errno::PERM | Errno::ACCESS) => DialError::NotPermitted(error),
        None if error.kind() == io::ErrorKind::PermissionDenied => DialError::NotPermitted(error),
        Some(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL) => DialError::PortsExhausted(error),
        _ => DialError::Connect(error),
    }
}

/// What a backend needs besides that has an address of its own, not this host's: the way there is the ordinary one although
/// the connection is marked, and its answers, which have no mark, are kept here. Nobody else is answered at that port then.
#[must_use]
pub fn way_round(backend: SocketAddr) -> [String; 2] {
    let (ip, port) = (backend.ip().to_canonical(), backend.port());
    let family = if ip.is_ipv4() { "" } else { "-6 " };
    [
        format!("ip {family}rule add pref 98 to {ip} lookup main"),
        format!("ip {family}rule add pref 99 from {ip} ipproto tcp sport {port} lookup 100"),
    ]
}

/// Whether what is marked and goes to `backend` ends here, although the address is not this host's.
#[must_use]
pub fn leads_here(backend: SocketAddr) -> bool {
    let ip = backend.ip().to_canonical();
    let begins = || -> io::Result<Option<SocketAddr>> {
        let to = SocketAddr::new(ip, backend.port());
        let socket = RawSocket::new(Domain::for_address(to), Type::DGRAM, None)?;
        set_transparent(&socket, ip)?;
        socket.connect(&to.into())?;
        Ok(socket.local_addr()?.as_socket())
    };
    // Where a way ends here, it begins at the very address where it ends.
    !is_own(ip) && begins().ok().flatten().is_some_and(|ours| ours.ip() == ip)
}

/// What connecting as a client needs of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The right to use foreign addresses.
    Right,
    /// The backend's answers are recognised by the mark of what they answer.
    Accept,
    /// So is the answer of a port where nobody listens; without it, connecting there hangs.
    Reflect,
    /// What is marked is looked up in a table of its own.
    Rule,
    /// That table says that every address is here.
    Route,
}

impl Need {
    /// All of them, in the order in which they are given.
    pub const ALL: [Self; 5] = [Self::Right, Self::Accept, Self::Reflect, Self::Rule, Self::Route];

    /// The command that gives it, for backends of the family of `backend`.
    #[must_use]
    pub const fn command(self, backend: IpAddr) -> &'static str {
        match (self, backend) {
            (Self::Right, _) => {
                "setcap cap_net_admin+ep /usr/bin/truepeer   # or AmbientCapabilities=CAP_NET_ADMIN in the unit"
            }
            (Self::Accept, _) => "sysctl -w net.ipv4.tcp_fwmark_accept=1",
            (Self::Reflect, IpAddr::V4(_)) => "sysctl -w net.ipv4.fwmark_reflect=1",
            (Self::Reflect, IpAddr::V6(_)) => "sysctl -w net.ipv6.fwmark_reflect=1",
            (Self::Rule, IpAddr::V4(_)) => "ip rule add fwmark 0x7e0 lookup 100",
            (Self::Rule, IpAddr::V6(_)) => "ip -6 rule add fwmark 0x7e0 lookup 100",
            (Self::Route, IpAddr::V4(_)) => "ip route replace local 0.0.0.0/0 dev lo table 100",
            (Self::Route, IpAddr::V6(_)) => "ip -6 route replace local ::/0 dev lo table 100",
        }
    }
}

/// What this host lacks for backends of the family of `backend`. Rule and route are lacking together where marked
/// connections do not come back: from outside the kernel the two look alike.
///
/// Without the right, the rest cannot be tried, but for what is a file.
#[must_use]
pub fn lacking(backend: IpAddr) -> Vec<Need> {
    let is_on = |file: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == "1");
    let reflect = match backend {
        IpAddr::V4(_) => "/proc/sys/net/ipv4/fwmark_reflect",
        IpAddr::V6(_) => "/proc/sys/net/ipv6/fwmark_reflect",
    };
    let may = RawSocket::new(Domain::for_address(SocketAddr::new(backend, 0)), Type::STREAM, None)
        .and_then(|socket| set_transparent(&socket, backend))
        .is_ok();
    let has = |need: &Need| match need {
        Need::Right => may,
        Need::Accept => is_on("/proc/sys/net/ipv4/tcp_fwmark_accept"),
        Need::Reflect => is_on(reflect),
        Need::Rule | Need::Route => !may || comes_back(backend),
    };
    Need::ALL.into_iter().filter(|need| !has(need)).collect()
}

/// Whether what is marked and goes to a client comes back to this host.
///
/// Connecting a datagram socket sends nothing and asks the routing table. In IPv4 a way that ends here begins at the
/// very address where it ends; in IPv6 it does not, but none leads over the loopback device unless it ends here.
fn comes_back(backend: IpAddr) -> bool {
    let client = SocketAddr::new(nobody(backend), 9);
    let begins = || -> io::Result<Option<SocketAddr>> {
        let socket = RawSocket::new(Domain::for_address(client), Type::DGRAM, None)?;
        set_transparent(&socket, client.ip())?;
        if client.is_ipv6() {
            socket.bind_device(Some(b"lo"))?;
        }
        socket.connect(&client.into())?;
        Ok(socket.local_addr()?.as_socket())
    };
    begins().ok().flatten().is_some_and(|ours| client.is_ipv6() || ours.ip() == client.ip())
}
