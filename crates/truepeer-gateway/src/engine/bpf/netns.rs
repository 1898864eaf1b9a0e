//! The number of a network namespace, which no crate that we use asks for.

#![expect(unsafe_code, reason = "SO_NETNS_COOKIE has no safe binding")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of the network namespace that `socket` is in.
///
/// # Errors
/// The kernel's: one before 5.14 does not tell.
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut size = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: `cookie` and `size` are valid for writes during the call, and `size` says how many bytes `cookie` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sockets_of_one_namespace_say_the_same() {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let cookies = [socket(), socket()].map(|socket| netns_cookie(socket.as_fd()).unwrap());
        assert_eq!(cookies[0], cookies[1]);
        assert_ne!(cookies[0], 0);
    }

    #[test]
    fn what_is_no_socket_has_none() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        assert!(netns_cookie(file.as_fd()).is_err());
    }
}
