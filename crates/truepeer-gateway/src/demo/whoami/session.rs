//! One conversation of the built-in backend, without IO: an identity in, words out.
//!
//! The commands are those of [`answer`](crate::rooms::own), whose dialogue this reuses; what differs is what it has to say.

use truepeer::ClientIdentity;

use super::facts;
use crate::facts::protocol::Protocol;
use crate::rooms::own::{Dialogue, Reply, Script, Then};

/// What it calls itself.
const HOST: &str = "whoami.truepeer";

/// A conversation with somebody whose identity is known.
///
/// Memory: the facts, under 2 KiB, and one unfinished line of at most [`Dialogue::MAX_LINE`] bytes.
#[derive(Debug)]
pub(super) struct Session {
    protocol: Protocol,
    dialogue: Dialogue,
}

impl Session {
    pub(super) fn new(protocol: Protocol, identity: &ClientIdentity) -> Self {
        let script = Script {
            host: HOST.to_owned(),
            welcome: facts::sentence(identity),
            facts: facts::words(identity),
            no: "this is a demonstration, no mail is served",
        };
        Self { protocol, dialogue: Dialogue::new(protocol, script) }
    }

    /// What to write first. On a port without a protocol it is everything there is to say.
    pub(super) fn greet(&mut self) -> Reply {
        match self.protocol {
            Protocol::Tcp => {
                self.dialogue.end();
                Reply { bytes: self.dialogue.page().into_bytes(), then: Then::Close }
            }
            _ => Reply { bytes: self.dialogue.greeting().unwrap_or_default(), then: Then::GoOn },
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) -> Reply {
        self.dialogue.receive(bytes)
    }
}
