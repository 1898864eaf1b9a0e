//! What the front door itself says to connections that a proxy makes for itself: health checks, mostly.
//!
//! Called by the walk of a connection when the header names no client and the listener says `proxy.own = "answer"`.
//! Pure, sans-IO: received bytes in, bytes to write and "go on" or "close" out; the caller keeps the deadlines.
//! It must not know sockets, backends or identities. No byte of such a connection ever reaches a backend, which would
//! take this host's address for the client's; so nothing here accepts mail or a login.
//! The built-in backend of the demonstration speaks through the same dialogue, with more to say.

mod dialogue;
mod lines;

use crate::facts::protocol::{FirstSpeaker, Protocol};
use crate::rooms::refuse::{Reason, Refusal, SpokenHost, refuse};

pub(crate) use crate::facts::protocol::Script;
pub use crate::facts::protocol::Then;
pub(crate) use dialogue::Dialogue;

/// Whether a backend of the listener can take connections now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// At least one can: the check hears the greeting.
    Reachable,
    /// None can: the check hears the temporary refusal that clients hear.
    Unreachable,
    /// The server is about to end: the check hears a temporary refusal.
    Draining,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A proxy, over a connection that it made for itself.
    Proxy,
    /// Anyone who connects to a health port.
    Check,
}

/// What to write, and what then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The bytes to write; may be empty.
    pub bytes: Vec<u8>,
    /// Whether the connection goes on.
    pub then: Then,
}

/// One of a proxy's own connections, from greeting to goodbye.
///
/// Memory: the unfinished line, at most [`Answer::MAX_LINE`] bytes, besides this struct (under 300 bytes).
/// One call returns at most the replies to [`Answer::MAX_COMMANDS`] commands, under 16 KiB in all.
#[derive(Debug)]
pub struct Answer {
    protocol: Protocol,
    backend: BackendState,
    dialogue: Dialogue,
}

impl Answer {
    /// The longest line that is read, its end included. RFC 5321 4.5.3.1.4 asks for 512 bytes.
    pub const MAX_LINE: usize = Dialogue::MAX_LINE;
    /// How many commands (for HTTP: lines of the request) are answered; a check needs about three.
    pub const MAX_COMMANDS: u32 = Dialogue::MAX_COMMANDS;
    /// How many bytes are read in all.
    pub const MAX_BYTES: usize = Dialogue::MAX_BYTES;

    /// A dialogue in the language of the listener. `hostname`: what greetings call this host.
    #[must_use]
    pub fn new(protocol: Protocol, hostname: &str, backend: BackendState, asker: Asker) -> Self {
        let (welcome, no) = match asker {
            Asker::Proxy => (
                "ready for the proxy's own connections",
                "this connection is the proxy's own, no mail is taken or given over it",
            ),
            Asker::Check => {
                ("ready", "this port answers health checks only, no mail is taken or given over it")
            }
        };
        let script = Script {
            host: SpokenHost(hostname).to_string(),
            welcome: welcome.to_owned(),
            facts: Vec::new(),
            no,
        };
        Self { protocol, backend, dialogue: Dialogue::new(protocol, script) }
    }

    /// Takes what was received and says what to write; after [`Then::Close`] it stays closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Reply {
        match self.backend {
            BackendState::Reachable => self.dialogue.receive(bytes),
            BackendState::Unreachable | BackendState::Draining => self.refuse_once(),
        }
    }

    /// What to write as soon as the connection is the proxy's own; `None` where the client speaks first.
    #[must_use]
    pub fn greeting(&self) -> Option<Vec<u8>> {
        match (self.backend, self.protocol.first_speaker()) {
            (BackendState::Reachable, _) => self.dialogue.greeting(),
            (BackendState::Unreachable | BackendState::Draining, FirstSpeaker::Client) => None,
            (BackendState::Unreachable | BackendState::Draining, _) => self.refusal(),
        }
    }

    /// Whether the connection goes on once the greeting is written.
    #[must_use]
    pub fn after_greeting(&self) -> Then {
        match (self.backend, self.protocol.first_speaker()) {
            (BackendState::Reachable, _) | (_, FirstSpeaker::Client) => Then::GoOn,
            (BackendState::Unreachable | BackendState::Draining, _) => Then::Close,
        }
    }

    /// Whether the other side began to send mail or to log in, which no check does.
    #[must_use]
    pub fn heard_a_client(&self) -> bool {
        self.dialogue.heard_a_client()
    }

    /// A request while no backend is reachable. Where the server greets, it was heard as the greeting.
    fn refuse_once(&mut self) -> Reply {
        let bytes = match (self.protocol.first_speaker(), self.dialogue.end()) {
            (FirstSpeaker::Client, Then::GoOn) => self.refusal().unwrap_or_default(),
            _ => Vec::new(),
        };
        Reply { bytes, then: Then::Close }
    }

    /// A check hears what a client would hear. This is the one place where a room asks another: the words of a refusal
    /// have one home, and it is pure.
    fn refusal(&self) -> Option<Vec<u8>> {
        let why = match self.backend {
            BackendState::Draining => Reason::Draining,
            BackendState::Reachable | BackendState::Unreachable => Reason::BackendUnavailable,
        };
        let refusal = Refusal { why, hostname: self.dialogue.host(), client: None, text: None };
        refuse(self.protocol, &refusal)
    }
}

#[cfg(test)]
mod tests;
