//! The old side of an upgrade: another process takes this one's place, and this one ends with its last connection.
//!
//! In steps, of which each that fails leaves everything as it was: the new program checks the configuration; it is
//! started, and given the listening sockets; it does all that a start does and says so; the bans are handed over; it
//! accepts. Only then this process accepts no more. Nothing is closed that the other one serves, so that nobody is
//! refused and nobody who waits in a queue of the kernel is lost.

mod program;
mod talk;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::aside::Errand;
use super::{Running, Undone};
use crate::control::admin::{Upgrade, reply};
use crate::control::predecessors::MOST_PREDECESSORS;
use crate::control::succession::{Before, Said, say, say_bans};
use crate::control::successor;
use crate::engine::{MessageSocket, later};
use crate::observe::log::{Configured, Destination};
use crate::rooms::bans::state;
use crate::server::{Cutter, View};

pub(super) use program::OwnProgram;
use talk::{Offered, Ready, Successor};

/// How long the last step may take: everything is ready, and nobody waits for a disk.
const LAST_STEP: Duration = Duration::from_secs(10);

/// Another process has taken this one's place.
pub(super) struct Handed {
    /// The line to it.
    pub(super) line: MessageSocket,
    /// How long connections may go on once this process is told to end.
    pub(super) drain_timeout: Duration,
    /// What whoever asked for it is told.
    pub(super) reply: reply::Upgraded,
}

impl Running {
    /// Has another process take this one's place.
    pub(super) fn upgrade(&mut self, path: Option<&Path>, order: &Upgrade) -> Result<Handed, Undone> {
        let wait = order.wait.min(Upgrade::LONGEST);
        let because = |cause: String| {
            let remedy = "this process goes on as before; correct the cause, and upgrade again";
            tracing::error!(event = "upgrade_failed", cause, remedy);
            Undone::Because(cause)
        };
        let program = self.main.program.successor(order.program.as_deref()).map_err(because)?;
        if self.before.list().len() >= MOST_PREDECESSORS {
            return Err(because(format!(
                "{MOST_PREDECESSORS} processes before this one still have connections, which is the most: wait until one has ended, or end the oldest (`truepeer status` names them)"
            )));
        }
        tracing::info!(event = "upgrading", program = program.path.display().to_string());
        let errand = |what| Errand { what, limit: wait.saturating_add(LAST_STEP) };
        let told = |undone| match undone {
            Undone::Because(cause) => because(cause),
            Undone::Stop => Undone::Stop,
        };
        let (checked, config) = (program.clone(), path.map(Path::to_owned));
        let check = move || checked.check(config.as_deref(), later(Instant::now(), wait));
        self.main.errand(errand("the new program did not check"), check).map_err(told)?.map_err(because)?;

        self.server.stand_still();
        match self.start_successor(path, &program, wait) {
            Ok(handed) => Ok(handed),
            Err(undone) => {
                self.server.go_on();
                Err(told(undone))
            }
        }
    }

    /// Everything from the start of the new process to the moment in which it serves.
    fn start_successor(
        &mut self,
        path: Option<&Path>,
        program: &program::Checked,
        wait: Duration,
    ) -> Result<Handed, Undone> {
        let because = |cause: String| Undone::Because(cause);
        let of_system =
            |error: io::Error| Undone::Because(format!("the system refuses what is needed: {error}"));
        let of_server = self.server.offers().map_err(of_system)?;
        let first_of_control = of_server.len();
        let offers = of_server.into_iter().chain(self.control.offers().map_err(of_system)?).collect();
        let given = self.server.given().to_hand_on().map_err(of_system)?;
        let (successor, line) = Successor::start(program, path).map_err(because)?;
        let offered = Offered { offers, given };
        let deadline = later(Instant::now(), wait);
        let prepare = move || talk::prepare(line, &offered, deadline);
        let what =
            Errand { what: "the new program did not become ready", limit: wait.saturating_add(LAST_STEP) };
        // It ends with this value, unless it is kept.
        let Ready { line, version, taken, unready } =
            self.main.errand(what, prepare)?.map_err(|cause| successor.explain(cause)).map_err(because)?;
        let view = self.server.view();
        if let Some(listener) = unready.iter().find(|listener| view.is_ready(listener) == Some(true)) {
            return Err(because(format!(
                "the new program has no proved backend for the listener `{listener}`, and this one has: its clients would be refused; look at the backend, and upgrade again"
            )));
        }

        // From here on no signal is heard until one of the two processes has everything.
        let denied = view.denied.clone();
        let handed_over = denied.hand_over();
        let last = || -> io::Result<()> {
            let text = state::to_text(&handed_over.bans);
            say_bans(&line, &String::from_utf8_lossy(&text))?;
            let (processes, lines) = self.before.to_hand_on()?;
            let fds: Vec<_> = lines.iter().map(std::os::fd::AsFd::as_fd).collect();
            say(&line, &Said::Before { processes }, &fds)?;
            say(&line, &Said::Go, &[])?;
            talk::accepting(&line, later(Instant::now(), LAST_STEP))
        };
        if let Err(error) = last() {
            denied.take_back(handed_over);
            return Err(because(successor.explain(format!("it did not accept: {error}"))));
        }
        let pid = successor.keep();
        self.manager.succeeded_by(pid);
        self.before.leave_to_successor();
        self.server.hand_over(|number| taken.contains(&number));
        self.control.hand_over(|number| taken.contains(&number.saturating_add(first_of_control)));
        let (drain_timeout, drain) = (self.server.drain_timeout(), self.server.upgrade_drain_timeout());
        self.server.drain_within(drain);
        let before = Before {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            open: self.server.open_connections(),
        };
        let reply = reply::Upgraded {
            version: version.clone(),
            pid,
            version_before: before.version.clone(),
            pid_before: before.pid,
            open_before: before.open,
            drain_ms: u64::try_from(drain.as_millis()).unwrap_or(u64::MAX),
        };
        // If it is gone already, nobody is left to take care of us.
        let _ = say(&line, &Said::Yours { before }, &[]);
        tracing::info!(event = "handed_over", pid, version);
        Ok(Handed { line, drain_timeout, reply })
    }
}

/// Hears the successor until this process ends.
pub(super) fn follow(line: MessageSocket, view: View, cutter: Cutter, log: Configured) -> io::Result<()> {
    let reopen = move || {
        if let Some(target) = log.file() {
            // What is wrong is in the log already.
            let _ = log.go_on_in(Destination::open(&target).map_err(|error| error.to_string()));
        }
    };
    successor::follow(line, view, cutter, reopen)
}
