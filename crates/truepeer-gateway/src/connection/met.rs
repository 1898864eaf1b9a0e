//! What the walk knows of a client that was handed to a backend: all that the relay needs, and no more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use truepeer::{ClientIdentity, FirstBytes, HeaderReader};

use super::{misfit, speak, unproven};
use crate::door::{Door, OwnPermit, WorkerContext};
use crate::engine::{Early, FirstLines, Guard, Pair, Reading, RelayEnd, Stopped};
use crate::facts::address::Family;
use crate::facts::outcome::Outcome;
use crate::rooms::backend::{Pool, Target};
use crate::rooms::identify;
use crate::rooms::limits::Permit;
use crate::rooms::record::Record;
use crate::rooms::refuse::Reason;

/// A client and its backend.
pub(super) struct Met {
    /// Its connection and the backend's, which has heard who the client is; and what that one says first, while it is not
    /// known whether it reads our header.
    pub pair: Pair,
    /// Whom it is for.
    pub identity: ClientIdentity,
    /// Which of the backend's addresses that is.
    pub target: Arc<Target>,
    /// The family of the client that it was told.
    pub family: Option<Family>,
    /// What neither has got yet ...
    pub early: Early,
    /// ... and who judges what they say first.
    pub guard: Guard,
    /// When a header would have had to be there.
    pub header_deadline: Instant,
    /// What counts it until it ends.
    pub _counted: (Option<OwnPermit>, Option<Permit>),
}

/// Who judges what client and backend say first.
pub(super) fn guard(
    first_bytes: Option<FirstBytes>,
    first_lines: Option<FirstLines>,
    pool: &Pool,
    idle: Duration,
) -> Guard {
    Guard { first_bytes, first_lines, after_greeting: pool.speaks_once_it_knows(), idle }
}

impl Met {
    /// The relay has ended: what that says of the backend.
    pub(super) fn relayed(&mut self, door: &Door, record: &mut Record, end: &RelayEnd) {
        let pool = door.pool_for(&self.identity);
        if let Some(overheard) = self.pair.overheard.take() {
            unproven::answered(record, pool, &self.target, overheard);
        }
        misfit::relayed(record, pool, &self.target, self.family, end);
    }

    /// None of the client's bytes went on, and none will: says why.
    pub(super) async fn stopped(
        self: Box<Self>,
        why: Stopped,
        door: &Door,
        desk: &WorkerContext,
        record: &mut Record,
    ) -> Outcome {
        let Self { pair: Pair { client, backend, .. }, identity, target, header_deadline, .. } = *self;
        drop(backend);
        match why {
            Stopped::Header(bytes) => {
                // Read on within the header's cap and deadline, only to say what it was.
                let reader =
                    HeaderReader::new(door.listener.header.clone(), identity.peer(), header_deadline);
                let found = identify::read_on(&client, Reading::Ahead, &reader, bytes).await;
                misfit::second_header(record, &identity, &found)
            }
            Stopped::HeaderAnswered(said) => {
                let outcome = misfit::header_answered(record, door.pool_for(&identity), &target, &said);
                speak::turn_away(client, door, desk, &identity, Reason::BackendUnavailable).await;
                outcome
            }
        }
    }
}
