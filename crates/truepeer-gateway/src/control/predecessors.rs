//! The processes whose place this one has taken, as long as they have connections: what is ordered here reaches them, too.
//!
//! Each is heard by a thread of its own. One that is gone is forgotten.
//! The line to one that is handed on has two readers for a moment, so answers come over what goes with a question.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::succession::{Before, Said, hear, say};
use crate::engine::{MessageSocket, later};

/// The most of them; one upgrade more waits until the oldest has ended.
pub const MOST_PREDECESSORS: usize = 16;
/// How often a thread looks whether its process is somebody else's.
const LOOK: Duration = Duration::from_secs(1);
/// How long all of them together may take for what is told and waited for.
const PROMPT: Duration = Duration::from_secs(5);

/// All of them; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Predecessors(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    all: Mutex<Vec<Arc<Predecessor>>>,
    /// One has ended.
    ended: Condvar,
}

#[derive(Debug)]
struct Predecessor {
    pid: u32,
    version: String,
    open: AtomicU32,
    line: MessageSocket,
    is_anothers: AtomicBool,
}

impl Predecessors {
    /// Attends to `before`, at the other end of `line`, until it ends.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn attend(&self, before: Before, line: MessageSocket) -> io::Result<()> {
        let Before { pid, version, open } = before;
        let one = Predecessor { pid, version, open: open.into(), line, is_anothers: AtomicBool::default() };
        let one = Arc::new(one);
        self.all().push(Arc::clone(&one));
        let all = self.clone();
        let attend = move || {
            one.listen();
            all.all().retain(|other| !Arc::ptr_eq(other, &one));
            all.0.ended.notify_all();
        };
        std::thread::Builder::new().name("predecessor".to_owned()).spawn(attend)?;
        Ok(())
    }

    /// Tells each of them.
    pub fn tell(&self, what: &Said) {
        for one in self.each() {
            one.tell(what, &[]);
        }
    }

    /// Tells each of them, and waits until it is done, for a bounded time. Blocks.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn have_done(&self, what: &Said) -> io::Result<()> {
        let until = later(Instant::now(), PROMPT);
        let mut awaited = Vec::new();
        for one in self.each() {
            let (done, theirs) = io::pipe()?;
            if one.tell(what, &[theirs.as_fd()]) {
                awaited.push((one, done));
            }
        }
        for (one, done) in awaited {
            if !is_closed_by(&done, until) {
                one.is_deaf(&format!("it does not do it within {} s", PROMPT.as_secs()));
            }
        }
        Ok(())
    }

    /// Has each of them answer `request`, a line as operators send it: its number, and where the answer comes.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn ask(&self, request: &str) -> io::Result<Vec<(u32, UnixStream)>> {
        let mut asked = Vec::new();
        for one in self.each() {
            let (answer, theirs) = UnixStream::pair()?;
            if one.tell(&Said::Ask { request: request.to_owned() }, &[theirs.as_fd()]) {
                asked.push((one.pid, answer));
            }
        }
        Ok(asked)
    }

    /// What they are now.
    #[must_use]
    pub fn list(&self) -> Vec<Before> {
        self.all().iter().map(|one| one.state()).collect()
    }

    /// What a successor needs to attend to them.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn to_hand_on(&self) -> io::Result<(Vec<Before>, Vec<OwnedFd>)> {
        let all = self.all();
        let lines = all.iter().map(|one| one.line.as_fd().try_clone_to_owned()).collect::<Result<_, _>>()?;
        Ok((all.iter().map(|one| one.state()).collect(), lines))
    }

    /// They are a successor's from now on.
    pub fn leave_to_successor(&self) {
        for one in self.all().drain(..) {
            one.is_anothers.store(true, Ordering::Release);
        }
    }

    /// Waits until all have ended, or `deadline`; returns how many are left.
    pub fn wait(&self, deadline: Instant) -> usize {
        let mut all = self.all();
        while !all.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            all = self.0.ended.wait_timeout(all, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        all.len()
    }

    /// All as they are now: nobody waits for the list while one of them is spoken to.
    fn each(&self) -> Vec<Arc<Predecessor>> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Predecessor>>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Predecessor {
    fn state(&self) -> Before {
        let (pid, version) = (self.pid, self.version.clone());
        Before { pid, version, open: self.open.load(Ordering::Relaxed) }
    }

    /// Whether it was told.
    fn tell(&self, what: &Said, fds: &[BorrowedFd<'_>]) -> bool {
        match say(&self.line, what, fds) {
            Ok(()) => true,
            Err(error) => {
                // One that is ending has nothing left to do.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    self.is_deaf(&error.to_string());
                }
                false
            }
        }
    }

    fn is_deaf(&self, cause: &str) {
        let pid = self.pid;
        let remedy = "the process before this one does not hear: end it by its number, if it should";
        tracing::warn!(event = "predecessor_deaf", pid, cause, remedy);
    }

    fn listen(&self) {
        while !self.is_anothers.load(Ordering::Acquire) {
            match hear(&self.line, later(Instant::now(), LOOK)) {
                Ok(Some((Said::Open { open }, _))) => self.open.store(open, Ordering::Relaxed),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether the other end of `pipe`, over which nothing is said, is closed before `until`.
fn is_closed_by(pipe: &impl AsFd, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { return false };
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
