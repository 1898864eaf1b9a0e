//! What the walk notes where more than one value belongs together.

use std::sync::Arc;

use crate::connection::given::GivenAway;
use crate::door::{Door, WorkerContext};
use crate::engine::{self, moment};
use crate::facts::instant::CompactInstant;
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
    let entered = moment();
    let (exit, outcome) = given.ended().await;
    if let Some(exit) = exit {
        seen.record.exited(exit);
    }
    seen.record.times.relay = since(entered);
    outcome
}

/// How long a room took.
pub(super) fn since(entered: CompactInstant) -> Option<Took> {
    Some(moment().since(entered).into())
}
