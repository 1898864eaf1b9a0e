//! Exim: one row for each text.

use super::{Only, Row};
use crate::change::SHORTER;
use crate::{Class, Confidence, Product, Side};

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "exim-required",
        product: Some(Product::Exim),
        class: Class::Miss,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["proxy negotiation failed"]],
        only: Only::Any,
        quote: &[],
        cause: "the peer is in `hosts_proxy`, so Exim expects a header of at most 232 bytes, in one piece, within 3 s; none came",
        change: "make the proxy send a header to this port (HAProxy: `send-proxy-v2` on the server line, without long TLVs), or take the peer out of `hosts_proxy` if it is no proxy",
    },
    Row {
        id: "exim-plain-v1",
        product: Some(Product::Exim),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Certain,
        needs: &[&["smtp syntax error in"], &["PROXY TCP", "PROXY UNKNOWN"]],
        only: Only::Any,
        quote: &[],
        cause: "a header came from {peer}, which is not in `hosts_proxy`: it was read as a command, and the session goes on with the proxy as its client",
        change: "exim.conf: `hosts_proxy = {peer}`, then restart Exim",
    },
    Row {
        id: "exim-plain-v2",
        product: Some(Product::Exim),
        class: Class::Unex,
        side: Side::Both,
        confidence: Confidence::Likely,
        needs: &[&["smtp syntax error in"], &["nul character(s) present"]],
        only: Only::Near,
        quote: &[],
        cause: "a version 2 header, or what of it is beyond the 232 bytes that Exim reads, was taken for commands",
        change: "exim.conf: `hosts_proxy = {peer}`, if the peer is your proxy; let it send fewer TLVs",
    },
    Row {
        id: "exim-large",
        product: Some(Product::Exim),
        class: Class::Unex,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["unreasonably large"], &["proxy", "security attack"]],
        only: Only::Any,
        quote: &[],
        cause: "the header is longer than the 232 bytes that Exim reads",
        change: SHORTER,
    },
    Row {
        id: "exim-empty",
        product: Some(Product::Exim),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Possible,
        needs: &[&[r#"smtp syntax error in """#, r#"smtp syntax error in \"\""#]],
        only: Only::Near,
        quote: &[],
        cause: "empty lines came where a command was due: a version 2 header begins with two, if {peer} is a proxy that sends one",
        change: "if it is your proxy: `hosts_proxy = {peer}` in exim.conf, then restart Exim; or take `send-proxy-v2` away at the proxy",
    },
];
