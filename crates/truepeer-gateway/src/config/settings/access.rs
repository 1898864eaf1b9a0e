//! `[access]` and `server.listener.<id>.access`: which clients may enter.

use crate::config::setting::{Default, Sample, Scope, Setting, Shape, names};
use crate::rooms::access::AccessDefault;

pub(in crate::config) static ACCESS_DEFAULTS: [(&str, AccessDefault); 2] =
    [("allow", AccessDefault::Allow), ("deny", AccessDefault::Deny)];

pub(in crate::config) static ALLOW: Setting = Setting {
    scope: Scope::Access,
    name: "allow",
    shape: Shape::ClientNetworks,
    default: Default::Derived("nobody is listed"),
    docs: "Clients that may enter, whatever else is said.",
    sample: Sample::Comment("[\"192.0.2.53\"]"),
};

pub(in crate::config) static DENY: Setting = Setting {
    scope: Scope::Access,
    name: "deny",
    shape: Shape::ClientNetworks,
    default: Default::Derived("nobody is listed"),
    docs: "Clients that may not enter: they hear a permanent refusal in the listener's protocol.",
    sample: Sample::Comment("[\"198.51.100.0/24\"]"),
};

pub(in crate::config) static ALLOW_FILES: Setting = Setting {
    scope: Scope::Access,
    name: "allow-files",
    shape: Shape::Files,
    default: Default::Derived("no file"),
    docs: "Files with more clients that may enter; as `deny-files`.",
    sample: Sample::Example("\"allow.txt\""),
};

pub(in crate::config) static DENY_FILES: Setting = Setting {
    scope: Scope::Access,
    name: "deny-files",
    shape: Shape::Files,
    default: Default::Derived("no file"),
    docs: "Files with more clients that may not enter: an address or network on each line, comments behind `#` or `;`.\n\
           A line that is none is skipped, counted and named by `check` and in the log.\n\
           A file that cannot be read, or that holds a network wider than /8 (IPv4) or /16 (IPv6), is an error: nothing starts, and at a reload the old lists stay.\n\
           Files are read at start and at each reload; relative paths count from the configuration's folder.",
    sample: Sample::Example("[\"deny.txt\"]"),
};

pub(in crate::config) static DEFAULT: Setting = Setting {
    scope: Scope::Access,
    name: "default",
    shape: Shape::Word(|| names(&ACCESS_DEFAULTS)),
    default: Default::Word("allow"),
    docs: "What holds for clients in no list; on a listener it wins over that of `[access]`.",
    sample: Sample::CommentDefault,
};
