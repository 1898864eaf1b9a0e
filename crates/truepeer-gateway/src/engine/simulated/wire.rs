//! One simulated connection: what the kernel would do for both of its ends.
//!
//! [`Ours`] is asked by `Socket` in the kernel's place and answers as Linux does: short writes where there is no room,
//! an error told once, the end for ever. [`Theirs`] is the other end, played by whoever runs the world.
//! Pessimistic where kernels differ: what was not read yet when a reset came is lost.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::Inner;

/// Our end; dropping it closes it.
pub(crate) struct Ours(Rc<Wire>);

/// The other end; dropping it closes it.
pub(crate) struct Theirs(Rc<Wire>);

/// What the other end hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WireRead {
    /// So many bytes more.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// We send no more.
    End,
    /// The connection is gone.
    Reset,
}

struct Wire {
    world: Rc<Inner>,
    phase: Cell<Phase>,
    /// How the loop knows our end, once it waits for it.
    key: Cell<Option<u64>>,
    is_watched: Cell<bool>,
    /// To be told once.
    error: Cell<Option<Errno>>,
    to_us: RefCell<Way>,
    to_them: RefCell<Way>,
    /// Whether the other end is gone altogether, and not only silent.
    they_left: Cell<bool>,
    we_left: Cell<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Standing,
    /// Refused or reset.
    Dead,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    bytes: Vec<u8>,
    room: usize,
    /// Nothing follows.
    is_ended: bool,
    /// A write found too little room, so that room is news.
    is_short: bool,
}

impl Way {
    fn free(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let len = self.bytes.len().min(most);
        self.bytes.drain(..len).collect()
    }
}

pub(super) fn pair(world: &Rc<Inner>, room: usize) -> (Theirs, Ours) {
    let way = || RefCell::new(Way { room, ..Way::default() });
    let wire = Rc::new(Wire {
        world: Rc::clone(world),
        phase: Cell::new(Phase::Standing),
        key: Cell::new(None),
        is_watched: Cell::new(false),
        error: Cell::new(None),
        to_us: way(),
        to_them: way(),
        they_left: Cell::new(false),
        we_left: Cell::new(false),
    });
    world.open.set(world.open.get() + 1);
    (Theirs(Rc::clone(&wire)), Ours(wire))
}

impl Wire {
    /// Tells the loop, if it listens.
    fn tell(&self, flags: EventFlags) {
        if let (Some(key), true) = (self.key.get(), self.is_watched.get()) {
            self.world.events.borrow_mut().push((key, flags));
        }
    }

    fn state(&self) -> EventFlags {
        let (to_us, to_them) = (self.to_us.borrow(), self.to_them.borrow());
        let mut flags = EventFlags::empty();
        match self.phase.get() {
            Phase::Connecting => return flags,
            Phase::Dead => return EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::HUP,
            Phase::Standing => {}
        }
        flags.set(EventFlags::IN, !to_us.bytes.is_empty() || to_us.is_ended);
        flags.set(EventFlags::RDHUP, to_us.is_ended);
        flags.set(EventFlags::OUT, to_them.free() > 0);
        flags
    }

    /// The connection is gone, for us with `errno`.
    fn die(&self, errno: Errno) {
        self.phase.set(Phase::Dead);
        self.error.set(Some(errno));
        self.tell(EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    }

    /// The connection is gone for the other end: what it has not read is lost.
    fn reset_them(&self) {
        self.phase.set(Phase::Dead);
        self.to_them.borrow_mut().bytes.clear();
    }
}

impl Ours {
    /// The loop calls it so from now on.
    pub(in crate::engine) fn known_as(&self, key: u64) {
        self.0.key.set(Some(key));
    }

    /// The loop waits for it: what is true already is news.
    pub(in crate::engine) fn watch(&self) {
        if !self.0.is_watched.replace(true) {
            self.0.tell(self.0.state());
        }
    }

    /// Nobody has answered yet.
    pub(crate) fn connecting(self) -> Self {
        self.0.phase.set(Phase::Connecting);
        self
    }

    pub(in crate::engine) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.phase.get() == Phase::Connecting {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut way = self.0.to_us.borrow_mut();
        let bytes = way.take(buf.len());
        if let Some(room) = buf.get_mut(..bytes.len()).filter(|room| !room.is_empty()) {
            room.copy_from_slice(&bytes);
            return Ok(bytes.len());
        }
        match (self.0.error.take(), self.0.phase.get()) {
            (Some(errno), _) => Err(errno.into()),
            (None, Phase::Dead) => Ok(0),
            (None, _) if way.is_ended => Ok(0),
            (None, _) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(in crate::engine) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        if self.0.phase.get() == Phase::Connecting {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(errno) = self.0.error.take() {
            return Err(errno.into());
        }
        let mut way = self.0.to_them.borrow_mut();
        if self.0.phase.get() == Phase::Dead || way.is_ended {
            return Err(Errno::PIPE.into());
        }
        if self.0.they_left.get() {
            // It goes out, and a reset comes back.
            drop(way);
            self.0.die(Errno::PIPE);
            return Ok(buf.len());
        }
        let len = way.free().min(buf.len());
        way.is_short = len < buf.len();
        way.bytes.extend_from_slice(buf.get(..len).unwrap_or_default());
        if len == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(len)
    }

    pub(in crate::engine) fn take_error(&self) -> io::Result<()> {
        self.0.error.take().map_or(Ok(()), |errno| Err(errno.into()))
    }

    pub(in crate::engine) fn shutdown_write(&self) {
        self.0.to_them.borrow_mut().is_ended = true;
    }

    pub(in crate::engine) fn local_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::from(([10, 255, 0, 1], 40_000)))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let wire = &self.0;
        wire.world.open.set(wire.world.open.get().saturating_sub(1));
        wire.we_left.set(true);
        wire.to_them.borrow_mut().is_ended = true;
        // What nobody read is answered with a reset, which overtakes our last words.
        if !wire.to_us.borrow().bytes.is_empty() {
            wire.reset_them();
        }
    }
}

impl Theirs {
    /// The attempt of ours to connect succeeds.
    pub(crate) fn answer(&self) {
        if self.0.phase.get() == Phase::Connecting {
            self.0.phase.set(Phase::Standing);
            self.0.tell(EventFlags::OUT);
        }
    }

    /// It fails.
    pub(crate) fn refuse(&self, errno: Errno) {
        if self.0.phase.get() == Phase::Connecting {
            self.0.die(errno);
        }
    }

    /// Whether nobody has answered yet.
    pub(crate) fn is_connecting(&self) -> bool {
        self.0.phase.get() == Phase::Connecting && !self.0.we_left.get()
    }

    /// Whether we have closed our end.
    pub(crate) fn is_left(&self) -> bool {
        self.0.we_left.get()
    }

    /// Writes what fits; nothing where the connection is gone.
    pub(crate) fn write(&self, bytes: &[u8]) -> usize {
        if self.0.phase.get() != Phase::Standing || self.0.to_us.borrow().is_ended {
            return 0;
        }
        if self.0.we_left.get() {
            // It finds nobody, and a reset comes back.
            self.0.reset_them();
            return 0;
        }
        let mut way = self.0.to_us.borrow_mut();
        let len = way.free().min(bytes.len());
        way.bytes.extend_from_slice(bytes.get(..len).unwrap_or_default());
        drop(way);
        if len > 0 {
            self.0.tell(EventFlags::IN | self.room());
        }
        len
    }

    /// Reads at most `most` bytes into `heard`.
    pub(crate) fn read(&self, most: usize, heard: &mut Vec<u8>) -> WireRead {
        let mut way = self.0.to_them.borrow_mut();
        let bytes = way.take(most);
        if !bytes.is_empty() {
            heard.extend_from_slice(&bytes);
            // Linux says that there is room once a third is free.
            let is_news = way.is_short && way.free().saturating_mul(3) >= way.room;
            if is_news {
                way.is_short = false;
                drop(way);
                self.0.tell(EventFlags::OUT | self.0.state());
            }
            return WireRead::Bytes(bytes.len());
        }
        match self.0.phase.get() {
            Phase::Dead => WireRead::Reset,
            Phase::Standing | Phase::Connecting if way.is_ended => WireRead::End,
            Phase::Standing | Phase::Connecting => WireRead::Nothing,
        }
    }

    /// Sends no more.
    pub(crate) fn finish(&self) {
        self.0.to_us.borrow_mut().is_ended = true;
        if self.0.phase.get() == Phase::Standing {
            self.0.tell(EventFlags::IN | EventFlags::RDHUP | self.room());
        }
    }

    /// Breaks the connection.
    pub(crate) fn reset(&self) {
        if self.0.phase.get() == Phase::Standing && !self.0.we_left.get() {
            self.0.to_them.borrow_mut().bytes.clear();
            self.0.die(Errno::CONNRESET);
        }
    }

    /// An event names everything that is true then, not only what is new.
    fn room(&self) -> EventFlags {
        self.0.state() & EventFlags::OUT
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let wire = &self.0;
        wire.they_left.set(true);
        match wire.phase.get() {
            Phase::Standing if wire.we_left.get() => {}
            // What was sent and not read makes the end a reset.
            Phase::Standing if !wire.to_them.borrow().bytes.is_empty() => self.reset(),
            Phase::Standing => self.finish(),
            Phase::Connecting | Phase::Dead => {}
        }
    }
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ours({:?})", self.0.phase.get())
    }
}

impl fmt::Debug for Theirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Theirs({:?})", self.0.phase.get())
    }
}
