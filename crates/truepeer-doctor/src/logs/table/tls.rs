//! TLS libraries that were given a header: one row for each text.

use super::{Only, Row};
use crate::{Class, Confidence, Product, Side};

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "tls-go",
        product: Some(Product::GoServer),
        class: Class::Tls,
        side: Side::Back,
        confidence: Confidence::Likely,
        needs: &[&["first record does not look like a tls handshake"]],
        only: Only::Any,
        quote: &[],
        cause: "something that is no TLS came where TLS was due: a header that is to be read before TLS, or a client without TLS",
        change: "read the header outside of TLS: the listener for the PROXY protocol wraps the socket, TLS wraps that (maddy, Go: `tls.NewListener(proxyproto.Listener{...})`); or switch the header off at the proxy",
    },
    Row {
        id: "tls-rustls",
        product: Some(Product::Stalwart),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Likely,
        needs: &[&["invalidcontenttype"]],
        only: Only::Any,
        quote: &[],
        cause: "something that is no TLS came to a TLS port: a header from a peer that is not in the trusted networks of this listener, or a client without TLS",
        change: "if a proxy sends the header, trust the address that it connects from (`server.listener.<id>.proxy.trusted-networks`; in containers the gateway, never `0.0.0.0`)",
    },
    Row {
        id: "tls-version",
        product: Some(Product::Openssl),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Possible,
        needs: &[&["wrong version number"], &["ssl", "tls"]],
        only: Only::Any,
        quote: &[],
        cause: "something that is no TLS came where TLS was due: a header to a server that reads none, or plain text",
        change: "if a proxy sends the PROXY protocol here, let this port read it before TLS (nginx: `listen 443 ssl proxy_protocol;`, Dovecot: `haproxy = yes`); or switch it off at the proxy",
    },
    Row {
        id: "tls-java",
        product: None,
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Possible,
        needs: &[&["unrecognized ssl message", "unsupported or unrecognized ssl"]],
        only: Only::Any,
        quote: &[],
        cause: "something that is no TLS came where TLS was due: a header to a server that reads none, or plain text",
        change: "if a proxy sends the PROXY protocol here, let this port read it before TLS, or switch it off at the proxy",
    },
    Row {
        id: "tls-gnutls",
        product: Some(Product::Gnutls),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Likely,
        needs: &[
            &["record packet of unknown type", "unknown record type", "unknown content type"],
            &["80", "13", "0x50", "0x0d"],
        ],
        only: Only::Any,
        quote: &[],
        cause: "the first byte of a header was read as a TLS record type: a `P` (80) or CR (13)",
        change: "let this port read the header before TLS, or switch it off at the proxy",
    },
];
