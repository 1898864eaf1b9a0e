//! HAProxy: one row for each text.

use super::{Only, Row};
use crate::change::{CHECKS, SEND, WHOLE};
use crate::{Class, Confidence, Product, Side};

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "haproxy-not-header",
        product: Some(Product::Haproxy),
        class: Class::Miss,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&[
            "not look like a proxy protocol",
            "doesn't look like a proxy protocol",
            "not look like proxy protocol",
        ]],
        only: Only::Any,
        quote: &[],
        cause: "what came to a bind line with `accept-proxy` is not a header",
        change: SEND,
    },
    Row {
        id: "haproxy-empty",
        product: Some(Product::Haproxy),
        class: Class::Mix,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[
            &["waiting for proxy protocol", "waiting for the proxy protocol", "waiting for a proxy protocol"],
            &["closed", "connection error"],
        ],
        only: Only::Any,
        quote: &[],
        cause: "the peer connected to a bind line with `accept-proxy` and closed without a header: a health check that sends none",
        change: CHECKS,
    },
    Row {
        id: "haproxy-timeout",
        product: Some(Product::Haproxy),
        class: Class::Miss,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[
            &["waiting for proxy protocol", "waiting for the proxy protocol", "waiting for a proxy protocol"],
            &["timeout", "timed out"],
        ],
        only: Only::Any,
        quote: &[],
        cause: "the peer connected to a bind line with `accept-proxy` and sent no header in time",
        change: SEND,
    },
    Row {
        id: "haproxy-truncated",
        product: Some(Product::Haproxy),
        class: Class::Unex,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["truncated proxy protocol header"]],
        only: Only::Any,
        quote: &[],
        cause: "the header came in pieces, and HAProxy looks at the first piece only",
        change: WHOLE,
    },
    Row {
        id: "haproxy-bad",
        product: Some(Product::Haproxy),
        class: Class::Unex,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["received an invalid proxy protocol header"]],
        only: Only::Any,
        quote: &[],
        cause: "the header is malformed: its CRC32C, a TLV, an address, or a LOCAL that carries addresses (HAProxy 3.0 refuses it)",
        change: "`truepeer explain` shows the byte that is wrong; update the sender",
    },
    Row {
        id: "haproxy-family",
        product: Some(Product::Haproxy),
        class: Class::Fam,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["unhandled protocol in the proxy protocol header"]],
        only: Only::Any,
        quote: &[],
        cause: "the header names a family that HAProxy does not take",
        change: "let clients reach the sender over TCP",
    },
];
