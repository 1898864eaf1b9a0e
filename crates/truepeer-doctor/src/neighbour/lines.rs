//! The lines that switch a header on or off, in each program's own words: one row each.

use crate::Product;

/// What to write, each as an order that follows "in FILE:LINE: ".
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    product: Product,
    /// Read a header.
    pub(super) read: &'static str,
    /// Read none.
    pub(super) read_not: &'static str,
    /// Send a header.
    pub(super) send: &'static str,
    /// Send none.
    pub(super) send_not: &'static str,
    /// Send version 2.
    pub(super) send_v2: &'static str,
    /// Send the TLS facts along.
    pub(super) send_tls: &'static str,
    /// Believe one more proxy; its address follows.
    pub(super) trust: &'static str,
    /// Give health checks a way.
    pub(super) check: &'static str,
}

impl Lines {
    /// The row of `product`; words that fit all where there is none.
    pub(super) fn of(product: Product) -> &'static Self {
        ROWS.iter().find(|row| row.product == product).unwrap_or(&ANY)
    }
}

/// For programs without a row.
const ANY: Lines = Lines {
    product: Product::GoServer,
    read: "let it read the PROXY protocol on this port",
    read_not: "let it read no PROXY protocol on this port",
    send: "let it send a PROXY header there",
    send_not: "let it send no PROXY header there",
    send_v2: "let it send version 2",
    send_tls: "let it send version 2 with the SSL TLV; if it cannot, give this port a proxy that can",
    trust: "add to the proxies that it trusts:",
    check: "point the health check at a port that reads no header",
};

const ROWS: &[Lines] = &[
    Lines {
        product: Product::Haproxy,
        read: "add `accept-proxy` to the bind line",
        read_not: "take `accept-proxy` off the bind line",
        send: "add `send-proxy-v2` to the server line",
        send_not: "take `send-proxy`, `send-proxy-v2` and the like off the server line",
        send_v2: "write `send-proxy-v2` instead of `send-proxy`",
        send_tls: "write `send-proxy-v2-ssl` instead",
        trust: "instead of `accept-proxy`, write `tcp-request connection expect-proxy layer4 if { src ... }` with",
        check: "add `check-send-proxy` to the server line, or point `port` at a port that reads no header",
    },
    Lines {
        product: Product::Nginx,
        read: "add `proxy_protocol` to the listen line (`listen 25 proxy_protocol;`)",
        read_not: "take `proxy_protocol` off the listen line",
        send: "add `proxy_protocol on;` to the server block",
        send_not: "write `proxy_protocol off;`",
        send_v2: "add `proxy_protocol_version 2;` (nginx from 1.31.4 on); older ones send version 1 only: let HAProxy or truepeer stand in their place",
        send_tls: "add `proxy_protocol_version 2;` (nginx from 1.31.4 on); older ones send no TLS facts: pass TLS through to the server, or let HAProxy end it (`send-proxy-v2-ssl`)",
        trust: "add to the server block `set_real_ip_from` with",
        check: "point the health check at a port that reads no header",
    },
    Lines {
        product: Product::Postfix,
        read: "add below the service's line `  -o smtpd_upstream_proxy_protocol=haproxy` (postscreen: `  -o postscreen_upstream_proxy_protocol=haproxy`)",
        read_not: "take `smtpd_upstream_proxy_protocol` (`postscreen_upstream_proxy_protocol`) away",
        trust: "Postfix has no list of proxies: let a firewall admit to this port only",
        ..ANY
    },
    Lines {
        product: Product::Dovecot,
        read: "add `haproxy = yes` to the inet_listener block",
        read_not: "take `haproxy = yes` out of the inet_listener block",
        trust: "add to `haproxy_trusted_networks`",
        ..ANY
    },
    Lines {
        product: Product::Exim,
        read: "add the proxy's address to `hosts_proxy`, for this port only: `hosts_proxy = ${if eq{$received_port}{PORT}{ADDRESS}{}}`",
        read_not: "take the proxy's address out of `hosts_proxy`",
        trust: "add to `hosts_proxy`",
        ..ANY
    },
    Lines {
        product: Product::Stalwart,
        read: "set `server.listener.<id>.proxy.trusted-networks` (from 0.16 on `overrideProxyTrustedNetworks`) to the proxy's address",
        read_not: "take the proxy's address out of `proxy.trusted-networks`",
        trust: "add to `proxy.trusted-networks` (from 0.16 on `overrideProxyTrustedNetworks`)",
        ..ANY
    },
    Lines {
        product: Product::Traefik,
        read: "add `proxyProtocol: { trustedIPs: [ADDRESS] }` to the entry point",
        read_not: "take `proxyProtocol` out of the entry point",
        send: "name a serversTransport with `proxyProtocol: { version: 2 }` for the TCP service; HTTP services cannot send a header",
        send_not: "take `proxyProtocol` out of the serversTransport",
        send_v2: "write `version: 2`",
        send_tls: "Traefik sends no TLS facts: pass TLS through (`tls: { passthrough: true }`), or let HAProxy end it",
        trust: "add to `trustedIPs` of the entry point",
        check: "set `port` of the healthCheck to one that reads no header: Traefik's checks never send one",
    },
    Lines {
        product: Product::Envoy,
        read: "add the listener filter `envoy.filters.listener.proxy_protocol`, before `tls_inspector`",
        read_not: "take the proxy_protocol filter out of the listener",
        send: "wrap the cluster's transport_socket in `ProxyProtocolUpstreamTransport` with `config: { version: V2 }`",
        send_not: "take `ProxyProtocolUpstreamTransport` off the cluster's transport_socket",
        send_v2: "write `version: V2`",
        send_tls: "Envoy sends no TLS facts of its own: pass TLS through, or let HAProxy end it",
        trust: "Envoy's filter has no list of proxies: let a firewall admit to this port only",
        check: "give the tcp_health_check a `send`, with which it brings a header, or set `health_check_config.port_value` to a port that reads none",
    },
    Lines {
        product: Product::Caddy,
        read: "add to `servers` in the global options `listener_wrappers { proxy_protocol { allow ADDRESS } tls }`, one directive a line",
        read_not: "take the proxy_protocol wrapper out of `listener_wrappers`",
        send: "add `proxy_protocol v2` to `transport http` of the reverse_proxy",
        send_not: "take `proxy_protocol` out of `transport http`",
        send_v2: "write `proxy_protocol v2`",
        send_tls: "Caddy sends no TLS facts: pass TLS through, or let HAProxy end it",
        trust: "add to `allow` of the proxy_protocol wrapper",
        check: "use passive health checks: with `proxy_protocol` Caddy's active ones always fail",
    },
    Lines {
        product: Product::Hitch,
        read: "add `proxy-proxy = on`, which passes a proxy's header on and writes none of its own",
        read_not: "take `proxy-proxy` away, and write `write-proxy-v2 = on`",
        send: "add `write-proxy-v2 = on`",
        send_not: "take `write-proxy-v2`, `write-proxy-v1` and `proxy-proxy` away",
        send_v2: "write `write-proxy-v2 = on` instead of `write-proxy-v1`",
        send_tls: "write `write-proxy-v2 = on`, without `proxy-tlv = off`",
        ..ANY
    },
    Lines {
        product: Product::Stunnel,
        read: "stunnel reads no header: let HAProxy or truepeer stand in its place",
        send: "add `protocol = proxy` to the service",
        send_not: "take `protocol = proxy` out of the service",
        send_v2: "stunnel sends version 1 only: let Hitch, HAProxy or truepeer stand in its place",
        send_tls: "stunnel sends no TLS facts: let Hitch or HAProxy end TLS (`send-proxy-v2-ssl`)",
        ..ANY
    },
    Lines {
        product: Product::Sslh,
        read: "add `proxyprotocol: true;` to the entry of `listen`",
        read_not: "take `proxyprotocol: true;` out of the entry of `listen`",
        send: "add `proxyprotocol: 2;` to the entry of `protocols` (sslh 2.3; older ones take the word and send nothing)",
        send_not: "take `proxyprotocol` out of the entry of `protocols`",
        send_v2: "write `proxyprotocol: 2;`",
        send_tls: "sslh ends no TLS and sends no TLS facts",
        trust: "sslh has no list of proxies: let a firewall admit to this port only",
        ..ANY
    },
    Lines {
        product: Product::Varnish,
        read: "write `,PROXY` behind the address of `-a`",
        read_not: "take `,PROXY` off the address of `-a`",
        send: "add `.proxy_header = 2;` to the backend (a `-b` has none: write a VCL)",
        send_not: "take `.proxy_header` out of the backend",
        send_v2: "write `.proxy_header = 2;`",
        send_tls: "Varnish sends no TLS facts: let Hitch or HAProxy connect to the server",
        trust: "Varnish has no list of proxies: let a firewall admit to this port only",
        ..ANY
    },
    Lines {
        product: Product::Opensmtpd,
        read: "add `proxy-v2` to the listen line",
        read_not: "take `proxy-v2` off the listen line",
        trust: "OpenSMTPD has no list of proxies: let a firewall admit to this port only",
        ..ANY
    },
    Lines {
        product: Product::IngressNginx,
        read: "write `use-proxy-protocol: \"true\"` into the ConfigMap; for a TCP service append `:PROXY` (`\"25\": namespace/service:25:PROXY`)",
        read_not: "write `use-proxy-protocol: \"false\"`; for a TCP service take the first `PROXY` out",
        send: "append `::PROXY` to the TCP service: `\"25\": namespace/service:25::PROXY`",
        send_not: "take the second `PROXY` out of the TCP service",
        send_v2: "ingress-nginx sends version 1 only: let truepeer stand before the server",
        send_tls: "ingress-nginx sends no TLS facts: pass TLS through",
        trust: "add to `proxy-real-ip-cidr` of the ConfigMap",
        ..ANY
    },
    Lines {
        product: Product::Mailu,
        read: "`PROXY_PROTOCOL=mail`, and `REAL_IP_FROM` with the proxy's address",
        read_not: "take the port out of `PROXY_PROTOCOL`",
        trust: "beside it, `REAL_IP_FROM` with",
        ..ANY
    },
    Lines {
        product: Product::Mailcow,
        read: "its published ports read none: publish 10025, 10465, 10587, 10143, 10993 of its containers in docker-compose.override.yml, for the proxy only",
        ..ANY
    },
    Lines {
        product: Product::DigitaloceanBalancer,
        send: "annotate the service with `service.beta.kubernetes.io/do-loadbalancer-enable-proxy-protocol: \"true\"`",
        send_not: "take the annotation away, or write `\"false\"`",
        ..ANY
    },
    Lines {
        product: Product::HetznerBalancer,
        send: "annotate the service with `load-balancer.hetzner.cloud/uses-proxyprotocol: \"true\"`",
        send_not: "take the annotation away, or write `\"false\"`",
        ..ANY
    },
    Lines {
        product: Product::AwsNlb,
        send: "annotate the service with `service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: proxy_protocol_v2.enabled=true`",
        send_not: "take the annotation away",
        ..ANY
    },
    Lines {
        product: Product::Truepeer,
        read: "write the proxy's address into `proxy.trusted-networks` of the listener",
        read_not: "write `proxy.trusted-networks = \"off\"` for the listener",
        send: "set `handoff = \"proxy-v2\"` for the backend",
        send_not: "set `handoff = \"none\"` for the backend",
        send_v2: "set `handoff = \"proxy-v2\"` for the backend",
        send_tls: "set `handoff = \"proxy-v2\"` for the backend, and its `kind`",
        trust: "add to `proxy.trusted-networks` of the listener",
        check: "point the check at `health-bind`",
    },
];

/// Whether a program has no list of proxies, so that anyone who reaches its port is believed.
#[must_use]
pub const fn believes_everybody(product: Product) -> bool {
    matches!(
        product,
        Product::Postfix
            | Product::Postscreen
            | Product::Opensmtpd
            | Product::Varnish
            | Product::Envoy
            | Product::Haproxy
            | Product::Hitch
            | Product::Sslh
    )
}
