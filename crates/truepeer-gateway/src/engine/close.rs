//! Close two descriptors in one call where they are neighbours. Those of a relay mostly are: the second is opened right
//! behind the first, and both are closed together.

#![expect(unsafe_code, reason = "close_range(2) has no safe binding")]

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the kernel has the call, which came with Linux 5.9, and lets us use it.
static IS_THERE: AtomicBool = AtomicBool::new(true);

/// Closes both.
pub(super) fn close_both(one: OwnedFd, other: OwnedFd) {
    if !IS_THERE.load(Ordering::Relaxed) {
        return drop((one, other));
    }
    let (one, other) = (one.into_raw_fd(), other.into_raw_fd());
    let (first, last) = (one.min(other), one.max(other));
    if last.checked_sub(first) == Some(1) && close_range(first, last) {
        return;
    }
    // SAFETY: both were owned here and given up above, and neither is closed: `close_range` was not asked, or closed none.
    drop(unsafe { (OwnedFd::from_raw_fd(one), OwnedFd::from_raw_fd(other)) });
}

/// Closes these and all between them; `false` if none was closed.
fn close_range(first: RawFd, last: RawFd) -> bool {
    let (Ok(first), Ok(last)) = (libc::c_uint::try_from(first), libc::c_uint::try_from(last)) else {
        return false;
    };
    // SAFETY: the call reads and writes no memory of ours. Its caller owned every descriptor from `first` to `last`, which
    // are two, and gave them up.
    let is_done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0;
    if !is_done {
        IS_THERE.store(false, Ordering::Relaxed);
    }
    is_done
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Two descriptors whose other ends say when they are closed.
    fn ends() -> [(UnixStream, OwnedFd); 2] {
        [(); 2].map(|()| UnixStream::pair().map(|(kept, given)| (kept, given.into())).unwrap())
    }

    #[test]
    fn both_are_closed_and_nothing_else_whether_they_are_neighbours_or_not() {
        let ([(mut kept, one), (mut also_kept, other)], [(mut between, _between), _]) = (ends(), ends());
        // Some are neighbours by chance, and those that are made so are for certain.
        let next = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 700).unwrap();
        let neighbours = (next(&one), next(&other));
        close_both(one, other);
        close_both(neighbours.1, neighbours.0);
        for kept in [&mut kept, &mut also_kept] {
            assert_eq!(kept.read(&mut [0; 1]).unwrap(), 0, "its other end is closed");
        }
        between.set_nonblocking(true).unwrap();
        assert_eq!(between.read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
