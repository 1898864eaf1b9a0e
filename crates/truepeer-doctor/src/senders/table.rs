//! One row for each sender.

use truepeer_proto::Version;

use super::{CheckKind, CheckSends, Leaves, Mapped, Own, Sender};
use crate::Product;

/// What most are like; each row says what differs.
const USUAL: Sender = Sender {
    product: Product::Haproxy,
    title: "",
    setting: "",
    versions: &[Version::V1, Version::V2],
    leaves: Leaves::AtOnce,
    waits: "",
    longest: 0,
    tlvs: &[],
    tells_ports: true,
    unix_client: Own::Untold,
    own_received: Own::Untold,
    passes_tlvs: "no",
    mapped: Mapped::Untold,
    checks: &[],
    patience: "",
    seen: "",
};

const fn check(form: &'static str, sends: CheckSends) -> CheckKind {
    CheckKind { form, sends }
}

/// Every sender, in the order of the documentation.
pub(super) static SENDERS: &[Sender] = &[
    Sender {
        product: Product::Haproxy,
        title: "HAProxy",
        setting: "`send-proxy`, `send-proxy-v2`, `send-proxy-v2-ssl`",
        longest: 178,
        tlvs: &["SSL", "ALPN", "AUTHORITY", "UNIQUE_ID", "CRC32C", "any (`set-proxy-v2-tlv-fmt`, 2.9)"],
        unix_client: Own::Unnamed,
        own_received: Own::Peer,
        passes_tlvs: "by hand, from 2.9 on (`fc_pp_tlv`)",
        mapped: Mapped::AsIpv6,
        checks: &[
            check("`check`", CheckSends::Header),
            check("`check` with `option smtpchk` or `tcp-check`", CheckSends::Header),
            check("`check port PORT` without `check-send-proxy`", CheckSends::NoHeader),
        ],
        patience: "the client's timeout",
        seen: "2.6, 3.0",
        ..USUAL
    },
    Sender {
        product: Product::Nginx,
        title: "NGINX stream",
        setting: "`proxy_protocol on`",
        versions: &[Version::V1],
        waits: "`ssl_preread on`",
        longest: 58,
        unix_client: Own::Unnamed,
        own_received: Own::Peer,
        mapped: Mapped::AsIpv6,
        patience: "more than 14 s",
        seen: "1.22, 1.26",
        ..USUAL
    },
    Sender {
        product: Product::Nginx,
        title: "NGINX mail",
        setting: "`proxy_protocol on`",
        versions: &[Version::V1],
        leaves: Leaves::AfterLogin,
        longest: 44,
        patience: "not tried",
        seen: "1.22, 1.26",
        ..USUAL
    },
    Sender {
        product: Product::Traefik,
        title: "Traefik",
        setting: "`proxyProtocol: {version: 2}` in the `serversTransport`",
        waits: "a router with `tls` on the entry point",
        longest: 52,
        own_received: Own::Peer,
        mapped: Mapped::AsIpv4,
        checks: &[check("`healthCheck`", CheckSends::NoHeader)],
        patience: "more than 14 s; a header is optional to it",
        seen: "3.7",
        ..USUAL
    },
    Sender {
        product: Product::Envoy,
        title: "Envoy",
        setting: "`upstream_proxy_protocol`",
        waits: "`allow_requests_without_proxy_protocol`",
        longest: 52,
        tlvs: &["any (`added_tlvs`)"],
        own_received: Own::Peer,
        passes_tlvs: "with `pass_through_tlvs` at both ends",
        mapped: Mapped::AsIpv4,
        checks: &[
            check("`tcp_health_check: {}`", CheckSends::Nothing),
            check("`tcp_health_check` with `send` or `receive`", CheckSends::Header),
        ],
        patience: "15 s (`listener_filters_timeout`)",
        seen: "1.40",
        ..USUAL
    },
    Sender {
        product: Product::Caddy,
        title: "Caddy HTTP",
        setting: "`proxy_protocol` in `transport http`",
        leaves: Leaves::WithRequest,
        longest: 34,
        tells_ports: false,
        checks: &[check("`health_uri`", CheckSends::Fails)],
        patience: "its `timeout`; a header is optional to it",
        seen: "2.11",
        ..USUAL
    },
    Sender {
        product: Product::Hitch,
        title: "Hitch",
        setting: "`write-proxy-v1`, `write-proxy-v2`",
        leaves: Leaves::AfterTls,
        longest: 98,
        tlvs: &["SSL", "ALPN", "AUTHORITY"],
        patience: "not tried",
        seen: "1.7, 1.8",
        ..USUAL
    },
    Sender {
        product: Product::Stunnel,
        title: "stunnel",
        setting: "`protocol = proxy`",
        versions: &[Version::V1],
        leaves: Leaves::AfterTls,
        longest: 44,
        patience: "reads none",
        seen: "5.68, 5.74",
        ..USUAL
    },
    Sender {
        product: Product::Varnish,
        title: "Varnish",
        setting: "`.proxy_header`",
        leaves: Leaves::WithRequest,
        longest: 28,
        patience: "5 s",
        seen: "7.1, 7.7",
        ..USUAL
    },
    Sender {
        product: Product::Dnsdist,
        title: "dnsdist",
        setting: "`useProxyProtocol=true`",
        versions: &[Version::V2],
        leaves: Leaves::WithRequest,
        longest: 28,
        patience: "not tried",
        seen: "1.7",
        ..USUAL
    },
    Sender {
        product: Product::Sslh,
        title: "sslh",
        versions: &[],
        waits: "a protocol that the server begins, for `timeout` seconds",
        patience: "reads none",
        seen: "2.1: calls the setting `proxyprotocol` unknown, and sends nothing",
        ..USUAL
    },
];
