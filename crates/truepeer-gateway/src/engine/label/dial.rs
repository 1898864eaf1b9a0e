//! One connection: bound, its label laid ready, connected, and looked up whether the backend's socket has taken it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket as RawSocket, Type};

use super::layout::{self, KEY, PENDING, Pending, State};
use super::loaded::{Loaded, nanoseconds};
use super::{Label, Labels};
use crate::engine::dial::{Begun, Failed, State as Stands, begin_tcp, stand};
use crate::engine::{DialError, NotShown, Socket, in_time, later, now, say, until};

/// What a backend's socket says of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Its address.
    Client,
    /// The substitute for its address.
    Substitute,
}

/// How long after connecting a label may stay where it was laid: the last step of a handshake may be queued in the
/// kernel while we are told already that the connection stands.
const TAKING: Duration = Duration::from_millis(250);
/// How often that is looked up.
const LOOK: Duration = Duration::from_millis(1);

impl Labels {
    /// Connects to `backend` within `timeout`, has its socket say what `label` says, and then writes `opening` (possibly
    /// empty). Not a byte goes to a backend whose socket does not.
    ///
    /// # Errors
    /// See [`DialError`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn dial(
        &self,
        label: Label,
        backend: SocketAddr,
        opening: &[u8],
        timeout: Duration,
    ) -> Result<(Socket, Shown), DialError> {
        let not_shown = DialError::NotShown;
        let loaded = self.0.loaded.load_full().ok_or(not_shown(NotShown::NotLoaded))?;
        let backend = match backend.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::from((ip, backend.port())),
            // With the interface of an address that is the link's.
            IpAddr::V6(_) => backend,
        };
        let deadline = later(now(), timeout);
        let fd = self.bound(backend).map_err(not_bound)?;
        let ours = SockRef::from(&fd).local_addr().map_err(DialError::NoSocket)?;
        let ours = ours.as_socket().ok_or_else(|| DialError::NoSocket(io::ErrorKind::Unsupported.into()))?;
        let pending = Pending {
            client: label.client,
            destination: label.destination,
            substitute: label.substitute,
            deadline: nanoseconds().saturating_add(in_nanoseconds(timeout.saturating_add(TAKING))),
            netns: if is_here(backend.ip(), ours.ip()) { loaded.netns } else { 0 },
        };
        // Goes after the socket: a backend that takes the connection only when it ends still sees the client.
        let laid = Laid::new(loaded, ours, backend, pending).map_err(|e| not_shown(NotShown::NotReady(e)))?;
        let begun = begin_tcp(fd, &backend).map_err(not_connected)?;
        // On one host the handshake is over when connect returns, so that mostly nothing is waited for.
        let at_once = laid.state();
        let (first, begun) = match at_once {
            State::Taken | State::TakenAsSubstitute => (opening, Begun { state: Stands::Connected, ..begun }),
            // Until it is known, not a byte.
            _ => (&[][..], begun),
        };
        let (socket, sent) = match in_time(deadline, stand(begun, first)).await {
            Some(Ok(connected)) => connected,
            Some(Err(Failed::Connect(error))) => return Err(not_connected(error)),
            Some(Err(Failed::Send(error))) => return Err(DialError::Send(error)),
            None => return Err(DialError::Timeout(timeout)),
        };
        let state = if at_once == State::Pending { laid.taken().await } else { at_once };
        let shown = match state {
            State::Taken => Shown::Client,
            State::TakenAsSubstitute => Shown::Substitute,
            State::Inexpressible => return Err(not_shown(NotShown::Inexpressible)),
            State::Late => return Err(DialError::Timeout(timeout)),
            State::Pending => return Err(not_shown(NotShown::NotTaken)),
        };
        if let Some(rest) = opening.get(sent..).filter(|rest| !rest.is_empty()) {
            say(&socket, rest, deadline).await.map_err(DialError::Send)?;
        }
        Ok((socket, shown))
    }

    /// A socket whose address and port are its own until it is closed: nobody else on this host can bind them and be
    /// taken for the client, since they are not to be shared.
    fn bound(&self, backend: SocketAddr) -> io::Result<OwnedFd> {
        let bound = |ours: SocketAddr| -> io::Result<OwnedFd> {
            let socket =
                RawSocket::new(Domain::for_address(backend), Type::STREAM.nonblocking().cloexec(), None)?;
            socket.bind(&ours.into())?;
            Ok(socket.into())
        };
        match backend.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let mut tried = 0_u8;
                loop {
                    tried = tried.saturating_add(1);
                    let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
                    match bound(SocketAddr::new(source(turn), 0)) {
                        Err(error) if is_taken(&error) && tried < TRIES => {}
                        // Not the whole of 127.0.0.0/8 is this host's.
                        Err(error) if is_foreign(&error) => {
                            return bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
                        }
                        other => return other,
                    }
                }
            }
            ip if ip.is_loopback() => bound(SocketAddr::new(ip, 0)),
            _ => bound(way_to(backend)?),
        }
    }
}

/// A port belongs to one socket whatever it connects to, so that ports of one address are soon gone: those that closed
/// connections leave behind are kept for a minute. So many addresses are used in turn.
const SOURCES: u8 = 250;
/// Addresses that are tried for one connection.
const TRIES: u8 = 4;

/// An address on loopback that is not 127.0.0.1: what a server grants that one alone, it does not grant by mistake.
fn source(turn: u32) -> IpAddr {
    let last = turn.checked_rem(SOURCES.into()).and_then(|last| u8::try_from(last).ok());
    Ipv4Addr::new(127, 84, 80, last.unwrap_or(0).saturating_add(1)).into()
}

/// From which of our addresses `backend` is reached. Connecting a datagram socket sends nothing.
fn way_to(backend: SocketAddr) -> io::Result<SocketAddr> {
    let socket = RawSocket::new(Domain::for_address(backend), Type::DGRAM, None)?;
    socket.connect(&backend.into())?;
    let mut ours = socket.local_addr()?.as_socket();
    if let Some(ours) = &mut ours {
        ours.set_port(0);
    }
    ours.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Whether the backend's socket is in our network namespace: it is reached over loopback, or has an address of ours.
fn is_here(backend: IpAddr, ours: IpAddr) -> bool {
    backend.is_loopback() || backend == ours
}

/// A label that lies ready, until it is dropped.
struct Laid {
    loaded: Arc<Loaded>,
    key: [u8; KEY],
}

impl Laid {
    fn new(loaded: Arc<Loaded>, ours: SocketAddr, backend: SocketAddr, pending: Pending) -> io::Result<Self> {
        let key = layout::key(ours, backend);
        loaded.pending.update(&key, &pending.to_bytes())?;
        Ok(Self { loaded, key })
    }

    /// What became of it, at the latest after [`TAKING`].
    async fn taken(&self) -> State {
        let give_up = later(now(), TAKING);
        loop {
            let state = self.state();
            if state != State::Pending || Instant::now() >= give_up {
                return state;
            }
            until(later(now(), LOOK)).await;
        }
    }

    fn state(&self) -> State {
        let mut bytes = [0; PENDING];
        match self.loaded.pending.lookup(&self.key, &mut bytes) {
            Ok(true) => State::of(&bytes),
            // Only we remove it.
            Ok(false) | Err(_) => State::Pending,
        }
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        // The kernel refuses only what is not there.
        let _ = self.loaded.pending.delete(&self.key);
    }
}

fn in_nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn is_taken(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::ADDRINUSE)
}

fn is_foreign(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::ADDRNOTAVAIL)
}

fn not_bound(error: io::Error) -> DialError {
    match Errno::from_io_error(&error) {
        Some(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL) => DialError::PortsExhausted(error),
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH) => DialError::Connect(error),
        _ => DialError::NoSocket(error),
    }
}

fn not_connected(error: io::Error) -> DialError {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC) => {
            DialError::NoSocket(error)
        }
        _ => DialError::Connect(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::engine::label::hooks::{Hooks, tests::loaded};
    use crate::engine::label::layout::Pending;

    /// What becomes of a label, and what the backend's socket says, whose end `adjust` has changed before.
    fn taken(adjust: impl FnOnce(&mut Pending)) -> Option<(State, SocketAddr, SocketAddr)> {
        let (loaded, here) = loaded()?;
        let mut hooks = Hooks::default();
        hooks.put(&loaded, &here, crate::engine::label::LabelDestination::Own).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = listener.local_addr().unwrap();
        let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source(7), 0).into()).unwrap();
        let ours = socket.local_addr().unwrap().as_socket().unwrap();
        let mut pending = Pending {
            client: ([203, 0, 113, 7], 4711).into(),
            destination: None,
            substitute: None,
            deadline: u64::MAX,
            netns: loaded.netns,
        };
        adjust(&mut pending);
        let laid = Laid::new(Arc::new(loaded), ours, backend, pending).unwrap();
        socket.connect(&backend.into()).unwrap();
        let (stream, who): (TcpStream, _) = listener.accept().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), who);
        // By now the connection stands on both sides.
        Some((laid.state(), who, ours))
    }

    #[test]
    fn a_label_is_taken_by_the_connection_that_it_was_laid_for() {
        let Some((state, who, _)) = taken(|_| {}) else { return };
        assert_eq!((state, who), (State::Taken, ([203, 0, 113, 7], 4711).into()));
        // A port that is not known is the connection's own.
        let Some((state, who, ours)) = taken(|pending| pending.client.set_port(0)) else { return };
        assert_eq!((state, who), (State::Taken, ([203, 0, 113, 7], ours.port()).into()));
    }

    #[test]
    fn one_whose_time_is_over_is_taken_by_nobody() {
        let Some((state, who, ours)) = taken(|pending| pending.deadline = nanoseconds() - 1) else { return };
        assert_eq!((state, who), (State::Late, ours));
    }

    #[test]
    fn one_for_another_network_namespace_is_taken_by_nobody_here() {
        let Some((state, who, ours)) = taken(|pending| pending.netns += 1) else { return };
        assert_eq!((state, who), (State::Pending, ours));
        let Some((state, ..)) = taken(|pending| pending.netns = 0) else { return };
        assert_eq!(state, State::Taken);
    }

    #[test]
    fn one_of_ipv6_is_taken_by_a_socket_of_ipv4_with_its_substitute_only() {
        let ipv6 = "[2001:db8::7]:4711".parse().unwrap();
        let Some((state, who, ours)) = taken(|pending| pending.client = ipv6) else { return };
        assert_eq!((state, who), (State::Inexpressible, ours));
        let substitute = |pending: &mut Pending| {
            (pending.client, pending.substitute) = (ipv6, Some([192, 0, 2, 66].into()));
        };
        let Some((state, who, _)) = taken(substitute) else { return };
        assert_eq!((state, who), (State::TakenAsSubstitute, ([192, 0, 2, 66], 4711).into()));
    }

    #[test]
    fn one_of_another_connection_is_taken_by_nobody() {
        let Some((loaded, here)) = loaded() else { return };
        let mut hooks = Hooks::default();
        hooks.put(&loaded, &here, crate::engine::label::LabelDestination::Own).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = listener.local_addr().unwrap();
        let pending = Pending {
            client: ([203, 0, 113, 7], 4711).into(),
            destination: None,
            substitute: None,
            deadline: u64::MAX,
            netns: 0,
        };
        let laid = Laid::new(Arc::new(loaded), (source(7), 1).into(), backend, pending).unwrap();
        let direct = TcpStream::connect(backend).unwrap();
        let (_, who) = listener.accept().unwrap();
        assert_eq!((laid.state(), who), (State::Pending, direct.local_addr().unwrap()));
    }

    #[test]
    fn sources_are_used_in_turn_and_none_is_the_address_that_servers_trust() {
        let all: std::collections::BTreeSet<_> = (0..1000).map(source).collect();
        assert_eq!(all.len(), usize::from(SOURCES));
        assert!(all.iter().all(|ip| ip.is_loopback() && *ip != IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
