//! `[shared]`: what many front doors know together.

use crate::config::setting::{Default, Sample, Scope, Setting, Shape};

/// What the keys in the store begin with.
pub(in crate::config) const SHARED_PREFIX_DEFAULT: &str = "truepeer";

pub(in crate::config) static SHARED_URL: Setting = Setting {
    scope: Scope::Shared,
    name: "url",
    shape: Shape::StoreAddress,
    default: Default::Derived("none: this front door shares nothing"),
    docs: "The Redis or Valkey through which several front doors share bans, version 6 or later.\n\
           `redis://HOST:PORT/DATABASE`, or `rediss://` over TLS, with `USER@` before the host where a user of its own is made for truepeer.\n\
           `redis-sentinel://HOST,HOST/MASTER` asks sentinels for the master; `redis-cluster://HOST,HOST` is a cluster; both with `rediss-` over TLS.\n\
           Each front door answers from its own memory: no connection ever waits for the store, and while it is away everybody goes on with what they know.\n\
           Whoever can write there can ban and unban clients of all front doors, though no trusted proxy, and not without a line in the log.",
    sample: Sample::Comment("\"rediss://store.example.org:6379\""),
};

pub(in crate::config) static SHARED_PASSWORD_FILE: Setting = Setting {
    scope: Scope::Shared,
    name: "password-file",
    shape: Shape::Path("/etc/truepeer/store-password"),
    default: Default::Derived("none: the store asks for no password"),
    docs: "The file that holds the store's password, and nothing else; a line end behind it does not count.\n\
           Read for each new connection to the store, so that a new password needs no reload.\n\
           Sentinels are asked without a password.",
    sample: Sample::Comment("\"/etc/truepeer/store-password\""),
};

pub(in crate::config) static SHARED_CA_FILE: Setting = Setting {
    scope: Scope::Shared,
    name: "tls.ca-file",
    shape: Shape::Path("/etc/truepeer/store-ca.pem"),
    default: Default::Derived("the authorities that this system trusts"),
    docs: "The certificates, in PEM, of the authorities that may have signed the store's certificate.\n\
           Only with `rediss://` and its kin; the certificate must name the host of `url`.",
    sample: Sample::Comment("\"/etc/truepeer/store-ca.pem\""),
};

pub(in crate::config) static SHARED_PREFIX: Setting = Setting {
    scope: Scope::Shared,
    name: "prefix",
    shape: Shape::Name,
    default: Default::Word(SHARED_PREFIX_DEFAULT),
    docs: "What the keys in the store begin with.\n\
           Front doors with the same one share; others in the same store have nothing to do with them.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static SHARED_NODE: Setting = Setting {
    scope: Scope::Shared,
    name: "node",
    shape: Shape::Name,
    default: Default::Derived("the name of this system"),
    docs: "What this front door is called where others see its bans: in their logs and in `truepeer deny --list`.",
    sample: Sample::Comment("\"mx1\""),
};

pub(in crate::config) static SHARED_REQUIRED: Setting = Setting {
    scope: Scope::Shared,
    name: "required",
    shape: Shape::Flag,
    default: Default::False,
    docs: "Whether this front door is ready only once it has read what the store holds.\n\
           Asked once, after a start: a store that goes away later makes nobody unready.\n\
           Health ports, `/readyz` and `truepeer status` say so; clients that come all the same are served.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static SHARED_LIMITS: Setting = Setting {
    scope: Scope::Shared,
    name: "limits",
    shape: Shape::Flag,
    default: Default::False,
    docs: "Whether connections that a client has open at other front doors count for `limits.connections-per-client` here.\n\
           Approximate: what is known of others is about half a second old, the busiest 1000 clients of each are told, and clients with a small part of their limit are not, so that a client may have a quarter more than its limit.\n\
           Listeners of one name count together; rates are counted by each front door alone.\n\
           While the store is away, each counts what is open here.",
    sample: Sample::CommentDefault,
};
