//! What the walk notes where more than one value belongs together.

use std::sync::Arc;
use std::time::Instant;

use crate::connection::given::GivenAway;
use crate::door::{Door, WorkerContext};
use crate::engine;
use crate::facts::lines::ConnectionLines;
use crate::facts::outcome::Outcome;
use crate::observe::record::{Observer, start_line};
use crate::rooms::backend::Reached;
use crate::rooms::record::Took;

/// The backend has the connection, as `whom` says; the line at the beginning is written where one
/// is wanted.
pub(super) fn begun(seen: &mut Observer<'_>, whom: Arc<Reached>, door: &Door, desk: &WorkerContext) {
    seen.record.entry.reached(whom);
    if door.listener.lines == ConnectionLines::Both {
        desk.log.line(|format, text| start_line(seen.record, format, engine::wall(), text));
    }
}

/// A program has the connection, until it ends; returns what that makes of the connection.
pub(crate) async fn until_ended(seen: &mut Observer<'_>, given: GivenAway) -> Outcome {
    let entered = engine::now();
    let (exit, outcome) = given.ended().await;
    (seen.record.exit, seen.record.times.relay) = (exit, since(entered));
    outcome
}

/// How long a room took.
pub(super) fn since(entered: Instant) -> Option<Took> {
    Some(engine::now().saturating_duration_since(entered).into())
}
