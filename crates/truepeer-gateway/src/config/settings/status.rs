//! What is served to monitoring, and to whoever would rather look.

use crate::config::setting::{Default, Sample, Scope, Setting, Shape};

pub(in crate::config) static STATUS_BIND: Setting = Setting {
    scope: Scope::Status,
    name: "bind",
    shape: Shape::Binds,
    default: Default::Derived("none: nothing is served"),
    docs: "Where `/metrics` (OpenMetrics), `/healthz`, `/readyz` and `/readyz/LISTENER` are served over HTTP, to anybody who connects.\n\
           Read-only: nothing can be changed there, and no answer holds a client's address, unless `addresses` says so.\n\
           Ready means that clients would be served now: not draining, and behind every listener (or the one named) a backend that may be handed clients.\n\
           A listener with `backend-when-secure` needs both of its backends for that, so that a balancer sends clients to where all of them are served.\n\
           A reload may move it, also to an address that overlaps the old one (`[::]:9470` after `127.0.0.1:9470`).",
    sample: Sample::Comment("\"127.0.0.1:9470\""),
};

pub(in crate::config) static STATUS_PAGE: Setting = Setting {
    scope: Scope::Status,
    name: "page",
    shape: Shape::Flag,
    default: Default::Derived(
        "`true` if every address of `bind` is loopback or a UNIX socket, otherwise `false`",
    ),
    docs: "Whether `/` is a page for people: what comes in, who is turned away and why, which backend is sick, what to change; docs/see.md shows it.\n\
           It is read-only like the rest, asks nothing of any other server, and names nobody; it keeps counts of the last hour in memory, at most 4 MiB.\n\
           On loopback it answers requests that name an address or `localhost` only, so that no foreign web page can read it by a name of its own.",
    sample: Sample::Comment("true"),
};

pub(in crate::config) static STATUS_ADDRESSES: Setting = Setting {
    scope: Scope::Status,
    name: "addresses",
    shape: Shape::Flag,
    default: Default::False,
    docs: "Whether the page names clients and peers by their addresses, and shows what was seen of them.\n\
           Without it each is `ADDRESS` there; the log has them in any case.\n\
           Only where every address of `bind` is loopback or a UNIX socket: whoever can connect reads them.",
    sample: Sample::CommentDefault,
};
