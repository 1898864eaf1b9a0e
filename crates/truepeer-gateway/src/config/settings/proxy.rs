//! Which proxies are trusted, and how their headers are read.

use std::time::Duration;

use truepeer::Unlisted;
use truepeer::proto::{MixedFamilies, Versions};

use crate::config::setting::{Default, Sample, Scope, Setting, Shape, names};
use crate::facts::protocol::OwnConnections;

pub(in crate::config) const MAX_PENDING_DEFAULT: u32 = 16_384;
pub(in crate::config) const TRUSTED_NAMES_REFRESH_DEFAULT: Duration = Duration::from_secs(10);
pub(in crate::config) const MISSING_HEADER_WAIT_DEFAULT: Duration = Duration::from_secs(1);
pub(in crate::config) const HEADER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

pub(in crate::config) static UNLISTED: [(&str, Unlisted); 2] =
    [("direct", Unlisted::Direct), ("refuse", Unlisted::Refuse)];
pub(in crate::config) static VERSIONS: [(&str, Versions); 2] =
    [("v1", Versions::V1Only), ("v2", Versions::V2Only)];
pub(in crate::config) static MIXED_FAMILIES: [(&str, MixedFamilies); 2] =
    [("refuse", MixedFamilies::Refuse), ("accept", MixedFamilies::Accept)];
/// `proxy.missing-header` without its wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Missing {
    Refuse,
    UnsafeClientIsPeer,
}

pub(in crate::config) static MISSING: [(&str, Missing); 2] =
    [("refuse", Missing::Refuse), ("unsafe-client-is-peer", Missing::UnsafeClientIsPeer)];
pub(in crate::config) static OWN: [(&str, OwnConnections); 3] = [
    ("answer", OwnConnections::Answer),
    ("forward", OwnConnections::Forward),
    ("refuse", OwnConnections::Refuse),
];

pub(in crate::config) static TRUSTED_NETWORKS: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.trusted-networks",
    shape: Shape::Networks,
    default: Default::Derived("nobody is trusted"),
    docs: "The networks whose peers may speak for others: each of their connections must begin with a header.\n\
           List single proxies; any host in these networks can claim to be any client.\n\
           On a listener it replaces the server-wide list, and `\"off\"` there means that no header is read from anybody.\n\
           The word `\"unix\"` in a listener's own list trusts the peers of its UNIX sockets; it is never inherited.\n\
           One network, a list, and the set notation of Stalwart's documentation, `{\"192.0.2.10\", \"2001:db8::10\"}`, are read.",
    sample: Sample::Live("[\"192.0.2.10\"]"),
};

pub(in crate::config) static TRUSTED_NAMES: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.trusted-names",
    shape: Shape::HostNames,
    default: Default::Derived("nobody is trusted by name"),
    docs: "Host names of proxies whose addresses move, as those of containers do: each present address of each name is trusted, as if it stood in `proxy.trusted-networks`.\n\
           They are looked up with the system's resolver, again and again (`proxy.trusted-names-refresh`).\n\
           The last good answer is kept while look-ups fail; a name that never had one trusts nobody.\n\
           An answer with more than 64 addresses is not used.\n\
           Each change is in the log, and `truepeer status` and `truepeer check` say what each name means now; anybody who can change what a name stands for can claim to be any client.\n\
           On a listener, a list of its own of names or of networks replaces both server-wide lists.",
    sample: Sample::Comment("[\"traefik\", \"tasks.haproxy\"]"),
};

pub(in crate::config) static TRUSTED_NAMES_REFRESH: Setting = Setting {
    scope: Scope::Server,
    name: "proxy.trusted-names-refresh",
    shape: Shape::Duration {
        floor: Duration::from_secs(1),
        why: "each name is a question to the name server",
    },
    default: Default::Duration(TRUSTED_NAMES_REFRESH_DEFAULT),
    docs: "How often trusted names are looked up.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static UNLISTED_PEERS: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.unlisted",
    shape: Shape::Word(|| names(&UNLISTED)),
    default: Default::Word("direct"),
    docs: "What happens to a peer outside the trusted networks.\n\
           `\"direct\"`: it is the client itself, and no header is read from it.\n\
           `\"refuse\"`: its connection ends, for ports that only proxies should reach.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static HEADER_TIMEOUT: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.header-timeout",
    shape: Shape::Duration {
        floor: Duration::from_secs(3),
        why: "one retransmission of a lost segment must fit, and TCP may wait that long before it",
    },
    default: Default::Duration(HEADER_TIMEOUT_DEFAULT),
    docs: "One deadline for the whole header, counted from accept on.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static HEADER_VERSIONS: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.versions",
    shape: Shape::Words(|| names(&VERSIONS)),
    default: Default::AllWords,
    docs: "The header versions that are accepted.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static HEADER_MIXED_FAMILIES: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.mixed-families",
    shape: Shape::Word(|| names(&MIXED_FAMILIES)),
    default: Default::Word("refuse"),
    docs: "What happens to a version 1 line with one IPv4 and one IPv6 address, which the specification does not know.\n\
           nginx writes such lines after `set_real_ip_from` changed the family; `\"accept\"` reads them, and the backend gets a header of one family.",
    sample: Sample::Comment("\"accept\""),
};

pub(in crate::config) static MISSING_HEADER: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.missing-header",
    shape: Shape::Word(|| names(&MISSING)),
    default: Default::Word("refuse"),
    docs: "How a trusted peer that sends no header is treated.\n\
           `\"refuse\"`: a proxy with a mistake; its connection ends.\n\
           `\"unsafe-client-is-peer\"`: the client itself, under its own address, for access, limits and the backend; for peers whose address carries direct traffic as well, such as the gateway of a container network.\n\
           Unsafe, since any connection from that address can begin with a header that names any client on the internet; headers that name private or loopback clients, this machine or a backend are refused then.\n\
           A header that comes after `proxy.missing-header-wait` is refused as `untrusted_header`.\n\
           Where `proxy.own = \"forward\"`, a header without a client is no way past access and limits: such a connection is the peer's.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static MISSING_HEADER_WAIT: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.missing-header-wait",
    shape: Shape::Duration {
        floor: Duration::from_millis(100),
        why: "a header that is on its way needs as long, and one that comes later is refused",
    },
    default: Default::Duration(MISSING_HEADER_WAIT_DEFAULT),
    docs: "How long a trusted peer may be silent, counted from accept on, before it is taken for the client itself.\n\
           A direct client waits that long for the greeting of a server that speaks first.\n\
           Only with `proxy.missing-header = \"unsafe-client-is-peer\"`, and shorter than `proxy.header-timeout`.",
    sample: Sample::Example("\"500ms\""),
};

pub(in crate::config) static HOP_NETWORKS: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.hop-networks",
    shape: Shape::Hosts,
    default: Default::Derived("none: a connection has one header"),
    docs: "The proxies that stand before those which connect here, each with its exact address: HAProxy in front of HAProxy, both sending a header.\n\
           A header that names one of them as its client must be followed by that proxy's own header, within the same deadline; the last one names the client.\n\
           The proxies in between must pass the header on as data, and not read it.\n\
           Everywhere else a second header is refused as `header_repeated`.\n\
           On a listener it replaces the server-wide list, and `\"off\"` there means none.",
    sample: Sample::Comment("[\"192.0.2.20\"]"),
};

pub(in crate::config) static NAT64_PREFIXES: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.nat64-prefixes",
    shape: Shape::Networks,
    default: Default::Derived("none"),
    docs: "The prefixes of this network's NAT64 or SIIT translators; `64:ff9b::/96` is the well-known one.\n\
           A client in one of them is folded to the IPv4 address inside it, before access, limits, log and handoff; otherwise SPF, DNSBL and IPv4 lists are asked about an address that they do not know.\n\
           Lengths: 32, 40, 48, 56, 64 and 96 (RFC 6052).\n\
           On a listener it replaces the server-wide list; an empty list there means none.",
    sample: Sample::Comment("[\"64:ff9b::/96\"]"),
};

pub(in crate::config) static OWN_CONNECTIONS: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.own",
    shape: Shape::Word(|| names(&OWN)),
    default: Default::ByProtocol(|protocol| {
        let own = OWN.iter().find(|(_, own)| *own == protocol.own_connections());
        own.map(|(name, _)| format!("`\"{name}\"`")).unwrap_or_default()
    }),
    docs: "What happens to the connections that a proxy makes for itself, such as health checks: their header carries no client.\n\
           `\"answer\"`: truepeer greets in the listener's protocol and no byte reaches a backend; mail protocols only.\n\
           `\"forward\"`: the backend gets them under the proxy's own address.\n\
           `\"refuse\"`: they are closed.",
    sample: Sample::Comment("\"refuse\""),
};

pub(in crate::config) static UNSAFE_IMPLAUSIBLE: Setting = Setting {
    scope: Scope::Proxy,
    name: "proxy.unsafe-accept-implausible-clients",
    shape: Shape::FlagOrAddresses,
    default: Default::False,
    docs: "Whether a header is believed that names a client which cannot be true: loopback, this machine or a backend while the peer is elsewhere, or no single host at all.\n\
           A list of single addresses admits these and no others: a backend that reaches itself through the balancer (hairpin), say. Better, such programs connect directly.\n\
           A backend may grant rights to such addresses, so a mistake in the proxy becomes an open relay.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static MAX_PENDING: Setting = Setting {
    scope: Scope::Server,
    name: "proxy.max-pending",
    shape: Shape::Count,
    default: Default::Count(MAX_PENDING_DEFAULT),
    docs: "Headers that may be unfinished at once, over all listeners.\n\
           When they are reached, the oldest of them is closed to make room.\n\
           Read at start only.",
    sample: Sample::CommentDefault,
};
