//! Running a program that prints its own configuration: found without a shell, with a bound on time and output.

use std::env;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{MAX_TEXT, Unreachable};

/// How long a program may take.
const TIME: Duration = Duration::from_secs(20);
/// Where servers' programs are, and the paths of ordinary users do not lead.
const MORE_PATHS: &[&str] = &["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// What the command prints, under its own words.
pub(super) fn printed(words: &[&str]) -> Result<(String, String), Unreachable> {
    let name = words.join(" ");
    let (program, arguments) = words.split_first().ok_or_else(|| Unreachable("no command".to_owned()))?;
    let found = find(program).ok_or_else(|| Unreachable(format!("`{program}` is not here")))?;
    let failed = |why: String| Unreachable(format!("`{name}`: {why}"));
    let child = Command::new(found)
        .args(arguments)
        // Texts are looked for in its output.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("it cannot be started: {error}")))?;
    let (text, complaint) = gather(child, TIME).map_err(failed)?;
    match complaint {
        None => Ok((name, text)),
        Some(complaint) => Err(failed(complaint)),
    }
}

/// The program's file, by the paths of this process and those of servers.
fn find(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let paths = env::split_paths(&paths).filter(|path| path.is_absolute());
    let mut candidates = paths.chain(MORE_PATHS.iter().map(PathBuf::from)).map(|path| path.join(program));
    candidates.find(|candidate| candidate.is_file())
}

/// What it printed, and its complaint if it failed. Whoever takes too long or prints too much is ended.
fn gather(mut child: Child, time: Duration) -> Result<(String, Option<String>), String> {
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("it has no output".to_owned());
    };
    // One place for each of the two.
    let (done, parts) = sync_channel::<(Part, io::Result<Vec<u8>>)>(2);
    let also = done.clone();
    thread::spawn(move || done.send((Part::Out, limited(out))));
    thread::spawn(move || also.send((Part::Err, limited(err))));
    let (mut text, mut complaint) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for _ in 0..2 {
        match parts.recv_timeout(time.saturating_sub(begun.elapsed())) {
            Ok((part, Ok(bytes))) => {
                if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_TEXT) {
                    end(&mut child);
                    return Err(format!("it prints more than {MAX_TEXT} bytes"));
                }
                match part {
                    Part::Out => text = bytes,
                    Part::Err => complaint = bytes,
                }
            }
            Ok((_, Err(error))) => {
                end(&mut child);
                return Err(format!("its output cannot be read: {error}"));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                end(&mut child);
                return Err(format!("no answer within {} s", time.as_secs()));
            }
        }
    }
    // Its outputs are closed, so it is at its end, or ended here.
    let status = child.wait().map_err(|error| error.to_string())?;
    let complaint = String::from_utf8_lossy(&complaint).into_owned();
    let text = String::from_utf8_lossy(&text).into_owned();
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed");
    let shown = truepeer_doctor::excerpt(last.as_bytes());
    Ok((text, (!status.success()).then_some(shown)))
}

enum Part {
    Out,
    Err,
}

fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TEXT.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn end(child: &mut Child) {
    // Gone already is as good.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[test]
    fn what_a_program_prints_and_complains_about_is_told_apart() {
        let (text, complaint) = gather(shell("echo one; echo two >&2"), TIME).unwrap();
        assert_eq!((text.as_str(), complaint), ("one\n", None));
        let (_, complaint) = gather(shell("echo why >&2; exit 3"), TIME).unwrap();
        assert_eq!(complaint.as_deref(), Some("why"));
    }

    #[test]
    fn one_that_never_ends_or_prints_without_end_is_ended() {
        let why = gather(shell("exec sleep 600"), Duration::from_millis(50)).unwrap_err();
        assert!(why.starts_with("no answer within"), "{why}");
        let why = gather(shell("exec yes"), TIME).unwrap_err();
        assert!(why.contains("prints more than"), "{why}");
    }

    #[test]
    fn a_program_that_is_not_here_is_named() {
        let why = printed(&["no-such-program-anywhere", "-n"]).unwrap_err().to_string();
        assert_eq!(why, "`no-such-program-anywhere` is not here");
    }
}
