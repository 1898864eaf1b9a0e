//! The lines of a proxy that fit a listener of ours. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use truepeer::proto::Version;
use truepeer_doctor::{Product, senders};

use crate::facts::protocol::{ClientTls, Protocol};

/// A proxy that has a way to send headers to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProduct {
    /// HAProxy.
    Haproxy,
    /// NGINX with its stream module.
    Nginx,
    /// Traefik, its dynamic file.
    Traefik,
    /// Envoy, a static configuration.
    Envoy,
    /// Caddy, for HTTP.
    Caddy,
}

/// What a proxy has to be told of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerFacts {
    /// The listener's name.
    pub id: String,
    /// Where the proxy listens.
    pub front: SocketAddr,
    /// Where it reaches the listener.
    pub to: SocketAddr,
    /// The version that it is to send.
    pub version: Version,
    /// What is spoken.
    pub protocol: Protocol,
    /// What the client's bytes are.
    pub tls: ClientTls,
    /// Where checks go that carry no header.
    pub health: Option<u16>,
    /// How long both directions may be silent.
    pub idle: Duration,
}

impl ProxyProduct {
    /// What is known of it.
    fn facts(self) -> Option<&'static senders::Sender> {
        senders::Sender::of(match self {
            Self::Haproxy => Product::Haproxy,
            Self::Nginx => Product::Nginx,
            Self::Traefik => Product::Traefik,
            Self::Envoy => Product::Envoy,
            Self::Caddy => Product::Caddy,
        })
    }

    /// Whether it can send that version.
    #[must_use]
    pub fn sends(self, version: Version) -> bool {
        self.facts().is_some_and(|facts| facts.sends(version))
    }

    /// The lines for all of `doors`.
    ///
    /// # Errors
    /// If the proxy cannot send what a listener reads, or cannot carry it at all.
    pub fn lines(self, doors: &[ListenerFacts]) -> Result<String, String> {
        if let Some(door) = doors.iter().find(|door| !self.sends(door.version)) {
            let title = self.facts().map_or("it", |facts| facts.product.title());
            let other = 3_u8.saturating_sub(number(door.version));
            return Err(format!(
                "{title} sends version {other} only, and listener `{}` does not read it (`proxy.versions`)",
                door.id
            ));
        }
        match self {
            Self::Haproxy => Ok(doors.iter().map(haproxy).collect()),
            Self::Nginx => Ok(nginx(doors)),
            Self::Traefik => Ok(traefik(doors)),
            Self::Envoy => Ok(envoy(doors)),
            Self::Caddy => doors.iter().map(caddy).collect(),
        }
    }
}

/// `[::]:25` and `0.0.0.0:25` as each proxy has them.
fn every(front: SocketAddr) -> bool {
    front.ip().is_unspecified()
}

fn number(version: Version) -> u8 {
    match version {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}

fn haproxy(door: &ListenerFacts) -> String {
    let ListenerFacts { id, front, to, version, protocol, tls, health, idle } = door;
    // One of each family: a single one for both hands IPv4 clients over as mapped IPv6.
    let binds = match every(*front) {
        true => format!("  bind :{port}\n  bind :::{port} v6only\n", port = front.port()),
        false => format!("  bind {front}\n"),
    };
    let send = match version {
        Version::V1 => "send-proxy",
        Version::V2 => "send-proxy-v2-ssl",
    };
    // Where TLS passes through, truepeer says nothing in clear text but at its health port.
    let spoken = *tls == ClientTls::None || health.is_some();
    let checks = match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp if spoken => {
            "  option smtpchk EHLO check.invalid\n"
        }
        _ => "",
    };
    let idle = idle.as_secs();
    // A check without `port` carries the header, as it has to.
    let check = health.map_or_else(|| "check".to_owned(), |port| format!("check port {port}"));
    format!(
        "frontend {id}\n  mode tcp\n{binds}  timeout client {idle}s\n  default_backend {id}-truepeer\n\
         backend {id}-truepeer\n  mode tcp\n  timeout connect 5s\n  timeout server {idle}s\n{checks}  server truepeer {to} \
         {send} {check}\n"
    )
}

fn nginx(doors: &[ListenerFacts]) -> String {
    let mut text = "stream {\n".to_owned();
    for ListenerFacts { id, front, to, .. } in doors {
        let listen = match every(*front) {
            true => format!("    listen {port};\n    listen [::]:{port} ipv6only=on;\n", port = front.port()),
            false => format!("    listen {front};\n"),
        };
        text.push_str(&format!(
            "  server {{ # {id}\n{listen}    proxy_pass {to};\n    proxy_protocol on;\n  }}\n"
        ));
    }
    text.push_str("}\n");
    text
}

fn caddy(door: &ListenerFacts) -> Result<String, String> {
    let ListenerFacts { id, front, to, version, protocol, tls, .. } = door;
    if *protocol != Protocol::Http || *tls == ClientTls::Implicit {
        return Err(format!(
            "stock Caddy passes on HTTP requests only, and listener `{id}` has something else: it cannot carry mail, nor \
             TLS that passes through"
        ));
    }
    let bind = if every(*front) { String::new() } else { format!("  bind {}\n", front.ip()) };
    Ok(format!(
        "http://:{} {{ # {id}\n{bind}  reverse_proxy {to} {{\n    transport http {{\n      proxy_protocol v{}\n    }}\n  \
         }}\n}}\n",
        front.port(),
        number(*version)
    ))
}

fn traefik(doors: &[ListenerFacts]) -> String {
    let (mut entries, mut routers, mut services) = (String::new(), String::new(), String::new());
    for ListenerFacts { id, front, to, protocol, health, .. } in doors {
        let listen = if every(*front) { format!(":{}", front.port()) } else { front.to_string() };
        entries.push_str(&format!("#   {id}: {{address: \"{listen}\"}}\n"));
        routers.push_str(&format!(
            "    {id}:\n      entryPoints: [{id}]\n      rule: \"HostSNI(`*`)\"\n      service: {id}\n"
        ));
        // Its checks carry no header, so without a port of their own there are none.
        let check = health.map_or_else(String::new, |port| {
            let expect = match protocol {
                Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => "          expect: \"220\"\n",
                _ => "",
            };
            format!("        healthCheck:\n          port: {port}\n{expect}          interval: 5s\n          timeout: 2s\n")
        });
        services.push_str(&format!(
            "    {id}:\n      loadBalancer:\n        serversTransport: truepeer\n        servers:\n          - address: \
             \"{to}\"\n{check}"
        ));
    }
    let version = doors.first().map_or(2, |door| number(door.version));
    format!(
        "# Static configuration, one entry point for each listener, without a router with `tls` on it:\n# entryPoints:\n\
         {entries}tcp:\n  routers:\n{routers}  services:\n{services}  serversTransports:\n    truepeer:\n      \
         proxyProtocol:\n        version: {version}\n"
    )
}

fn envoy(doors: &[ListenerFacts]) -> String {
    let (mut listeners, mut clusters) = (String::new(), String::new());
    for ListenerFacts { id, front, to, version, .. } in doors {
        listeners.push_str(&format!(
            "  - name: {id}
    address: {{socket_address: {{address: \"{}\", port_value: {}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {id}
          cluster: {id}
",
            front.ip(),
            front.port()
        ));
        clusters.push_str(&format!(
            "  - name: {id}
    connect_timeout: 5s
    load_assignment:
      cluster_name: {id}
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: \"{}\", port_value: {}}}}}
    transport_socket:
      name: envoy.transport_sockets.upstream_proxy_protocol
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
        config: {{version: V{}}}
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config:
            \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
",
            to.ip(),
            to.port(),
            number(*version)
        ));
    }
    format!("static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}")
}
