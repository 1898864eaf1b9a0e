//! Who is the client? Trust first, then headers: one, or as many as there are listed proxies on the way.
//!
//! Called by the walk, before everything else. The rooms decide and read; this asks them in order. A chain is read
//! within the deadline and the pending place of its first header.

use std::time::Duration;

use truepeer::{ClientIdentity, HeaderReader, Implausible, PeerAddress, Role, TrustDecision};
use truepeer_doctor::unidentified::{self, Headers, Past};

use crate::connection::misfit;
use crate::door::{Door, WorkerContext};
use crate::engine::{self, Arrival, Reading};
use crate::facts::protocol::OwnConnections;
use crate::rooms::identify::{self, Begins, MAX_HOPS, MissingHeader, Unidentified};
use crate::rooms::record::{Ended, Way};

/// An identity, with the client's bytes that came behind the headers, which are none where they stay in the socket; or
/// how the connection ends without one.
type Found = Result<(ClientIdentity, Vec<u8>), Ended>;

/// Finds out whom the connection is for, and by which way it came.
pub(super) async fn find(arrival: &Arrival, door: &Door, desk: &WorkerContext) -> (Way, Found) {
    let listener = &*door.listener;
    let unlisted = || Err(misfit::unlisted(&listener.id, arrival.peer));
    let mut way = Way::default();
    let found = match door.trust(arrival.peer) {
        TrustDecision::Refuse => unlisted(),
        TrustDecision::Direct => match ClientIdentity::direct(arrival.peer, arrival.reached) {
            Some(identity) => Ok((identity.with_nat64(&listener.nat64), Vec::new())),
            None => unlisted(),
        },
        TrustDecision::ExpectHeader => chain(arrival, door, desk, &mut way).await.map(|(identity, early)| {
            (identity, if door.reading() == Reading::Ahead { early } else { Vec::new() })
        }),
    };
    (way, found)
}

/// Reads the header of the peer, and behind one that names a listed proxy that proxy's own, and so on.
async fn chain(arrival: &Arrival, door: &Door, desk: &WorkerContext, way: &mut Way) -> Found {
    let listener = &*door.listener;
    let Arrival { socket: client, peer, .. } = arrival;
    let reading = door.reading();
    let deadline = engine::later(arrival.at, listener.header_timeout);
    let unfinished = desk.pending.enter();
    let mut reader = HeaderReader::new(listener.header.clone(), *peer, deadline);
    let mut received = Vec::new();
    let itself = presumed(arrival, door);
    if let Some((itself, wait)) = &itself {
        let until = engine::later(arrival.at, *wait);
        let begins = identify::begins(client, reading, &reader, until, &unfinished, &mut received).await;
        if begins.map_err(|why| unidentified(way, arrival, door, &why))? == Begins::NoHeader {
            way.presumed = true;
            return Ok((itself.clone(), received));
        }
    }
    loop {
        let found = identify::read(client, reading, &reader, &unfinished, received).await;
        let (identity, early) = found.map_err(|why| unidentified(way, arrival, door, &why))?;
        let identity = identity.with_nat64(&listener.nat64);
        if let Some(ip) = peer.ip().filter(|ip| desk.recent.is_new(&listener.id, *ip)) {
            door.acquaintances.sent_header(&listener.id, ip);
        }
        if let Some(hop) = identity.client().filter(|client| listener.hops.contains(client.ip)) {
            if way.hops.len() >= MAX_HOPS {
                return Err(misfit::endless_chain());
            }
            way.hops.push(hop);
            // The next header is that proxy's: it is the one to blame, and its own checks name itself.
            let hop = PeerAddress::tcp(hop.to_socket_addr(0));
            reader = HeaderReader::new(listener.header.clone(), hop, deadline);
            received = early;
            continue;
        }
        if let Some((itself, _)) = itself {
            let doubt =
                identity.client().and_then(|client| identify::doubt(client.ip, &door.own_addresses.now()));
            if let (Some(because), Some(client)) = (doubt, identity.client()) {
                let error = reader.disbelieve(&identity, Implausible { client: client.ip, because });
                return Err(misfit::doubted(&error));
            }
            // The sender may be anybody, and must not get past access and limits by it.
            if let (Role::ProxyOwn(_), OwnConnections::Forward) = (identity.role(), listener.own) {
                way.presumed = true;
                return Ok((itself, early));
            }
        }
        if !listener.implausible.believes(&identity) {
            // Loopback is plausible only if every proxy on the way is there, too: those that we know of.
            let own = door.own_addresses.now();
            let mut plausible = reader.check_plausible(&identity, &own);
            let hops = way.hops.iter().map(|hop| PeerAddress::tcp(hop.to_socket_addr(0)));
            // Without a chain the header was the peer's own, which is asked already.
            let outermost = (hops.len() > 0).then_some(*peer);
            for proxy in hops.chain(outermost) {
                plausible =
                    plausible.and_then(|()| reader.check_plausible(&identity.clone().through(proxy), &own));
            }
            plausible.map_err(|error| misfit::implausible(&error, door))?;
        }
        note_proxy_behind(&identity, *peer, door);
        return Ok((identity.through(*peer), early));
    }
}

/// How it ends where no header came, with what is known of the peer.
fn unidentified(way: &Way, arrival: &Arrival, door: &Door, why: &Unidentified) -> Ended {
    let error = match why {
        Unidentified::Error(error, _) => Some(error),
        Unidentified::Evicted(_) => None,
    };
    // What a proxy behind the peer leaves out is not the peer's doing.
    let is_its = way.hops.is_empty() && error.is_some_and(unidentified::is_without);
    let ip = arrival.peer.ip().filter(|_| is_its);
    let known = ip.map(|ip| door.acquaintances.came_without(&door.listener.id, ip, arrival.at));
    let past = known.map_or_else(Past::default, |known| Past {
        headers: if known.sends_headers { Headers::Sent } else { Headers::Never },
        rhythm: known.rhythm,
    });
    misfit::unidentified(door.listener.protocol, way, why, &past)
}

/// Says once that a header names a client which is a proxy of this listener: a chain that the configuration does not
/// tell.
fn note_proxy_behind(identity: &ClientIdentity, peer: PeerAddress, door: &Door) {
    let Some(client) = identity.client().filter(|client| Some(client.ip) != peer.ip()) else { return };
    let (listener, as_peer) = (&door.listener.id, PeerAddress::tcp(client.to_socket_addr(0)));
    if door.trust(as_peer) == TrustDecision::ExpectHeader
        && door.acquaintances.is_news(listener, client.ip, || door.is_listed(client.ip))
    {
        misfit::chain_not_told(listener, client.ip, peer);
    }
}

/// The identity of a peer that may be the client itself, and how long it may be silent; `None` where every trusted peer
/// must send a header. A UNIX peer must: it has no address that could be the client's.
fn presumed(arrival: &Arrival, door: &Door) -> Option<(ClientIdentity, Duration)> {
    let MissingHeader::UnsafeClientIsPeer { wait } = door.listener.missing else { return None };
    let identity = ClientIdentity::direct(arrival.peer, arrival.reached)?;
    Some((identity.with_nat64(&door.listener.nat64), wait))
}
