//! What the walk knows of a client that was handed to a backend: all that the relay needs, and no more.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use truepeer::{FirstBytes, HeaderReader};
use truepeer_doctor::misread::Client;

use super::{misfit, speak, unproven};
use crate::door::{Door, OwnPermit, WorkerContext};
use crate::engine::{FirstLines, Guard, Overheard, Reading, Relay, RelayEnd, Socket, Stopped, later};
use crate::facts::outcome::Outcome;
use crate::rooms::backend::{Pool, Target};
use crate::rooms::identify;
use crate::rooms::limits::Permit;
use crate::rooms::record::{Ended, Explanation, Record};
use crate::rooms::refuse::Reason;

/// A client and its backend, which has heard who the client is.
pub(crate) struct Met {
    /// What is said between them.
    pub relay: Relay,
    /// Which of the backend's addresses that is.
    pub target: Arc<Target>,
    /// What counts the client until it ends.
    pub _counted: ClientPermits,
}

/// What counts a connection: as one of the proxy's own, which are few, or as a client's.
#[expect(dead_code, reason = "held, and never looked at")]
pub(crate) enum ClientPermits {
    Own(Box<OwnPermit>),
    Client(Permit),
    Nothing,
}

impl From<(Option<OwnPermit>, Option<Permit>)> for ClientPermits {
    fn from((own, client): (Option<OwnPermit>, Option<Permit>)) -> Self {
        match (own, client) {
            (Some(own), permit) => {
                debug_assert!(permit.is_none(), "a proxy's own connection is no client's");
                Self::Own(Box::new(own))
            }
            (None, Some(client)) => Self::Client(client),
            (None, None) => Self::Nothing,
        }
    }
}

/// Who judges what client and backend say first.
pub(super) fn guard(
    (first_bytes, first_lines): (Option<FirstBytes>, Option<FirstLines>),
    overheard: Option<Overheard>,
    pool: &Pool,
) -> Guard {
    Guard { first_bytes, first_lines, overheard, after_greeting: pool.speaks_once_it_knows() }
}

/// The client's own bytes begin with a header, of which these are the first: says what it was.
pub(super) async fn second_header(client: &Socket, bytes: Vec<u8>, record: &Record, door: &Door) -> Ended {
    let Some(identity) = record.identity() else { return Outcome::Internal.into() };
    // Read on within the header's cap and deadline, for the record alone.
    let deadline = later(record.accepted().into(), door.listener.header_timeout);
    let reader = HeaderReader::new(door.listener.header.clone(), identity.peer(), deadline);
    let found = identify::read_on(client, Reading::Ahead, &reader, bytes).await;
    misfit::second_header(&door.listener.id, record.presumed, identity, &found)
}

impl Met {
    /// Relays on, and lets go of what was overheard where it shows nothing: most connections are idle for long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, door: &Door, record: &Record) -> Poll<RelayEnd> {
        let polled = self.relay.poll(cx, door.listener.idle_timeout, &record.entry.traffic);
        if polled.is_pending() && unproven::is_done(&self.relay) {
            self.heard_nothing(door, record);
        }
        polled
    }

    /// The relay that `record` is about has ended: what that says of the backend.
    pub(super) fn relayed(
        &mut self,
        door: &Door,
        record: &Record,
        end: &RelayEnd,
    ) -> Option<Box<Explanation>> {
        let (pool, traffic) = (door.pool_for(record.identity()?), &record.entry.traffic);
        let answered = self.answered(door, record);
        let lasted = record.times.relay.map_or(Duration::ZERO, Duration::from);
        misfit::relayed(pool, &self.target, record.family, (traffic, lasted), end).or(answered)
    }

    /// What the backend was heard to say shows nothing; nothing more is heard.
    fn heard_nothing(&mut self, door: &Door, record: &Record) {
        let Some(identity) = record.identity() else { return };
        if let Some(overheard) = self.relay.take_overheard(&record.entry.traffic) {
            unproven::shows_nothing(door.pool_for(identity), &self.target, overheard);
        }
    }

    /// What the backend was heard to say first, and what that shows; nothing more is heard.
    fn answered(&mut self, door: &Door, record: &Record) -> Option<Box<Explanation>> {
        let (pool, traffic) = (door.pool_for(record.identity()?), &record.entry.traffic);
        let overheard = self.relay.take_overheard(traffic)?;
        let client = if traffic.bytes_in() == 0 { Client::Silent } else { Client::Spoke };
        unproven::answered(pool, &self.target, overheard, client)
    }

    /// None of the client's bytes went on, and none will: says why.
    pub(crate) async fn stopped(
        self,
        why: Stopped,
        record: &Record,
        door: &Door,
        desk: &WorkerContext,
    ) -> Ended {
        let Self { relay, target, _counted, .. } = self;
        let (Some(client), Some(identity)) = (relay.into_client(), record.identity()) else {
            return Outcome::Internal.into();
        };
        match why {
            Stopped::Header(bytes) => second_header(&client, bytes, record, door).await,
            Stopped::HeaderAnswered(said) => {
                let ended = misfit::header_answered(door.pool_for(identity), &target, &said);
                speak::turn_away(client, door, desk, identity, Reason::BackendUnavailable).await;
                ended
            }
        }
    }
}
