//! One connection in a worker's table: its walk, in memory that many walks use one after the other, and behind that what
//! lasts, which holds no more than it needs.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::open::{OpenRecord, Threshold};
use crate::connection::{self, Meeting, Met};
use crate::engine::{Arrival, Free, Stopped, Task, Then, Turns, then};
use crate::facts::outcome::Outcome;
use crate::rooms::record::Entry;

/// One connection after the other, each from its arrival to where it lasts or ends.
pub(super) async fn serve(turns: Rc<Turns<(OpenRecord, Arrival)>>) {
    loop {
        let (mut open, arrival) = turns.next().await;
        let entry = Arc::clone(&open.record.entry);
        let threshold = Rc::clone(&open.threshold);
        let Threshold { door, desk, .. } = &*threshold;
        let walked = {
            let mut seen = open.seen();
            // Made where it stays: it has several kilobytes.
            let walk = pin!(connection::walk(arrival, door, desk, &mut seen));
            tokio::select! {
                biased;
                walked = walk => Some(walked),
                () = cut(&entry) => None,
            }
        };
        turns.over(match walked {
            Some(Ok(Meeting::Relayed(met))) => Some(Relayed::begin(met, open)),
            Some(Ok(Meeting::GivenAway(given))) => then(async move {
                let mut seen = open.seen();
                let outcome = tokio::select! {
                    biased;
                    outcome = connection::until_ended(&mut seen, given) => outcome,
                    () = cut(&entry) => {
                        // The program has the connection: ending ours would not end it.
                        entry.end_program();
                        Outcome::Cut
                    }
                };
                open.end(outcome);
            }),
            Some(Err(ended)) => {
                let outcome = open.seen().ends(ended);
                open.end(outcome);
                None
            }
            None => {
                open.end(Outcome::Cut);
                None
            }
        });
    }
}

/// Ends when somebody cuts the connection.
async fn cut(entry: &Entry) {
    poll_fn(|_| if entry.is_cut() { Poll::Ready(()) } else { Poll::Pending }).await;
}

thread_local! {
    /// Memory of relayed connections that have ended.
    static FREE: Free<Box<Relayed>> = const { Free::new() };
}

/// A connection that is relayed; nothing once it has ended. What joins client and backend goes before the record.
struct Relayed(Option<(Met, OpenRecord)>);

impl Relayed {
    fn begin(met: Met, open: OpenRecord) -> Box<dyn Task> {
        let mut relayed = FREE.with(Free::take).unwrap_or_else(|| Box::new(Self(None)));
        relayed.0 = Some((met, open));
        relayed
    }
}

impl Task for Relayed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Then> {
        let Some((met, open)) = &mut self.0 else { return Poll::Ready(None) };
        let (mut seen, door) = open.parts();
        let ended = match connection::relay(met, cx, door, &mut seen) {
            Poll::Pending if open.is_cut() => Ok(Outcome::Cut),
            polled => ready!(polled),
        };
        let Some((met, open)) = self.0.take() else { return Poll::Ready(None) };
        Poll::Ready(match ended {
            Ok(outcome) => {
                drop(met);
                open.end(outcome);
                None
            }
            Err(why) => then(stopped(met, why, open)),
        })
    }

    fn over(self: Box<Self>) {
        if self.0.is_none() {
            FREE.with(|free| free.keep(self));
        }
    }
}

/// None of the client's bytes went on: finds out why, and tells whom it concerns.
async fn stopped(met: Met, why: Stopped, mut open: OpenRecord) {
    let threshold = Rc::clone(&open.threshold);
    let Threshold { door, desk, .. } = &*threshold;
    let entry = Arc::clone(&open.record.entry);
    let outcome = tokio::select! {
        biased;
        ended = met.stopped(why, &open.record, door, desk) => Some(ended),
        () = cut(&entry) => None,
    };
    let outcome = outcome.map_or(Outcome::Cut, |ended| open.seen().ends(ended));
    open.end(outcome);
}

#[cfg(test)]
pub(super) const RELAYED: usize = size_of::<Relayed>();
