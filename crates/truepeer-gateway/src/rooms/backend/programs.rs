//! Programs of a backend that run: how many there may be, and how many may be started in a time.
//!
//! Each costs far more than a connection, so that these are bounds of their own, beside those for clients. Counted for
//! each backend over all its listeners, from the start of a program to its end, across reloads.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::facts::program::{Program, SocketLabel};
use crate::rooms::limits::{Allowance, Rate};

/// `backend.<id>.exec`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exec {
    /// What is started for each connection.
    pub program: Arc<Program>,
    /// So many run at once.
    pub max: NonZeroU32,
    /// So many are started in a time; `None`: as many as come.
    pub rate: Option<Rate>,
    /// Whether their socket says the client, too.
    pub label: SocketLabel,
}

/// Those that run.
#[derive(Debug, Default)]
pub struct Programs {
    running: AtomicU32,
    allowance: Allowance,
}

/// Why there is no place for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// So many run.
    Running(NonZeroU32),
    /// So many were started.
    Started(Rate),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(max) => write!(f, "{max} of its programs run, as many as `exec.max` allows"),
            Self::Started(rate) => {
                let seconds = Duration::as_secs_f32(&rate.period());
                write!(
                    f,
                    "{} of its programs were started within {seconds} s, as many as `exec.rate` allows",
                    rate.connections()
                )
            }
        }
    }
}

/// The place of one program; dropping it makes room.
#[derive(Debug)]
pub struct Slot(Arc<Programs>);

impl Programs {
    /// A place for one more at `now`.
    ///
    /// # Errors
    /// [`Full`]; nothing is counted.
    pub fn enter(self: &Arc<Self>, exec: &Exec, now: Instant) -> Result<Slot, Full> {
        let one_more = |running: u32| (running < exec.max.get()).then(|| running.saturating_add(1));
        if self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Err(Full::Running(exec.max));
        }
        let slot = Slot(Arc::clone(self));
        match exec.rate {
            Some(rate) if !self.allowance.take(rate, now) => Err(Full::Started(rate)),
            _ => Ok(slot),
        }
    }

    /// How many run now.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn exec(max: u32, rate: u32) -> Exec {
        let number = |number| NonZeroU32::new(number).unwrap();
        let path = PathBuf::from("/bin/cat");
        Exec {
            program: Arc::new(Program { path, arguments: Vec::new(), directory: "/".into(), user: None }),
            max: number(max),
            rate: Rate::new(number(rate), Duration::from_secs(60)),
            label: SocketLabel::Never,
        }
    }

    #[test]
    fn so_many_run_and_so_many_are_started() {
        let (programs, now) = (Arc::new(Programs::default()), Instant::now());
        let few = exec(2, 3);
        let first = programs.enter(&few, now).unwrap();
        let _second = programs.enter(&few, now).unwrap();
        assert_eq!(programs.enter(&few, now).unwrap_err(), Full::Running(few.max));
        drop(first);
        let third = programs.enter(&few, now).unwrap();
        drop(third);
        // Anyone who was refused because too many run has used up nothing of the rate, and leaves nothing behind.
        let refused = programs.enter(&few, now).unwrap_err();
        assert_eq!(refused, Full::Started(few.rate.unwrap()));
        assert_eq!(
            refused.to_string(),
            "3 of its programs were started within 60 s, as many as `exec.rate` allows"
        );
        assert_eq!(programs.running(), 1);
        assert!(programs.enter(&few, now + Duration::from_secs(20)).is_ok());
    }
}
