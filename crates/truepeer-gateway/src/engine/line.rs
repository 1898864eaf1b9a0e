//! A line between two processes of one machine: whole messages with descriptors, as a program and the one that takes its
//! place need it.
//!
//! Blocking, with a deadline for each wait; used on threads that do nothing else.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The longest message.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The most descriptors that go with one; the kernel takes 253.
pub const MAX_DESCRIPTORS: usize = 250;
/// How long the other end may leave a message without taking it.
const SEND_TIME: Duration = Duration::from_secs(5);

/// One end.
#[derive(Debug)]
pub struct MessageSocket(OwnedFd);

/// What came.
#[derive(Debug)]
pub enum HeardMessage {
    /// A message, and what came with it.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing, and the time is over.
    Nothing,
    /// The other end is gone.
    End,
}

impl MessageSocket {
    /// Both ends of a new one.
    ///
    /// # Errors
    /// The system's.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::over(ours)?, theirs))
    }

    /// The end that `fd` is.
    ///
    /// # Errors
    /// If it is none.
    pub fn over(fd: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_type(&fd)? != SocketType::SEQPACKET {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no line between two processes"));
        }
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        set_socket_timeout(&fd, Timeout::Send, Some(SEND_TIME))?;
        Ok(Self(fd))
    }

    /// Sends one message, with at most [`MAX_DESCRIPTORS`] `fds`.
    ///
    /// # Errors
    /// The other end is gone, or takes nothing.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if message.len() > MAX_MESSAGE || fds.len() > MAX_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !with.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&self.0, &[IoSlice::new(message)], &mut with, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message, waited for until `deadline`.
    ///
    /// # Errors
    /// The system's, and messages that are longer than ours.
    pub fn hear(&self, deadline: Instant) -> io::Result<HeardMessage> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else { return Ok(HeardMessage::Nothing) };
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Ok(HeardMessage::Nothing),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            match self.take() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(HeardMessage::End),
                taken => return taken,
            }
        }
    }

    /// The same end once more, for a thread that listens while another speaks.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    fn take(&self) -> io::Result<HeardMessage> {
        let mut message = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.0, &mut [IoSliceMut::new(&mut message)], &mut with, flags)?;
        let mut fds = Vec::new();
        for one in with.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = one {
                fds.extend(some);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            let why = "a message is longer than any of ours, or there is no room for its descriptors";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if received.bytes == 0 {
            return Ok(HeardMessage::End);
        }
        message.truncate(received.bytes);
        Ok(HeardMessage::Message(message, fds))
    }
}

impl AsFd for MessageSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::engine::later;

    fn soon() -> Instant {
        later(Instant::now(), Duration::from_secs(20))
    }

    #[test]
    fn messages_come_whole_and_in_order_with_their_descriptors() {
        let (one, other) = MessageSocket::pair().unwrap();
        let other = MessageSocket::over(other).unwrap();
        let (kept, given) = io::pipe().unwrap();
        one.send(&vec![7; MAX_MESSAGE], &[given.as_fd(); MAX_DESCRIPTORS]).unwrap();
        one.send(b"second", &[]).unwrap();
        drop((one, given));
        let HeardMessage::Message(first, fds) = other.hear(soon()).unwrap() else { panic!("no message") };
        assert_eq!((first.len(), fds.len()), (MAX_MESSAGE, MAX_DESCRIPTORS));
        assert!(fds.iter().all(|fd| fd.as_raw_fd() != kept.as_raw_fd()));
        assert!(
            matches!(other.hear(soon()).unwrap(), HeardMessage::Message(second, fds) if second == b"second" && fds.is_empty())
        );
        assert!(matches!(other.hear(soon()).unwrap(), HeardMessage::End));
    }

    #[test]
    fn what_is_too_long_is_not_sent_and_what_does_not_come_is_not_waited_for() {
        let (one, other) = MessageSocket::pair().unwrap();
        one.send(&vec![0; MAX_MESSAGE + 1], &[]).unwrap_err();
        assert!(matches!(one.hear(Instant::now()).unwrap(), HeardMessage::Nothing));
        drop(other);
        assert!(matches!(one.hear(soon()).unwrap(), HeardMessage::End));
        one.send(b"x", &[]).unwrap_err();
    }
}
