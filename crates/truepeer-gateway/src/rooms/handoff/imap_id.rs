//! ID: an IMAP server is told in its own language, before the client hears its greeting.
//!
//! Sans-IO. Dovecot takes a client's address from the first ID of a connection, if that comes from its
//! `login_trusted_networks`, and from no later one: so the client's own ID changes nothing. From 2.4 on it says whether
//! it believed us; before, its answer is the same either way.
//! POP3 and ManageSieve have a command like it, but there the client could say it again: they are not served.
//!
//! Source: RFC 2971; Dovecot, imap-login-cmd-id.c

use std::fmt::Write as _;

use truepeer::Seen;

use super::about::About;
use super::turn::{Purpose, Turn, Untold};

/// Whether the server says that it believes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// Dovecot from 2.4 on.
    Said,
    /// An earlier one: somebody has looked into its log.
    Unsaid,
}

/// Where such a conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImapId {
    about: About,
    confirmed: Confirmed,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Its greeting, which is the client's, is due.
    Greeting,
    /// Its answer to our ID is due; the greeting is kept.
    Answer(Vec<u8>),
    /// Its answer to an ID like a client's own is due.
    Again(Vec<u8>),
}

/// The tag of our commands.
const TAG: &str = "tp0";

impl ImapId {
    /// A conversation about the client of `about`.
    pub(super) fn new(about: About, confirmed: Confirmed) -> Self {
        Self { about, confirmed, stage: Stage::Greeting }
    }

    /// What comes next; `heard` is what the server has said and nobody has used.
    pub(super) fn turn(&mut self, heard: &mut Vec<u8>, purpose: Purpose) -> Turn {
        let Some(len) = self.complete_len(heard) else { return Turn::Hear(self.awaited()) };
        let bytes: Vec<u8> = heard.drain(..len).collect();
        if !heard.is_empty() {
            return unfit("speaks before it is asked", heard);
        }
        match &mut self.stage {
            Stage::Greeting if bytes.starts_with(b"* OK") => {
                self.stage = Stage::Answer(bytes);
                Turn::Say(command(&self.about))
            }
            Stage::Greeting => unfit("does not greet us", &bytes),
            Stage::Answer(greeting) => match (result(&bytes), self.confirmed, purpose) {
                (Some(("OK", text)), Confirmed::Said, _) if !text.starts_with("Trusted ID") => {
                    unfit("does not say that it believes us", text.as_bytes())
                }
                (Some(("OK", _)), _, Purpose::Client) => Turn::Ready(std::mem::take(greeting)),
                (Some(("OK", _)), _, Purpose::Proof) => {
                    self.stage = Stage::Again(std::mem::take(greeting));
                    // No server that still took words about the client would take this one.
                    Turn::Say(format!("{TAG} ID (\"x-proxy-ttl\" \"0\")\r\n").into_bytes())
                }
                (Some(("NO" | "BAD", text)), ..) => {
                    Turn::Failed(Untold::Misunderstood { saw: Seen::new(text.as_bytes()).to_string() })
                }
                _ => unfit("does not answer our ID", &bytes),
            },
            Stage::Again(greeting) => match result(&bytes) {
                Some(("OK", _)) => Turn::Ready(std::mem::take(greeting)),
                _ => unfit("would let a client say who it is: it takes a second ID", &bytes),
            },
        }
    }

    /// Where the awaited answer ends, if it is whole: at the first line, or at the one with our tag.
    fn complete_len(&self, heard: &[u8]) -> Option<usize> {
        let mut len = 0_usize;
        for line in heard.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            len = len.saturating_add(line.len());
            let is_last = self.stage == Stage::Greeting
                || line.strip_prefix(TAG.as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
                || line.starts_with(b"* BYE");
            if is_last {
                return Some(len);
            }
        }
        None
    }

    fn awaited(&self) -> &'static str {
        match self.stage {
            Stage::Greeting => "greeting",
            Stage::Answer(_) | Stage::Again(_) => "answer to our ID",
        }
    }
}

/// The result and the text of the line with our tag, which is the last.
fn result(bytes: &[u8]) -> Option<(&str, &str)> {
    let line = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
    let (_, rest) = std::str::from_utf8(line).ok()?.split_once(' ').filter(|(tag, _)| *tag == TAG)?;
    Some(rest.split_once(' ').unwrap_or((rest, "")))
}

fn unfit(what: &'static str, saw: &[u8]) -> Turn {
    Turn::Failed(Untold::Unfit { what, saw: Seen::new(saw).to_string() })
}

/// The command. No value can hold a quote or a backslash: they are addresses, numbers, our id and a DNS name.
fn command(about: &About) -> Vec<u8> {
    let known = [
        ("x-originating-ip", Some(about.client.to_string())),
        ("x-originating-port", about.client_port.map(|port| port.to_string())),
        ("x-connected-ip", about.destination.map(|to| to.ip().to_string())),
        ("x-connected-port", about.destination.filter(|to| to.port() != 0).map(|to| to.port().to_string())),
        ("x-connected-name", about.asked_for.clone()),
        ("x-session-id", (!about.id.is_empty()).then(|| about.id.clone())),
        ("x-client-transport", about.secure.then(|| "TLS".to_owned())),
    ];
    let mut line = format!("{TAG} ID (");
    for (count, (key, value)) in
        known.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).enumerate()
    {
        let space = if count == 0 { "" } else { " " };
        // Writing into a string cannot fail.
        let _ = write!(line, "{space}\"{key}\" \"{value}\"");
    }
    line.push_str(")\r\n");
    line.into_bytes()
}

#[cfg(test)]
mod tests;
