//! Bans that several nodes share: what an entry of the common store means, and what this node still has to tell.
//!
//! Pure. The store keeps one entry for each network, ban or lifted ban, under its own clock; nodes send how old an order
//! is and how long it still has, so that no clock of theirs matters. Whoever reads an entry checks it here, since
//! whoever can write to the store is not thereby trusted.
//! The connection to the store is `control/shared`'s; the table that all of it ends in is [`super::Bans`].

mod entry;
mod outbox;
mod status;

use core::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::nodes::NodeName;
use super::order::BanReason;
use super::{Ban, BanError};

pub use entry::{Ordered, StoreEntry, StoreTime, Unfit};
pub use outbox::{Outbox, Sent};
pub use status::{EntryRefusal, Sharing, SharingStatus, StoreTrouble};

/// An order as it goes to the store: relative times only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedOrder {
    /// Whom it is about.
    pub network: IpNet,
    /// Since when it holds.
    pub age: Duration,
    /// How long the ban still has; of a lifted one, how long it would have had.
    pub left: Duration,
    /// Ban or not.
    pub what: Ordered,
    /// Who gave it; `None` for this node.
    pub node: Option<NodeName>,
}

/// An order as it comes from the store, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedChange {
    /// Keep a network out.
    Ban {
        /// Whom.
        network: IpNet,
        /// Since when.
        age: Duration,
        /// How long still; never zero.
        left: Duration,
        /// Why.
        reason: BanReason,
        /// Who says so; `None` for this node.
        node: Option<NodeName>,
    },
    /// Lift the ban of exactly this network.
    Lift {
        /// Whom.
        network: IpNet,
        /// Who says so.
        node: NodeName,
    },
}

impl SharedChange {
    /// Whom it is about.
    #[must_use]
    pub fn network(&self) -> IpNet {
        match self {
            Self::Ban { network, .. } | Self::Lift { network, .. } => *network,
        }
    }
}

/// What a [`SharedChange`] did here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: it was known, or an order of this node that is on its way is newer.
    Known,
    /// A ban holds that did not, or other than it did.
    Banned {
        /// The ban.
        ban: Ban,
        /// What held before.
        before: Option<Ban>,
    },
    /// A ban holds no longer.
    Lifted {
        /// What held.
        ban: Ban,
        /// Who lifted it.
        by: NodeName,
    },
    /// It may not be.
    Refused {
        /// Who said so; `None` for this node.
        node: Option<NodeName>,
        /// Why.
        error: BanError,
    },
}

/// Whether two bans of one network are the same but for what whole seconds and a conversion between clocks leave.
#[must_use]
pub fn is_same(one: &Ban, other: &Ban) -> bool {
    const SLACK: Duration = Duration::from_secs(3);
    let (until, next) = (one.until, other.until);
    let apart = until.duration_since(next).or_else(|_| next.duration_since(until)).unwrap_or_default();
    apart <= SLACK && one.reason == other.reason && one.node == other.node
}

impl fmt::Display for SharedOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if matches!(self.what, Ordered::Lift) { "lift" } else { "ban" };
        write!(f, "{what} {}", self.network)
    }
}
