//! Why a client is turned away, in words that fit every protocol.

use std::fmt;

use super::text::RefusalText;
use crate::facts::address::ClientIp;

/// What a client is turned away with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Why.
    pub why: Reason,
    /// What this host calls itself; characters that no host name has are left out when it is spoken.
    pub hostname: &'a str,
    /// The client, where there is one; `None` for the proxy's own connections.
    pub client: Option<ClientIp>,
    /// What the operator adds.
    pub text: Option<&'a RefusalText>,
}

/// Why a client is turned away. Closed: each protocol file answers each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No backend can take the connection now.
    BackendUnavailable,
    /// Too many connections, of this client or altogether.
    LimitReached,
    /// This process is about to end.
    Draining,
    /// An access rule names the client.
    Denied,
    /// TLS is required here and none was conveyed for this client.
    SecureRequired,
}

/// Whether the client may come back with the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permanence {
    /// Try again later: mail stays in the sender's queue.
    Temporary,
    /// Trying again changes nothing: mail bounces.
    Permanent,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::BackendUnavailable, Self::LimitReached, Self::Draining, Self::Denied, Self::SecureRequired];

    /// Whether the client may try again. A limit is always temporary: the client did nothing wrong.
    #[must_use]
    pub const fn permanence(self) -> Permanence {
        match self {
            Self::BackendUnavailable | Self::LimitReached | Self::Draining => Permanence::Temporary,
            Self::Denied | Self::SecureRequired => Permanence::Permanent,
        }
    }
}

impl Refusal<'_> {
    /// The reason in one sentence, and what the operator adds: ASCII without quotes, backslashes or line breaks, so
    /// that it fits every protocol's notion of text as it is.
    pub(super) fn sentence(&self) -> String {
        let reason = self.reason();
        match self.text {
            Some(text) => {
                format!("{reason}; {}", text.spoken_to(self.client))
            }
            None => reason,
        }
    }

    fn reason(&self) -> String {
        match (self.why, self.client) {
            (Reason::BackendUnavailable, _) => "no server is ready for you now, try again later".to_owned(),
            (Reason::LimitReached, Some(client)) => {
                format!("too many connections from {client}, try again later")
            }
            (Reason::LimitReached, None) => "too many connections, try again later".to_owned(),
            (Reason::Draining, _) => "this server is going down, try again later".to_owned(),
            (Reason::Denied, Some(client)) => format!("connections from {client} are not accepted here"),
            (Reason::Denied, None) => "connections from your address are not accepted here".to_owned(),
            (Reason::SecureRequired, _) => "this service takes TLS connections only".to_owned(),
        }
    }

    pub(super) fn host(&self) -> SpokenHost<'_> {
        SpokenHost(self.hostname)
    }
}

/// A host name as it may stand in a line: only the characters of names and address literals, never longer than a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpokenHost<'a>(pub(crate) &'a str);

impl SpokenHost<'_> {
    /// The longest domain of RFC 5321 4.5.3.1.2.
    const MAX: usize = 255;
}

impl fmt::Display for SpokenHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_a_name =
            |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        let mut spoken = self.0.chars().filter(of_a_name).take(Self::MAX).peekable();
        if spoken.peek().is_none() {
            return f.write_str("localhost");
        }
        spoken.try_for_each(|c| fmt::Write::write_char(f, c))
    }
}
