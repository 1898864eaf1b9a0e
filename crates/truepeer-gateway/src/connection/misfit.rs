//! What a misfit between us and a neighbour means, in words, and what to change: causes and remedies for records.
//!
//! Knowledge only: it reads what happened, fills `seen`, `cause` and `remedy`, and names the outcome. Nothing here
//! decides who may enter. What concerns neighbours is said in the words of the doctor's crate.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use truepeer::proto::Version;
use truepeer::{
    ClientIdentity, Endpoint, IdentifyError, IdentifyReason, IdentitySource, OwnConnection, PeerAddress,
    Role, Seen,
};
use truepeer_doctor::change;
use truepeer_doctor::unidentified::{self, Past};

use crate::connection::unproven;
use crate::door::Door;
use crate::engine::RelayEnd;
use crate::facts::address::{Family, is_near};
use crate::facts::outcome::Outcome;
use crate::facts::protocol::FirstSpeaker;
use crate::rooms::access::Why;
use crate::rooms::backend::connect::NotConnected;
use crate::rooms::backend::{MUTE, Pool, Target};
use crate::rooms::bans::Ban;
use crate::rooms::identify::{MAX_HOPS, Unidentified};
use crate::rooms::limits::Which;
use crate::rooms::record::{Record, RefusedBy};

/// Who is gone so soon was ended behind the header, or left by itself.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A greeting or a refusal has at most so many bytes.
const A_REFUSAL: u64 = 512;

/// What to do about a public peer. No line to paste: whoever is on the internet chooses its address.
const STRANGER: &str = "if this is your proxy, with a new address: put it into `proxy.trusted-networks` in place of the old one; otherwise nothing: anyone on the internet can cause this line";

/// A peer that is in no trusted network, where only proxies may come.
pub(super) fn unlisted(record: &mut Record) -> Outcome {
    let listener = record.entry.listener.clone();
    record.cause = Some(match record.entry.peer {
        PeerAddress::Tcp(_) => "this listener takes connections from its trusted networks only".to_owned(),
        _ => "a UNIX peer has no address that could be the client's".to_owned(),
    });
    record.remedy = Some(match record.entry.peer {
        PeerAddress::Tcp(peer) if is_near(peer.ip()) => format!(
            "if {} is your proxy: server.listener.{listener}.proxy.trusted-networks = [\"{}\"]",
            peer.ip(),
            peer.ip()
        ),
        PeerAddress::Tcp(_) => STRANGER.to_owned(),
        _ => format!(
            "if a proxy connects here: server.listener.{listener}.proxy.trusted-networks = [\"unix\"]"
        ),
    });
    Outcome::UnlistedPeer
}

/// A trusted peer without a usable header, and what is known of it.
pub(super) fn unidentified(record: &mut Record, why: &Unidentified, past: &Past) -> Outcome {
    match why {
        Unidentified::Evicted(seen) => {
            note_seen(record, seen);
            record.cause = Some("more headers were unfinished than server.proxy.max-pending".to_owned());
            record.remedy = Some(
                "find the peer that opens connections and sends nothing; raise server.proxy.max-pending only if all of them are in order"
                    .to_owned(),
            );
            Outcome::HeaderEvicted
        }
        Unidentified::Error(error, received) => {
            let reason = error.reason();
            if !matches!(reason, IdentifyReason::Empty) {
                record.seen = Some(unidentified::excerpt(error, received).into());
            }
            record.cause = Some(match unidentified::circumstances(error, received, past) {
                Some(known) => format!("{error}; {known}"),
                None => error.to_string(),
            });
            record.remedy = match record.hops.as_slice().last() {
                Some(hop) => behind_hop(reason, hop),
                None => {
                    let first = match record.entry.protocol.first_speaker() {
                        FirstSpeaker::Server => unidentified::FirstSpeaker::Server,
                        _ => unidentified::FirstSpeaker::Client,
                    };
                    unidentified::remedy(error, received, first, past).map(Cow::into_owned)
                }
            };
            Outcome::from(error)
        }
    }
}

/// A header that names a client which cannot be true.
pub(super) fn implausible(record: &mut Record, error: &IdentifyError, door: &Door) -> Outcome {
    record.cause = Some(error.to_string());
    let client = match error.reason() {
        IdentifyReason::Implausible(found) => Some(found.client),
        _ => None,
    };
    record.remedy = Some(match client {
        // It went out to the balancer and came back.
        Some(ip) if !ip.is_loopback() && door.own_addresses.now().contains(ip) => format!(
            "if a program there reaches this port through the balancer (hairpin), let it connect to the backend directly; to believe this address all the same: server.listener.{}.proxy.unsafe-accept-implausible-clients = [\"{ip}\"]",
            record.entry.listener
        ),
        Some(ip) if ip.is_loopback() => {
            "the proxy's own client came from its loopback: let the programs on the proxy's host connect to the mail server directly, or let the proxy read the header of the proxy in front of it".to_owned()
        }
        _ => "find out who sent this header: the proxy takes it from a peer that it must not believe, or its own client address is wrong".to_owned(),
    });
    Outcome::from(error)
}

/// A client that is never believed from a peer which carries direct traffic, too.
pub(super) fn doubted(record: &mut Record, error: &IdentifyError) -> Outcome {
    record.cause = Some(error.to_string());
    record.remedy = Some(
        "nothing, if a client tried to forge its address; if the proxy brings such clients, trust the proxy by an address or a name of its own, where `missing-header` is \"refuse\""
            .to_owned(),
    );
    Outcome::from(error)
}

/// A header names a client that is a proxy itself: said once for each, since every one of its clients may come so.
pub(super) fn chain_not_told(listener: &Arc<str>, client: IpAddr, peer: PeerAddress) {
    let listener = &**listener;
    let cause = format!(
        "a header of {peer} names {client} as the client, which is a trusted proxy of this listener itself"
    );
    let remedy = format!(
        "nothing, if {client} is a client as well; if it passes clients on to {peer}, they all count as {client} here: let it send a header to {peer}, and let {peer} read that one, or put {client} into `proxy.hop-networks`"
    );
    tracing::info!(event = "chain_not_told", listener, client = %client, cause, remedy);
}

/// Headers that name one listed proxy after the other, without an end.
pub(super) fn endless_chain(record: &mut Record) -> Outcome {
    record.cause = Some(format!(
        "{MAX_HOPS} headers named proxies of `proxy.hop-networks`, and the one behind them names another"
    ));
    record.remedy = Some(
        "find the loop among these proxies, or take the address out of `proxy.hop-networks` that clients have, too"
            .to_owned(),
    );
    Outcome::HeaderRepeated
}

/// A header where none may come: from a direct client, or behind the first one.
pub(super) fn second_header(
    record: &mut Record,
    identity: &ClientIdentity,
    found: &Result<(ClientIdentity, Vec<u8>), Unidentified>,
) -> Outcome {
    let spoke_for = match found {
        Ok((named, _)) => named.client().map(|client| client.to_string()),
        Err(_) => None,
    };
    let named = spoke_for.clone().unwrap_or_else(|| "no client".to_owned());
    let peer = identity.peer();
    if identity.source() != IdentitySource::Direct {
        record.cause = Some(format!(
            "the client's own bytes begin with a header (it names {named}); one connection has one header"
        ));
        record.remedy = Some(change::CHAIN.to_owned());
        return Outcome::HeaderRepeated;
    }
    if let Ok((named, _)) = found
        && named.role() == Role::ProxyOwn(OwnConnection::OwnAddress)
    {
        record.cause = Some(
            "the header names exactly the peer that sent it: a balancer that keeps client addresses and also sends a header"
                .to_owned(),
        );
        record.remedy = Some(change::ONE_OF_TWO.to_owned());
        return Outcome::HeaderRedundant;
    }
    if record.presumed {
        record.cause = Some(format!(
            "{peer} sent a header that names {named} after it had counted as the client itself: the header came later than `proxy.missing-header-wait`, or behind other bytes"
        ));
        record.remedy = Some(
            "nothing, if a client tried to forge its address; if a proxy sends its header so late, raise `proxy.missing-header-wait`"
                .to_owned(),
        );
        return Outcome::UntrustedHeader;
    }
    let listener = record.entry.listener.clone();
    record.cause = Some(format!(
        "{peer} is in no trusted network of this listener and sent a header that names {named}"
    ));
    record.remedy = Some(match peer.ip() {
        Some(ip) if is_near(ip) => {
            format!("if {ip} is your proxy: server.listener.{listener}.proxy.trusted-networks = [\"{ip}\"]")
        }
        _ => STRANGER.to_owned(),
    });
    Outcome::UntrustedHeader
}

/// One of a proxy's own connections was answered here; a client's words in it are a fault of the proxy.
pub(super) fn answered(record: &mut Record, why: OwnConnection, outcome: Outcome) -> Outcome {
    if outcome != Outcome::OwnNoCheck {
        return outcome;
    }
    let (cause, remedy) = match why {
        OwnConnection::Local => (
            "the proxy says that the connection is its own (LOCAL), and yet mail or a login came over it",
            "find what sends mail through the proxy's own connections; let a client's go on with PROXY and its address",
        ),
        OwnConnection::Unknown | OwnConnection::Unspecified => (
            "the proxy did not say who the client is (UNKNOWN, or no addresses), and yet mail or a login came over it",
            "let the proxy send the client's address: it leaves it out where it does not know it itself, mostly behind another proxy whose header it does not read",
        ),
        OwnConnection::UnixClient => (
            "the proxy's client came over a UNIX socket, which is no address, and sent mail or logged in",
            "let that program connect to the proxy over TCP, or to the mail server directly",
        ),
        OwnConnection::OwnAddress => (
            "the header names the proxy's own connection, as a check's does, and yet mail or a login came over it",
            "let programs on the proxy's host connect to the mail server directly, without this port",
        ),
        _ => (
            "the header names no client of this connection, and yet mail or a login came over it",
            "let the proxy send the client's address",
        ),
    };
    (record.cause, record.remedy) = (Some(cause.to_owned()), Some(remedy.to_owned()));
    outcome
}

/// One of a proxy's own connections where they are refused, or cannot be forwarded.
pub(super) fn not_wanted(record: &mut Record, peer: PeerAddress) -> Outcome {
    if peer.ip().is_none() {
        record.cause = Some(
            "the proxy came over a UNIX socket, so its own connections have no address to be forwarded under"
                .to_owned(),
        );
        record.remedy = Some("let the proxy check a `health-bind` of this listener".to_owned());
    }
    Outcome::OwnRefused
}

/// A client that may not enter, by this rule.
pub(super) fn denied(record: &mut Record, identity: &ClientIdentity, why: Why<'_>) -> Outcome {
    record.rule = Some(why.to_string().into());
    let (refusal, cause) = match why {
        Why::Listed(_) => (RefusedBy::DenyList, "a list names the client"),
        Why::Default(_) => {
            (RefusedBy::DefaultDeny, "no list names the client, and only listed ones may enter")
        }
    };
    record.refusal = Some(refusal);
    record.cause = Some(cause.to_owned());
    if let (IdentitySource::Direct, Some(ip)) = (identity.source(), identity.peer().ip())
        && is_near(ip)
        && !record.presumed
    {
        let listener = &record.entry.listener;
        record.remedy = Some(format!(
            "if {ip} is your proxy, and not the client: server.listener.{listener}.proxy.trusted-networks = [\"{ip}\"]"
        ));
    }
    Outcome::AccessDenied
}

/// An operator, or a program of theirs, keeps the client out for a while.
pub(super) fn banned(record: &mut Record, ban: &Ban) -> Outcome {
    record.refusal = Some(RefusedBy::Ban);
    record.rule = Some(ban.to_string().into());
    record.cause = Some("an operator, or a program of theirs, denied the client for a while".to_owned());
    record.remedy = Some(format!("to let it in again: truepeer undeny {}", ban.network));
    Outcome::AccessDenied
}

/// A client for whom no TLS was conveyed, where it is required.
pub(super) fn insecure(record: &mut Record, identity: &ClientIdentity) -> Outcome {
    refused_by(record, RefusedBy::RequireSecure);
    let (cause, remedy) = match identity.source() {
        IdentitySource::Direct => ("the client came without a proxy, so no proxy ended its TLS", None),
        IdentitySource::Header(Version::V1) => {
            ("a version 1 header says nothing of TLS", Some(change::TELL_TLS_V2))
        }
        _ => ("the header does not say that the client used TLS", Some(change::TELL_TLS)),
    };
    record.cause = Some(cause.to_owned());
    record.remedy = remedy.map(str::to_owned);
    Outcome::SecureRequired
}

/// A limit that is against the client.
pub(super) fn limited(record: &mut Record, which: &Which) -> Outcome {
    refused_by(record, RefusedBy::Limit(which.rule));
    over_limit(record, which);
    Outcome::LimitReached
}

/// A limit that would be against the client, were it enforced.
pub(super) fn observed(record: &mut Record, which: &Which) {
    record.would_refuse = Some(RefusedBy::Limit(which.rule));
    over_limit(record, which);
}

fn over_limit(record: &mut Record, which: &Which) {
    record.cause = Some(which.to_string());
    record.remedy = which.remedy(&record.entry.listener);
}

/// Facts that the backend's header has no room for: said once for each backend, since a client can make them long.
pub(super) fn over_budget(pool: &Pool, dropped: usize) {
    if dropped == 0 || !pool.is_first_over_budget() {
        return;
    }
    let (backend, kind) = (&*pool.backend.id, pool.backend.kind);
    let cause = format!(
        "{} of the TLVs for it did not fit into {} bytes, the longest header that {} takes",
        dropped,
        kind.facts().header_budget,
        kind.facts().title
    );
    let remedy = "nothing, if it needs none of them; otherwise name those that it needs in backend.<id>.tlvs";
    tracing::info!(event = "tlvs_dropped", backend, cause, remedy);
}

/// A relay has ended: what an end right behind our header says of the backend.
pub(super) fn relayed(
    record: &mut Record,
    pool: &Pool,
    target: &Target,
    family: Option<Family>,
    end: &RelayEnd,
) {
    let traffic = &record.entry.traffic;
    let said = traffic.bytes_out();
    let at_once = record.times.relay.is_some_and(|relay| relay < AT_ONCE);
    if !at_once || !matches!(end, RelayEnd::Done | RelayEnd::BackendFailed(_)) {
        return;
    }
    // A transfer to a server has no answer on its own connection.
    if pool.backend.has_range() {
        return;
    }
    if traffic.bytes_in() == 0 && said <= A_REFUSAL {
        pool.suspect(target, family);
    }
    if target.note_said(said) {
        let (backend, address) = (&*pool.backend.id, target.address.to_string());
        let cause = format!("it had no byte for the last {MUTE} clients, who were gone within a second");
        let remedy = change::MUTE;
        tracing::info!(event = "backend_mute", backend, address, cause, remedy);
    }
    if said == 0 && unproven::may_misread(pool, target) {
        unproven::silent(record, pool);
    }
}

/// The backend was proved, and yet takes our header for the client's words: it lost its option since. No client is handed
/// to it until it was asked again.
pub(super) fn header_answered(record: &mut Record, pool: &Pool, target: &Target, said: &[u8]) -> Outcome {
    let saw = format!("to our header it said \"{}\"", Seen::new(said));
    let why = pool.mark_ignoring(target, saw);
    record.cause = Some(format!("{}: {why}", pool.name_of(&target.address)));
    record.remedy = Some(pool.backend.telling().remedy().to_owned());
    Outcome::HandoffRefused
}

/// No address of the backend could take the client.
pub(super) fn not_connected(record: &mut Record, pool: &Pool, failure: &NotConnected) {
    record.cause = Some(failure.because.clone());
    let remedy = match failure.outcome {
        Outcome::BackendPortsExhausted => Some(
            "give the backend more addresses (127.0.0.2 and so on for one on this host), or widen net.ipv4.ip_local_port_range",
        ),
        Outcome::DescriptorsExhausted => Some(
            "raise the descriptor limit (LimitNOFILE= in the service unit), or lower server.max-connections",
        ),
        Outcome::BackendFull => Some(
            "nothing, if that is what this host can bear; otherwise raise backend.<id>.exec.max or backend.<id>.exec.rate",
        ),
        Outcome::BackendUnready => failure.remedy,
        Outcome::HandoffRefused => Some(failure.remedy.unwrap_or(pool.backend.telling().remedy())),
        _ => None,
    };
    record.remedy = remedy.map(str::to_owned);
}

fn refused_by(record: &mut Record, refusal: RefusedBy) {
    record.refusal = Some(refusal);
    record.rule = Some(refusal.code().into());
}

fn note_seen(record: &mut Record, seen: &Seen) {
    record.seen = Some(seen.to_string().into());
}

/// A chain that breaks behind a header that named `hop`.
fn behind_hop(reason: &IdentifyReason, hop: &Endpoint) -> Option<String> {
    let ip = hop.ip;
    Some(match reason {
        IdentifyReason::Empty => return None,
        IdentifyReason::Truncated | IdentifyReason::Timeout | IdentifyReason::NotAHeader(_) => format!(
            "{ip} is in `proxy.hop-networks`, so its own header must follow the one that names it: let {ip} send one to its next proxy, and that one pass it on, or take {ip} out of the list"
        ),
        _ => format!("the header that {ip} sends to its next proxy is wrong: look there, not at the peer"),
    })
}
