//! A backend that does as it should: reads a header, then greets; without a header it says nothing.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::header::{FakeHeader, read_header};
use super::inbox::Inbox;
use super::server::{Conversation, Loopback, Server, Session};

/// What it does once it greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Afterwards {
    /// Sends back what it receives until the end of it, then closes.
    Echo,
    /// Receives to the end, then closes.
    Drain,
    /// Sends these bytes, finishes its direction, then receives to the end.
    Send(Vec<u8>),
    /// Closes at once.
    Close,
}

/// A connection without a right header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What came instead.
    pub bytes: Vec<u8>,
    /// What is wrong with it.
    pub why: String,
}

/// A backend that requires a header. Dropping it ends it.
#[derive(Debug)]
pub struct HeaderBackend {
    /// Each header, as soon as it is read.
    pub headers: Inbox<FakeHeader>,
    /// Each connection that had none, at its end.
    pub refused: Inbox<Refused>,
    /// Each connection that had one, at its end: the bytes behind the header.
    pub sessions: Inbox<Session>,
    server: Server,
}

impl HeaderBackend {
    /// A backend that says `greeting` behind each header and goes on with `afterwards`.
    #[must_use]
    pub fn start(loopback: Loopback, greeting: &[u8], afterwards: Afterwards) -> Self {
        let (header, headers) = Inbox::new("a header");
        let (refuse, refused) = Inbox::new("a connection without a header");
        let (ended, sessions) = Inbox::new("the end of a connection");
        let greeting = greeting.to_vec();
        let server =
            Server::start(loopback, move |stream: Arc<TcpStream>| match read_header(&mut &*stream) {
                Err((bytes, why)) => {
                    let _ = refuse.try_send(Refused { bytes, why });
                }
                Ok(read) => {
                    let _ = header.try_send(read);
                    let conversation = Conversation::new(stream);
                    conversation.send(&greeting);
                    let _ = ended.try_send(go_on(conversation, &afterwards));
                }
            });
        Self { headers, refused, sessions, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

fn go_on(mut conversation: Conversation, afterwards: &Afterwards) -> Session {
    match afterwards {
        Afterwards::Close => conversation.end(),
        Afterwards::Drain => conversation.drain(),
        Afterwards::Send(bytes) => {
            conversation.send(bytes);
            conversation.finish_sending();
            conversation.drain()
        }
        Afterwards::Echo => loop {
            let piece = conversation.receive();
            if piece.is_empty() {
                return conversation.ended();
            }
            conversation.send(&piece);
        },
    }
}
