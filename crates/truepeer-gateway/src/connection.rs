//! The spine: one connection's walk through the rooms.
//!
//! Read this first. Each step below is a room; the details are in the file of that name. The runtime is behind
//! `engine`, so that this file reads as what happens, not as how.

mod admit;
mod given;
mod identity;
mod met;
mod misfit;
pub(crate) mod speak;
mod unproven;

use std::mem;

use truepeer::{FirstBytes, Role};

use crate::connection::given::{Client, Meeting};
use crate::connection::met::Met;
use crate::door::{Door, WorkerContext};
use crate::engine::{self, Arrival, Early, Pair, RelayEnd};
use crate::facts::lines::ConnectionLines;
use crate::facts::outcome::Outcome;
use crate::facts::protocol::OwnConnections;
use crate::observe::record::{self as lines, Observer};
use crate::rooms::backend::connect::{self, Connected};
use crate::rooms::handoff::{Company, Names, Opening, Untellable};

/// Walks one connection from its arrival to its outcome, of which `Err` is an early one; `seen` is filled along the way.
pub async fn walk(
    arrival: Box<Arrival>,
    door: &Door,
    desk: &WorkerContext,
    seen: &mut Observer,
) -> Result<Outcome, Outcome> {
    // In a box: what it takes to meet a client is large and short, and the relay behind it is small and long.
    let mut met = match Box::pin(meet(*arrival, door, desk, seen)).await? {
        Meeting::Relayed(met) => met,
        Meeting::Given(given) => return Ok(Box::pin(given.ended(seen)).await),
    };
    let record = &mut seen.record;

    // Relay: bytes both ways until the end. The client's first bytes are judged before one of them goes on.
    // So are the backend's first lines, which show whether it took our header for the client's words.
    let (early, guard) = (mem::take(&mut met.early), met.guard.take());
    let entered = engine::now();
    let end = engine::relay(&met.pair, early, guard, &record.entry.traffic).await;
    record.times.relay = Some(engine::now().saturating_duration_since(entered));
    met.relayed(door, record, &end);
    Ok(match end {
        RelayEnd::Done => Outcome::Done,
        RelayEnd::Idle => Outcome::IdleTimeout,
        RelayEnd::ClientFailed(_) => Outcome::ClientFailed,
        RelayEnd::BackendFailed(_) => Outcome::BackendFailed,
        RelayEnd::HeldBack => Outcome::HeaderHeldBack,
        // A header in the client's bytes, or an answer to ours in the backend's: none of the client's went on.
        RelayEnd::Stopped(why) => Box::pin(met.stopped(why, door, desk, record)).await,
    })
}

/// The rooms in order, up to the one where bytes flow.
async fn meet(
    arrival: Arrival,
    door: &Door,
    desk: &WorkerContext,
    seen: &mut Observer,
) -> Result<Meeting, Outcome> {
    // Trust: may this peer speak for others? Decided before one byte is read.
    // Identify: who is the client?
    let (identity, early) = identity::find(&arrival, door, desk, &mut seen.record).await?;
    let Arrival { socket: client, peer, reached, at } = arrival;
    let listener = &*door.listener;
    let header_deadline = engine::later(at, listener.header_timeout);
    seen.identified(&identity, engine::now());
    let record = &mut seen.record;

    // The proxy's own connections are nobody's: kept apart from clients, and from backends that would take the
    // address of whoever connects for the client's.
    let own = match (identity.role(), listener.own) {
        (Role::Client(_), _) => None,
        (Role::ProxyOwn(why), own) => {
            let permit = door.own_connections.enter(peer).ok_or(Outcome::OwnLimit)?;
            match if peer.ip().is_some() { own } else { own.without_address(listener.protocol) } {
                OwnConnections::Answer => {
                    let outcome = speak::answer(client, early, door).await;
                    return Err(misfit::answered(record, why, outcome));
                }
                OwnConnections::Refuse => return Err(misfit::not_wanted(record, peer)),
                OwnConnections::Forward => Some(permit),
            }
        }
    };

    // Access and limits: may this client enter, now? Counted until the connection ends.
    let permit = match admit::decide(&identity, door, record, engine::now()) {
        Ok(permit) => permit,
        Err(refused) => {
            speak::turn_away(client, door, desk, &identity, refused.reason).await;
            return Err(refused.outcome);
        }
    };

    // Backend and handoff: choose, connect, tell it who the client is.
    let entered = engine::now();
    let pool = door.pool_for(&identity);
    let names = Names { id: &record.entry.id, listener: &listener.id };
    let mut introduction = pool.introduce(&identity, reached, names).map_err(|why| match why {
        Untellable::NoAddress => Outcome::OwnRefused,
        Untellable::Encode(_) => Outcome::Internal,
    })?;
    record.handed(&pool.backend, introduction.header.substituted);
    misfit::over_budget(pool, introduction.header.dropped_tlvs);
    let counted = (own, permit);
    if let Some(exec) = pool.backend.exec() {
        let client = Client { socket: client, peer, identity: identity.clone(), header_deadline, counted };
        let given = given::give(client, pool, exec, introduction, door, desk, seen).await;
        seen.record.times.handoff = Some(engine::now().saturating_duration_since(entered));
        return given.map(Meeting::Given);
    }
    let guard = FirstBytes::new(pool.backend.handoff.facts().own_header, header_deadline);
    let company = Company::of(listener.protocol, listener.tls);
    let first_lines = pool.first_lines(&introduction);
    let header = mem::take(&mut introduction.header.bytes);
    let Opening { bytes, rode, left, guard } = Opening::new(header, early, guard, company, entered);
    let connected = connect::to_backend(pool, &introduction, listener.lane(reached), bytes).await;
    record.times.handoff = Some(engine::now().saturating_duration_since(entered));
    let (backend, target, said) = match connected {
        Ok(Connected { socket, target, address, said, substituted }) => {
            record.handed(&pool.backend, substituted);
            record.reached(&pool.backend.id, address.to_string());
            record.entry.traffic.rode(rode);
            if listener.lines == ConnectionLines::Both {
                desk.log.line(|format| lines::start_line(record, format, engine::wall()));
            }
            (socket, target, said)
        }
        Err(failure) => {
            misfit::not_connected(record, pool, &failure);
            speak::not_connected(client, door, desk, &identity, &failure).await;
            return Err(failure.outcome);
        }
    };
    let early = Early { of_client: left, of_backend: said };
    let pair = Pair { client, backend, overheard: unproven::overheard(pool, &target) };
    let guard = met::guard(guard, first_lines, pool, listener.idle_timeout);
    let (family, _counted) = (introduction.header.family, counted);
    let met = Met { pair, target, family, identity, early, guard, header_deadline, _counted };
    Ok(Meeting::Relayed(Box::new(met)))
}
