//! The clients. Each kind of load is bounded in time and count, and prints what it did as `name=number` pairs.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::backend;
use crate::meter::{self, Window};
use crate::net::{self, Poll};
use crate::wire::{self, Checked, Pattern};

/// What a client says, and hears back.
const MESSAGE: usize = 64;
/// Before anything is measured.
const WARM: Duration = Duration::from_millis(300);
/// No answer takes longer; whoever waits longer has lost it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to ask, how long, and whose costs to note.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    pub target: SocketAddrV4,
    pub pid: u32,
    pub time: Duration,
}

struct Client {
    fd: OwnedFd,
    due: Instant,
    unsent: Vec<u8>,
    said: Vec<u8>,
    heard: usize,
}

/// Where the numbers of clients begin: a hundred further for each millisecond, which no load gets through.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis() * 100 % 15_000_000).unwrap_or(0)
}

fn message(kind: u8, number: u64) -> Vec<u8> {
    let mut said = format!("{}{number:063x}", char::from(kind)).into_bytes();
    said.truncate(MESSAGE);
    said
}

impl Client {
    fn new(aim: Aim, number: u64, kind: u8, due: Instant) -> io::Result<Self> {
        let fd = net::dial(aim.target, number)?;
        let mut unsent = wire::header(number);
        let said = message(kind, number);
        unsent.extend_from_slice(&said);
        // On loopback the handshake is done by now, nearly always.
        let sent = net::send(&fd, &unsent)?;
        unsent.drain(..sent);
        Ok(Self { fd, due, unsent, said, heard: 0 })
    }

    /// Whether the whole answer is there.
    fn advance(&mut self, flags: EventFlags) -> io::Result<bool> {
        if flags.contains(EventFlags::OUT) && !self.unsent.is_empty() {
            let sent = net::send(&self.fd, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        let mut buf = [0; MESSAGE];
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
            && let Some(len) = net::receive(&self.fd, &mut buf)?
        {
            let wanted = self.said.get(self.heard..self.heard + len);
            if len == 0 || wanted != Some(&buf[..len]) {
                return Err(io::Error::other(format!(
                    "after {} bytes another answer came: {:?}",
                    self.heard,
                    &buf[..len]
                )));
            }
            self.heard += len;
        }
        Ok(self.heard == self.said.len())
    }
}

/// How often clients come.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many at once, each at once followed by another.
    AtOnce(usize),
    /// So many a second, whatever became of those before.
    PerSecond(u32),
}

/// Who is there meanwhile.
#[derive(Debug, Clone, Copy)]
pub enum Beside {
    Nobody,
    /// So many that have sent half a header.
    HalfHeaders(usize),
    /// So many that are relayed and silent.
    Open(usize),
}

/// Connections that are opened, say 64 bytes, hear them again, and close.
pub fn short(aim: Aim, pace: Pace, beside: Beside) -> io::Result<()> {
    let held = match beside {
        Beside::Nobody => Vec::new(),
        Beside::HalfHeaders(count) => hold_half_headers(aim, count)?,
        Beside::Open(count) => {
            established(aim, count, backend::ECHO)?.into_iter().map(|client| client.fd).collect()
        }
    };
    let mut poll = Poll::new()?;
    let (places, gap) = match pace {
        Pace::AtOnce(places) => (places, None),
        Pace::PerSecond(rate) => (4096, Some(Duration::from_secs(1) / rate.max(1))),
    };
    let mut clients: Vec<Option<Client>> = (0..places).map(|_| None).collect();
    let mut free: Vec<_> = (0..places).rev().collect();
    // Clients that were there a minute ago may still be remembered under their address: others come each time.
    let mut number = fresh();
    let (mut done, mut window) = (0_u64, None::<Window>);
    let mut took = Vec::new();
    let began = Instant::now();
    let mut next = began;
    while began.elapsed() < WARM + aim.time {
        let now = Instant::now();
        if window.is_none() && now >= began + WARM {
            (done, window) = (0, Some(Window::open(aim.pid)));
            took.clear();
        }
        while gap.is_none() || next <= now {
            let Some(at) = free.pop() else { break };
            number += 1;
            let client = Client::new(aim, number, backend::ECHO, gap.map_or(now, |_| next))?;
            poll.add(
                &client.fd,
                at,
                if client.unsent.is_empty() { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT },
            )?;
            clients[at] = Some(client);
            next += gap.unwrap_or_default();
        }
        for (at, flags) in poll.wait(1)? {
            let Some(client) = clients[at].as_mut() else { continue };
            if client.advance(flags)? {
                took.push(client.due.elapsed());
                done += 1;
                clients[at] = None;
                free.push(at);
            } else if client.unsent.is_empty() && flags.contains(EventFlags::OUT) {
                poll.change(&client.fd, at, EventFlags::IN)?;
            }
        }
    }
    let (lasted, cpu) = window.as_ref().map(Window::close).unwrap_or_default();
    let children = window.map(|window| window.children()).unwrap_or_default();
    took.sort_unstable();
    let at = |share: f64| {
        took.get((took.len() as f64 * share) as usize).map_or(0.0, |took| took.as_secs_f64() * 1e6)
    };
    println!(
        "count={done} rate={} cost={} busy={} children={} p50={} p99={} held={}",
        done as f64 / lasted.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / done as f64,
        cpu.as_secs_f64() / lasted.as_secs_f64(),
        children.as_secs_f64() * 1e6 / done as f64,
        at(0.5),
        at(0.99),
        held.iter().filter(|fd| matches!(net::receive(fd, &mut [0; 8]), Ok(None))).count(),
    );
    Ok(())
}

/// Exactly `count` short connections, one after the other or `at_once`, while `open` others are there: for counting.
pub fn exactly(aim: Aim, count: u64, at_once: usize, open: usize) -> io::Result<()> {
    let _open = established(aim, open, backend::ECHO)?;
    let mut poll = Poll::new()?;
    let mut clients: Vec<Option<Client>> = (0..at_once).map(|_| None).collect();
    let mut free: Vec<_> = (0..at_once).rev().collect();
    let (mut number, mut done) = (0, 0);
    let began = Instant::now();
    while done < count {
        while number < count
            && let Some(at) = free.pop()
        {
            number += 1;
            let client = Client::new(aim, number, backend::ECHO, began)?;
            poll.add(&client.fd, at, EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
            clients[at] = Some(client);
        }
        for (at, flags) in poll.wait(100)? {
            let Some(client) = clients[at].as_mut() else { continue };
            if client.advance(flags)? {
                done += 1;
                clients[at] = None;
                free.push(at);
            }
        }
        if began.elapsed() > aim.time {
            return Err(io::Error::other(format!("only {done} of {count} were served")));
        }
    }
    println!("count={done}");
    Ok(())
}

fn hold_half_headers(aim: Aim, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut held = Vec::new();
    for number in 0..count as u64 {
        let fd = net::dial(aim.target, number)?;
        let began = Instant::now();
        // A queue that is full for a moment is waited for.
        while net::send(&fd, &wire::header(number)[..8])? == 0 && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        held.push(fd);
        if number % 200 == 199 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(held)
}

/// `count` clients whose first answer is there.
fn established(aim: Aim, count: usize, kind: u8) -> io::Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let mut poll = Poll::new()?;
        let from = clients.len();
        for number in from..count.min(from + 64) {
            let client = Client::new(aim, number as u64, kind, Instant::now())?;
            poll.add(&client.fd, number, EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
            clients.push(client);
        }
        if kind != backend::ECHO {
            continue;
        }
        let mut missing = clients.len() - from;
        let began = Instant::now();
        while missing > 0 {
            for (at, flags) in poll.wait(100)? {
                let before = clients[at].heard;
                if clients[at].advance(flags)? && before < MESSAGE {
                    missing -= 1;
                }
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{missing} answers did not come")));
            }
        }
    }
    Ok(clients)
}

/// Messages of 64 bytes there and back on `count` connections.
pub fn messages(aim: Aim, count: usize) -> io::Result<()> {
    let mut clients = established(aim, count, backend::ECHO)?;
    let mut poll = Poll::new()?;
    for (at, client) in clients.iter_mut().enumerate() {
        poll.add(&client.fd, at, EventFlags::IN)?;
        client.heard = 0;
        net::send(&client.fd, &client.said)?;
    }
    let (mut number, mut done, mut window) = (0_u64, 0_u64, None);
    let began = Instant::now();
    while began.elapsed() < WARM + aim.time {
        if window.is_none() && began.elapsed() >= WARM {
            (done, window) = (0, Some(Window::open(aim.pid)));
        }
        for (at, flags) in poll.wait(100)? {
            let client = &mut clients[at];
            if client.advance(flags)? {
                done += 1;
                number += 1;
                (client.said, client.heard) = (message(backend::ECHO, number), 0);
                net::send(&client.fd, &client.said)?;
            }
        }
    }
    let (lasted, cpu) = window.map(|window| window.close()).unwrap_or_default();
    println!(
        "count={done} rate={} cost={} busy={}",
        done as f64 / lasted.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / done as f64,
        cpu.as_secs_f64() / lasted.as_secs_f64(),
    );
    Ok(())
}

/// As many bytes as possible on four connections: `kind` is what the backend does.
pub fn bulk(aim: Aim, kind: u8) -> io::Result<()> {
    const CONNECTIONS: usize = 4;
    let pattern = Pattern::new();
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    for number in 0..CONNECTIONS {
        let fd = net::dial(aim.target, number as u64)?;
        let mut first = wire::header(number as u64);
        first.push(kind);
        let began = Instant::now();
        while net::send(&fd, &first)? == 0 && began.elapsed() < PATIENCE {}
        let flags = match kind {
            backend::TAKE => EventFlags::OUT,
            backend::GIVE => EventFlags::IN,
            _ => EventFlags::IN | EventFlags::OUT,
        };
        poll.add(&fd, number, flags)?;
        streams.push((fd, 1_u64, Checked::new(0)));
    }
    let mut buf = vec![0; 1 << 20];
    let (mut bytes, mut window) = (0_u64, None);
    let began = Instant::now();
    while began.elapsed() < WARM + aim.time {
        if window.is_none() && began.elapsed() >= WARM {
            (bytes, window) = (0, Some(Window::open(aim.pid)));
        }
        for (at, flags) in poll.wait(100)? {
            let (fd, sent, taken) = &mut streams[at];
            if flags.contains(EventFlags::IN) {
                let len = taken.take(&*fd, &mut buf, &pattern)?;
                bytes += len.ok_or_else(|| io::Error::other("the stream ended"))?;
            }
            if flags.contains(EventFlags::OUT) {
                let len = net::send(&*fd, pattern.from(*sent))? as u64;
                *sent += len;
                bytes += len;
            }
        }
    }
    let (lasted, cpu) = window.map(|window| window.close()).unwrap_or_default();
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "count={bytes} rate={} cost={} busy={}",
        gigabytes / lasted.as_secs_f64(),
        cpu.as_secs_f64() / gigabytes,
        cpu.as_secs_f64() / lasted.as_secs_f64(),
    );
    Ok(())
}

/// What idle connections hold: bytes each of the first 5,000, and of the 4,000 after.
pub fn idle(aim: Aim, first: usize, more: usize) -> io::Result<()> {
    let settle = || {
        std::thread::sleep(Duration::from_millis(1500));
        (meter::memory(aim.pid), meter::descriptors(aim.pid))
    };
    let (memory, descriptors) = settle();
    let held = established(aim, first, backend::ECHO)?;
    let (after_first, descriptors_after) = settle();
    let held_more = established(aim, more, backend::ECHO)?;
    let (after_more, _) = settle();
    let each = |from: u64, to: u64, count: usize| (to as f64 - from as f64) / count as f64;
    println!(
        "count={} cost={} slope={} descriptors={}",
        held.len() + held_more.len(),
        each(memory, after_first, first),
        each(after_first, after_more, more),
        (descriptors_after.saturating_sub(descriptors)) as f64 / first as f64,
    );
    Ok(())
}
