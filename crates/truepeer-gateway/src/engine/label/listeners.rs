//! Who listens at an address, and in which control group that socket was made: asked of the kernel, which answers
//! without any right, and of this network namespace only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// The number of the control group that it was made in.
    pub(super) cgroup: u64,
    /// Connections that wait to be accepted.
    pub(super) waiting: u32,
}

/// Those that a connection to `backend` would come to.
pub(super) fn of(backend: SocketAddr) -> io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        ask(family, &mut all)?;
    }
    Ok(nearest(&all, backend))
}

/// The kernel takes the one with the very address before one that takes all.
fn nearest(all: &[Listener], backend: SocketAddr) -> Vec<Listener> {
    let wanted = backend.ip().to_canonical();
    let unspecified = match wanted {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    for ip in [wanted, unspecified, IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let there: Vec<_> = all
            .iter()
            .filter(|one| one.address.port() == backend.port() && one.address.ip().to_canonical() == ip)
            .copied()
            .collect();
        if !there.is_empty() {
            return there;
        }
    }
    Vec::new()
}

/// How long the kernel may take for a part of its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Parts of an answer that are read.
const MAX_PARTS: usize = 4096;

fn ask(family: AddressFamily, all: &mut Vec<Listener>) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    sendto(&socket, &request(family), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut part = vec![0; 1 << 16];
    for _ in 0..MAX_PARTS {
        let (len, _) = recv(&socket, &mut part[..], RecvFlags::empty())?;
        if read(part.get(..len).unwrap_or_default(), all)? == Part::Last {
            return Ok(());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`
const REQUEST: u32 = 56;
/// `struct inet_diag_msg`
const MESSAGE: usize = 72;
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// All listening TCP sockets of a family.
fn request(family: AddressFamily) -> Vec<u8> {
    const REQUEST_AND_DUMP: u16 = 0x301;
    const TCP: u8 = 6;
    const LISTEN: u32 = 1 << 10;
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    let mut bytes = Vec::new();
    bytes.extend(REQUEST.wrapping_add(16).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_AND_DUMP.to_ne_bytes());
    // Sequence and sender: this socket asks once.
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(LISTEN.to_ne_bytes());
    // Any address.
    bytes.extend([0; 48]);
    bytes
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    More,
    Last,
}

fn read(mut bytes: &[u8], all: &mut Vec<Listener>) -> io::Result<Part> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    while let Some((message, kind, rest)) = message(bytes) {
        match kind {
            DONE => return Ok(Part::Last),
            ERROR => {
                let code = message.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
            }
            SOCK_DIAG_BY_FAMILY => all.extend(listener(message)),
            _ => {}
        }
        bytes = rest;
    }
    Ok(Part::More)
}

/// The first message, its kind, and what is behind it.
fn message(bytes: &[u8]) -> Option<(&[u8], u16, &[u8])> {
    let len = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..len)?;
    let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((body, kind, rest))
}

fn listener(message: &[u8]) -> Option<Listener> {
    const CGROUP_ID: u16 = 21;
    const AF_INET: u8 = 2;
    let family = *message.first()?;
    let port = u16::from_be_bytes(*message.get(4..)?.first_chunk()?);
    let source = message.get(8..)?;
    let ip = if family == AF_INET {
        IpAddr::from(*source.first_chunk::<4>()?)
    } else {
        IpAddr::from(*source.first_chunk::<16>()?)
    };
    let waiting = u32::from_ne_bytes(*message.get(56..)?.first_chunk()?);
    let mut attributes = message.get(MESSAGE..)?;
    loop {
        let len = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        if kind == CGROUP_ID {
            let cgroup = u64::from_ne_bytes(*attributes.get(4..len)?.first_chunk()?);
            return Some(Listener { address: SocketAddr::new(ip, port), cgroup, waiting });
        }
        if len < 4 {
            return None;
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn at(address: &str) -> Listener {
        Listener { address: address.parse().unwrap(), cgroup: 1, waiting: 0 }
    }

    #[test]
    fn the_nearest_listener_is_the_one_that_the_kernel_takes() {
        let all = [at("127.0.0.1:25"), at("0.0.0.0:25"), at("[::]:26"), at("[::]:25"), at("[::1]:25")];
        for (backend, nearest_one) in [
            ("127.0.0.1:25", Some("127.0.0.1:25")),
            ("127.0.0.2:25", Some("0.0.0.0:25")),
            ("127.0.0.1:26", Some("[::]:26")),
            ("[::1]:25", Some("[::1]:25")),
            ("[::2]:25", Some("[::]:25")),
            ("[::ffff:127.0.0.1]:25", Some("127.0.0.1:25")),
            ("127.0.0.1:27", None),
        ] {
            let found: Vec<_> = nearest(&all, backend.parse().unwrap());
            assert_eq!(found, nearest_one.map(at).into_iter().collect::<Vec<_>>(), "{backend}");
        }
    }

    #[test]
    fn the_kernel_names_our_own_listeners() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(ip) else { continue };
            let address = listener.local_addr().unwrap();
            let found = of(address).unwrap();
            assert_eq!(
                found.iter().map(|one| (one.address, one.waiting)).collect::<Vec<_>>(),
                [(address, 0)]
            );
            let _waits = TcpStream::connect(address).unwrap();
            assert_eq!(of(address).unwrap()[0].waiting, 1);
            drop(listener);
            assert_eq!(of(address).unwrap(), []);
        }
    }

    #[test]
    fn what_is_cut_off_is_no_listener() {
        let mut whole = vec![0; MESSAGE];
        whole[0] = 2;
        whole.extend([12, 0, 21, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            listener(&whole).map(|one| one.cgroup),
            Some(u64::from_ne_bytes([7, 0, 0, 0, 0, 0, 0, 0]))
        );
        for len in 0..whole.len() {
            assert_eq!(listener(&whole[..len]), None, "{len}");
            assert!(message(&whole[..len]).is_none_or(|(body, ..)| body.len() <= len));
        }
    }
}
