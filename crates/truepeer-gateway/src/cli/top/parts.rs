//! What a model is made of, what changes it, and what it asks for.

use crate::control::admin::{
    ClientsBy, ConnectionsBy, ListOrder, OpenConnections, PageRequest, Subject, reply,
};
use crate::rooms::bans::BanOrder;

use super::denial::Denial;

/// What is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Connections,
    Clients,
    Refusals,
    Backends,
}

impl Tab {
    pub(super) const ALL: [Self; 4] = [Self::Connections, Self::Clients, Self::Refusals, Self::Backends];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Clients => "clients",
            Self::Refusals => "refusals",
            Self::Backends => "backends",
        }
    }
}

/// What the keys are for at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Looking around.
    #[default]
    Looking,
    /// Typing what to search; the search before is kept.
    Searching { before: String },
    /// Asked whether to deny.
    Denying(Denial),
    /// Reading why something is as it is.
    Reading { title: String, steps: Vec<reply::Step>, scroll: u16 },
    /// Reading what the keys do.
    Help,
}

/// An order of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sorted<By> {
    pub(super) by: By,
    pub(super) direction: ListOrder,
}

/// The last thing that was said to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Something was done.
    Done(String),
    /// Something could not be.
    Failed(String),
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    Status(Box<reply::Status>),
    /// With what was asked for.
    Connections(PageRequest<ConnectionsBy>, reply::ConnectionsPage),
    Clients(PageRequest<ClientsBy>, reply::ClientsPage),
    Refusals(reply::RefusalsPage),
    Why {
        title: String,
        why: reply::Why,
    },
    Denied(String),
    /// An order was refused, and why.
    Refused(String),
    /// The server does not answer, and why.
    Lost(String),
}

/// What is to be done that a model cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Quit,
    /// What is shown is not what is looked for any more.
    Look,
    Deny(BanOrder, OpenConnections),
    Why {
        title: String,
        subject: Subject,
    },
}
