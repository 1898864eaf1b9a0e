//! Where sockets come from: the one thing that the listener wants from TCP, UNIX or a test.
//!
//! Called by the listener only. Knows nothing of trust or headers.

use core::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::PeerAddress;

/// Anyone who connects while the queue is emptied must not keep it from its end. Linux has at most so many in one by
/// default (`net.core.somaxconn`).
const LONGEST_QUEUE: usize = 4096;

/// A source of raw connections.
///
/// Implemented for tokio's listeners. Any other is one newtype away: for VM sockets, `poll_accept` gives each peer as a
/// [`PeerAddress::Vsock`](crate::PeerAddress::Vsock), which [`TrustPolicy::with_vsock`](crate::TrustPolicy::with_vsock)
/// trusts. TLS streams are no such source on purpose: the header comes before TLS, and a
/// header read inside TLS would be the client's own words.
pub trait Accept: Send + 'static {
    /// A raw connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug + 'static;

    /// The next connection and its peer; `None` when there will be no more, after which it is not asked again.
    ///
    /// # Errors
    /// Those of the operating system; the listener reports them, backs off and asks again.
    #[expect(
        clippy::type_complexity,
        reason = "every layer of it is one that implementors know; an alias hides them"
    )]
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(Self::Stream, PeerAddress)>>>;

    /// Closes the listener, and yields those who arrived before.
    ///
    /// Asked for once, when the listener is to stop; see
    /// [`ListenerHandle::stop_accepting`](crate::ListenerHandle::stop_accepting). By default there is nobody.
    fn close(self) -> Vec<(Self::Stream, PeerAddress)>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// The address on our side of `stream`, that a direct client connected to. `None` where there is none.
    fn reached(stream: &Self::Stream) -> Option<SocketAddr>;

    /// The address that is listened on; `None` for a UNIX socket.
    ///
    /// # Errors
    /// Those of the operating system.
    fn local_addr(&self) -> io::Result<Option<SocketAddr>>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(TcpStream, PeerAddress)>>> {
        Self::poll_accept(self, cx).map_ok(|(stream, addr)| (stream, PeerAddress::tcp(addr))).map(Some)
    }

    fn close(self) -> Vec<(TcpStream, PeerAddress)> {
        // Readiness as tokio knows it may be old; the system knows who is in its queue.
        let Ok(listener) = self.into_std() else { return Vec::new() };
        let arrived = std::iter::from_fn(|| listener.accept().ok()).take(LONGEST_QUEUE);
        let taken = arrived.filter_map(|(stream, addr)| {
            stream.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(stream).ok()?, PeerAddress::tcp(addr)))
        });
        taken.collect()
    }

    fn reached(stream: &TcpStream) -> Option<SocketAddr> {
        stream.local_addr().ok()
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Self::local_addr(self).map(Some)
    }
}

#[cfg(unix)]
impl Accept for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(UnixStream, PeerAddress)>>> {
        let accepted = Self::poll_accept(self, cx).map_ok(|(stream, _)| {
            let peer = unix_peer(&stream);
            (stream, peer)
        });
        accepted.map(Some)
    }

    fn close(self) -> Vec<(UnixStream, PeerAddress)> {
        let Ok(listener) = self.into_std() else { return Vec::new() };
        let arrived = std::iter::from_fn(|| listener.accept().ok()).take(LONGEST_QUEUE);
        let taken = arrived.filter_map(|(stream, _)| {
            stream.set_nonblocking(true).ok()?;
            let stream = UnixStream::from_std(stream).ok()?;
            let peer = unix_peer(&stream);
            Some((stream, peer))
        });
        taken.collect()
    }

    fn reached(_: &UnixStream) -> Option<SocketAddr> {
        None
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(None)
    }
}

#[cfg(unix)]
fn unix_peer(stream: &UnixStream) -> PeerAddress {
    PeerAddress::Unix { uid: stream.peer_cred().ok().map(|cred| cred.uid()) }
}
