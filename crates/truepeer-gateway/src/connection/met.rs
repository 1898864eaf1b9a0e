//! What the walk knows of a client that was handed to a backend: all that the relay needs, and no more.

use std::sync::Arc;
use std::time::Instant;

use truepeer::{ClientIdentity, FirstBytes, PeerAddress};

use crate::door::OwnPermit;
use crate::engine::{Early, Socket};
use crate::facts::address::Family;
use crate::rooms::backend::Target;
use crate::rooms::limits::Permit;

/// A client and its backend.
pub(super) struct Met {
    /// The client's connection.
    pub client: Socket,
    /// Its other end.
    pub peer: PeerAddress,
    /// Whom it is for.
    pub identity: ClientIdentity,
    /// The backend's connection, which has heard who the client is.
    pub backend: Socket,
    /// Which of its addresses that is.
    pub target: Arc<Target>,
    /// The family of the client that it was told.
    pub family: Option<Family>,
    /// What neither has got yet ...
    pub early: Early,
    /// ... and who judges the client's first bytes.
    pub guard: Option<FirstBytes>,
    /// When a header would have had to be there.
    pub header_deadline: Instant,
    /// What counts it until it ends.
    pub _counted: (Option<OwnPermit>, Option<Permit>),
}
