//! Sockets and readiness of the load and of the backend: plain epoll, one thread. Loopback only.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

/// What a loop waits on.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(512) })
    }

    pub fn add(&self, fd: impl AsFd, key: usize, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(key as u64), flags)?)
    }

    pub fn change(&self, fd: impl AsFd, key: usize, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(key as u64), flags)?)
    }

    /// What is ready within `millis`.
    pub fn wait(&mut self, millis: i64) -> io::Result<Vec<(usize, EventFlags)>> {
        let timeout = Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000) * 1_000_000 };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| ({ event.data }.u64() as usize, { event.flags })).collect())
    }
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?)
}

/// Listens at a port that the system chooses, or at `port`.
pub fn listen(port: u16) -> io::Result<OwnedFd> {
    let fd = socket()?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    net::listen(&fd, 4096)?;
    Ok(fd)
}

/// Listens at `path`.
pub fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    net::listen(&fd, 4096)?;
    Ok(fd)
}

pub fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    match net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(fd) => {
            // A UNIX socket delays nothing, and says that it has no such option.
            let _ = sockopt::set_tcp_nodelay(&fd, true);
            Ok(Some(fd))
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins to connect to `target`, from one of 200 loopback addresses in turn, so that source ports last.
pub fn dial(target: SocketAddrV4, turn: u64) -> io::Result<OwnedFd> {
    assert!(target.ip().is_loopback(), "loopback only");
    let fd = socket()?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    let last = u8::try_from(turn % 200).unwrap_or(0).saturating_add(1);
    net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, last), 0))?;
    match net::connect(&fd, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error.into()),
    }
}

/// Sends what fits; 0 if nothing does.
pub fn send(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    match net::send(fd, bytes, SendFlags::NOSIGNAL) {
        Ok(len) => Ok(len),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// What came; `None` if nothing did. `Some(0)` is the end.
pub fn receive(fd: impl AsFd, buf: &mut [u8]) -> io::Result<Option<usize>> {
    received(net::recv(fd, buf, RecvFlags::empty()))
}

/// As [`receive`], but the bytes are thrown away without a copy.
pub fn discard(fd: impl AsFd, buf: &mut [u8]) -> io::Result<Option<usize>> {
    received(net::recv(fd, buf, RecvFlags::TRUNC))
}

fn received(result: rustix::io::Result<(usize, usize)>) -> io::Result<Option<usize>> {
    match result {
        Ok((_, len)) => Ok(Some(len)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
