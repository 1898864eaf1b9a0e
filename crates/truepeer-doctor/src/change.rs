//! Lines to change that more than one row of knowledge names: each exists once, here.

use core::fmt;

use crate::Product;

/// The front sends no header, and should.
pub const SEND: &str = "make the proxy send a header to this port: HAProxy `server mail ADDRESS:PORT send-proxy-v2`; nginx stream `proxy_protocol on;`; Traefik `proxyProtocol: {version: 2}` in the serversTransport; Caddy `proxy_protocol v2`; a cloud balancer: its PROXY protocol option. Who comes without the proxy needs a port without it";
/// The back reads no header, and one is sent.
pub const READ: &str = "let this port of the server read the header (Postfix `-o smtpd_upstream_proxy_protocol=haproxy` in master.cf; Dovecot `haproxy = yes` in the inet_listener; Exim `hosts_proxy`; OpenSMTPD `proxy-v2` on the listen line; nginx `listen 443 ssl proxy_protocol;`; HAProxy `accept-proxy` on the bind line), or take `send-proxy`, `send-proxy-v2` or `proxy_protocol on;` away at the proxy";
/// A check that has no header reaches a port that expects one.
pub const CHECKS: &str = "point the check at a port without the PROXY protocol (HAProxy: `check port PORT`, AWS and Kubernetes: the health check port; behind truepeer: `health-bind`), or let it send a header (HAProxy: `check-send-proxy`)";
/// The header is longer than the receiver's buffer.
pub(crate) const SHORTER: &str = "let the proxy send fewer TLVs: HAProxy without `cert-cn`, `ssl-cipher`, `unique-id` in `proxy-v2-options`, no client certificate; or let truepeer keep them back";
/// The header came in pieces.
pub const WHOLE: &str = "let the sender write the header in one call, before any data; truepeer in between takes any pieces and sends one";
/// One of the addresses is of the other family.
pub const FAMILIES: &str = "give the proxy a listener of each family (nginx: `listen 25;` and `listen [::]:25 ipv6only=on;`; HAProxy: `bind :::25 v6only` beside `bind :25`), or let truepeer rewrite the header";
/// The back believes the wrong address.
pub(crate) const NEVER_BAN: &str = "let the server see the client, not the proxy: send the PROXY protocol and let the server read it; until then take the proxy's address out of bans, limits and relay rights";
/// Two proxies in a row, or a forgery.
pub const CHAIN: &str = "if two proxies in a row add a header, let the second one read the first; otherwise a client tried to forge its address";
/// A server ends every connection without a byte.
pub const MUTE: &str = "look into its log: it may not read the header, or keep this host out (MariaDB and MySQL: `Host ... is blocked`, ended by `FLUSH HOSTS`)";
/// A server takes clients of one address family only.
pub const BOTH_FAMILIES: &str = "let the server take clients of both families (Postfix: `inet_protocols = all` in main.cf, then `postfix stop` and `postfix start`)";
/// A balancer keeps client addresses and also sends a header.
pub const ONE_OF_TWO: &str = "switch one of the two off at the balancer";
/// A version 1 header came, and TLS is asked for.
pub const TELL_TLS_V2: &str =
    "if the client used TLS, let the proxy send version 2 with an SSL TLV (HAProxy: `send-proxy-v2-ssl`)";
/// A header without TLS facts came, and TLS is asked for.
pub const TELL_TLS: &str = "if it did, let the proxy send the SSL TLV (HAProxy: `send-proxy-v2-ssl`)";
/// A Postfix behind truepeer does not let it say by XCLIENT who the client is.
pub const BELIEVE_XCLIENT: &str = "Postfix: put truepeer's address, and nothing else, into `smtpd_authorized_xclient_hosts` of this port's smtpd, then `postfix reload`; a port behind postscreen never offers XCLIENT: use `handoff = \"proxy-v2\"` there";
/// A Dovecot behind truepeer does not believe by ID who the client is.
pub const BELIEVE_ID: &str = "Dovecot: put truepeer's address into `login_trusted_networks`, and no `haproxy = yes` on this port, then `doveadm reload`; one before 2.4 never says that it believes us: see in its log that `rip=` is the client, then `handoff = \"imap-id-unconfirmed\"`";
/// The same of one that does not say whether it believes it.
pub const BELIEVE_ID_SILENTLY: &str = "Dovecot: put truepeer's address into `login_trusted_networks`, and no `haproxy = yes` on this port, then `doveadm reload`";
/// A server of no known kind behind truepeer does not read its header.
pub const READ_OTHER: &str = "make this port of the backend read the header that `handoff` names; for a server that reads none: `handoff = \"none\"`, with `sees-only-truepeer = true` for mail";

/// Adds `peer`, an address, to those that truepeer's `listener` trusts: never a whole line to paste, for a
/// list of the listener's own takes the place of the server's, and with it of the proxies that are there.
#[must_use]
pub fn trust(listener: &str, peer: &dyn fmt::Display) -> String {
    format!(
        "add {peer} to `server.listener.{listener}.proxy.trusted-networks`, or to `server.proxy.trusted-networks` if this listener has no list of its own"
    )
}

/// What makes a server behind truepeer read its header.
#[must_use]
pub const fn reads(product: Product) -> &'static str {
    match product {
        Product::Postfix => {
            "add `-o smtpd_upstream_proxy_protocol=haproxy` below this port's smtpd line in master.cf, then `postfix reload`"
        }
        Product::Postscreen => {
            "add `-o postscreen_upstream_proxy_protocol=haproxy` below this port's postscreen line in master.cf (the smtpd behind it needs nothing), then `postfix reload`"
        }
        Product::Dovecot => {
            "set `haproxy = yes` in this port's inet_listener block, put truepeer's address into `haproxy_trusted_networks`, then `doveadm reload`"
        }
        Product::Exim => {
            "put truepeer's address into `hosts_proxy` for this port (`hosts_proxy = ${if eq{$received_port}{2525} {127.0.0.1}{}}`), then restart Exim"
        }
        Product::Opensmtpd => {
            "add `proxy-v2` to this port's `listen on` line in smtpd.conf, then restart smtpd"
        }
        Product::Stalwart => {
            "put truepeer's address into the proxy networks that this listener trusts (to 0.15: `server.listener.<id>.proxy.trusted-networks`; from 0.16 on: `overrideProxyTrustedNetworks`), then restart it"
        }
        Product::Nginx => {
            "add `proxy_protocol` to this port's `listen` line, and `set_real_ip_from` with truepeer's address, then `nginx -s reload`"
        }
        Product::Haproxy => "add `accept-proxy` to this port's `bind` line, then reload HAProxy",
        Product::Varnish => "start varnishd with `,PROXY` behind this address (`-a 127.0.0.1:8080,PROXY`)",
        Product::Mariadb => {
            "set `proxy-protocol-networks` to truepeer's address in its [mysqld] section, then restart it"
        }
        _ => READ_OTHER,
    }
}
