//! The part that all fakes share: accept on loopback, one thread for each connection, end when dropped.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::WAIT;

/// Which loopback address a fake listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    /// 127.0.0.1
    V4,
    /// ::1
    V6,
}

/// How a connection ended, seen from the fake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The other end finished its direction.
    Eof,
    /// The other end reset the connection.
    Reset,
    /// The fake itself ended it, as it should.
    Own,
    /// Nothing came for [`WAIT`], or the fake was dropped.
    GaveUp,
}

/// What a fake received on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who connected.
    pub peer: SocketAddr,
    /// The first [`Session::MAX_KEPT`] bytes received (behind the header, for a fake that reads one).
    pub bytes: Vec<u8>,
    /// How many bytes were received in all.
    pub total: u64,
    /// How it ended.
    pub end: End,
}

impl Session {
    /// How much of what was received is kept.
    pub const MAX_KEPT: usize = 1 << 20;
}

/// A connection that keeps what it receives.
#[derive(Debug)]
pub(super) struct Conversation {
    stream: Arc<TcpStream>,
    session: Session,
}

impl Conversation {
    pub(super) fn new(stream: Arc<TcpStream>) -> Self {
        let peer = stream.peer_addr().unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Self { stream, session: Session { peer, bytes: Vec::new(), total: 0, end: End::GaveUp } }
    }

    /// The next bytes; nothing once the connection ended.
    pub(super) fn receive(&mut self) -> Vec<u8> {
        let mut piece = vec![0; 64 * 1024];
        match (&*self.stream).read(&mut piece) {
            Ok(read) => piece.truncate(read),
            Err(error) => {
                self.session.end = match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
                    _ => End::GaveUp,
                };
                return Vec::new();
            }
        }
        if piece.is_empty() {
            self.session.end = End::Eof;
        }
        self.session.total += piece.len() as u64;
        let room = Session::MAX_KEPT.saturating_sub(self.session.bytes.len());
        self.session.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        piece
    }

    /// Receives until the other end ends it.
    pub(super) fn drain(mut self) -> Session {
        while !self.receive().is_empty() {}
        self.session
    }

    /// Ends it from our side.
    pub(super) fn end(mut self) -> Session {
        self.session.end = End::Own;
        self.session
    }

    /// What was received, with the end that the last [`Conversation::receive`] saw.
    pub(super) fn ended(self) -> Session {
        self.session
    }

    /// Writes; a client that is gone already is seen when receiving.
    pub(super) fn send(&self, bytes: &[u8]) {
        let _ = (&*self.stream).write_all(bytes);
    }

    pub(super) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// A running server. Dropping it cuts every connection and waits for its threads.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accept: Option<JoinHandle<()>>,
    connections: Connections,
}

/// The handler alone owns the socket, so that its end is the connection's end; this only reaches it while it lives.
type Connections = Arc<Mutex<Vec<(Weak<TcpStream>, JoinHandle<()>)>>>;

impl Server {
    /// Listens and calls `handle` on a thread of its own for each connection, which closes when `handle` returns.
    pub(super) fn start(
        loopback: Loopback,
        handle: impl Fn(Arc<TcpStream>) + Clone + Send + 'static,
    ) -> Self {
        let listener = match loopback {
            Loopback::V4 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
            Loopback::V6 => TcpListener::bind((Ipv6Addr::LOCALHOST, 0)),
        }
        .unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Connections::default();
        let accept = std::thread::spawn({
            let (stop, connections) = (Arc::clone(&stop), Arc::clone(&connections));
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(WAIT)).unwrap();
                    stream.set_write_timeout(Some(WAIT)).unwrap();
                    let stream = Arc::new(stream);
                    let reach = Arc::downgrade(&stream);
                    let handle = handle.clone();
                    let thread = std::thread::spawn(move || handle(stream));
                    let mut open = connections.lock().unwrap();
                    open.retain(|(_, thread)| !thread.is_finished());
                    open.push((reach, thread));
                }
            }
        });
        Self { address, stop, accept: Some(accept), connections }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // `accept` has no deadline; a connection of our own wakes it.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(accept) = self.accept.take() {
            let _ = accept.join();
        }
        let open = std::mem::take(&mut *self.connections.lock().unwrap());
        for (reach, _) in &open {
            if let Some(stream) = reach.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        for (_, thread) in open {
            let _ = thread.join();
        }
    }
}
