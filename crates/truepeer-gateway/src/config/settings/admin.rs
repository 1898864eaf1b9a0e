//! `[admin]`: where a running server is reached by its operator.

use crate::config::setting::{Default, Sample, Scope, Setting, Shape};

pub(in crate::config) static ADMIN_SOCKET: Setting = Setting {
    scope: Scope::Admin,
    name: "socket",
    shape: Shape::Path("/run/truepeer/admin.sock"),
    default: Default::Derived("none: `truepeer reload` and the like cannot reach this server"),
    docs: "The UNIX socket on which `truepeer top`, `connections`, `status`, `reload`, `deny` and `undeny` reach this server.\n\
           Its mode is 0600: root and the user that truepeer runs as may use it, nobody else.\n\
           A reload may move it: the new one answers before the old one ends.",
    sample: Sample::Comment("\"/run/truepeer/admin.sock\""),
};

pub(in crate::config) static ADMIN_STATE: Setting = Setting {
    scope: Scope::Admin,
    name: "state",
    shape: Shape::Path("/var/lib/truepeer/denied"),
    default: Default::Derived("none: denials end with the process"),
    docs: "The file in which what `truepeer deny` has ordered survives a restart.\n\
           It is replaced as a whole on each change, so truepeer must be allowed to write its folder (`StateDirectory=truepeer` in a service unit makes /var/lib/truepeer).\n\
           Read at start only.",
    sample: Sample::Comment("\"/var/lib/truepeer/denied\""),
};
