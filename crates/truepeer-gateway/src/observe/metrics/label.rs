//! Labels and their values: closed sets, each written down once.

/// A label; its values are a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Version,
    Listener,
    Backend,
    Source,
    Scope,
    Rule,
    Outcome,
    Direction,
    Readiness,
    Answer,
    Reason,
}

impl Label {
    /// Its name in the text.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Listener => "listener",
            Self::Backend => "backend",
            Self::Source => "source",
            Self::Scope => "scope",
            Self::Rule => "rule",
            Self::Outcome => "outcome",
            Self::Direction => "direction",
            Self::Readiness => "readiness",
            Self::Answer => "answer",
            Self::Reason => "reason",
        }
    }
}

/// Whose bytes; the label `direction`, as in the record's `bytes_in` and `bytes_out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    In,
    /// From the backend to the client.
    Out,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::In, Self::Out];

    /// The label's value.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// What a health port said; the label `answer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthAnswer {
    /// The greeting.
    Ready,
    /// The temporary refusal.
    Unready,
}

impl HealthAnswer {
    /// Every answer.
    pub const ALL: [Self; 2] = [Self::Ready, Self::Unready];

    /// The label's value.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unready => "unready",
        }
    }
}

/// A part of a connection's time; one histogram each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimedRoom {
    /// From accept to identity.
    Identify,
    /// Connecting to a backend, our header included.
    Handoff,
    /// The relay.
    Relay,
    /// All of it.
    Total,
}

impl TimedRoom {
    /// Every room.
    pub const ALL: [Self; 4] = [Self::Identify, Self::Handoff, Self::Relay, Self::Total];
}
