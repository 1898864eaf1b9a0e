//! What two processes say to each other when one takes the other's place, and afterwards, as long as the one before has
//! connections.
//!
//! Messages are JSON, so that versions may differ: a field that is not known is passed over. A successor begins with
//! [`Said::Hello`]; which protocol both speak decides whether anything else is said.

use std::io;
use std::time::{Duration, Instant};

use rustix::fd::{BorrowedFd, OwnedFd};
use serde::{Deserialize, Serialize};

use crate::engine::{HeardMessage, MAX_MESSAGE, MessageSocket};

/// The number of this protocol; it changes when old and new programs would misunderstand each other.
pub const PROTOCOL: u32 = 1;
/// The variable that tells a program whose place it takes, by the number of that process.
pub const VARIABLE: &str = "TRUEPEER_SUCCEEDS";
/// How much text goes into one message, beside what is around it and what JSON makes of it.
const MAX_TEXT: usize = MAX_MESSAGE / 4;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Said {
    /// Successor: I am here.
    Hello {
        /// What it speaks.
        protocol: u32,
        /// Its version.
        version: String,
    },
    /// Predecessor: these sockets go with this message, one for each entry.
    Sockets {
        /// What each is.
        sockets: Vec<SocketOf>,
    },
    /// Predecessor: that was all of them.
    All,
    /// Successor: everything is ready, and nobody is accepted yet.
    Prepared {
        /// The offers that will be served.
        taken: Vec<usize>,
        /// Listeners whose clients would not be served now.
        unready: Vec<String>,
    },
    /// Successor: it does not work.
    Failed {
        /// Why.
        cause: String,
    },
    /// Predecessor: bans in force, as the state file has them; the text goes on in the next of these.
    Bans {
        /// A piece of it.
        text: String,
    },
    /// Predecessor: processes before it that still have connections; the line to each goes with this message.
    Before {
        /// What each is.
        processes: Vec<Before>,
    },
    /// Predecessor: accept.
    Go,
    /// Successor: connections are accepted.
    Accepting,
    /// Predecessor: the service manager knows you; I accept no more.
    Yours {
        /// What it is from now on.
        before: Before,
    },
    /// Predecessor, later: so many connections are left.
    Open {
        /// So many.
        open: u32,
    },
    /// Successor, later: cut the connections of clients in these networks.
    Cut {
        /// The networks.
        networks: Vec<String>,
    },
    /// Successor, later: somebody has moved the log's file away. What goes with this message is closed once that is done.
    Reopen,
    /// Successor, later: answer an operator over the stream that goes with this message.
    Ask {
        /// The request, as operators send it.
        request: String,
    },
    /// Successor, later: end within this time.
    Stop {
        /// The time.
        within_ms: u64,
    },
    /// Of a later version.
    #[serde(other)]
    Unknown,
}

impl Said {
    /// That it is to end within `limit`.
    #[must_use]
    pub fn stop(limit: Duration) -> Self {
        Self::Stop { within_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// One socket that is handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketOf {
    /// Of an address that the process before listens on by itself.
    Offer {
        /// Which offer.
        number: usize,
        /// The setting that names it.
        key: String,
        /// As it is written there.
        bind: String,
    },
    /// Of the service manager.
    Given {
        /// As which descriptor.
        number: u32,
        /// Under which name.
        name: Option<String>,
    },
}

/// A process that accepts no more and has connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Its number.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Its open connections.
    pub open: u32,
}

/// Says `what`, with `fds`.
///
/// # Errors
/// The other end is gone, or takes nothing.
pub fn say(line: &MessageSocket, what: &Said, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    line.send(&serde_json::to_vec(what)?, fds)
}

/// Says the text of bans, in as many messages as it needs.
///
/// # Errors
/// As [`say`].
pub fn say_bans(line: &MessageSocket, text: &str) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let at =
            (0..=MAX_TEXT.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or_default();
        let (piece, more) = rest.split_at(at);
        say(line, &Said::Bans { text: piece.to_owned() }, &[])?;
        rest = more;
    }
    Ok(())
}

/// The next message with what came with it, waited for until `deadline`; `None` if the other end is gone.
///
/// # Errors
/// `TimedOut`; something that is no message.
pub fn hear(line: &MessageSocket, deadline: Instant) -> io::Result<Option<(Said, Vec<OwnedFd>)>> {
    match line.hear(deadline)? {
        HeardMessage::Message(text, fds) => Ok(Some((serde_json::from_slice(&text)?, fds))),
        HeardMessage::Nothing => Err(io::ErrorKind::TimedOut.into()),
        HeardMessage::End => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::later;

    #[test]
    fn text_of_any_length_comes_as_it_was() {
        let (one, other) = MessageSocket::pair().unwrap();
        let other = MessageSocket::over(other).unwrap();
        let text = "203.0.113.7/32\t1\t2\t\"\u{e4}\\x00\"\n".repeat(20_000);
        let sent = text.clone();
        let saying = std::thread::spawn(move || {
            say_bans(&one, &sent).unwrap();
            say(&one, &Said::Go, &[]).unwrap();
        });
        let deadline = later(Instant::now(), Duration::from_secs(20));
        let mut heard = String::new();
        while let Some((Said::Bans { text }, _)) = hear(&other, deadline).unwrap() {
            heard.push_str(&text);
        }
        saying.join().unwrap();
        assert!(heard == text, "{} of {} bytes", heard.len(), text.len());
    }

    #[test]
    fn what_a_later_version_says_beside_is_passed_over() {
        let said = |text: &str| serde_json::from_str::<Said>(text).unwrap();
        assert_eq!(said(r#"{"say":"go","gently":true}"#), Said::Go);
        assert_eq!(said(r#"{"say":"sing","song":1}"#), Said::Unknown);
    }
}
