//! How a connection ends: the closed table of outcomes.
//!
//! A new end is a new row here, a row in `docs/metrics-and-logs.md` and a test that reaches it.

use truepeer::{Fault, IdentifyError, IdentifyReason};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Both sides ended their streams and got everything.
    Done,
    /// The server stopped, and the connection's time to end was over.
    Drained,
    /// An operator cut it.
    Cut,
    /// Both directions were silent for the idle limit.
    IdleTimeout,
    /// The client's connection broke.
    ClientFailed,
    /// The backend's connection broke after the handoff.
    BackendFailed,
    /// A connection that the proxy made for itself was answered here.
    OwnAnswered,
    /// A connection that names no client began to send mail or to log in.
    OwnNoCheck,
    /// A connection that the proxy made for itself is not wanted here.
    OwnRefused,
    /// Too many connections that this proxy made for itself.
    OwnLimit,
    /// The peer is in no trusted network, and this listener takes no direct clients.
    UnlistedPeer,
    /// An untrusted peer sent a header.
    UntrustedHeader,
    /// An untrusted peer sent a header that names itself.
    HeaderRedundant,
    /// A second header followed the first.
    HeaderRepeated,
    /// The beginning of a header, never finished, where no header may pass.
    HeaderHeldBack,
    /// A trusted peer closed without a byte.
    HeaderEmpty,
    /// A trusted peer closed inside its header.
    HeaderTruncated,
    /// A trusted peer's header was not complete in time.
    HeaderTimeout,
    /// A trusted peer sent something that is no header.
    HeaderMissing,
    /// A header of a version that this listener does not accept.
    HeaderVersion,
    /// A header longer than the cap.
    HeaderTooLong,
    /// The header's CRC32C does not match.
    HeaderChecksum,
    /// The header breaks the specification.
    HeaderMalformed,
    /// Too many unfinished headers: the oldest made room.
    HeaderEvicted,
    /// The header names a client that cannot be one.
    ClientImplausible,
    /// A list says that the client may not enter.
    AccessDenied,
    /// TLS is required, and none was conveyed for the client.
    SecureRequired,
    /// A limit is against the client.
    LimitReached,
    /// No address of the backend is proved to read our header.
    BackendUnready,
    /// No address of the backend could be connected to.
    BackendRefused,
    /// No address of the backend answered in time.
    BackendTimeout,
    /// As many programs of the backend run, or were started, as there may be.
    BackendFull,
    /// Every source port towards the backend is in use.
    BackendPortsExhausted,
    /// No descriptor or memory was left for a connection to the backend.
    DescriptorsExhausted,
    /// The backend broke or fell silent while it was told who the client is.
    HandoffFailed,
    /// The backend does not let us tell it who the client is.
    HandoffRefused,
    /// The backend was told who the client is, and turned it away.
    BackendTurnsAway,
    /// This program made a mistake; the connection ended, the program goes on.
    Internal,
}

/// How loud a line about an outcome is. What a stranger can cause is never above `Info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Ordinary noise, such as probes.
    Debug,
    /// One line among many.
    Info,
    /// The operator should look.
    Warn,
    /// We broke a promise.
    Error,
}

impl Level {
    /// The word in log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Stable token in logs and metrics.
    pub code: &'static str,
    /// Who has to change something.
    pub fault: Fault,
    /// How loud.
    pub level: Level,
    /// What happened, as a sentence.
    pub sentence: &'static str,
}

impl Outcome {
    /// Every outcome, in the order of the documentation.
    pub const ALL: [Self; 38] = [
        Self::Done,
        Self::Drained,
        Self::Cut,
        Self::IdleTimeout,
        Self::ClientFailed,
        Self::BackendFailed,
        Self::OwnAnswered,
        Self::OwnNoCheck,
        Self::OwnRefused,
        Self::OwnLimit,
        Self::UnlistedPeer,
        Self::UntrustedHeader,
        Self::HeaderRedundant,
        Self::HeaderRepeated,
        Self::HeaderHeldBack,
        Self::HeaderEmpty,
        Self::HeaderTruncated,
        Self::HeaderTimeout,
        Self::HeaderMissing,
        Self::HeaderVersion,
        Self::HeaderTooLong,
        Self::HeaderChecksum,
        Self::HeaderMalformed,
        Self::HeaderEvicted,
        Self::ClientImplausible,
        Self::AccessDenied,
        Self::SecureRequired,
        Self::LimitReached,
        Self::BackendUnready,
        Self::BackendRefused,
        Self::BackendTimeout,
        Self::BackendFull,
        Self::BackendPortsExhausted,
        Self::DescriptorsExhausted,
        Self::HandoffFailed,
        Self::HandoffRefused,
        Self::BackendTurnsAway,
        Self::Internal,
    ];

    /// Its row.
    #[must_use]
    pub const fn facts(self) -> Facts {
        use Fault::{Backend, Client, Nobody, Operator, Peer, Us};
        use Level::{Debug, Error, Info, Warn};
        let (code, fault, level, sentence) = match self {
            Self::Done => ("done", Nobody, Info, "both sides ended their streams and got everything"),
            Self::Drained => ("drained", Nobody, Info, "the server stopped before the connection had ended"),
            Self::Cut => ("cut", Operator, Info, "an operator cut it"),
            Self::IdleTimeout => {
                ("idle_timeout", Nobody, Info, "both directions were silent for the idle limit")
            }
            Self::ClientFailed => ("client_failed", Client, Info, "the client's connection broke"),
            Self::BackendFailed => ("backend_failed", Backend, Info, "the backend's connection broke"),
            Self::OwnAnswered => {
                ("own_answered", Nobody, Debug, "the proxy's own connection was answered here")
            }
            Self::OwnNoCheck => (
                "own_no_check",
                Peer,
                Info,
                "a header that names no client was followed by mail or a login, so it was no check",
            ),
            Self::OwnRefused => {
                ("own_refused", Operator, Info, "the proxy's own connections are refused here")
            }
            Self::OwnLimit => {
                ("own_limit", Peer, Info, "this proxy has too many connections of its own open")
            }
            Self::UnlistedPeer => (
                "unlisted_peer",
                Peer,
                Info,
                "the peer is in no trusted network, and only proxies may come here",
            ),
            Self::UntrustedHeader => {
                ("untrusted_header", Peer, Info, "a peer that is in no trusted network sent a header")
            }
            Self::HeaderRedundant => {
                ("header_redundant", Peer, Info, "an untrusted peer sent a header that names the peer itself")
            }
            Self::HeaderRepeated => ("header_repeated", Client, Info, "a second header followed the first"),
            Self::HeaderHeldBack => {
                ("header_held_back", Client, Info, "the beginning of a header was never finished")
            }
            Self::HeaderEmpty => {
                ("header_empty", Nobody, Debug, "a trusted peer closed without a byte: a probe")
            }
            Self::HeaderTruncated => {
                ("header_truncated", Peer, Info, "a trusted peer closed inside its header")
            }
            Self::HeaderTimeout => {
                ("header_timeout", Peer, Info, "a trusted peer's header was not complete in time")
            }
            Self::HeaderMissing => {
                ("header_missing", Peer, Info, "a trusted peer sent something that is no header")
            }
            Self::HeaderVersion => {
                ("header_version", Operator, Info, "a header of a version that this listener does not accept")
            }
            Self::HeaderTooLong => ("header_too_long", Peer, Info, "a header longer than the cap"),
            Self::HeaderChecksum => ("header_checksum", Peer, Info, "the header's CRC32C does not match"),
            Self::HeaderMalformed => ("header_malformed", Peer, Info, "the header breaks the specification"),
            Self::HeaderEvicted => {
                ("header_evicted", Peer, Info, "too many unfinished headers: the oldest made room")
            }
            Self::ClientImplausible => {
                ("client_implausible", Peer, Info, "the header names a client that cannot be one")
            }
            Self::AccessDenied => (
                "access_denied",
                Client,
                Info,
                "a list or a ban keeps the client out, or it is in no list of clients that may enter",
            ),
            Self::SecureRequired => {
                ("secure_required", Client, Info, "TLS is required, and none was conveyed for the client")
            }
            Self::LimitReached => (
                "limit_reached",
                Client,
                Info,
                "the client, or all clients together, have too many connections",
            ),
            Self::BackendUnready => {
                ("backend_unready", Backend, Info, "no address of the backend is ready to be handed a client")
            }
            Self::BackendRefused => {
                ("backend_refused", Backend, Info, "no address of the backend could be connected to")
            }
            Self::BackendTimeout => {
                ("backend_timeout", Backend, Info, "no address of the backend answered in time")
            }
            Self::BackendFull => (
                "backend_full",
                Operator,
                Info,
                "as many programs of the backend run, or were started, as `exec.max` and `exec.rate` allow",
            ),
            Self::BackendPortsExhausted => (
                "backend_ports_exhausted",
                Operator,
                Warn,
                "every source port towards the backend is in use: give the backend more addresses, or widen net.ipv4.ip_local_port_range",
            ),
            Self::DescriptorsExhausted => (
                "descriptors_exhausted",
                Operator,
                Warn,
                "this host had no descriptor or memory left for a connection to the backend: raise the limit, or lower server.max-connections",
            ),
            Self::HandoffFailed => (
                "handoff_failed",
                Backend,
                Info,
                "the connection to the backend broke or fell silent during the handoff",
            ),
            Self::HandoffRefused => {
                ("handoff_refused", Backend, Info, "the backend does not accept how we name the client")
            }
            Self::BackendTurnsAway => (
                "backend_turns_away",
                Client,
                Info,
                "the backend knows who the client is, and refused it in its own words",
            ),
            Self::Internal => ("internal", Us, Error, "this program made a mistake"),
        };
        Facts { code, fault, level, sentence }
    }

    /// Whether the connection reached a backend.
    #[must_use]
    pub const fn was_served(self) -> bool {
        matches!(
            self,
            Self::Done
                | Self::Drained
                | Self::Cut
                | Self::IdleTimeout
                | Self::ClientFailed
                | Self::BackendFailed
        )
    }
}

impl From<&IdentifyError> for Outcome {
    fn from(error: &IdentifyError) -> Self {
        match error.reason() {
            IdentifyReason::Empty => Self::HeaderEmpty,
            IdentifyReason::Truncated => Self::HeaderTruncated,
            IdentifyReason::Timeout => Self::HeaderTimeout,
            IdentifyReason::NotAHeader(_) => Self::HeaderMissing,
            IdentifyReason::Version(_) => Self::HeaderVersion,
            IdentifyReason::TooLong(_) => Self::HeaderTooLong,
            IdentifyReason::Checksum(_) => Self::HeaderChecksum,
            IdentifyReason::Implausible(_) => Self::ClientImplausible,
            _ => Self::HeaderMalformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_tokens() {
        let mut codes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.facts().code).collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
        for code in codes {
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
        }
    }

    #[test]
    fn what_a_stranger_can_cause_is_never_above_info() {
        for outcome in Outcome::ALL {
            let facts = outcome.facts();
            if matches!(facts.fault, Fault::Peer | Fault::Client | Fault::Nobody) {
                assert!(facts.level <= Level::Info, "{}", facts.code);
            }
        }
    }
}
