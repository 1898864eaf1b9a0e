//! The backend: reads a header, on its second port none and at its UNIX socket one, then does what the client's first byte says.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::net::{self, Poll};
use crate::wire::{self, Checked, Pattern};

/// Sends everything back.
pub const ECHO: u8 = b'E';
/// Takes everything.
pub const TAKE: u8 = b'D';
/// Sends without end.
pub const GIVE: u8 = b'S';
/// Both.
pub const BOTH: u8 = b'B';

struct Connection {
    fd: OwnedFd,
    /// Of a header that is not whole.
    header: Option<Vec<u8>>,
    kind: u8,
    unsent: Vec<u8>,
    taken: Checked,
    given: u64,
}

/// Serves for `life` at most, at `path` and at two ports, after it has said these on standard output: that with a header
/// first.
pub fn serve(life: Duration, path: &Path) -> io::Result<()> {
    const PLAIN: usize = usize::MAX - 1;
    let unix = (usize::MAX - 2, net::listen_at(path)?);
    let listeners = [(usize::MAX, net::listen(0)?), (PLAIN, net::listen(0)?), unix];
    let mut poll = Poll::new()?;
    for (key, listener) in &listeners {
        if let Ok(address) = SocketAddr::try_from(rustix::net::getsockname(listener)?) {
            print!("{} ", address.port());
        }
        poll.add(listener, *key, EventFlags::IN)?;
    }
    println!();
    let mut open: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut buf = vec![0; 1 << 20];
    let pattern = Pattern::new();
    let began = Instant::now();
    while began.elapsed() < life {
        for (key, flags) in poll.wait(1000)? {
            if let Some((_, listener)) = listeners.iter().find(|(of, _)| *of == key) {
                for _ in 0..64 {
                    let Some(fd) = net::accept(listener)? else { break };
                    let at = free.pop().unwrap_or_else(|| {
                        open.push(None);
                        open.len() - 1
                    });
                    poll.add(&fd, at, EventFlags::IN)?;
                    let taken = Checked::new(0);
                    open[at] = Some(Connection {
                        fd,
                        header: (key != PLAIN).then(Vec::new),
                        kind: 0,
                        unsent: Vec::new(),
                        taken,
                        given: 0,
                    });
                }
                continue;
            }
            let Some(connection) = open.get_mut(key).and_then(Option::as_mut) else { continue };
            if !matches!(attend(connection, key, flags, &poll, &mut buf, &pattern), Ok(true)) {
                open[key] = None;
                free.push(key);
            }
        }
    }
    Ok(())
}

/// Whether the connection goes on.
fn attend(
    connection: &mut Connection,
    key: usize,
    flags: EventFlags,
    poll: &Poll,
    buf: &mut [u8],
    pattern: &Pattern,
) -> io::Result<bool> {
    if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
        if matches!(connection.kind, TAKE | BOTH) {
            if connection.taken.take(&connection.fd, buf, pattern)?.is_none() {
                return Ok(false);
            }
        } else if connection.unsent.is_empty() {
            let Some(len) = net::receive(&connection.fd, &mut buf[..65536])? else { return Ok(true) };
            if len == 0 || !hear(connection, key, &buf[..len], poll)? {
                return Ok(false);
            }
        }
    }
    if flags.contains(EventFlags::OUT) {
        if matches!(connection.kind, GIVE | BOTH) {
            connection.given += net::send(&connection.fd, pattern.from(connection.given))? as u64;
        } else {
            let sent = net::send(&connection.fd, &connection.unsent)?;
            connection.unsent.drain(..sent);
            if connection.unsent.is_empty() {
                poll.change(&connection.fd, key, EventFlags::IN)?;
            }
        }
    }
    Ok(true)
}

fn hear(connection: &mut Connection, key: usize, bytes: &[u8], poll: &Poll) -> io::Result<bool> {
    let joined;
    let mut rest = bytes;
    if let Some(header) = &mut connection.header {
        header.extend_from_slice(bytes);
        let is_load = matches!(header.first(), Some(&(ECHO | TAKE | GIVE | BOTH)));
        match if is_load { Ok(Some(0)) } else { wire::header_len(header) } {
            Ok(None) => return Ok(true),
            Ok(Some(len)) => joined = header.split_off(len),
            Err(()) => {
                eprintln!("backend: no header came, but {:02x?}", &header[..header.len().min(16)]);
                return Ok(false);
            }
        }
        connection.header = None;
        rest = &joined;
    }
    let Some(first) = rest.first() else { return Ok(true) };
    if connection.kind == 0 {
        connection.kind = *first;
        connection.taken.skip(rest.len());
        if matches!(connection.kind, GIVE | BOTH) {
            poll.change(&connection.fd, key, EventFlags::IN | EventFlags::OUT)?;
        }
    }
    if connection.kind == ECHO {
        let sent = net::send(&connection.fd, rest)?;
        if sent < rest.len() {
            connection.unsent = rest[sent..].to_vec();
            poll.change(&connection.fd, key, EventFlags::OUT)?;
        }
    }
    Ok(true)
}
