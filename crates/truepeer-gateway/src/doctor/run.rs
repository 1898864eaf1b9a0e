//! Runs a program that prints its configuration, with a deadline and a bound.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::shown::shown;

/// Where programs are, where `PATH` does not say so.
const FOLDERS: [&str; 6] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/sbin", "/bin"];
/// How much of what it complains about is kept.
const MAX_COMPLAINT: usize = 2048;

/// How much a program may print, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes on its standard output.
    pub bytes: usize,
    /// From its start to its end.
    pub time: Duration,
}

/// What a program is given to see of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// Where we stand, and our environment: anyone who names the program expects it to know both.
    Ours,
    /// Neither.
    Nothing,
}

/// The file of a program of that name: beside `exe`, where `PATH` says, or where programs usually are.
///
/// A file that others than root and this user can change is not taken: a survey that root makes must not run it.
#[must_use]
pub fn find(name: &str, exe: Option<&str>) -> Option<PathBuf> {
    let beside = exe.and_then(|exe| Path::new(exe).parent()).map(Path::to_path_buf);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(FOLDERS.iter().map(PathBuf::from))
        .filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|file| is_safe(file))
}

fn is_safe(file: &Path) -> bool {
    const WRITABLE_BY_GROUP: u32 = 0o020;
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    const EXECUTABLE: u32 = 0o111;
    let us = rustix::process::geteuid().as_raw();
    let ours =
        |meta: &fs::Metadata| (meta.uid() == 0 || meta.uid() == us) && meta.mode() & WRITABLE_BY_OTHERS == 0;
    let Ok(meta) = fs::metadata(file) else { return false };
    // Where links lead to, too.
    let folder = fs::canonicalize(file).ok().and_then(|file| fs::metadata(file.parent()?).ok());
    // Debian's /usr/local belongs to a group as well, whose members are as good as root.
    let is_fixed = ours(&meta) && meta.mode() & WRITABLE_BY_GROUP == 0;
    meta.is_file() && meta.mode() & EXECUTABLE != 0 && is_fixed && folder.is_some_and(|meta| ours(&meta))
}

/// What `program` prints.
///
/// # Errors
/// In a sentence: it could not be run, failed, printed too much, or took too long; it is ended then.
pub fn printed(program: &Path, args: &[String], bounds: Bounds, around: Around) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program);
    if around == Around::Nothing {
        command.env_clear().env("PATH", FOLDERS.join(":")).current_dir("/");
    }
    command
        .args(args)
        // Texts are looked for in its output.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // With whatever it starts itself, so that all of it can be ended.
        .process_group(0);
    let child = command.spawn().map_err(|error| format!("it cannot be run: {error}"))?;
    let mut running = Running(child);
    let deadline = Instant::now().checked_add(bounds.time);
    let (out, complaint) = running.hear(bounds.bytes, deadline)?;
    running.wait(deadline)?;
    let status = running.0.wait().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(out);
    }
    let last = complaint.trim_ascii().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Err(format!("it failed ({status}): {}", shown(last, 200)))
}

/// A child that is ended, with all that it started, when it is dropped before its end.
#[derive(Debug)]
struct Running(Child);

impl Running {
    /// Both outputs to their ends.
    fn hear(&mut self, most: usize, deadline: Option<Instant>) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (mut out, mut err) = (self.0.stdout.take(), self.0.stderr.take());
        let (mut said, mut complaint) = (Vec::new(), Vec::new());
        while out.is_some() || err.is_some() {
            // Who has ended would always be ready, and is gone by then.
            let open = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
            let mut fds: Vec<_> =
                open.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            for fd in &fds {
                ioctl_fionbio(fd, true).map_err(|error| error.to_string())?;
            }
            wait_for(&mut fds, deadline)?;
            take(&mut out, &mut said)?;
            if said.len() > most {
                return Err(format!("it printed more than {most} bytes"));
            }
            take(&mut err, &mut complaint)?;
            // Its last words are those that tell why.
            let too_much = complaint.len().saturating_sub(MAX_COMPLAINT);
            complaint.drain(..too_much);
        }
        Ok((said, complaint))
    }

    /// Until it has ended.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), String> {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        let fd = pidfd_open(self.pid().ok_or("it has no number")?, PidfdFlags::empty())
            .map_err(|error| format!("it cannot be waited for: {error}"))?;
        wait_for(&mut [PollFd::new(&fd, PollFlags::IN)], deadline)
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.0.id()).ok()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(group) = self.pid() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Until one of `fds` is ready.
fn wait_for(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), String> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.unwrap_or_default();
        let timeout = Timespec::try_from(left).map_err(|_| "its time is too long".to_owned())?;
        match poll(fds, Some(&timeout)) {
            Ok(0) => return Err("it took too long and was ended".to_owned()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// What is there now; at its end the pipe is closed.
fn take(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> Result<(), String> {
    const PIECE: usize = 16 * 1024;
    let mut piece = [0; PIECE];
    let Some(open) = pipe else { return Ok(()) };
    match open.read(&mut piece) {
        Ok(0) => *pipe = None,
        Ok(read) => into.extend_from_slice(piece.get(..read).unwrap_or_default()),
        Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
        Err(error) => return Err(error.to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, time: Duration) -> Result<String, String> {
        let sh = find("sh", None).expect("there is a shell");
        let args = ["-c".to_owned(), script.to_owned()];
        printed(&sh, &args, Bounds { bytes: 1000, time }, Around::Nothing)
            .map(|out| String::from_utf8_lossy(&out).into_owned())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_printed_comes_back_and_what_fails_says_why() {
        assert_eq!(sh("echo yes", LONG), Ok("yes\n".to_owned()));
        assert_eq!(sh("echo no; exit 3", LONG).unwrap_err(), "it failed (exit status: 3): ");
        let error = sh("echo first >&2; printf 'fatal: \\033[2J' >&2; exit 1", LONG).unwrap_err();
        assert_eq!(error, "it failed (exit status: 1): fatal: \\x1b[2J");
        assert_eq!(
            sh("env | grep -v -e PWD -e SHLVL -e ^_=", LONG),
            Ok(format!("PATH={}\nLC_ALL=C\n", FOLDERS.join(":")))
        );
    }

    #[test]
    fn whoever_prints_without_end_or_never_ends_is_ended_with_his_children() {
        assert_eq!(sh("while :; do echo yes; done", LONG).unwrap_err(), "it printed more than 1000 bytes");
        let short = Duration::from_millis(50);
        assert_eq!(sh("sleep 600 & sleep 600", short).unwrap_err(), "it took too long and was ended");
        // Silent, and its outputs closed.
        assert_eq!(sh("exec >&- 2>&-; sleep 600", short).unwrap_err(), "it took too long and was ended");
    }

    #[test]
    fn a_program_that_others_can_change_is_not_taken() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("truepeer-survey-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let exe = dir.join("truepeer-only-here");
        fs::write(&exe, "#!/bin/sh\n").unwrap();
        let beside = dir.join("other");
        let found = |mode| {
            fs::set_permissions(&exe, fs::Permissions::from_mode(mode)).unwrap();
            find("truepeer-only-here", beside.to_str())
        };
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found(0o755), Some(exe.clone()));
        assert_eq!(found(0o775), None);
        assert_eq!(found(0o644), None);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o775)).unwrap();
        assert_eq!(found(0o755), Some(exe.clone()));
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(found(0o755), None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
