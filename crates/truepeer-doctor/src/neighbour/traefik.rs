//! Traefik: static and dynamic files in YAML or TOML, together; labels and flags come as trees of their own.

use super::text::{entry, patience};
use super::tree::{self, Node};
use super::{
    Address, Check, CheckForm, Connect, ConnectTls, Families, File, Host, Listen, ListenTls, Neighbour,
    Outsiders, Patience, Place, Protocol, Reads, Sends, Trust, Unread, Versions,
};
use crate::{Class, Confidence, Finding, Product, Side};

use std::time::Duration;

/// Reads static and dynamic files as one configuration.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Traefik, names.join(", "));
    let mut nodes = Vec::new();
    for file in files {
        let is_toml = file.name.ends_with(".toml") || file.text.lines().any(|line| line.starts_with('['));
        let read = if is_toml { tree::toml(file).map(|node| vec![node]) } else { tree::yaml(file) };
        match read {
            Ok(found) => nodes.extend(found),
            Err(unread) => out.unread.push(unread),
        }
    }
    of_trees(&nodes, &mut out);
    vec![out]
}

/// Whether a container's image is Traefik's, whatever its registry and version.
pub(super) fn is_image(image: &str) -> bool {
    image.split([':', '@']).next().is_some_and(|name| name == "traefik" || name.ends_with("/traefik"))
}

/// `--name=value`, one or several in each text, as settings with dots in their names.
pub(super) fn flags(texts: &[Node]) -> Vec<(String, String, Place)> {
    let words = texts.iter().flat_map(|node| node.text().split_whitespace().map(move |word| (word, node)));
    words
        .map(|(word, node)| {
            let (key, value) = word.split_once('=').unwrap_or((word, "true"));
            (key.trim_start_matches('-').to_owned(), value.to_owned(), node.place.clone())
        })
        .collect()
}

/// What trees of Traefik's settings say.
pub(super) fn of_trees(nodes: &[Node], out: &mut Neighbour) {
    for points in nodes.iter().filter_map(|node| node.get("entryPoints")) {
        for (name, point) in points.entries() {
            out.listens.push(entry_point(name, point));
        }
    }
    tls_of_routers(nodes, out);
    for node in nodes {
        services(nodes, node, out);
    }
}

fn entry_point(name: &str, point: &Node) -> Listen {
    let place = point.get("address").unwrap_or(point).place.clone();
    let mut listen = Listen::new(name, place);
    let address = point.text_of("address").split('/').next().unwrap_or_default();
    if let Some((host, port)) = address.rsplit_once(':') {
        let host = if host.is_empty() { Host::Any(Families::Both) } else { Host::parse(host) };
        listen.addresses.extend(port.parse().ok().map(|port| Address::tcp(host, port)));
    }
    listen.protocol = listen.addresses.iter().find_map(Address::port).and_then(Protocol::of_port);
    listen.outsiders = Outsiders::Clients;
    if let Some(proxy) = point.get("proxyProtocol") {
        listen.header_place = proxy.place.clone();
        let trusted = proxy.get("trustedIPs").map(Node::items).unwrap_or_default();
        listen.trust = if proxy.text_of("insecure") == "true" {
            Trust::Everybody
        } else {
            Trust::Listed(trusted.iter().map(|item| entry(item.text(), &item.place)).collect())
        };
        // Anyone who is listed may also come without one.
        let nobody = matches!(&listen.trust, Trust::Listed(entries) if entries.is_empty());
        listen.header = if nobody { Reads::No } else { Reads::Optional(Versions::BOTH) };
    }
    listen
}

/// A router as far as it says what becomes of TLS.
fn tls_of(router: &Node) -> ListenTls {
    match router.get("tls") {
        None => ListenTls::None,
        Some(tls) if tls.text() == "false" => ListenTls::None,
        Some(tls) if tls.text_of("passthrough") == "true" => ListenTls::Passes,
        Some(_) => ListenTls::Implicit,
    }
}

fn tls_of_routers(nodes: &[Node], out: &mut Neighbour) {
    let of = |layer| {
        let routers =
            nodes.iter().filter_map(move |node| node.at(&[layer, "routers"])).flat_map(Node::entries);
        routers.map(|(_, router)| router)
    };
    let routers: Vec<&Node> = of("tcp").chain(of("http")).collect();
    let mut findings = Vec::new();
    for listen in &mut out.listens {
        let mine =
            routers.iter().filter(|router| names(router, "entryPoints").contains(&listen.name.as_str()));
        let found: Vec<(ListenTls, &Node)> = mine.map(|router| (tls_of(router), *router)).collect();
        let Some((first, _)) = found.first() else { continue };
        let mixed = found.iter().find(|(tls, _)| (*tls == ListenTls::None) != (*first == ListenTls::None));
        listen.tls = if found.iter().all(|(tls, _)| tls == first) { *first } else { ListenTls::Unknown };
        // Observed: a clear router beside one with TLS makes Traefik wait for the client's first bytes.
        if let Some((_, router)) = mixed.filter(|_| listen.protocol.is_some_and(Protocol::is_mail)) {
            findings.push(Finding {
                class: Class::Tls,
                side: Side::Front,
                product: Some(Product::Traefik),
                seen: format!("{}; {}", listen.place, router.place),
                cause: "routers with and without TLS share this entry point: Traefik waits for the client's first bytes, and mail clients wait for the server's greeting"
                    .into(),
                change: format!("in {}: give the router with TLS an entry point of its own", router.place.spot()).into(),
                confidence: Confidence::Likely,
            });
        }
    }
    out.findings.extend(findings);
}

fn names<'n>(node: &'n Node, key: &str) -> Vec<&'n str> {
    node.get(key).map(Node::items).unwrap_or_default().iter().map(Node::text).collect()
}

/// A name without the provider behind it: `mail@docker`.
fn plain(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

/// How long a check takes at most where nothing is said.
const CHECK: Duration = Duration::from_secs(5);

/// A time: a bare number is one of seconds.
fn time(node: &Node, key: &str) -> Option<Patience> {
    let value = node.get(key)?;
    patience(value.text(), Duration::from_secs(1), &value.place)
}

fn services(nodes: &[Node], node: &Node, out: &mut Neighbour) {
    for (name, service) in node.at(&["tcp", "services"]).map(Node::entries).unwrap_or_default() {
        let Some(balancer) = service.get("loadBalancer") else { continue };
        let serves = entry_points_of(nodes, "tcp", name, out);
        let transport = nodes.iter().find_map(|node| {
            node.at(&["tcp", "serversTransports", plain(balancer.text_of("serversTransport"))])
        });
        let switch =
            transport.and_then(|node| node.get("proxyProtocol")).or_else(|| balancer.get("proxyProtocol"));
        let sends = match switch.map(|switch| switch.text_of("version")) {
            None => Sends::Nothing,
            Some("1") => Sends::V1,
            Some(_) => Sends::V2,
        };
        let servers = balancer.get("servers").map(Node::items).unwrap_or_default();
        for server in servers {
            let place = server.get("address").unwrap_or(server).place.clone();
            let Some(to) = address(server.text_of("address")) else {
                let why = "where it connects to is not told in this file".to_owned();
                out.unread.push(Unread { place, why });
                continue;
            };
            let mut connect = Connect::new(name.as_str(), place, to);
            connect.sends = sends;
            if let Some(switch) = switch {
                connect.sends_place = switch.place.clone();
            }
            let tls =
                server.text_of("tls") == "true" || transport.is_some_and(|node| node.get("tls").is_some());
            if tls {
                connect.tls = ConnectTls::AfterHeader;
            }
            connect.patience = transport.and_then(|transport| time(transport, "dialTimeout"));
            connect.check = balancer.get("healthCheck").map(|check| Check {
                place: check.place.clone(),
                to: match (check.text_of("port").parse().ok(), &connect.to) {
                    (Some(port), Address::Tcp { host, .. }) => Address::tcp(host.clone(), port),
                    _ => connect.to.clone(),
                },
                // Observed: never a header, whatever the transport says.
                sends: Sends::Nothing,
                form: if check.get("send").or_else(|| check.get("expect")).is_some() {
                    CheckForm::Speaks
                } else {
                    CheckForm::Connects
                },
                patience: Some(
                    time(check, "timeout")
                        .unwrap_or_else(|| Patience { time: CHECK, place: check.place.clone() }),
                ),
            });
            let ports = serves.iter().filter_map(|index| out.listens.get(*index)?.protocol);
            connect.protocol = ports.chain(connect.to.port().and_then(Protocol::of_port)).next();
            connect.serves = serves.clone();
            out.connects.push(connect);
        }
    }
    for (name, service) in node.at(&["http", "services"]).map(Node::entries).unwrap_or_default() {
        let serves = entry_points_of(nodes, "http", name, out);
        let servers = service.at(&["loadBalancer", "servers"]).map(Node::items).unwrap_or_default();
        for server in servers {
            let url = server.text_of("url");
            let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
            let rest = rest.split('/').next().unwrap_or_default();
            let rest = match (rest.contains(':'), scheme) {
                (true, _) => rest.to_owned(),
                (false, "https") => format!("{rest}:443"),
                (false, _) => format!("{rest}:80"),
            };
            let Some(to) = address(&rest) else { continue };
            let mut connect =
                Connect::new(name.as_str(), server.get("url").unwrap_or(server).place.clone(), to);
            if scheme == "https" {
                connect.tls = ConnectTls::AfterHeader;
            }
            connect.protocol = Some(Protocol::Http);
            connect.serves = serves.clone();
            out.connects.push(connect);
        }
    }
}

/// The entry points whose routers lead to a service; all of them for routers that name none.
fn entry_points_of(nodes: &[Node], layer: &str, service: &str, out: &Neighbour) -> Vec<usize> {
    let routers = nodes.iter().filter_map(|node| node.at(&[layer, "routers"])).flat_map(Node::entries);
    let leading = routers.filter(|(name, router)| match router.get("service") {
        Some(named) => plain(named.text()) == service,
        // Labels of one container: its only service.
        None => name.as_str() == service,
    });
    let mut indexes: Vec<usize> = Vec::new();
    for (_, router) in leading {
        let named = names(router, "entryPoints");
        let fits = |listen: &Listen| named.is_empty() || named.contains(&listen.name.as_str());
        indexes.extend(
            out.listens.iter().enumerate().filter(|(_, listen)| fits(listen)).map(|(index, _)| index),
        );
    }
    indexes.sort_unstable();
    indexes.dedup();
    indexes
}

fn address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    (!text.contains("{{") && !host.is_empty()).then_some(())?;
    Some(Address::tcp(Host::parse(host), port.parse().ok()?))
}
