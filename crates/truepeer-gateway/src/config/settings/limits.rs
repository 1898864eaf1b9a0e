//! `[limits]` and `server.listener.<id>.limits`: how many connections clients may have.

use crate::config::setting::{Default, Sample, Scope, Setting, Shape, names};
use crate::facts::protocol::Protocol;
use crate::rooms::limits::{Limits, Mode, Policy};

pub(in crate::config) static LIMITS_MODE: [(&str, Mode); 2] =
    [("enforce", Mode::Enforce), ("observe", Mode::Observe)];

pub(in crate::config) static CONNECTIONS_PER_CLIENT: Setting = Setting {
    scope: Scope::Limits,
    name: "connections-per-client",
    shape: Shape::CountOrOff,
    default: Default::ByProtocol(connections_per_client_by),
    docs: "Connections at once that one client may have on one listener; each listener counts on its own.\n\
           Why `50` for `smtp`: mail servers open a handful to one host (Postfix takes 20 at most for one destination, large senders some more from one address), so only a flood is ever refused.\n\
           Why none for users' protocols: a mail program opens up to a dozen, and an office or a mobile network is one address with hundreds of people behind it.\n\
           Said in `[limits]`, the number holds for the listeners of every protocol.",
    sample: Sample::Comment("50"),
};

pub(in crate::config) static RATE_PER_CLIENT: Setting = Setting {
    scope: Scope::Limits,
    name: "rate-per-client",
    shape: Shape::Rate,
    default: Default::Word("off"),
    docs: "New connections that one client may open on one listener in a time: `\"60/1m\"` is 60 in a minute, all of which may come at once.\n\
           Refused connections do not count.\n\
           There is no default for any protocol: after an outage a sender delivers its whole queue, and that is no attack.",
    sample: Sample::Comment("\"60/1m\""),
};

pub(in crate::config) static LIMITS_MAX_CONNECTIONS: Setting = Setting {
    scope: Scope::Limits,
    name: "max-connections",
    shape: Shape::CountOrOff,
    default: Default::Word("off"),
    docs: "Connections of clients at once: in `[limits]` over all listeners, on a listener those of this one; both hold.\n\
           Clients beyond it hear a temporary refusal, exempt ones, too, whereas `server.max-connections` makes accepting pause; so this one is the lower number.",
    sample: Sample::Comment("4000"),
};

pub(in crate::config) static IPV4_PREFIX: Setting = Setting {
    scope: Scope::Limits,
    name: "ipv4-prefix",
    shape: Shape::PrefixLength(32),
    default: Default::Count(32),
    docs: "How many leading bits of an IPv4 address make one client.\n\
           All of them: one address is one client.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static IPV6_PREFIX: Setting = Setting {
    scope: Scope::Limits,
    name: "ipv6-prefix",
    shape: Shape::PrefixLength(128),
    default: Default::Count(64),
    docs: "How many leading bits of an IPv6 address make one client.\n\
           A single customer can use every address of a /64, so that with a longer prefix one client would count as many.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static EXEMPT: Setting = Setting {
    scope: Scope::Limits,
    name: "exempt",
    shape: Shape::ClientNetworks,
    default: Default::Derived("no client is exempt"),
    docs: "Clients that no limit per client holds for, such as your own monitoring or a backup MX.\n\
           Proxies need not be listed: limits are about the clients behind them, never about peers that speak for others.\n\
           On a listener it replaces the list of `[limits]`; an empty list exempts nobody.",
    sample: Sample::Comment("[\"192.0.2.53\"]"),
};

pub(in crate::config) static MODE: Setting = Setting {
    scope: Scope::Limits,
    name: "mode",
    shape: Shape::Word(|| names(&LIMITS_MODE)),
    default: Default::Word("enforce"),
    docs: "What happens to a client that exceeds a limit.\n\
           `\"enforce\"`: it hears a temporary refusal in its own protocol, so mail stays in the sender's queue.\n\
           `\"observe\"`: nobody is refused; the record of such a connection says `would_refuse` and which limit.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static MAX_CLIENTS: Setting = Setting {
    scope: Scope::LimitsOfAll,
    name: "max-clients",
    shape: Shape::Count,
    default: Default::Count(MAX_CLIENTS_DEFAULT),
    docs: "Clients that are counted at once, over all listeners, at most 240 bytes each.\n\
           When the table is full, clients without a connection and with their whole rate make room; if there is none, new clients share one count.\n\
           Read at start only.",
    sample: Sample::CommentDefault,
};

#[expect(clippy::cast_possible_truncation, reason = "the constant fits, and no fallible conversion is const")]
pub(in crate::config) const MAX_CLIENTS_DEFAULT: u32 = Limits::DEFAULT_CLIENTS as u32;

fn connections_per_client_by(protocol: Protocol) -> String {
    let most = Policy::default_for(protocol).connections_per_client;
    most.map_or_else(|| "`\"off\"`".to_owned(), |most| format!("`{most}`"))
}
