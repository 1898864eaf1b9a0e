//! The watchdog: tells the service manager that we are alive, as long as every worker answers.

use std::collections::BTreeSet;
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Manager;
use crate::server::pulse::{End, Heard, Pulse};

/// The thread that asks the workers. Dropping it ends it.
#[derive(Debug)]
pub struct Watchdog {
    end: End,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Asks the workers behind `pulse` twice in each `patience`, and passes their answers on to `manager`.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(pulse: Pulse, manager: Manager, patience: Duration) -> io::Result<Self> {
        let (end, every) = (pulse.end(), patience.checked_div(2).unwrap_or_default());
        let body = move || watch(pulse, &manager, every);
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(body)?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end.tell();
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so.
            let _ = thread.join();
        }
    }
}

/// One question at a time: the next is asked only after every worker that is still there has answered, so that one
/// which does not answer ends the signs of life, however often the others do.
fn watch(mut pulse: Pulse, manager: &Manager, every: Duration) {
    loop {
        let asked = Instant::now();
        let mut silent: BTreeSet<usize> = pulse.ask();
        let mut complained = false;
        while !silent.is_empty() {
            let left = every.saturating_sub(asked.elapsed());
            match pulse.hear((!complained).then_some(left)) {
                Heard::Answer(worker) | Heard::Left(worker) => drop(silent.remove(&worker)),
                Heard::Nothing => {
                    complained = true;
                    let workers = format!("{silent:?}");
                    let (cause, remedy) = (
                        "a worker is stuck: its connections stand still",
                        "the service manager restarts truepeer if this lasts (WatchdogSec=); please report it",
                    );
                    tracing::error!(event = "worker_silent", workers, cause, remedy);
                }
                Heard::End => return,
            }
        }
        if complained {
            tracing::info!(event = "worker_recovered");
        }
        manager.alive();
        // Until the next question, the only news are that a worker has left and that it is over.
        while let Some(left) = every.checked_sub(asked.elapsed()).filter(|left| !left.is_zero()) {
            if pulse.hear(Some(left)) == Heard::End {
                return;
            }
        }
    }
}
