//! The spine: one connection's walk through the rooms.
//!
//! Read this first. Each step below is a room; the details are in the file of that name. The runtime is behind
//! `engine`, so that this file reads as what happens, not as how.

mod admit;
mod given;
mod identity;
mod met;
mod misfit;
mod noted;
mod own;
pub(crate) mod speak;
mod unproven;

use std::mem;
use std::task::{Context, Poll, ready};

use truepeer::FirstBytes;

use crate::connection::admit::{Admitted, Refused};
use crate::connection::given::Client;
use crate::connection::noted::since;
use crate::door::{Door, WorkerContext};
use crate::engine::{self, Arrival, Early, Pair, RelayEnd, Stopped};
use crate::facts::outcome::Outcome;
use crate::observe::record::Observer;
use crate::rooms::backend::connect::{self, Connected};
use crate::rooms::handoff::{Company, Names, Opening, Untellable};
use crate::rooms::record::Ended;

pub(crate) use given::Meeting;
pub(crate) use met::Met;
pub(crate) use noted::until_ended;

/// Walks one connection through the rooms in order, up to where its bytes flow, or to an early end. The steps return what
/// they decide and found; only here it is noted, in `seen`.
pub(crate) async fn walk(
    arrival: Arrival,
    door: &Door,
    desk: &WorkerContext,
    seen: &mut Observer<'_>,
) -> Result<Meeting, Ended> {
    // Trust: may this peer speak for others? Decided before one byte is read.
    // Identify: who is the client?
    let (way, found) = identity::find(&arrival, door, desk).await;
    seen.came(way);
    let (identity, early) = found?;
    let Arrival { socket: client, reached, at, .. } = arrival;
    let listener = &*door.listener;
    let header_deadline = engine::later(at, listener.header_timeout);
    let entry = seen.identified(identity, engine::moment());
    let identity = entry.identity().ok_or(Outcome::Internal)?;

    // The proxy's own connections are kept apart from clients, and from backends that would take the proxy for one.
    let (client, early, own) = own::kept_apart(client, early, identity, door).await?;

    // Access and limits: may this client enter, now? Counted until the connection ends.
    let permit = match admit::decide(identity, seen.record.presumed, door, engine::now()) {
        Ok(Admitted { permit, observed }) => {
            seen.explained(observed);
            permit
        }
        Err(Refused { ended, reason }) => {
            let outcome = seen.ends(ended);
            speak::turn_away(client, door, desk, identity, reason).await;
            return Err(outcome.into());
        }
    };

    // Backend and handoff: choose, connect, tell it who the client is.
    let entered = engine::moment();
    let pool = door.pool_for(identity);
    let id = entry.id();
    let names = Names { id: &id, listener: &listener.id };
    let mut introduction = pool.introduce(identity, reached, names).map_err(|why| match why {
        Untellable::NoAddress => Outcome::OwnRefused,
        Untellable::Encode(_) => Outcome::Internal,
    })?;
    seen.record.handed(&pool.backend, introduction.header.substituted);
    misfit::over_budget(pool, introduction.header.dropped_tlvs);
    let counted = (own, permit);
    if let Some(exec) = pool.backend.exec() {
        let client = Client { socket: client, identity, header_deadline, counted };
        let of = (&*id, seen.record.presumed);
        let given = given::give(client, (pool, exec), introduction, of, door, desk).await;
        seen.record.times.handoff = since(entered);
        let given = given?;
        noted::begun(seen, given.reached(pool, exec), door, desk);
        return Ok(Meeting::GivenAway(given));
    }
    let guard = FirstBytes::new(pool.backend.handoff.facts().own_header, header_deadline);
    let company = Company::of(listener.protocol, listener.tls);
    let first_lines = pool.first_lines(&introduction);
    let header = mem::take(&mut introduction.header.bytes);
    let Opening { bytes, rode, left, guard } =
        match Opening::new(header, early, guard, company, engine::now()) {
            Ok(opening) => opening,
            // The client's own: no backend hears of it.
            Err(header) => return Err(met::second_header(&client, header, seen.record, door).await),
        };
    let connected = connect::to_backend(pool, &introduction, listener.lane(reached), bytes).await;
    seen.record.times.handoff = since(entered);
    let (backend, target, said) = match connected {
        Ok(Connected { socket, target, reached, said, substituted }) => {
            seen.record.handed(&pool.backend, substituted);
            entry.traffic.rode(rode);
            noted::begun(seen, reached, door, desk);
            (socket, target, said)
        }
        Err(failure) => {
            let outcome = seen.ends(misfit::not_connected(pool, &failure));
            speak::not_connected(client, door, desk, identity, &failure).await;
            return Err(outcome.into());
        }
    };
    let early = Early { of_client: left, of_backend: said };
    let overheard = unproven::overheard(pool, &target);
    let guard = met::guard((guard, first_lines), overheard, pool);
    seen.record.family = introduction.header.family;
    let relay = engine::relay(Pair { client, backend }, early, guard);
    Ok(Meeting::Relayed(Met { relay, target, _counted: counted.into() }))
}

/// Relay: bytes both ways until the end. The walk is over and forgotten by now; this goes on in the worker's table, where
/// thousands of such wait.
///
/// The client's first bytes are judged before one of them goes on. So are the backend's first lines, which show whether
/// it took our header for the client's words.
pub(crate) fn relay(
    met: &mut Met,
    cx: &mut Context<'_>,
    door: &Door,
    seen: &mut Observer<'_>,
) -> Poll<Result<Outcome, Stopped>> {
    let end = ready!(met.poll(cx, door, seen.record));
    seen.record.times.relay = Some(met.relay.lasted().into());
    seen.explained(met.relayed(door, seen.record, &end));
    Poll::Ready(Ok(match end {
        RelayEnd::Done => Outcome::Done,
        RelayEnd::Idle => Outcome::IdleTimeout,
        RelayEnd::ClientFailed(_) => Outcome::ClientFailed,
        RelayEnd::BackendFailed(_) => Outcome::BackendFailed,
        RelayEnd::HeldBack => Outcome::HeaderHeldBack,
        // A header in the client's bytes, or an answer to ours in the backend's: none of the client's went on.
        RelayEnd::Stopped(why) => return Poll::Ready(Err(why)),
    }))
}
