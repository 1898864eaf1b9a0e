//! The built-in backend of the demonstration: it says who you are, through whom, and why it believes that.
//!
//! Started by the embedded configuration and by `demo`; a configured backend of kind `whoami` points here. It reads
//! the header that truepeer sends with the library's own reader, trusts loopback and nobody else, and then speaks in
//! the language of its port. What it says is decided without IO in `session`; `serve` moves the bytes.
//! It must not know the configuration, the rooms or the other end's truth: it sees one header, as any backend does.
//! No mail is ever accepted and nobody logs in.

mod facts;
mod serve;
mod session;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::facts::protocol::Protocol;

use serve::{Limits, serve};

/// The running backend: one loopback port for each protocol. Dropping it ends every connection.
#[derive(Debug)]
pub(crate) struct Whoami {
    /// Where each protocol is spoken.
    addresses: Vec<(Protocol, SocketAddr)>,
    /// Owns the accept loops, each of which owns its connections.
    _ports: JoinSet<()>,
}

impl Whoami {
    /// Binds the ports, which the system chooses, and begins to accept on the tokio runtime of the caller.
    ///
    /// # Errors
    /// When a socket cannot be bound, or outside a tokio runtime with its IO and time enabled.
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(Limits::default())
    }

    /// As [`Whoami::start`], with other limits.
    ///
    /// # Errors
    /// As there.
    fn start_with(limits: Limits) -> io::Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(io::Error::other("the built-in backend needs a tokio runtime around it"));
        }
        let mut ports = JoinSet::new();
        let mut open = |protocol| -> io::Result<SocketAddr> {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            ports.spawn(serve(TcpListener::from_std(listener)?, protocol, limits));
            Ok(address)
        };
        let addresses = Protocol::ALL.into_iter().map(|protocol| Ok((protocol, open(protocol)?)));
        let addresses = addresses.collect::<io::Result<_>>()?;
        Ok(Self { addresses, _ports: ports })
    }

    /// Where `protocol` is spoken.
    #[must_use]
    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        let found = self.addresses.iter().find(|(spoken, _)| *spoken == protocol);
        // Every protocol has its port since the start.
        found.map_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |(_, address)| *address)
    }
}

#[cfg(test)]
mod tests;
