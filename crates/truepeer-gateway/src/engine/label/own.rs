//! A connection of ours whose own socket says who the client is: for a program that it is given to.
//!
//! Such a socket is here, so that nothing lies ready for it: it is labelled by its descriptor, and then asked itself
//! whether it says so. What it says is answered where its listening socket was made, whoever has the connection later.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::thread::CapabilitySet;
use socket2::SockRef;

use super::cgroups::Tree;
use super::lack::Lack;
use super::{Label, LabelDestination, Labels, layout, listening};

/// Why a connection's socket does not say who its client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSaid {
    /// It is a UNIX socket, which has no addresses.
    NoAddress,
    /// Nothing is loaded: what was missing is known since the start.
    NotLoaded,
    /// It belongs to a listening socket of IPv4, and the client is one of IPv6.
    Inexpressible,
    /// Something is missing on this host.
    Lacks(Lack),
    /// The kernel refuses the label.
    Refused {
        /// What it said.
        error: String,
    },
    /// It has the label, and says another client.
    Says(Option<SocketAddr>),
}

impl fmt::Display for NotSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("the connection came over a UNIX socket, which has no address"),
            Self::NotLoaded => f.write_str("this process had no programs to load into the kernel, or no right to"),
            Self::Inexpressible => f.write_str(
                "the listener is bound to IPv4 only, whose sockets cannot say the address of a client of IPv6",
            ),
            Self::Lacks(lack) => write!(f, "{lack}: {}", lack.change()),
            Self::Refused { error } => write!(f, "the kernel does not take its label: {error}"),
            Self::Says(Some(other)) => write!(f, "its socket goes on to say {other}"),
            Self::Says(None) => f.write_str("its socket says nothing"),
        }
    }
}

impl Labels {
    /// Loads what sockets of our own need to say who their client is. Waits for nobody.
    ///
    /// # Errors
    /// [`Lack`].
    pub fn prepare_own(&self) -> Result<(), Lack> {
        // A hardened unit denies the call itself, and nothing that it denies is to be tried unasked.
        let has = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let may_load = CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
        if !has.contains(may_load) && !has.contains(CapabilitySet::SYS_ADMIN) {
            return Err(Lack::Right { what: "CAP_BPF and CAP_NET_ADMIN are not this process's".to_owned() });
        }
        let hooks = self.hooks();
        self.load(&hooks)?;
        Tree::find().map(drop)
    }

    /// Has `socket`, which we accepted, say `label` in every process that has it, and asks it whether it does.
    ///
    /// The first of a listening socket may take as long as the kernel needs to say who listens.
    ///
    /// # Errors
    /// [`NotSaid`]; then the socket may still be used, and says its own addresses.
    pub fn give(&self, socket: BorrowedFd<'_>, label: Label) -> Result<(), NotSaid> {
        let loaded = self.0.loaded.load_full().ok_or(NotSaid::NotLoaded)?;
        let ours = SockRef::from(&socket).local_addr().ok().and_then(|ours| ours.as_socket());
        let ours = ours.ok_or(NotSaid::NoAddress)?;
        if ours.is_ipv4() && label.client.ip().to_canonical().is_ipv6() {
            return Err(NotSaid::Inexpressible);
        }
        let refused = |error: std::io::Error| NotSaid::Refused { error: error.to_string() };
        loaded.kept.update(&socket.as_raw_fd().to_ne_bytes(), &layout::kept(label)).map_err(refused)?;
        if says(socket, label) {
            return Ok(());
        }
        // Before its label it said so itself: the address that its listening socket is found by.
        let reached = SocketAddr::new(ours.ip().to_canonical(), ours.port());
        let destination =
            if label.destination.is_some() { LabelDestination::Clients } else { LabelDestination::Own };
        let folders = Tree::find().and_then(|tree| listening(&tree, reached)).map_err(NotSaid::Lacks)?;
        let mut hooks = self.hooks();
        for folder in folders {
            hooks.put_answers(&loaded, &folder, destination).map_err(NotSaid::Lacks)?;
        }
        drop(hooks);
        if says(socket, label) { Ok(()) } else { Err(NotSaid::Says(peer(socket))) }
    }
}

/// Whether the socket says the client, and where it wanted to go if it is to.
fn says(socket: BorrowedFd<'_>, label: Label) -> bool {
    let is = |said: Option<SocketAddr>, wanted: SocketAddr| {
        said.is_some_and(|said| {
            said.ip().to_canonical() == wanted.ip().to_canonical()
                && (wanted.port() == 0 || said.port() == wanted.port())
        })
    };
    let ours = || SockRef::from(&socket).local_addr().ok().and_then(|ours| ours.as_socket());
    is(peer(socket), label.client) && label.destination.is_none_or(|wanted| is(ours(), wanted))
}

fn peer(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&socket).peer_addr().ok().and_then(|peer| peer.as_socket())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;
    use crate::engine::label::hooks::tests::loaded;

    /// An accepted connection to a listener at `at`, with both ends as they are.
    fn accepted(at: &str) -> (TcpStream, TcpStream, TcpListener) {
        let listener = TcpListener::bind(at).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client, listener)
    }

    #[test]
    fn a_socket_of_ours_says_its_client_in_both_families_and_others_say_their_own() {
        if loaded().is_none() {
            return;
        }
        let labels = Labels::default();
        labels.prepare_own().unwrap();
        for (at, client, destination) in [
            ("127.0.0.1:0", "203.0.113.7:4711", None),
            ("[::1]:0", "[2001:db8::7]:4711", Some("[2001:db8::25]:25")),
            ("[::1]:0", "203.0.113.7:4711", None),
        ] {
            let (ours, _client, listener) = accepted(at);
            let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let client: SocketAddr = client.parse().unwrap();
            let destination = destination.map(|text| text.parse().unwrap());
            let before = ours.local_addr().unwrap();
            labels.give(ours.as_fd(), Label { client, destination, substitute: None }).unwrap();
            let said = ours.peer_addr().unwrap();
            assert_eq!((said.ip().to_canonical(), said.port()), (client.ip(), 4711));
            assert_eq!(ours.local_addr().unwrap(), destination.unwrap_or(before));
            // Its neighbour has no label.
            let (neighbour, who) = listener.accept().unwrap();
            assert_eq!([neighbour.peer_addr().unwrap(), who], [other.local_addr().unwrap(); 2]);
        }
    }

    #[test]
    fn what_a_socket_cannot_say_is_told_apart() {
        if loaded().is_none() {
            return;
        }
        let v6 = Label { client: "[2001:db8::7]:1".parse().unwrap(), destination: None, substitute: None };
        let (ours, client, _listener) = accepted("127.0.0.1:0");
        assert_eq!(Labels::default().give(ours.as_fd(), v6), Err(NotSaid::NotLoaded));
        let labels = Labels::default();
        labels.prepare_own().unwrap();
        assert_eq!(labels.give(ours.as_fd(), v6), Err(NotSaid::Inexpressible));
        assert_eq!(ours.peer_addr().unwrap(), client.local_addr().unwrap());
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(labels.give(unix.as_fd(), v6), Err(NotSaid::NoAddress));
    }
}
