//! What balancers see while no backend can be reached.

use crate::config::WhenBackendDown;
use crate::config::setting::{Default, Sample, Scope, Setting, Shape, names};
use crate::rooms::backend::Check;

pub(in crate::config) static BACKEND_DOWN: [(&str, WhenBackendDown); 2] =
    [("answer", WhenBackendDown::Answer), ("close-listener", WhenBackendDown::CloseListener)];

pub(in crate::config) static CHECKS: [(&str, Check); 3] =
    [("protocol", Check::Protocol), ("connect", Check::Connect), ("none", Check::None)];

pub(in crate::config) static CHECK: Setting = Setting {
    scope: Scope::Backend,
    name: "check",
    shape: Shape::Word(|| names(&CHECKS)),
    default: Default::Derived(
        "`\"protocol\"`; `\"none\"` with `protocol = \"tcp\"` or `tls.implicit`, where there are no words",
    ),
    docs: "How truepeer finds out whether this backend works, at start, after a failure, and every 5 seconds where a balancer is shown it (`health-bind`, `close-listener`); a client that was just connected counts as well and saves the question.\n\
           `\"protocol\"`: in the listener's protocol: our header, the greeting, and a goodbye; with `http` our header and `HEAD /`.\n\
           `\"connect\"`: by a connection without a byte. Servers that count such connections lock truepeer out after a while: MariaDB and MySQL after `max_connect_errors`.\n\
           `\"none\"`: never while it works, so that its loss shows with the first client that cannot be connected; only then, and at start, is it connected to.",
    sample: Sample::Comment("\"connect\""),
};

pub(in crate::config) static HEALTH_BIND: Setting = Setting {
    scope: Scope::Listener,
    name: "health-bind",
    shape: Shape::Binds,
    default: Default::Derived("none"),
    docs: "Where health checks of this listener are answered that cannot send a header (Traefik, HAProxy with `check port`, cloud balancers, kubelet): one address or a list; docs/health-checks.md has the lines for each.\n\
           No header is read there; checks hear the greeting of the listener's protocol exactly while one of its backends can be reached (SMTP: 220, HTTP: 200), and the temporary refusal otherwise and while draining (SMTP: 421, HTTP: 503).\n\
           For checks that only connect, set `when-backend-down = \"close-listener\"`: then this port, too, is closed while no backend can be reached, and while draining; with `protocol = \"tcp\"` it is always so, and a UNIX socket, which cannot be shut, closes each check at once.\n\
           It speaks in clear text even if `tls.implicit = true`; checks reach no backend, count as no clients and are not logged; metrics count them.\n\
           At most 64 checks are open at once, each for at most 10 seconds; the oldest is closed to make room.\n\
           A backend is asked every 5 seconds whether it still answers, which its log shows; how is said by its `check`.",
    sample: Sample::Comment("\"127.0.0.1:8025\""),
};

pub(in crate::config) static WHEN_BACKEND_DOWN: Setting = Setting {
    scope: Scope::Listener,
    name: "when-backend-down",
    shape: Shape::Word(|| names(&BACKEND_DOWN)),
    default: Default::Word("answer"),
    docs: "What happens to new connections while none of this listener's backends can be reached.\n\
           `\"answer\"`: clients hear a temporary refusal in the listener's protocol (SMTP: 421).\n\
           `\"close-listener\"`: the port is closed, so that a balancer's check that only connects fails and it sends clients elsewhere; at start it stays closed until a backend is proved.\n\
           With `backend-when-secure`, one of the two backends is enough to keep it open; clients of the other hear the refusal.\n\
           Connections that were already queued are served, the address stays reserved, and a backend is asked every 5 seconds whether it still answers, which its log shows; how is said by its `check`.\n\
           A listener that has to close soon after it came back stays closed a little longer each time, for 30 seconds at most.\n\
           Only for TCP sockets that truepeer binds itself: a UNIX socket cannot come back, and one that a service manager gives is not truepeer's to close.",
    sample: Sample::CommentDefault,
};
