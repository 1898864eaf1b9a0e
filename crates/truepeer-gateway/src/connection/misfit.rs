//! What a misfit between us and a neighbour means, in words, and what to change: causes and remedies for records.
//!
//! Knowledge only: what happened goes in, an outcome with `seen`, `cause` and `remedy` comes out. Nothing here decides
//! who may enter, or writes a record. What concerns neighbours is said in the words of the doctor's crate.

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
use crate::engine::{RelayEnd, Traffic};
use crate::facts::address::{Family, is_near};
use crate::facts::outcome::Outcome;
use crate::facts::protocol::{FirstSpeaker, Protocol};
use crate::rooms::access::Why;
use crate::rooms::backend::connect::NotConnected;
use crate::rooms::backend::{MUTE, Pool, Target};
use crate::rooms::bans::Ban;
use crate::rooms::identify::{MAX_HOPS, Unidentified};
use crate::rooms::limits::Which;
use crate::rooms::record::{Ended, Explanation, RefusedBy, Way};

/// Who is gone so soon was ended behind the header, or left by itself.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A greeting or a refusal has at most so many bytes.
const A_REFUSAL: u64 = 512;

/// What to do about a public peer. No line to paste: anyone who is on the internet chooses its address.
const STRANGER: &str = "if this is your proxy, with a new address: put it into `proxy.trusted-networks` in place of the old one; otherwise nothing: anyone on the internet can cause this line";

/// A peer that is in no trusted network, where only proxies may come.
pub(super) fn unlisted(listener: &str, peer: PeerAddress) -> Ended {
    let cause = match peer {
        PeerAddress::Tcp(_) => "this listener takes connections from its trusted networks only",
        _ => "a UNIX peer has no address that could be the client's",
    };
    let remedy = match peer {
        PeerAddress::Tcp(peer) if is_near(peer.ip()) => {
            format!("if {} is your proxy, {}", peer.ip(), change::trust(listener, &peer.ip()))
        }
        PeerAddress::Tcp(_) => STRANGER.to_owned(),
        // Never inherited, so that this is the whole list.
        _ => format!(
            "if a proxy connects here: server.listener.{listener}.proxy.trusted-networks = [\"unix\"]"
        ),
    };
    Explanation::new(cause, remedy).ends(Outcome::UnlistedPeer)
}

/// A trusted peer without a usable header, and what is known of it.
pub(super) fn unidentified(protocol: Protocol, way: &Way, why: &Unidentified, past: &Past) -> Ended {
    match why {
        Unidentified::Evicted(seen) => Explanation {
            seen: Some(seen.to_string().into()),
            ..Explanation::new(
                "more headers were unfinished than server.proxy.max-pending",
                "find the peer that opens connections and sends nothing; raise server.proxy.max-pending only if all of them are in order",
            )
        }
        .ends(Outcome::HeaderEvicted),
        Unidentified::Error(error, received) => {
            let reason = error.reason();
            let seen = match reason {
                IdentifyReason::Empty => None,
                _ => Some(unidentified::excerpt(error, received).into()),
            };
            let cause = match unidentified::circumstances(error, received, past) {
                Some(known) => format!("{error}; {known}"),
                None => error.to_string(),
            };
            let remedy = match way.hops.last() {
                Some(hop) => behind_hop(reason, hop),
                None => {
                    let first = match protocol.first_speaker() {
                        FirstSpeaker::Server => unidentified::FirstSpeaker::Server,
                        _ => unidentified::FirstSpeaker::Client,
                    };
                    unidentified::remedy(error, received, first, past).map(Cow::into_owned)
                }
            };
            Explanation { seen, ..Explanation::cause(cause, remedy) }.ends(Outcome::from(error))
        }
    }
}

/// A header that names a client which cannot be true.
pub(super) fn implausible(error: &IdentifyError, door: &Door) -> Ended {
    let client = match error.reason() {
        IdentifyReason::Implausible(found) => Some(found.client),
        _ => None,
    };
    let remedy = match client {
        // It went out to the balancer and came back.
        Some(ip) if !ip.is_loopback() && door.own_addresses.now().contains(ip) => format!(
            "if a program there reaches this port through the balancer (hairpin), let it connect to the backend directly; to believe this address all the same: server.listener.{}.proxy.unsafe-accept-implausible-clients = [\"{ip}\"]",
            door.listener.id
        ),
        Some(ip) if ip.is_loopback() => {
            "the proxy's own client came from its loopback: let the programs on the proxy's host connect to the mail server directly, or let the proxy read the header of the proxy in front of it".to_owned()
        }
        _ => "find out who sent this header: the proxy takes it from a peer that it must not believe, or its own client address is wrong".to_owned(),
    };
    Explanation::new(error.to_string(), remedy).ends(Outcome::from(error))
}

/// A client that is never believed from a peer which carries direct traffic, too.
pub(super) fn doubted(error: &IdentifyError) -> Ended {
    let remedy = "nothing, if a client tried to forge its address; if the proxy brings such clients, trust the proxy by an address or a name of its own, where `missing-header` is \"refuse\"";
    Explanation::new(error.to_string(), remedy).ends(Outcome::from(error))
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
pub(super) fn endless_chain() -> Ended {
    Explanation::new(
        format!("{MAX_HOPS} headers named proxies of `proxy.hop-networks`, and the one behind them names another"),
        "find the loop among these proxies, or take the address out of `proxy.hop-networks` that clients have, too",
    )
    .ends(Outcome::HeaderRepeated)
}

/// A header where none may come: from a direct client, one that is `presumed` to be the client, or behind the first
/// one.
pub(super) fn second_header(
    listener: &str,
    presumed: bool,
    identity: &ClientIdentity,
    found: &Result<(ClientIdentity, Vec<u8>), Unidentified>,
) -> Ended {
    let spoke_for = match found {
        Ok((named, _)) => named.client().map(|client| client.to_string()),
        Err(_) => None,
    };
    let named = spoke_for.unwrap_or_else(|| "no client".to_owned());
    let peer = identity.peer();
    if identity.source() != IdentitySource::Direct {
        return Explanation::new(
            format!(
                "the client's own bytes begin with a header (it names {named}); one connection has one header"
            ),
            change::CHAIN,
        )
        .ends(Outcome::HeaderRepeated);
    }
    if let Ok((named, _)) = found
        && named.role() == Role::ProxyOwn(OwnConnection::OwnAddress)
    {
        return Explanation::new(
            "the header names exactly the peer that sent it: a balancer that keeps client addresses and also sends a header",
            change::ONE_OF_TWO,
        )
        .ends(Outcome::HeaderRedundant);
    }
    if presumed {
        return Explanation::new(
            format!(
                "{peer} sent a header that names {named} after it had counted as the client itself: the header came later than `proxy.missing-header-wait`, or behind other bytes"
            ),
            "nothing, if a client tried to forge its address; if a proxy sends its header so late, raise `proxy.missing-header-wait`",
        )
        .ends(Outcome::UntrustedHeader);
    }
    let remedy = match peer.ip() {
        Some(ip) if is_near(ip) => {
            format!("if {ip} is your proxy, {}", change::trust(listener, &ip))
        }
        _ => STRANGER.to_owned(),
    };
    let cause =
        format!("{peer} is in no trusted network of this listener and sent a header that names {named}");
    Explanation::new(cause, remedy).ends(Outcome::UntrustedHeader)
}

/// One of a proxy's own connections was answered here; a client's words in it are a fault of the proxy.
pub(super) fn answered(why: OwnConnection, outcome: Outcome) -> Ended {
    if outcome != Outcome::OwnNoCheck {
        return outcome.into();
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
    Explanation::new(cause, remedy).ends(outcome)
}

/// One of a proxy's own connections where they are refused, or cannot be forwarded.
pub(super) fn not_wanted(peer: PeerAddress) -> Ended {
    if peer.ip().is_some() {
        return Outcome::OwnRefused.into();
    }
    Explanation::new(
        "the proxy came over a UNIX socket, so its own connections have no address to be forwarded under",
        "let the proxy check a `health-bind` of this listener",
    )
    .ends(Outcome::OwnRefused)
}

/// A client that may not enter, by this rule; `presumed` is whether it is taken for the client for want of a header.
pub(super) fn denied(listener: &str, presumed: bool, identity: &ClientIdentity, why: Why<'_>) -> Ended {
    let (refusal, cause) = match why {
        Why::Listed(_) => (RefusedBy::DenyList, "a list names the client"),
        Why::Default(_) => {
            (RefusedBy::DefaultDeny, "no list names the client, and only listed ones may enter")
        }
    };
    let near = identity.peer().ip().filter(|ip| is_near(*ip));
    let itself = identity.source() == IdentitySource::Direct && !presumed;
    let remedy = near
        .filter(|_| itself)
        .map(|ip| format!("if {ip} is your proxy, and not the client, {}", change::trust(listener, &ip)));
    Explanation::cause(cause, remedy).refused(refusal, Some(why.to_string())).ends(Outcome::AccessDenied)
}

/// An operator, or a program of theirs, keeps the client out for a while.
pub(super) fn banned(ban: &Ban) -> Ended {
    Explanation::new(
        "an operator, or a program of theirs, denied the client for a while",
        format!("to let it in again: truepeer undeny {}", ban.network),
    )
    .refused(RefusedBy::Ban, Some(ban.to_string()))
    .ends(Outcome::AccessDenied)
}

/// A client for whom no TLS was conveyed, where it is required.
pub(super) fn insecure(identity: &ClientIdentity) -> Ended {
    let (cause, remedy) = match identity.source() {
        IdentitySource::Direct => ("the client came without a proxy, so no proxy ended its TLS", None),
        IdentitySource::Header(Version::V1) => {
            ("a version 1 header says nothing of TLS", Some(change::TELL_TLS_V2))
        }
        _ => ("the header does not say that the client used TLS", Some(change::TELL_TLS)),
    };
    Explanation::cause(cause, remedy.map(str::to_owned))
        .refused(RefusedBy::RequireSecure, None)
        .ends(Outcome::SecureRequired)
}

/// A limit that is against the client.
pub(super) fn limited(listener: &str, which: &Which) -> Ended {
    over_limit(listener, which).refused(RefusedBy::Limit(which.rule), None).ends(Outcome::LimitReached)
}

/// A limit that would be against the client, were it enforced.
pub(super) fn observed(listener: &str, which: &Which) -> Box<Explanation> {
    let would_refuse = Some(RefusedBy::Limit(which.rule));
    Box::new(Explanation { would_refuse, ..over_limit(listener, which) })
}

fn over_limit(listener: &str, which: &Which) -> Explanation {
    Explanation::cause(which.to_string(), which.remedy(listener))
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

/// A relay has ended, after `lasted`: what an end right behind our header says of the backend.
pub(super) fn relayed(
    pool: &Pool,
    target: &Target,
    family: Option<Family>,
    (traffic, lasted): (&Traffic, Duration),
    end: &RelayEnd,
) -> Option<Box<Explanation>> {
    let said = traffic.bytes_out();
    if lasted >= AT_ONCE || !matches!(end, RelayEnd::Done | RelayEnd::BackendFailed(_)) {
        return None;
    }
    // A transfer to a server has no answer on its own connection.
    if pool.backend.has_range() {
        return None;
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
    (said == 0 && unproven::may_misread(pool, target)).then(|| unproven::silent(pool))
}

/// The backend was proved, and yet takes our header for the client's words: it lost its option since. No client is
/// handed to it until it was asked again.
pub(super) fn header_answered(pool: &Pool, target: &Target, said: &[u8]) -> Ended {
    let saw = format!("to our header it said \"{}\"", Seen::new(said));
    let why = pool.mark_ignoring(target, saw);
    let cause = format!("{}: {why}", pool.name_of(&target.address));
    Explanation::new(cause, pool.backend.telling().remedy()).ends(Outcome::HandoffRefused)
}

/// No address of the backend could take the client.
pub(super) fn not_connected(pool: &Pool, failure: &NotConnected) -> Ended {
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
    Explanation::cause(failure.because.clone(), remedy.map(str::to_owned)).ends(failure.outcome)
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
