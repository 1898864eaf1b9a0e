//! Compose files: published ports, the labels and flags of Traefik, the variables of mail images.
//!
//! Docker hands published ports on. Its userland proxy, and its masquerading, let every client of such a port come
//! from the network's gateway: who trusts the gateway trusts everybody, and who bans it bans everybody.

use super::text::network;
use super::tree::{self, Node};
use super::{
    Address, Connect, Families, File, Host, Listen, Neighbour, Place, Protocol, Sends, Unread, environment,
    traefik,
};

use crate::Product;
use std::net::IpAddr;

/// Ranges of ports are taken apart up to so many.
const MAX_RANGE: u16 = 64;

/// Reads each file; its variables are not known here.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let origin = names.join(", ");
    let mut docker = Neighbour::new(Product::Docker, origin.clone());
    let mut found = Vec::new();
    for file in files {
        let nodes = match tree::yaml(file) {
            Ok(nodes) => nodes,
            Err(unread) => {
                docker.unread.push(unread);
                continue;
            }
        };
        let services: Vec<&(String, Node)> =
            nodes.iter().filter_map(|node| node.get("services")).flat_map(Node::entries).collect();
        for (name, service) in &services {
            let gateways = gateways(service, &nodes);
            published(name, service, &gateways, &mut docker);
            found.extend(environment::of_service(name, service));
        }
        found.extend(labels(&origin, &services));
        for include in nodes.iter().filter_map(|node| node.get("include")) {
            let why =
                "the included files are not at hand; `docker compose config` prints all of it".to_owned();
            docker.unread.push(Unread { place: include.place.clone(), why });
        }
    }
    found.insert(0, docker);
    found
}

/// The value of an entry in a mapping, or in a list of `KEY=VALUE`.
pub(super) fn pairs(node: Option<&Node>) -> Vec<(String, String, Place)> {
    let Some(node) = node else { return Vec::new() };
    let mapped =
        node.entries().iter().map(|(key, value)| (key.clone(), value.text().to_owned(), value.place.clone()));
    let listed = node.items().iter().filter_map(|item| {
        let (key, value) = item.text().split_once('=')?;
        Some((key.trim().to_owned(), value.trim().to_owned(), item.place.clone()))
    });
    mapped.chain(listed).collect()
}

/// Traefik's own service and the labels of all others are one configuration.
fn labels(origin: &str, services: &[&(String, Node)]) -> Option<Neighbour> {
    let mut settings: Vec<(String, String, Place)> = Vec::new();
    for (name, service) in services {
        if traefik::is_image(service.text_of("image")) {
            settings.extend(traefik::flags(service.get("command").map(Node::items).unwrap_or_default()));
        }
        let labelled = service.at(&["deploy", "labels"]).or_else(|| service.get("labels"));
        for (key, value, place) in pairs(labelled) {
            let Some(key) = key.strip_prefix("traefik.") else { continue };
            // The server of a label is the container itself.
            match key.strip_suffix(".loadbalancer.server.port") {
                Some(service) => {
                    let address = if service.starts_with("http.") {
                        (format!("{service}.loadbalancer.servers.url"), format!("http://{name}:{value}"))
                    } else {
                        (format!("{service}.loadbalancer.servers.address"), format!("{name}:{value}"))
                    };
                    settings.push((address.0, address.1, place));
                }
                None => settings.push((key.to_owned(), value, place)),
            }
        }
    }
    let root = tree::of_pairs(&settings)?;
    let mut neighbour = Neighbour::new(Product::Traefik, format!("{origin} (labels and flags)"));
    traefik::of_trees(&[root], &mut neighbour);
    (!neighbour.listens.is_empty() || !neighbour.connects.is_empty()).then_some(neighbour)
}

/// The ports that Docker takes on the host, and where it hands their connections to.
fn published(name: &str, service: &Node, gateways: &[IpAddr], out: &mut Neighbour) {
    for item in service.get("ports").map(Node::items).unwrap_or_default() {
        let Some(ports) = port(item) else {
            let why = "a port with variables, or in a form that is not known here".to_owned();
            out.unread.push(Unread { place: item.place.clone(), why });
            continue;
        };
        for (host, from, to) in ports {
            let index = out.listens.len();
            let mut listen = Listen::new(format!("{name}:{to}"), item.place.clone());
            listen.addresses.push(Address::tcp(host.clone(), from));
            listen.protocol = Protocol::of_port(from).or_else(|| Protocol::of_port(to));
            out.listens.push(listen);
            let at = Address::tcp(Host::Name(name.to_owned()), to);
            let mut connect = Connect::new(name, item.place.clone(), at);
            connect.protocol = Protocol::of_port(from).or_else(|| Protocol::of_port(to));
            connect.serves = vec![index];
            connect.from = gateways.to_vec();
            // The bytes pass through, with a header or without.
            connect.sends = Sends::Unknown;
            out.connects.push(connect);
        }
    }
}

/// The gateways of a service's networks, where the file tells them: Docker takes a network's first address.
fn gateways(service: &Node, nodes: &[Node]) -> Vec<IpAddr> {
    let networks = service.get("networks");
    let mut names: Vec<&str> = networks.map(Node::items).unwrap_or_default().iter().map(Node::text).collect();
    names.extend(networks.map(Node::entries).unwrap_or_default().iter().map(|(name, _)| name.as_str()));
    names.retain(|name| !name.is_empty());
    if names.is_empty() {
        names.push("default");
    }
    let told = names
        .iter()
        .filter_map(|name| nodes.iter().find_map(|node| node.at(&["networks", name, "ipam", "config"])));
    let gateway = |config: &Node| {
        let given = config.get("gateway").and_then(|node| node.text().parse().ok());
        given.or_else(|| network(config.text_of("subnet"))?.hosts().next())
    };
    told.flat_map(Node::items).filter_map(gateway).collect()
}

/// `127.0.0.1:25:2525/tcp`, `25-26:25-26`, or `{target: 25, published: 2525, host_ip: ..}`.
fn port(item: &Node) -> Option<Vec<(Host, u16, u16)>> {
    if item.is_map() {
        let target = item.text_of("target").parse().ok()?;
        let published = item.get("published").map_or(Some(target), |node| node.text().parse().ok())?;
        let host = item.get("host_ip").map_or(Host::Any(Families::Both), |node| Host::parse(node.text()));
        return Some(vec![(host, published, target)]);
    }
    let text = item.text();
    if text.contains('$') {
        return None;
    }
    if text.ends_with("/udp") {
        return Some(Vec::new());
    }
    let text = text.trim_end_matches("/tcp");
    let (rest, to) = text.rsplit_once(':').unwrap_or(("", text));
    let (host, from) = match rest.rsplit_once(':') {
        Some((host, from)) => (Host::parse(host), from),
        None => (Host::Any(Families::Both), rest),
    };
    // Without a port of the host's the system chooses one.
    if from.is_empty() {
        return Some(Vec::new());
    }
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        (last.checked_sub(first)? < MAX_RANGE).then_some(first..=last)
    };
    Some(range(from)?.zip(range(to)?).map(|(from, to)| (host.clone(), from, to)).collect())
}
