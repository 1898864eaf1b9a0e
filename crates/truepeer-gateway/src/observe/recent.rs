//! What happened of late, for an operator who looks at the running server: the latest refusals, and who came how often.
//!
//! Written at the end of each connection, read through the admin socket. Both are bounded whatever strangers do, and
//! neither is exact: the log and the metrics are. It must not know how any of it is shown.

mod arrivals;
mod refusals;

pub use arrivals::{Arrivals, Counted, client_of};
pub use refusals::{LatestRefusals, RefusedConnection, Unseen};

/// Both.
#[derive(Debug, Default)]
pub struct Recent {
    /// The latest refusals.
    pub refusals: LatestRefusals,
    /// Who came how often.
    pub arrivals: Arrivals,
}
