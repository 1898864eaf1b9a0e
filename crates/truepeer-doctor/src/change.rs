//! Lines to change that more than one row of knowledge names: each exists once, here.

/// The front sends no header, and should.
pub const SEND: &str = "make the proxy send a header to this port: HAProxy `server mail ADDRESS:PORT send-proxy-v2`; nginx stream `proxy_protocol on;`; Traefik `proxyProtocol: {version: 2}` in the serversTransport; Caddy `proxy_protocol v2`; a cloud balancer: its PROXY protocol option. Who comes without the proxy needs a port without it";
/// The back reads no header, and one is sent.
pub const READ: &str = "let this port of the server read the header (Postfix `-o smtpd_upstream_proxy_protocol=haproxy` in master.cf; Dovecot `haproxy = yes` in the inet_listener; Exim `hosts_proxy`; OpenSMTPD `proxy-v2` on the listen line; nginx `listen 443 ssl proxy_protocol;`; HAProxy `accept-proxy` on the bind line), or take `send-proxy`, `send-proxy-v2` or `proxy_protocol on;` away at the proxy";
/// A check that has no header reaches a port that expects one.
pub const CHECKS: &str = "point the check at a port without the PROXY protocol (HAProxy: `check port PORT`, AWS and Kubernetes: the health check port; behind truepeer: `health-bind`), or let it send a header (HAProxy: `check-send-proxy`)";
/// The header is longer than the receiver's buffer.
pub const SHORTER: &str = "let the proxy send fewer TLVs: HAProxy without `cert-cn`, `ssl-cipher`, `unique-id` in `proxy-v2-options`, no client certificate; or let truepeer keep them back";
/// The header came in pieces.
pub const WHOLE: &str = "let the sender write the header in one call, before any data; truepeer in between takes any pieces and sends one";
/// One of the addresses is of the other family.
pub const FAMILIES: &str = "give the proxy a listener of each family (nginx: `listen 25;` and `listen [::]:25 ipv6only=on;`; HAProxy: `bind :::25 v6only` beside `bind :25`), or let truepeer rewrite the header";
/// Proxies and direct clients share a port.
pub const TWO_PORTS: &str = "give direct clients a port of their own without the PROXY protocol, or let truepeer tell them apart by address (`proxy.trusted-networks` holds the proxies only)";
/// The back believes the wrong address.
pub const NEVER_BAN: &str = "let the server see the client, not the proxy: send the PROXY protocol and let the server read it; until then take the proxy's address out of bans, limits and relay rights";
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
