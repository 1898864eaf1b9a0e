//! One row for each kind. Every figure was observed on the versions in `seen`, with headers of each form and length.

use std::time::Duration;

use truepeer_doctor::{Product, change};

use super::{KindFacts, PortZero, Silence};
use crate::rooms::handoff::choice::Handoff;
use crate::rooms::handoff::tlvs::{Fact, FactSet};

/// What the usual server is like; each row says what differs.
const USUAL: KindFacts = KindFacts {
    name: "",
    title: "",
    handoff: Some(Handoff::ProxyV2),
    unreadable: &[],
    header_budget: 536,
    tlvs: FactSet::NONE,
    breaks: None,
    v1_port_zero: PortZero::Taken,
    silence: Silence::Kept,
    remedy: "",
    seen: "",
};

/// XCLIENT is a command of mail servers.
const NO_MAIL: &[(Handoff, &str)] = &[(Handoff::Xclient, "it is no mail server, and knows no such command")];

/// It reads no item, and one fixed buffer holds the header.
pub(super) static POSTFIX: KindFacts = KindFacts {
    name: "postfix",
    title: "Postfix smtpd",
    remedy: change::reads(Product::Postfix),
    seen: "3.7, 3.10",
    ..USUAL
};

/// The same reader as smtpd's.
pub(super) static POSTSCREEN: KindFacts = KindFacts {
    name: "postscreen",
    title: "Postfix postscreen",
    unreadable: &[(Handoff::Xclient, "postscreen never offers XCLIENT")],
    remedy: change::reads(Product::Postscreen),
    seen: "3.7, 3.10",
    ..USUAL
};

pub(super) static DOVECOT: KindFacts = KindFacts {
    name: "dovecot",
    title: "Dovecot",
    header_budget: 1500,
    tlvs: FactSet::of(&[Fact::Ssl]),
    breaks: Some((
        FactSet::of(&[Fact::Authority, Fact::Alpn]),
        "2.4.0 and 2.4.1 use a host name or protocol name after it was freed, and later ones refuse a protocol name that is not their own",
    )),
    v1_port_zero: PortZero::Refused,
    remedy: change::reads(Product::Dovecot),
    seen: "2.3.19, 2.4.1",
    ..USUAL
};

/// Bytes over its budget are read as commands.
pub(super) static EXIM: KindFacts = KindFacts {
    name: "exim",
    title: "Exim",
    header_budget: 232,
    v1_port_zero: PortZero::Refused,
    silence: Silence::KeptFor(Duration::from_secs(3)),
    remedy: change::reads(Product::Exim),
    seen: "4.96, 4.98",
    ..USUAL
};

pub(super) static OPENSMTPD: KindFacts = KindFacts {
    name: "opensmtpd",
    title: "OpenSMTPD",
    unreadable: &[(
        Handoff::ProxyV1,
        "it reads version 2 only: it answers a version 1 line with a protocol error, or waits for more and never answers",
    )],
    header_budget: 65_535,
    remedy: change::reads(Product::Opensmtpd),
    seen: "6.8, 7.6",
    ..USUAL
};

/// It believes bit 0 of the TLS facts, which takes STARTTLS away and lets clients log in.
pub(super) static STALWART: KindFacts = KindFacts {
    name: "stalwart",
    title: "Stalwart",
    header_budget: 65_535,
    tlvs: FactSet::of(&[Fact::Ssl]),
    remedy: change::reads(Product::Stalwart),
    seen: "0.15.5",
    ..USUAL
};

/// Its stream module took no more than this up to 1.22; its http module takes 1024, and stream 4096 from 1.26 on.
pub(super) static NGINX: KindFacts = KindFacts {
    name: "nginx",
    title: "NGINX",
    header_budget: 107,
    remedy: change::reads(Product::Nginx),
    seen: "1.22, 1.26",
    ..USUAL
};

/// It checks the checksum.
pub(super) static HAPROXY: KindFacts = KindFacts {
    name: "haproxy",
    title: "HAProxy",
    unreadable: NO_MAIL,
    header_budget: 16_384,
    tlvs: FactSet::REGISTERED,
    remedy: change::reads(Product::Haproxy),
    seen: "2.6, 3.0",
    ..USUAL
};

/// It checks the checksum, and has names for TLS facts, host name and protocol.
pub(super) static VARNISH: KindFacts = KindFacts {
    name: "varnish",
    title: "Varnish",
    unreadable: NO_MAIL,
    header_budget: 404,
    tlvs: FactSet::of(&[Fact::Ssl, Fact::Authority, Fact::Alpn, Fact::Crc32c]),
    remedy: change::reads(Product::Varnish),
    seen: "7.1, 7.7",
    ..USUAL
};

pub(super) static MARIADB: KindFacts = KindFacts {
    name: "mariadb",
    title: "MariaDB",
    unreadable: NO_MAIL,
    header_budget: 612,
    silence: Silence::Broken,
    remedy: change::reads(Product::Mariadb),
    seen: "10.11",
    ..USUAL
};

pub(super) static WHOAMI: KindFacts = KindFacts {
    name: "whoami",
    title: "the built-in test server",
    unreadable: &[(Handoff::Xclient, "it reads headers only")],
    header_budget: 4112,
    tlvs: FactSet::REGISTERED,
    seen: "this version",
    ..USUAL
};

/// What no server that was tried chokes on, short of NGINX' stream module, Exim and Varnish.
pub(super) static OTHER: KindFacts = KindFacts {
    name: "other",
    title: "anything else",
    handoff: None,
    tlvs: FactSet::REGISTERED,
    v1_port_zero: PortZero::Refused,
    remedy: change::READ_OTHER,
    seen: "none: conservative values",
    ..USUAL
};
