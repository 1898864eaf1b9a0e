//! The words around a number or a word that make it mean something, and those by which a program is known. Only data.

use crate::Product;

/// Words of a text in which a number is a length, a version, a type, or a mistake.
pub(crate) const NUMBER_OF: &[&str] = &[
    "length",
    " len",
    "msglen",
    "_len",
    "size",
    "version",
    "packet",
    "frame",
    "record",
    "magic",
    " type",
    "payload",
    "too large",
    "too long",
    "too big",
    "larger than",
    "exceed",
    "oversized",
    "maximum",
    "unsupported",
    "unexpected",
    "invalid receive",
    "startup",
    "preface",
    "incoming",
    "fragment",
    "messagestart",
    "prefix",
    "signature",
    "header",
];

/// Words of a text in which a number is a mistake.
pub(crate) const WRONG: &[&str] = &[
    "too large",
    "too long",
    "too big",
    "larger than",
    "exceed",
    "oversized",
    "unsupported",
    "unexpected",
    "unknown channel",
    "unknown type",
    "unknown packet",
    "unknown message",
    "unknown version",
    "wrong ",
    "invalid",
    "illegal",
    "malformed",
    "mismatch",
    "not supported",
    "bad ",
    "corrupt",
    "unreasonable",
    "out of order",
];

/// Words of a text that says that nobody knows a command, a method or a protocol.
pub(crate) const NOBODY_KNOWS: &[&str] = &[
    "unknown command",
    "unknown method",
    "unknown http method",
    "unknown verb",
    "unknown request",
    "unknown keyword",
    "unknown protocol",
    "unsupported method",
    "unsupported http method",
    "unsupported protocol",
    "unsupported command",
    "unrecognized command",
    "unrecognised command",
    "command unrecognized",
    "command not recognized",
    "command not understood",
    "command not implemented",
    "not understood",
    "invalid method",
    "invalid http method",
    "invalid command",
    "illegal command",
    "bad command",
    "bad method",
    "no such command",
    "method not implemented",
    "unexpected method",
    "invalidmethod",
    "invalid_method",
    "unknownmethod",
    "unknown_method",
    "unsupportedmethod",
    "unknowncommand",
    "unknown_command",
    "unknown cmd",
];

/// Words of a text that says what was due.
pub(super) const EXPECTED: &[&str] = &["expected", "expecting", "should be", "must be", "instead of"];

/// Words of a text about the first message of a connection, which MQTT and others have of one kind only.
pub(super) const FIRST_PACKET: &[&str] = &[
    "first packet",
    "first message",
    "before connect",
    "expected connect",
    "expecting connect",
    "connect expected",
    "instead of connect",
    "not connect",
];

/// Words of a text about a message that does not hold together.
pub(super) const BROKEN: &[&str] =
    &["is broken", "is malformed", "cannot be decoded", "could not be decoded"];

/// Words of a text that says that a kind of something is not known.
pub(super) const UNSUPPORTED: &[&str] = &["not supported", "unsupported", "not understood", "not known"];

/// Words of a text about a request that is none.
pub(super) const REQUEST: &[&str] = &[
    "malformed request",
    "bad request",
    "invalid request",
    "request parsing",
    "invalid uri",
    "invalid path",
];

/// Words of a text that speaks of how a connection begins.
pub(crate) const BEGINNING: &[&str] = &[
    "prefix",
    "signature",
    "magic",
    "detect",
    "protocol",
    "preamble",
    "preface",
    "first bytes",
    "unexpected bytes",
    "handshake",
    "header",
    "version",
    "greeting",
    "banner",
];

/// Words by which the program that wrote a line is known.
pub(crate) const NAMES: &[(&str, Product)] = &[
    ("sshd", Product::Openssh),
    ("kex_exchange", Product::Openssh),
    ("openssh", Product::Openssh),
    ("dropbear", Product::Openssh),
    ("postscreen", Product::Postscreen),
    ("postfix", Product::Postfix),
    ("dovecot", Product::Dovecot),
    ("imap-login", Product::Dovecot),
    ("pop3-login", Product::Dovecot),
    ("exim", Product::Exim),
    ("nginx", Product::Nginx),
    ("haproxy[", Product::Haproxy),
    ("traefik", Product::Traefik),
    ("envoy", Product::Envoy),
    ("caddy", Product::Caddy),
    ("varnish", Product::Varnish),
    ("apache", Product::Apache),
    ("httpd", Product::Apache),
    ("ah00", Product::Apache),
    ("ah10", Product::Apache),
    ("tomcat", Product::Tomcat),
    ("coyote", Product::Tomcat),
    ("jetty", Product::Jetty),
    ("netty", Product::Netty),
    ("mosquitto", Product::Mosquitto),
    ("emqx", Product::Emqx),
    ("mariadb", Product::Mariadb),
    ("mysqld", Product::Mysql),
    ("mysql", Product::Mysql),
    ("postgres", Product::Postgresql),
    ("redis", Product::Redis),
    ("minecraft", Product::Minecraft),
    ("velocity", Product::Minecraft),
    ("bungee", Product::Minecraft),
    ("stalwart", Product::Stalwart),
    ("gnutls", Product::Gnutls),
    ("openssl", Product::Openssl),
    ("rustls", Product::Rustls),
];
