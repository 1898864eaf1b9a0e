//! What is measured: every family of series with its name, type, unit, labels and meaning.
//!
//! The one definition: the text, its documentation and the test of the alert rules are made from it.

use crate::observe::metrics::label::Label;

/// A family of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Build,
    StartTime,
    AcceptedConnections,
    AcceptFailures,
    AcceptPauses,
    OpenConnections,
    OpenConnectionsLimit,
    PendingHeaders,
    PendingHeadersLimit,
    IdentifiedConnections,
    OwnConnections,
    HealthChecks,
    RefusedConnections,
    WouldRefuseConnections,
    EndedConnections,
    RelayedBytes,
    IdentifyDuration,
    HandoffDuration,
    RelayDuration,
    ConnectionDuration,
    BackendReady,
    BackendAddresses,
    LimitedClients,
    LimitedClientsLimit,
    SharedClientCounts,
    ActiveBans,
    SharedStoreConnected,
    SharedStoreSilence,
    SharedStoreEntries,
    SharedPendingOrders,
    SharedRefusedEntries,
    FoldedRecords,
    LostLogLines,
    OpenDescriptors,
    DescriptorsLimit,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Name of the family; samples of counters add `_total`, of an info `_info`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What tells its series apart.
    pub(super) labels: &'static [Label],
    /// One sentence.
    pub(super) help: &'static str,
}

/// The type of a family, with its unit where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Info,
    Counter,
    CounterOfBytes,
    Gauge,
    GaugeOfSeconds,
    HistogramOfSeconds,
}

impl Kind {
    /// The word of the format.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Counter | Self::CounterOfBytes => "counter",
            Self::Gauge | Self::GaugeOfSeconds => "gauge",
            Self::HistogramOfSeconds => "histogram",
        }
    }

    /// The word of the older format, which has no info.
    pub(super) const fn old_name(self) -> &'static str {
        match self {
            Self::Info => Self::Gauge.name(),
            other => other.name(),
        }
    }

    /// The base unit; the family's name ends in it.
    pub(super) const fn unit(self) -> Option<&'static str> {
        match self {
            Self::CounterOfBytes => Some("bytes"),
            Self::GaugeOfSeconds | Self::HistogramOfSeconds => Some("seconds"),
            Self::Info | Self::Counter | Self::Gauge => None,
        }
    }

    /// What the name of its plain samples ends in.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Info => "_info",
            Self::Counter | Self::CounterOfBytes => "_total",
            Self::Gauge | Self::GaugeOfSeconds | Self::HistogramOfSeconds => "",
        }
    }
}

impl Family {
    /// Every family, in the order of the text and of the documentation.
    pub(super) const ALL: [Self; 35] = [
        Self::Build,
        Self::StartTime,
        Self::AcceptedConnections,
        Self::AcceptFailures,
        Self::AcceptPauses,
        Self::OpenConnections,
        Self::OpenConnectionsLimit,
        Self::PendingHeaders,
        Self::PendingHeadersLimit,
        Self::IdentifiedConnections,
        Self::OwnConnections,
        Self::HealthChecks,
        Self::RefusedConnections,
        Self::WouldRefuseConnections,
        Self::EndedConnections,
        Self::RelayedBytes,
        Self::IdentifyDuration,
        Self::HandoffDuration,
        Self::RelayDuration,
        Self::ConnectionDuration,
        Self::BackendReady,
        Self::BackendAddresses,
        Self::LimitedClients,
        Self::LimitedClientsLimit,
        Self::SharedClientCounts,
        Self::ActiveBans,
        Self::SharedStoreConnected,
        Self::SharedStoreSilence,
        Self::SharedStoreEntries,
        Self::SharedPendingOrders,
        Self::SharedRefusedEntries,
        Self::FoldedRecords,
        Self::LostLogLines,
        Self::OpenDescriptors,
        Self::DescriptorsLimit,
    ];

    /// Its row.
    pub(super) const fn facts(self) -> Facts {
        use Kind::{Counter, CounterOfBytes, Gauge, GaugeOfSeconds, HistogramOfSeconds, Info};
        use Label::{
            Answer, Backend, Direction, Listener, Outcome, Readiness, Reason, Rule, Scope, Source, Version,
        };
        const NONE: &[Label] = &[];
        const BY_VERSION: &[Label] = &[Version];
        const EACH: &[Label] = &[Listener];
        const BY_SOURCE: &[Label] = &[Listener, Source, Scope];
        const BY_ANSWER: &[Label] = &[Listener, Answer];
        const BY_RULE: &[Label] = &[Listener, Rule];
        const BY_OUTCOME: &[Label] = &[Listener, Outcome];
        const BY_DIRECTION: &[Label] = &[Listener, Direction];
        const BY_BACKEND: &[Label] = &[Backend];
        const BY_READINESS: &[Label] = &[Backend, Readiness];
        const BY_REASON: &[Label] = &[Reason];
        let (name, kind, labels, help) = match self {
            Self::Build => ("truepeer_build", Info, BY_VERSION, "The program that runs."),
            Self::StartTime => (
                "truepeer_start_time_seconds",
                GaugeOfSeconds,
                NONE,
                "When this process started, in UNIX time.",
            ),
            Self::AcceptedConnections => {
                ("truepeer_accepted_connections", Counter, EACH, "Connections that were accepted.")
            }
            Self::AcceptFailures => (
                "truepeer_accept_failures",
                Counter,
                EACH,
                "Times that the system refused to accept a connection, for want of descriptors or memory.",
            ),
            Self::AcceptPauses => (
                "truepeer_accept_pauses",
                Counter,
                EACH,
                "Times that accepting paused because the server had its maximum of connections.",
            ),
            Self::OpenConnections => (
                "truepeer_open_connections",
                Gauge,
                EACH,
                "Connections that are open: accepted and not ended.",
            ),
            Self::OpenConnectionsLimit => {
                ("truepeer_open_connections_limit", Gauge, NONE, "Connections at which accepting pauses.")
            }
            Self::PendingHeaders => {
                ("truepeer_pending_headers", Gauge, NONE, "Connections whose header is not complete yet.")
            }
            Self::PendingHeadersLimit => (
                "truepeer_pending_headers_limit",
                Gauge,
                NONE,
                "Pending headers at which the oldest is closed.",
            ),
            Self::IdentifiedConnections => (
                "truepeer_identified_connections",
                Counter,
                BY_SOURCE,
                "Connections whose client is known, by how it is known and where its address lies.",
            ),
            Self::OwnConnections => (
                "truepeer_own_connections",
                Counter,
                EACH,
                "Connections that a proxy made for itself, such as health checks.",
            ),
            Self::HealthChecks => (
                "truepeer_health_checks",
                Counter,
                BY_ANSWER,
                "Connections to health ports, by the answer; those that closed at once are included.",
            ),
            Self::RefusedConnections => (
                "truepeer_refused_connections",
                Counter,
                BY_RULE,
                "Clients that an access rule or a limit refused.",
            ),
            Self::WouldRefuseConnections => (
                "truepeer_would_refuse_connections",
                Counter,
                BY_RULE,
                "Clients that were admitted because the rule against them only observes.",
            ),
            Self::EndedConnections => {
                ("truepeer_ended_connections", Counter, BY_OUTCOME, "Connections that ended, by how.")
            }
            Self::RelayedBytes => (
                "truepeer_relayed_bytes",
                CounterOfBytes,
                BY_DIRECTION,
                "Bytes that were relayed, counted when their connection ends; our header is not among them.",
            ),
            Self::IdentifyDuration => (
                "truepeer_identify_duration_seconds",
                HistogramOfSeconds,
                EACH,
                "From accepting a connection to knowing its client.",
            ),
            Self::HandoffDuration => (
                "truepeer_handoff_duration_seconds",
                HistogramOfSeconds,
                EACH,
                "Connecting to a backend and telling it who the client is.",
            ),
            Self::RelayDuration => (
                "truepeer_relay_duration_seconds",
                HistogramOfSeconds,
                EACH,
                "From the handoff to the end of the connection.",
            ),
            Self::ConnectionDuration => (
                "truepeer_connection_duration_seconds",
                HistogramOfSeconds,
                EACH,
                "From accepting a connection to its end, whatever the outcome.",
            ),
            Self::BackendReady => (
                "truepeer_backend_ready",
                Gauge,
                BY_BACKEND,
                "1 if at least one address of the backend may be handed clients, otherwise 0.",
            ),
            Self::BackendAddresses => (
                "truepeer_backend_addresses",
                Gauge,
                BY_READINESS,
                "Addresses of the backend, by what is known of them.",
            ),
            Self::LimitedClients => {
                ("truepeer_limited_clients", Gauge, NONE, "Clients that the table of limits holds.")
            }
            Self::LimitedClientsLimit => (
                "truepeer_limited_clients_limit",
                Gauge,
                NONE,
                "Clients at which the table of limits is full and new ones share one count.",
            ),
            Self::SharedClientCounts => (
                "truepeer_shared_client_counts",
                Counter,
                NONE,
                "Connections of new clients that were counted together because the table of limits was full.",
            ),
            Self::ActiveBans => ("truepeer_active_bans", Gauge, NONE, "Bans that are in force."),
            Self::SharedStoreConnected => (
                "truepeer_shared_store_connected",
                Gauge,
                NONE,
                "1 while the store of `[shared]` answers, otherwise 0.",
            ),
            Self::SharedStoreSilence => (
                "truepeer_shared_store_silence_seconds",
                GaugeOfSeconds,
                NONE,
                "Time since the store last answered: how old what is known of other front doors may be; 0 where nothing is shared.",
            ),
            Self::SharedStoreEntries => (
                "truepeer_shared_store_entries",
                Gauge,
                NONE,
                "Networks in the store when it last answered: bans, and for a while those that have ended or were lifted.",
            ),
            Self::SharedPendingOrders => (
                "truepeer_shared_pending_orders",
                Gauge,
                NONE,
                "Bans and lifted bans of this front door that others may not know yet.",
            ),
            Self::SharedRefusedEntries => (
                "truepeer_shared_refused_entries",
                Counter,
                BY_REASON,
                "Entries of the store that were not taken over.",
            ),
            Self::FoldedRecords => (
                "truepeer_folded_records",
                Counter,
                EACH,
                "Records that were folded into a summary in the log.",
            ),
            Self::LostLogLines => (
                "truepeer_lost_log_lines",
                Counter,
                NONE,
                "Lines that the destination of the log did not take in time.",
            ),
            Self::OpenDescriptors => {
                ("truepeer_open_descriptors", Gauge, NONE, "File descriptors that this process has open.")
            }
            Self::DescriptorsLimit => (
                "truepeer_descriptors_limit",
                Gauge,
                NONE,
                "File descriptors that this process may have open.",
            ),
        };
        Facts { name, kind, labels, help }
    }
}
