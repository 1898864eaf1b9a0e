//! Readiness: which sockets of this loop can be read or written, and who waits for that.
//!
//! Edge-triggered, and each socket is registered once, when somebody first has to wait for it: one that is served
//! without waiting costs no registration, and none is taken back. Room to write is asked for only once somebody lacks it,
//! or the kernel would begin by telling of each socket what everybody knows.

use std::cell::RefCell;
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::alarm::Alarm;

/// Events that are taken in one turn.
const EVENTS: usize = 256;
/// What the event of other threads is called.
const ELSEWHERE: u64 = u64::MAX;
/// What the alarm is called.
const ALARM: u64 = u64::MAX - 1;

/// What a socket is ready for, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready(u8);

impl Ready {
    pub(super) const NOTHING: Self = Self(0);
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    pub(super) const BOTH: Self = Self(3);
    /// The other end will send no more: reading is always worth a try.
    const ENDED: Self = Self(4);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl From<EventFlags> for Ready {
    fn from(flags: EventFlags) -> Self {
        let mut ready = Self::NOTHING;
        if flags.contains(EventFlags::IN) {
            ready = ready.with(Self::READ);
        }
        if flags.contains(EventFlags::OUT) {
            ready = ready.with(Self::WRITE);
        }
        if flags.contains(EventFlags::RDHUP) {
            ready = ready.with(Self::READ).with(Self::ENDED);
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            ready = ready.with(Self::BOTH).with(Self::ENDED);
        }
        ready
    }
}

/// One socket, under its number in the table. 8 bytes, since every connection has two.
#[derive(Debug)]
struct Source {
    /// Tells the sockets apart that had this number one after the other. One that comes round again costs a try that
    /// finds nothing.
    generation: u16,
    ready: Ready,
    told: Reporting,
    /// Who is told.
    waiter: u32,
}

/// When the kernel tells of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reporting {
    /// Not at all yet.
    Never,
    /// When something has come.
    OnInput,
    /// When something has come, or there is room again.
    OnChange,
    /// As long as it is ready: for a listening socket, so that the last of those who wait there is accepted without a
    /// try that finds nobody.
    WhileReady,
    /// Not at present, though it is ready: nobody comes to accept.
    Silenced,
}

impl Source {
    fn key(&self, number: u32) -> EventData {
        EventData::new_u64(u64::from(self.generation) << 32 | u64::from(number))
    }
}

/// The sockets of one loop.
pub(super) struct Reactor {
    epoll: OwnedFd,
    alarm: Alarm,
    table: RefCell<Table>,
    events: RefCell<Vec<Event>>,
}

#[derive(Default)]
struct Table {
    sources: Vec<Source>,
    free: Vec<u32>,
}

impl Reactor {
    /// `elsewhere`: becomes readable when another thread has woken a task.
    pub(super) fn new(elsewhere: impl AsFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, elsewhere, EventData::new_u64(ELSEWHERE), EventFlags::IN | EventFlags::ET)?;
        let alarm = Alarm::new()?;
        epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN | EventFlags::ET)?;
        let events = RefCell::new(Vec::with_capacity(EVENTS));
        Ok(Self { epoll, alarm, table: RefCell::default(), events })
    }

    /// Knows one more socket, which is taken to be `ready`.
    pub(super) fn insert(&self, ready: Ready) -> u32 {
        let mut table = self.table.borrow_mut();
        let number = table.free.pop().unwrap_or_else(|| {
            let number = u32::try_from(table.sources.len()).unwrap_or(u32::MAX);
            table.sources.push(Source {
                generation: 0,
                ready: Ready::NOTHING,
                told: Reporting::Never,
                waiter: NOBODY,
            });
            number
        });
        if let Some(source) = table.sources.get_mut(number as usize) {
            (source.ready, source.told, source.waiter) = (ready, Reporting::Never, NOBODY);
        }
        number
    }

    /// Knows it no more.
    pub(super) fn remove(&self, number: u32) {
        let mut table = self.table.borrow_mut();
        if let Some(source) = table.sources.get_mut(number as usize) {
            source.generation = source.generation.wrapping_add(1);
            table.free.push(number);
        }
    }

    /// Takes it out of the kernel's list, too: for a socket that stays open elsewhere.
    pub(super) fn forget(&self, number: u32, fd: BorrowedFd<'_>) {
        let is_registered = self
            .table
            .borrow()
            .sources
            .get(number as usize)
            .is_some_and(|source| source.told != Reporting::Never);
        if is_registered {
            // It cannot be missing, and if it were, that is what was wanted.
            let _ = epoll::delete(&self.epoll, fd);
        }
    }

    /// Whether it is worth a try; `waiter` is woken when it is.
    pub(super) fn poll(
        &self,
        number: u32,
        fd: BorrowedFd<'_>,
        want: Ready,
        waiter: u32,
    ) -> Poll<io::Result<()>> {
        let mut table = self.table.borrow_mut();
        let Some(source) = table.sources.get_mut(number as usize) else { return Poll::Pending };
        if source.ready.has(want) {
            return Poll::Ready(Ok(()));
        }
        source.waiter = waiter;
        let input = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        let (told, flags) = if want.has(Ready::WRITE) {
            (Reporting::OnChange, input | EventFlags::OUT)
        } else {
            (Reporting::OnInput, input)
        };
        match source.told {
            Reporting::Never => epoll::add(&self.epoll, fd, source.key(number), flags)?,
            // If there is room by now, the kernel tells of it.
            Reporting::OnInput if told == Reporting::OnChange => {
                epoll::modify(&self.epoll, fd, source.key(number), flags)?;
            }
            _ => return Poll::Pending,
        }
        source.told = told;
        Poll::Pending
    }

    /// As [`Reactor::poll`], for a listening socket.
    pub(super) fn poll_accept(&self, number: u32, fd: BorrowedFd<'_>, waiter: u32) -> Poll<io::Result<()>> {
        let mut table = self.table.borrow_mut();
        let Some(source) = table.sources.get_mut(number as usize) else { return Poll::Pending };
        if source.ready.has(Ready::READ) {
            return Poll::Ready(Ok(()));
        }
        source.waiter = waiter;
        match source.told {
            Reporting::WhileReady => {}
            Reporting::Silenced => epoll::modify(&self.epoll, fd, source.key(number), EventFlags::IN)?,
            Reporting::Never | Reporting::OnInput | Reporting::OnChange => {
                epoll::add(&self.epoll, fd, source.key(number), EventFlags::IN)?;
            }
        }
        source.told = Reporting::WhileReady;
        Poll::Pending
    }

    /// Nobody will ask for this listening socket for a while: without this, the kernel would tell of whoever waits there
    /// again and again.
    pub(super) fn silence(&self, number: u32, fd: BorrowedFd<'_>) {
        if let Some(source) = self.table.borrow_mut().sources.get_mut(number as usize)
            && source.told == Reporting::WhileReady
            && epoll::modify(&self.epoll, fd, source.key(number), EventFlags::empty()).is_ok()
        {
            source.told = Reporting::Silenced;
        }
    }

    /// A try for `what` found nothing.
    pub(super) fn clear(&self, number: u32, what: Ready) {
        if let Some(source) = self.table.borrow_mut().sources.get_mut(number as usize) {
            source.ready = source.ready.without(what);
        }
    }

    /// A read took everything that was there: the next is worth a try only when more has come, or the end.
    pub(super) fn drained(&self, number: u32) {
        if let Some(source) = self.table.borrow_mut().sources.get_mut(number as usize)
            && !source.ready.has(Ready::ENDED)
        {
            source.ready = source.ready.without(Ready::READ);
        }
    }

    /// Waits for events, at most for `patience` after `now`, and has those woken who wait for them; whether another thread
    /// has woken somebody.
    pub(super) fn wait(
        &self,
        now: Instant,
        patience: Option<Duration>,
        wake: impl Fn(u32),
    ) -> io::Result<bool> {
        #[cfg(test)]
        if let Some(events) = super::simulated::take_events() {
            events.into_iter().filter_map(|(key, flags)| self.note(key, flags)).for_each(wake);
            return Ok(true);
        }
        let mut events = self.events.borrow_mut();
        events.clear();
        let at_once = patience.is_some_and(|patience| patience.is_zero());
        if let Some(patience) = patience.filter(|_| !at_once) {
            self.alarm.set(now, patience)?;
        }
        let timeout = at_once.then_some(Timespec { tv_sec: 0, tv_nsec: 0 });
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut is_woken_elsewhere = false;
        for event in &*events {
            let (key, flags) = ({ event.data }.u64(), { event.flags });
            if key == ELSEWHERE {
                is_woken_elsewhere = true;
                continue;
            }
            if key == ALARM {
                self.alarm.went_off();
                continue;
            }
            if let Some(waiter) = self.note(key, flags) {
                wake(waiter);
            }
        }
        Ok(is_woken_elsewhere)
    }

    /// Something has happened to a socket; who is to be told.
    fn note(&self, key: u64, flags: EventFlags) -> Option<u32> {
        let number = usize::try_from(key & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        let mut table = self.table.borrow_mut();
        let source = table.sources.get_mut(number)?;
        if u64::from(source.generation) != key >> 32 {
            return None;
        }
        let ready = source.ready.with(flags.into());
        // What was known already wakes nobody: it is used when its user comes to it.
        let is_news = ready != source.ready;
        source.ready = ready;
        (is_news && source.waiter != NOBODY).then_some(source.waiter)
    }
}

/// Nobody waits.
const NOBODY: u32 = u32::MAX - 1;

#[cfg(test)]
impl Reactor {
    /// Knows a socket that the kernel does not know; its number, and what its events are called.
    pub(super) fn insert_simulated(&self, ready: Ready) -> (u32, u64) {
        let number = self.insert(ready);
        let mut table = self.table.borrow_mut();
        let source = table.sources.get_mut(number as usize).expect("it was inserted");
        source.told = Reporting::OnChange;
        (number, source.key(number).u64())
    }

    /// As [`Reactor::poll`], for such a socket.
    pub(super) fn poll_simulated(&self, number: u32, want: Ready, waiter: u32) -> Poll<io::Result<()>> {
        self.poll(number, self.epoll.as_fd(), want, waiter)
    }

    /// Sockets that it knows.
    pub(super) fn known(&self) -> usize {
        let table = self.table.borrow();
        table.sources.len().saturating_sub(table.free.len())
    }
}
