//! What is known of a protocol: one value of this type each, in a file of its own.

use std::num::NonZeroU32;
use std::time::Duration;

use super::refusal::Refusal;
use super::script::{Script, Then};
use crate::facts::lines::ConnectionLines;

/// A protocol, whole.
#[derive(Debug)]
pub(crate) struct Language {
    /// The word in the configuration, in logs and in metrics.
    pub name: &'static str,
    /// Who speaks first in clear text.
    pub first_speaker: FirstSpeaker,
    /// Whether a backend that takes our address for the client's would be an open relay.
    pub is_mail: bool,
    /// How many seconds both directions may be silent.
    pub idle_timeout: u64,
    /// Which lines a served connection leaves by default.
    pub lines: ConnectionLines,
    /// How many connections a client may have at once by default.
    pub at_once: Option<NonZeroU32>,
    /// What a client writes to be told everything there is to tell, and then goodbye.
    pub question: &'static [u8],
    /// How servers greet and take leave, where they do.
    pub manners: Option<Manners>,
    /// What a client hears that is turned away; `None` where a plain close says it best.
    pub refuse: fn(&Refusal<'_>) -> Option<Vec<u8>>,
    /// How checks are answered.
    pub checks: Checks,
}

pub(super) const MINUTE: u64 = 60;

/// Who speaks first once a connection is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSpeaker {
    /// The server greets.
    Server,
    /// The client asks.
    Client,
    /// Not known.
    Unknown,
}

/// Which line of a server is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What a server says first.
    Greeting,
    /// What it says to our goodbye.
    Answer,
}

/// How servers greet and take leave; what was heard begins with the line in question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// Whether this line is the last of that part.
    pub ends: fn(Part, &[u8]) -> bool,
    /// Whether a server greets so.
    pub is_greeting: fn(&[u8]) -> bool,
    /// What a client says to end a session.
    pub goodbye: &'static [u8],
    /// Whether a server takes leave so.
    pub is_goodbye: fn(&[u8]) -> bool,
    /// Whether a server says so that it cannot make anything of a command.
    pub is_complaint: fn(&[u8]) -> bool,
}

/// How checks are answered: lines in, words out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checks {
    /// What is said first; `None` where the client speaks first.
    pub greeting: fn(&Script) -> Option<String>,
    /// The answer to one line.
    pub answer: fn(&mut Unanswered, &Script, &[u8]) -> (String, Then),
    /// Whether a client says this, and no check.
    pub is_clients: fn(&[u8]) -> bool,
    /// The last words when a bound is reached.
    pub give_up: fn(&Script, &str) -> String,
}

/// What was asked in earlier lines and is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Unanswered {
    /// Nothing.
    #[default]
    Nothing,
    /// A request of HTTP, whose header lines are being read.
    Request(Method),
}

/// What a request of HTTP asks for, as far as the answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// The page.
    Get,
    /// The page without its body.
    Head,
    /// Something that would change or carry something.
    Other,
}

impl Language {
    /// How long both directions may be silent.
    pub(super) const fn silence(&self) -> Duration {
        Duration::from_secs(self.idle_timeout)
    }
}
