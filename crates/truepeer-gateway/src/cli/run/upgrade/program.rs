//! Which program takes the place of this process, and whether it may.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use crate::control::succession::VARIABLE;

/// The most that is kept of what a check says.
const MOST_SAID: usize = 12 * 1024;
/// Programs that end with the process that they have started, or start it anew.
const SUPERVISORS: [&str; 9] = [
    "tini",
    "docker-init",
    "dumb-init",
    "catatonit",
    "conmon",
    "runsv",
    "s6-supervise",
    "supervisord",
    "supervise-daemo",
];
/// What a process that was started by us is not to believe of itself.
const NOT_ITS_OWN: [&str; 5] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", VARIABLE];

/// The program that this process runs, as it was when it started.
#[derive(Debug)]
pub(in crate::cli::run) struct OwnProgram {
    path: io::Result<PathBuf>,
}

/// A program that may take our place.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) path: PathBuf,
}

impl OwnProgram {
    /// To be asked before somebody replaces the file.
    pub(in crate::cli::run) fn of_this_process() -> Self {
        // The name by which it was called, which may be a link that is changed; without a folder it was looked for.
        let called =
            std::env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1);
        let path = match called {
            Some(path) => std::path::absolute(path),
            None => std::env::current_exe(),
        };
        Self { path }
    }

    /// The program that takes our place: `named`, or the one that is now where ours was.
    pub(super) fn successor(&self, named: Option<&Path>) -> Result<Checked, String> {
        may_be_followed()?;
        let path = match (named, &self.path) {
            (Some(path), _) if path.is_absolute() => path.to_owned(),
            (Some(path), _) => return Err(format!("`--program {}` is no whole path", path.display())),
            (None, Ok(path)) => path.clone(),
            (None, Err(error)) => {
                return Err(format!(
                    "it is not known what this process runs ({error}): name a program with `--program PATH`"
                ));
            }
        };
        may_run(&path)?;
        Ok(Checked { path })
    }
}

/// Whether somebody would miss this process when it ends.
fn may_be_followed() -> Result<(), String> {
    let replace = "replace the container instead: start the new one, then stop this one, which drains";
    if std::process::id() == 1 {
        return Err(format!("this truepeer is PID 1 of a container, which ends with it: {replace}"));
    }
    let parent = getppid().map(Pid::as_raw_pid).unwrap_or_default();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    match SUPERVISORS.iter().find(|supervisor| **supervisor == name.trim_end()) {
        Some(supervisor) => Err(format!(
            "this truepeer was started by {supervisor}, which would end or start another one when this process ends: in a container, {replace}"
        )),
        None => Ok(()),
    }
}

/// Whoever may order an upgrade gets no right by it: the program must belong to root, or to whom ours belongs.
fn may_run(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let found = std::fs::metadata(path).map_err(|error| format!("{shown} cannot be used: {error}"))?;
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return Err(format!("{shown} is no program"));
    }
    let (owner, writable) =
        std::fs::metadata("/proc/self/exe").map_or((0, 0), |own| (own.uid(), own.mode() & 0o022));
    if found.uid() != 0 && found.uid() != owner {
        return Err(format!(
            "{shown} belongs to the user {}: a program that takes truepeer's place must belong to root or to the user {owner}, whose the running one is",
            found.uid()
        ));
    }
    if found.mode() & 0o022 & !writable != 0 {
        return Err(format!("{shown} may be written by others than its owner: `chmod go-w` it first"));
    }
    Ok(())
}

impl Checked {
    /// A call of it, with nothing that is meant for this process only.
    pub(super) fn call(&self, command: &str, config: Option<&Path>) -> Command {
        let mut call = Command::new(&self.path);
        call.arg(command);
        if let Some(config) = config {
            call.arg::<&OsStr>("--config".as_ref()).arg(config);
        }
        for variable in NOT_ITS_OWN {
            call.env_remove(variable);
        }
        call
    }

    /// Has it read the configuration, and says what it says if it does not take it. Blocks.
    pub(super) fn check(&self, config: Option<&Path>, deadline: Instant) -> Result<(), String> {
        let shown = self.path.display();
        let mut call = self.call("check", config);
        call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).env_remove("NOTIFY_SOCKET");
        let child = call.spawn().map_err(|error| format!("{shown} cannot be started: {error}"))?;
        let mut child = Ended(child);
        let said = child.0.stderr.take().map(|pipe| hear(pipe, deadline)).unwrap_or_default();
        let ended = child.wait_until(deadline);
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                Err(format!("{shown} does not take the configuration ({status}):\n{}", said.trim_end()))
            }
            None => Err(format!("{shown} did not check the configuration in time")),
        }
    }
}

/// A process that does not outlive this value.
struct Ended(Child);

impl Ended {
    /// How it has ended, if it has by then.
    fn wait_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        let end = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty()).ok()?;
        while let Some(left) = left(deadline) {
            match poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&left)) {
                Err(error) if error == Errno::INTR => {}
                Ok(0) | Err(_) => break,
                Ok(_) => return self.0.wait().ok(),
            }
        }
        None
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The beginning of what comes until the other end is closed, or the time is over.
fn hear(mut pipe: impl Read + AsFd, deadline: Instant) -> String {
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    while let Some(left) = left(deadline) {
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Err(error) if error == Errno::INTR => continue,
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match pipe.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                let room = MOST_SAID.saturating_sub(said.len());
                said.extend_from_slice(piece.get(..read.min(room)).unwrap_or_default());
            }
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn left(deadline: Instant) -> Option<Timespec> {
    Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok()
}
