//! A program that the harness started: what it prints is gathered, and it is ended by its own pid.
//!
//! Called by `servers`. It must not know what the program is for.

use core::time::Duration;
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::feed::{Feed, Mark};
use crate::verdict::{During, Result, Verdict, failed};

/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running child; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    log: Feed,
    guard: Guard,
}

/// A shell that ends a program if the harness itself is ended before it could: it reads a pipe whose other end
/// only we hold. Dropping it calls it off.
#[derive(Debug)]
struct Guard(Child);

impl Program {
    /// Starts `command` with nothing on its standard input; both its outputs become its log.
    ///
    /// # Errors
    /// Skipped when there is no such program, failed when it could not be started.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        // Started first, so that it need only be told a number when the program is there.
        let mut guard = Guard::start()?;
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Verdict::Skipped(format!("{name} is not installed")));
            }
            Err(error) => return failed(format!("start {name}: {error}")),
        };
        guard.watch(&format!("kill {}", child.id()))?;
        let log = Feed::default();
        if let Some(out) = child.stdout.take() {
            log.follow(out);
        }
        if let Some(err) = child.stderr.take() {
            log.follow(err);
        }
        Ok(Self { name, child, log, guard })
    }

    /// From now on the process whose number stands in `pid_file` is the one that must not outlive the harness.
    pub(crate) fn guard_by(&mut self, pid_file: &Path) -> Result {
        self.guard.watch(&format!("kill \"$(cat '{}')\"", pid_file.display()))
    }

    /// Sends SIGTERM to `pid` (the program itself, or the process that leads it), waits until everything that
    /// holds its outputs is gone, and kills the child if that takes too long.
    pub(crate) fn end_by(&mut self, pid: Option<Pid>) {
        // First, because afterwards the number may become somebody else's.
        self.guard.call_off();
        // A child that was waited for has no pid any more; signalling it could hit somebody else.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = pid {
            let _gone_already = kill_process(pid, Signal::TERM);
        }
        if self.log.wait_end(Mark::default(), self.name, GRACE).is_err() {
            let _gone_already = self.child.kill();
        }
        let _status = self.child.wait();
    }

    /// Waits for the line that says it is up; a failure shows what it printed instead.
    pub(crate) fn wait_started(&self, is_it: impl Fn(&str) -> bool) -> Result {
        match self.log.wait_line(Mark::default(), &format!("{} starts", self.name), is_it) {
            Err(Verdict::Failed(why)) => {
                failed(format!("{why}\n{}", self.log.lines(Mark::default()).join("\n")))
            }
            other => other.map(|_| ()),
        }
    }

    /// Everything it printed, as it comes.
    pub(crate) fn log(&self) -> &Feed {
        &self.log
    }
}

impl Guard {
    fn start() -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", "while read -r line; do ending=$line; done; eval \"$ending\""])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's interrupt, which ends the harness.
            .process_group(0)
            .spawn()
            .during("start a guard")?;
        Ok(Self(shell))
    }

    /// What the shell is to do in the end, one line; it replaces what was said before.
    fn watch(&mut self, ending: &str) -> Result {
        match self.0.stdin.as_mut() {
            Some(stdin) => writeln!(stdin, "{ending}").during("tell a guard"),
            None => failed("a guard has no input"),
        }
    }

    fn call_off(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.call_off();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        self.end_by(Some(pid));
    }
}
