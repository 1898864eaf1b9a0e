//! The rooms of a connection as an operator sees them, and in which of them it ends that is turned away.

use crate::facts::outcome::Outcome;

/// One room, in the order in which a connection comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// A socket and a peer.
    Accept,
    /// May this peer speak for others?
    Trust,
    /// Who is the client?
    Identify,
    /// May it enter?
    Access,
    /// One more of it?
    Limits,
    /// Who takes it?
    Backend,
    /// Who is told of it?
    Handoff,
    /// Bytes both ways.
    Relay,
}

impl Room {
    /// Every room, in their order.
    pub const ALL: [Self; 8] = [
        Self::Accept,
        Self::Trust,
        Self::Identify,
        Self::Access,
        Self::Limits,
        Self::Backend,
        Self::Handoff,
        Self::Relay,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Trust => "trust",
            Self::Identify => "identify",
            Self::Access => "access",
            Self::Limits => "limits",
            Self::Backend => "backend",
            Self::Handoff => "handoff",
            Self::Relay => "relay",
        }
    }

    /// Which of [`Room::ALL`] it is.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize
    }

    /// The room in which a connection was turned away that ended so; `None` if it was not: it was served, or it was no
    /// client's.
    #[must_use]
    pub const fn that_turned_away(outcome: Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Done
            | Outcome::Drained
            | Outcome::Cut
            | Outcome::IdleTimeout
            | Outcome::ClientFailed
            | Outcome::BackendFailed
            | Outcome::OwnAnswered
            | Outcome::HeaderEmpty => return None,
            // Found only when its bytes come, and yet the answer to the question of this room.
            Outcome::UnlistedPeer | Outcome::UntrustedHeader | Outcome::HeaderRedundant => Self::Trust,
            Outcome::OwnNoCheck
            | Outcome::OwnRefused
            | Outcome::OwnLimit
            | Outcome::HeaderRepeated
            | Outcome::HeaderHeldBack
            | Outcome::HeaderTruncated
            | Outcome::HeaderTimeout
            | Outcome::HeaderMissing
            | Outcome::HeaderVersion
            | Outcome::HeaderTooLong
            | Outcome::HeaderChecksum
            | Outcome::HeaderMalformed
            | Outcome::HeaderEvicted
            | Outcome::ClientImplausible => Self::Identify,
            Outcome::AccessDenied | Outcome::SecureRequired => Self::Access,
            Outcome::LimitReached => Self::Limits,
            Outcome::BackendUnready
            | Outcome::BackendRefused
            | Outcome::BackendTimeout
            | Outcome::BackendFull
            | Outcome::BackendPortsExhausted
            | Outcome::DescriptorsExhausted => Self::Backend,
            Outcome::HandoffFailed | Outcome::HandoffRefused | Outcome::BackendTurnsAway => Self::Handoff,
            Outcome::Internal => Self::Relay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::outcome::Level;

    #[test]
    fn rooms_are_numbered_in_their_order() {
        for (number, room) in Room::ALL.into_iter().enumerate() {
            assert_eq!(room.number(), number);
        }
    }

    #[test]
    fn whoever_leaves_a_record_and_was_not_served_was_turned_away_somewhere() {
        for outcome in Outcome::ALL {
            let is_refusal = !outcome.was_served() && outcome.facts().level > Level::Debug;
            assert_eq!(Room::that_turned_away(outcome).is_some(), is_refusal, "{outcome:?}");
        }
    }
}
