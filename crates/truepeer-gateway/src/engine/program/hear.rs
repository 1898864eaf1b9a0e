//! What a program writes to its standard error, as lines: not too long, not too many.

use std::io::{self, Read};
use std::process::ChildStderr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::{Errno, ioctl_fionbio};

/// The most that is passed on of one line; the rest of it is left out.
pub(super) const LINE_MAX: usize = 512;
/// The most lines that are passed on of one program: a client may make it complain as often as it likes.
pub(super) const LINES_MAX: usize = 100;

/// Passes on what comes, until the program has `ended` or nobody can write there any more.
///
/// What it has started may hold the same pipe for hours: whatever that says is not heard.
pub(super) fn lines(mut words: ChildStderr, ended: Option<BorrowedFd<'_>>, said: &mut dyn FnMut(&str)) {
    // Without it, the last look for words could wait for those of others.
    let may_wait = ioctl_fionbio(&words, true).is_err();
    let mut lines = Lines::default();
    let mut buf = [0; 4096];
    loop {
        let is_last = {
            let mut fds = vec![PollFd::new(&words, PollFlags::IN)];
            fds.extend(ended.as_ref().map(|ended| PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)));
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return,
            }
            fds.get(1).is_some_and(|ended| !ended.revents().is_empty())
        };
        loop {
            match words.read(&mut buf) {
                Ok(0) => return lines.end(said),
                Ok(len) => lines.take(buf.get(..len).unwrap_or_default(), said),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return lines.end(said),
            }
            if may_wait {
                break;
            }
        }
        if is_last {
            return lines.end(said);
        }
    }
}

/// Lines as they come together.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    passed: usize,
    left_out: usize,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], said: &mut dyn FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\n' => self.pass(said),
                _ if self.line.len() < LINE_MAX => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn pass(&mut self, said: &mut dyn FnMut(&str)) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        if text.is_empty() {
            return;
        }
        if self.passed == LINES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.passed = self.passed.saturating_add(1);
        said(&text);
    }

    fn end(mut self, said: &mut dyn FnMut(&str)) {
        self.pass(said);
        if self.left_out > 0 {
            said(&format!("({} more lines are left out)", self.left_out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: &[u8]) -> Vec<String> {
        let mut heard = Vec::new();
        let mut lines = Lines::default();
        let mut said = |line: &str| heard.push(line.to_owned());
        // However it is cut up.
        bytes.chunks(3).for_each(|chunk| lines.take(chunk, &mut said));
        lines.end(&mut said);
        heard
    }

    #[test]
    fn lines_are_whole_and_the_last_needs_no_end() {
        assert_eq!(heard(b"one\r\n\ntwo \nthree"), ["one", "two", "three"]);
        assert_eq!(heard(b"\xff\n"), ["\u{fffd}"]);
    }

    #[test]
    fn long_lines_and_many_lines_are_cut() {
        let long = heard(&[&b"x".repeat(LINE_MAX * 3)[..], b"\nnext"].concat());
        assert_eq!((long[0].len(), &*long[1]), (LINE_MAX, "next"));
        let many = heard(&b"line\n".repeat(LINES_MAX + 7));
        assert_eq!(many.len(), LINES_MAX + 1);
        assert_eq!(many[LINES_MAX], "(7 more lines are left out)");
    }
}
