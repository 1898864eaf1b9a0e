//! OpenSMTPD: one row for each text.

use super::{Only, Row};
use crate::{Class, Confidence, Product, Side};

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "opensmtpd-signature",
        product: Some(Product::Opensmtpd),
        class: Class::Miss,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["invalid signature"], &["protocol error"]],
        only: Only::Any,
        quote: &[],
        cause: "this port has `proxy-v2` and reads version 2 only: version 1, or no header, came",
        change: "send version 2: HAProxy `send-proxy-v2`; nginx stream and stunnel cannot, put truepeer or HAProxy in between",
    },
    Row {
        id: "opensmtpd-unspec",
        product: Some(Product::Opensmtpd),
        class: Class::Fam,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["unspec family not supported"]],
        only: Only::Any,
        quote: &[],
        cause: "the header has no address (PROXY with family UNSPEC)",
        change: "let clients reach the proxy over TCP, or send LOCAL for connections of the proxy itself",
    },
    Row {
        id: "opensmtpd-malformed",
        product: Some(Product::Opensmtpd),
        class: Class::Unex,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&[
            "protocol error (unsupported address family)",
            "protocol error (address info too short)",
            "protocol error (invalid version)",
            "protocol error (unknown command)",
        ]],
        only: Only::Any,
        quote: &[],
        cause: "the version 2 header is malformed, or has no TCP address",
        change: "update the sender: its version 2 header is malformed",
    },
    Row {
        id: "opensmtpd-plain",
        product: Some(Product::Opensmtpd),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Certain,
        needs: &[&["failed-command"], &["PROXY TCP", "PROXY UNKNOWN"]],
        only: Only::Any,
        quote: &[],
        cause: "a header came to a port that reads none: the session goes on with the proxy as its client",
        change: "smtpd.conf: `listen on IFACE port 25 proxy-v2` and let the proxy send version 2",
    },
    Row {
        id: "opensmtpd-pipelining",
        product: Some(Product::Opensmtpd),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Possible,
        needs: &[&["invalid command: pipelining not supported"]],
        only: Only::Any,
        quote: &[],
        cause: "several commands came at once, before the greeting: a version 2 header, whose bytes look like lines, or a client that does not wait",
        change: "if a proxy sends the PROXY protocol here: `listen on IFACE port 25 proxy-v2` in smtpd.conf",
    },
];
