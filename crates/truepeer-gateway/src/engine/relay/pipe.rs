//! Pipes for bulk: bytes that go from one socket to another without being copied through us.
//!
//! A pipe costs two descriptors and, while it is full, kernel memory. There are few, each is lent to one direction only
//! while that moves bulk, and a direction that gets none copies instead.

use std::cell::{Cell, RefCell};
use std::io;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// The most that one moves at once.
pub(super) const CAPACITY: usize = 1 << 20;
/// Pipes of one worker. Their descriptors are among those that are reserved for what is no connection.
const MOST: usize = 8;

thread_local! {
    static FREE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    static MADE: Cell<usize> = const { Cell::new(0) };
}

#[derive(Debug)]
struct Ends {
    outlet: OwnedFd,
    inlet: OwnedFd,
}

/// A pipe that is lent; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Gone only while it is given back.
    ends: Option<Ends>,
    /// Bytes in it.
    pub(super) holds: usize,
}

impl Pipe {
    /// An empty one, if there is one left.
    pub(super) fn take() -> Option<Box<Self>> {
        let free = FREE.with_borrow_mut(Vec::pop);
        let ends = free.or_else(|| if MADE.get() < MOST { make().ok() } else { None })?;
        Some(Box::new(Self { ends: Some(ends), holds: 0 }))
    }

    /// Where bytes come out.
    pub(super) fn outlet(&self) -> Option<BorrowedFd<'_>> {
        self.ends.as_ref().map(|ends| ends.outlet.as_fd())
    }

    /// Where bytes go in.
    pub(super) fn inlet(&self) -> Option<BorrowedFd<'_>> {
        self.ends.as_ref().map(|ends| ends.inlet.as_fd())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take();
        if self.holds == 0
            && let Some(ends) = ends
        {
            FREE.with_borrow_mut(|free| free.push(ends));
        } else {
            // Somebody's bytes are in it.
            MADE.set(MADE.get().saturating_sub(1));
        }
    }
}

fn make() -> io::Result<Ends> {
    let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // A user who has many pipes gets small ones: that is slower and nothing else.
    let _ = fcntl_setpipe_size(&inlet, CAPACITY);
    MADE.set(MADE.get().saturating_add(1));
    Ok(Ends { outlet, inlet })
}
