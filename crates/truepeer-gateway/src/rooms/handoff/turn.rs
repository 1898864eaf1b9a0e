//! What the ways of telling in words have in common: why they speak, what each wants next, how it fails.

use std::fmt;

use truepeer::Seen;

/// Why a conversation is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A client waits.
    Client,
    /// To find out whether the backend may be handed clients.
    Proof,
}

/// What one way of telling wants next; `heard` are the backend's bytes that it has not used.
#[derive(Debug)]
pub(super) enum Turn {
    /// Send this.
    Say(Vec<u8>),
    /// More of the named answer is needed.
    Hear(&'static str),
    /// Told.
    Ready(Vec<u8>),
    /// Not told.
    Failed(Untold),
}

/// Why a backend was not told, or did not listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untold {
    /// It takes no client in this way.
    Unfit {
        /// What it did, as a sentence without a subject.
        what: &'static str,
        /// What it said, escaped and cut.
        saw: String,
    },
    /// It does not take this one, for what we said of it.
    Misunderstood {
        /// What it said, escaped and cut.
        saw: String,
    },
    /// It knows the client, and turns it away in these words.
    TurnedAway(Vec<u8>),
    /// It did not answer in time.
    Late(&'static str),
    /// It closed before it had answered.
    Gone(&'static str),
    /// The connection broke.
    Broken(String),
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit { what, saw } if saw.is_empty() => write!(f, "it {what}"),
            Self::Unfit { what, saw } => write!(f, "it {what} (\"{saw}\")"),
            Self::Misunderstood { saw } => write!(f, "it does not understand who the client is (\"{saw}\")"),
            Self::TurnedAway(words) => write!(f, "it turns this client away (\"{}\")", Seen::new(words)),
            Self::Late(awaited) => write!(f, "its {awaited} did not come in time"),
            Self::Gone(awaited) => write!(f, "it closed before its {awaited}"),
            Self::Broken(error) => {
                write!(f, "the connection broke during the handoff: {error}")
            }
        }
    }
}
