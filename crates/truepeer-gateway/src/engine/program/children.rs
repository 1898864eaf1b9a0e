//! Our children, and as PID 1 those of others: who has ended is asked after by whoever comes first.
//!
//! PID 1 buries whatever ends, and cannot ask for strangers only. So children are listed, and how one ended that was
//! buried as a stranger is kept for the thread that waits for it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus};
use std::sync::{Mutex, PoisonError, RwLock, TryLockError};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus, wait, waitid};

use crate::facts::program::Exit;

/// Held for reading while a program is being started: who has ended then may be one that is not listed yet.
static STARTING: RwLock<()> = RwLock::new(());
/// Those that were started and not buried by their own thread; with their end, if PID 1 was quicker.
static OURS: Mutex<BTreeMap<i32, Option<Exit>>> = Mutex::new(BTreeMap::new());

fn ours<T>(act: impl FnOnce(&mut BTreeMap<i32, Option<Exit>>) -> T) -> T {
    act(&mut OURS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A child that was started.
#[derive(Debug)]
pub(super) struct Started(Child);

/// Starts a program.
pub(super) fn spawn(command: &mut Command) -> io::Result<Started> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let started = Started(command.spawn()?);
    if let Some(pid) = started.pid() {
        ours(|ours| ours.insert(pid.as_raw_pid(), None));
    }
    Ok(started)
}

impl Started {
    pub(super) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.0.id()).ok()?)
    }

    pub(super) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.0.stderr.take()
    }

    /// Waits until it has ended; its number is still its own then, unless PID 1 was quicker.
    pub(super) fn wait_for_end(&self) {
        if let Some(pid) = self.pid() {
            // It fails only if PID 1 was quicker.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        }
    }

    /// Takes it off the list of processes; how it ended.
    pub(super) fn bury(mut self) -> Option<Exit> {
        let status = self.0.wait();
        let kept = self.pid().and_then(|pid| ours(|ours| ours.remove(&pid.as_raw_pid())));
        status.map_or(kept.flatten(), exit_of)
    }
}

fn exit_of(status: ExitStatus) -> Option<Exit> {
    exit(status.code(), status.signal())
}

fn exit_of_stranger(status: WaitStatus) -> Option<Exit> {
    exit(status.exit_status(), status.terminating_signal())
}

fn exit(status: Option<i32>, signal: Option<i32>) -> Option<Exit> {
    let byte = |number: i32| u8::try_from(number).ok();
    status.and_then(byte).map(Exit::Status).or(signal.and_then(byte).map(Exit::Signal))
}

/// Buries all who have ended, for PID 1; false if that must wait, since a program is being started.
#[must_use]
pub fn bury() -> bool {
    let _nobody_starts = match STARTING.try_write() {
        Ok(nobody) => nobody,
        Err(TryLockError::Poisoned(nobody)) => nobody.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    // In one go: whoever finds that a child is buried already looks here for its end next.
    ours(|ours| {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(end) = ours.get_mut(&pid.as_raw_pid()) {
                *end = exit_of_stranger(status);
            }
        }
    });
    true
}
