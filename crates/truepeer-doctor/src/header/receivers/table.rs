//! The receivers: one row each, as observed.

use super::{Does, Receiver};
use crate::Product;

/// What most do; a row says where it differs.
const USUAL: Receiver = Receiver {
    name: "",
    product: Product::Haproxy,
    v1: Does::Takes,
    v2: Does::Takes,
    unknown: Does::Proxy,
    unknown_more: Does::Proxy,
    local: Does::Proxy,
    local_block: Does::Proxy,
    unspecified: Does::Refuses,
    unix: Does::Refuses,
    datagram: Does::Refuses,
    v1_port_zero: Does::Takes,
    v1_mixed: Does::Refuses,
    wrong_checksum: Does::Takes,
    wrong_tlv: Does::Takes,
    longest: 65_551,
    longest_tlv: 65_535,
    longest_authority: 65_535,
    note: "",
};

/// Every receiver, in the order of the documentation.
pub(in crate::header) const RECEIVERS: &[Receiver] = &[
    Receiver {
        name: "Postfix smtpd and postscreen",
        product: Product::Postfix,
        unknown: Does::Refuses,
        unknown_more: Does::Refuses,
        longest: 536,
        note: "no trust list: anyone who reaches the port is believed; TLVs are not read, so STARTTLS is offered whatever they say",
        ..USUAL
    },
    Receiver {
        name: "Dovecot 2.3",
        product: Product::Dovecot,
        v1_port_zero: Does::Refuses,
        wrong_tlv: Does::Refuses,
        longest: 1500,
        longest_authority: 255,
        note: "an SSL TLV with its first bit makes the session secured",
        ..USUAL
    },
    Receiver {
        name: "Dovecot 2.4",
        product: Product::Dovecot,
        v1_port_zero: Does::Refuses,
        wrong_tlv: Does::Refuses,
        longest: 1504,
        longest_authority: 255,
        note: "with `ssl = yes` any header makes the session secured: set `ssl = required`",
        ..USUAL
    },
    Receiver {
        name: "Exim",
        product: Product::Exim,
        v1_port_zero: Does::Refuses,
        v1_mixed: Does::Takes,
        longest: 232,
        note: "TLVs are not read",
        ..USUAL
    },
    Receiver {
        name: "OpenSMTPD",
        product: Product::Opensmtpd,
        v1: Does::Refuses,
        unix: Does::Path,
        note: "no trust list: anyone who reaches the port is believed; TLVs are not read",
        ..USUAL
    },
    Receiver {
        name: "Stalwart",
        product: Product::Stalwart,
        unspecified: Does::Proxy,
        unix: Does::Proxy,
        datagram: Does::Takes,
        note: "takes TLS version and cipher from the SSL TLV; the destination is dropped",
        ..USUAL
    },
    Receiver {
        name: "nginx http",
        product: Product::Nginx,
        unspecified: Does::Proxy,
        unix: Does::Proxy,
        datagram: Does::Proxy,
        v1_mixed: Does::Takes,
        longest: 1024,
        note: "`$remote_addr` is the client only for peers in `set_real_ip_from`",
        ..USUAL
    },
    Receiver {
        name: "nginx stream up to 1.22",
        product: Product::Nginx,
        unspecified: Does::Proxy,
        unix: Does::Proxy,
        datagram: Does::Proxy,
        v1_mixed: Does::Takes,
        longest: 107,
        note: "passes no TLV on",
        ..USUAL
    },
    Receiver {
        name: "nginx stream 1.26",
        product: Product::Nginx,
        unspecified: Does::Proxy,
        unix: Does::Proxy,
        datagram: Does::Proxy,
        v1_mixed: Does::Takes,
        longest: 4096,
        note: "passes no TLV on",
        ..USUAL
    },
    Receiver {
        name: "HAProxy 2.6",
        product: Product::Haproxy,
        unknown_more: Does::Refuses,
        wrong_checksum: Does::Refuses,
        wrong_tlv: Does::Refuses,
        longest: 16_384,
        longest_authority: 255,
        note: "passes no TLV on unless told to",
        ..USUAL
    },
    Receiver {
        name: "HAProxy 3.0",
        product: Product::Haproxy,
        unknown_more: Does::Refuses,
        local_block: Does::Refuses,
        wrong_checksum: Does::Refuses,
        wrong_tlv: Does::Refuses,
        longest: 16_384,
        longest_tlv: 1024,
        longest_authority: 255,
        note: "passes no TLV on unless told to (`set-proxy-v2-tlv-fmt`)",
        ..USUAL
    },
    Receiver {
        name: "Traefik 3",
        product: Product::Traefik,
        longest: 4112,
        note: "passes no TLV on; a peer outside `trustedIPs` is taken as it is",
        ..USUAL
    },
    Receiver {
        name: "Envoy",
        product: Product::Envoy,
        wrong_tlv: Does::Refuses,
        longest: 1024,
        note: "no trust list in the filter",
        ..USUAL
    },
    Receiver {
        name: "Caddy 2.11",
        product: Product::Caddy,
        unix: Does::Path,
        longest: 4112,
        note: "",
        ..USUAL
    },
    Receiver {
        name: "Varnish",
        product: Product::Varnish,
        unknown: Does::Refuses,
        unknown_more: Does::Refuses,
        unspecified: Does::Proxy,
        unix: Does::Proxy,
        wrong_checksum: Does::Refuses,
        wrong_tlv: Does::Refuses,
        longest: 404,
        note: "no trust list: anyone who reaches the port is believed",
        ..USUAL
    },
    Receiver {
        name: "MariaDB",
        product: Product::Mariadb,
        unix: Does::Takes,
        longest: 612,
        note: "greets clients without a header, too",
        ..USUAL
    },
];
