//! The socket that quinn is given: headers are taken off before it sees a datagram; answers go to the peer without one.
use std::io::{self, IoSliceMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::{collections::HashMap, net::SocketAddr, pin::Pin};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::{io::ReadBuf, net::UdpSocket};
use truepeer::{Arrival, Endpoint, HeaderRules, PeerAddress, TrustPolicy, read_datagram};

#[derive(Debug)]
pub(crate) struct Proxied {
    pub(crate) socket: UdpSocket,
    pub(crate) policy: TrustPolicy,
    /// Who is behind each port of a peer, by its last datagram; the server forgets it with the connection.
    pub(crate) clients: Mutex<HashMap<SocketAddr, Endpoint>>,
}

impl AsyncUdpSocket for Proxied {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        loop {
            let mut received = ReadBuf::new(buf);
            let addr = ready!(self.socket.poll_recv_from(cx, &mut received))?;
            let arrival = Arrival::new(PeerAddress::tcp(addr), self.local_addr().ok());
            let whole = received.filled();
            let read = read_datagram(&self.policy, &HeaderRules::new(), arrival, whole);
            // What has no good header, or is no client's, is dropped.
            let Ok((identity, payload)) = read else { continue };
            let Some(client) = identity.client() else { continue };
            let (end, len) = (whole.len(), payload.len());
            self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(addr, client);
            buf.copy_within(end.saturating_sub(len)..end, 0);
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            return Poll::Ready(Ok(1));
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.socket.try_send_to(transmit.contents, transmit.destination) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()), // a full queue loses datagrams here as it does in any router: QUIC sends them again
        }
    }

    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(super::Always)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
