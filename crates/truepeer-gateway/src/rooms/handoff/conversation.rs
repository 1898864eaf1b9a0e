//! A handoff is a conversation: what is told to a backend before the client may speak, and what it must answer.
//!
//! Sans-IO: the backend's bytes and instants go in; bytes to send, "ready" or "failed" come out. Connecting a client
//! and proving a backend drive it alike ([`drive`]). A PROXY header is the shortest one: one write, and no answer.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use truepeer::Seen;

use super::imap_id::ImapId;
use super::turn::{Purpose, Turn, Untold};
use super::xclient::Xclient;
use super::{Header, Substituted};
use crate::engine::label::{Label, Labels, Shown};
use crate::engine::transparent::dial_as;
use crate::engine::{Address, DialError, Received, Socket, dial, later, now, receive, say};
use crate::facts::program::Environment;

/// What a backend is to be told about one client, whichever of its addresses is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// What goes first, in one write with connecting. Empty where the backend speaks first, or is told nothing.
    pub header: Header,
    /// As whom the connection is made.
    pub source: ConnectAs,
    /// What a program finds in its environment; empty where it is none.
    pub environment: Environment,
    words: Words,
}

/// As whom a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectAs {
    /// As us.
    Ours,
    /// From this client's address.
    Client(SocketAddr),
    /// From our address, and the backend's socket says another.
    Labelled(Label),
}

/// A connection, and what of the client it does not show as it is.
#[derive(Debug)]
pub struct Dialled {
    /// The way to the backend.
    pub socket: Socket,
    /// What was replaced.
    pub substituted: Substituted,
}

/// What follows the first write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Words {
    /// Nothing: the client may speak.
    None,
    /// XCLIENT.
    Xclient(Xclient),
    /// ID.
    ImapId(ImapId),
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this, then ask again.
    Say(Vec<u8>),
    /// Hear the backend until then, then ask again.
    Hear(Instant),
    /// The backend knows the client, who may speak. What the backend has said to it is here, to be passed on.
    Ready(Vec<u8>),
    /// The backend does not, and is never connected with it.
    Failed(Untold),
}

impl Introduction {
    /// Told by `header` alone.
    #[must_use]
    pub fn written(header: Header) -> Self {
        Self { header, source: ConnectAs::Ours, environment: Environment::new(), words: Words::None }
    }

    /// Told in words alone, with these facts substituted.
    pub(super) fn spoken(words: Words, substituted: Substituted) -> Self {
        Self { words, ..Self::written(Header { substituted, ..Header::default() }) }
    }

    /// Told by the address that the connection comes from, and by nothing else.
    pub(super) fn from_address(client: SocketAddr) -> Self {
        Self { source: ConnectAs::Client(client), ..Self::written(Header::default()) }
    }

    /// Told by what the backend's own socket says, and by nothing else.
    pub(super) fn labelled(label: Label, substituted: Substituted) -> Self {
        let header = Header { substituted, ..Header::default() };
        Self { source: ConnectAs::Labelled(label), ..Self::written(header) }
    }

    /// Told to a program by its environment, with these facts substituted, and by what its socket says where it does.
    pub(super) fn to_program(environment: Environment, label: Label, substituted: Substituted) -> Self {
        Self { environment, ..Self::labelled(label, substituted) }
    }

    /// What a socket is to say of the client, if one is.
    #[must_use]
    pub fn label(&self) -> Option<Label> {
        match self.source {
            ConnectAs::Labelled(label) => Some(label),
            ConnectAs::Ours | ConnectAs::Client(_) => None,
        }
    }

    /// Connects to `address` within `timeout` as whom it says, and writes `opening` first.
    ///
    /// # Errors
    /// [`DialError`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn dial(
        &self,
        address: &Address,
        opening: &[u8],
        timeout: Duration,
        labels: &Labels,
    ) -> Result<Dialled, DialError> {
        let mut substituted = self.header.substituted;
        let socket = match (self.source, address) {
            (ConnectAs::Ours, _) => dial(address, opening, timeout).await?,
            (ConnectAs::Client(client), Address::Tcp(backend)) => {
                let socket = dial_as(client, *backend, opening, timeout).await?;
                let ours = socket.local_addr();
                let is_another = ours.is_some_and(|ours| ours.port() != client.port());
                substituted.note(Substituted::CLIENT_PORT, is_another);
                socket
            }
            (ConnectAs::Labelled(label), Address::Tcp(backend)) => {
                // Apart, so that other connections do not hold room for it.
                let dialled = Box::pin(labels.dial(label, *backend, opening, timeout));
                let (socket, shown) = dialled.await?;
                substituted.note(Substituted::CLIENT_ADDRESS, shown == Shown::Substitute);
                socket
            }
            (ConnectAs::Client(_) | ConnectAs::Labelled(_), Address::Unix(_) | Address::Program(_)) => {
                return Err(DialError::Connect(io::ErrorKind::Unsupported.into()));
            }
        };
        Ok(Dialled { socket, substituted })
    }

    /// Begins to tell it, once the header is written. `patience`: how long each answer may take.
    #[must_use]
    pub fn begin(&self, purpose: Purpose, patience: Duration) -> Conversation {
        Conversation {
            words: self.words.clone(),
            purpose,
            patience,
            heard: Vec::new(),
            ended: false,
            until: None,
        }
    }
}

/// One connection's part of it.
///
/// Holds at most `HEARD_MAX` bytes of what the backend said, and one receive.
#[derive(Debug)]
pub struct Conversation {
    words: Words,
    purpose: Purpose,
    patience: Duration,
    heard: Vec<u8>,
    ended: bool,
    until: Option<Instant>,
}

/// The most that is heard of one answer.
const HEARD_MAX: usize = 4096;

impl Conversation {
    /// The backend has said this.
    pub fn heard(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }

    /// The backend will say no more.
    pub fn ended(&mut self) {
        self.ended = true;
    }

    /// What comes next, as things are at `now`.
    pub fn next(&mut self, now: Instant) -> Step {
        let turn = match &mut self.words {
            Words::None => Turn::Ready(Vec::new()),
            Words::Xclient(xclient) => xclient.turn(&mut self.heard, self.purpose),
            Words::ImapId(id) => id.turn(&mut self.heard, self.purpose),
        };
        let awaited = match turn {
            Turn::Say(bytes) => {
                self.until = None;
                return Step::Say(bytes);
            }
            Turn::Ready(said) => return Step::Ready(said),
            Turn::Failed(why) => return Step::Failed(why),
            Turn::Hear(awaited) => awaited,
        };
        let until = *self.until.get_or_insert_with(|| later(now, self.patience));
        if self.heard.len() >= HEARD_MAX {
            let saw = Seen::new(&self.heard).to_string();
            Step::Failed(Untold::Unfit { what: "says more than any answer is long", saw })
        } else if self.ended {
            Step::Failed(Untold::Gone(awaited))
        } else if now >= until {
            Step::Failed(Untold::Late(awaited))
        } else {
            Step::Hear(until)
        }
    }

    /// How long each answer may take.
    fn patience(&self) -> Duration {
        self.patience
    }
}

/// Holds `conversation` over `socket`, whose header is written; returns what the backend has said to the client.
///
/// # Errors
/// [`Untold`].
///
/// # Cancel safety
/// Not cancel safe: a part of what is said may have gone out.
pub async fn drive(socket: &Socket, conversation: &mut Conversation) -> Result<Vec<u8>, Untold> {
    let broken = |error: io::Error| Untold::Broken(error.to_string());
    let mut heard = Vec::new();
    loop {
        match conversation.next(now()) {
            Step::Ready(said) => return Ok(said),
            Step::Failed(why) => return Err(why),
            Step::Say(bytes) => {
                let until = later(now(), conversation.patience());
                say(socket, &bytes, until).await.map_err(broken)?;
            }
            Step::Hear(until) => match receive(socket, &mut heard, until, None).await {
                Received::Bytes(_) => {
                    conversation.heard(&heard);
                    heard.clear();
                }
                Received::Ended => conversation.ended(),
                // The next step says that it is late.
                Received::Expired | Received::Evicted => {}
                Received::Failed(error) => return Err(broken(error)),
            },
        }
    }
}
