//! Envoy: static resources in YAML or JSON.

use super::text::patience;
use super::tree::{self, Node};
use super::{
    Address, Check, CheckForm, Connect, ConnectTls, Families, File, Host, Listen, ListenTls, Neighbour,
    Patience, Protocol, Reads, Sends, Trust, Unread, Versions,
};
use crate::Product;

use std::time::Duration;

/// How long the first bytes of a connection are waited for unless a setting says otherwise.
const WAITS: Duration = Duration::from_secs(15);

/// Reads the texts one after the other.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Envoy, names.join(", "));
    let mut clusters: Vec<(String, Vec<usize>)> = Vec::new();
    let mut nodes = Vec::new();
    for file in files {
        match tree::yaml(file) {
            Ok(found) => nodes.extend(found),
            Err(unread) => out.unread.push(unread),
        }
    }
    for node in &nodes {
        if let Some(dynamic) = node.get("dynamic_resources") {
            let why = "listeners and clusters that a control plane sends are not in this file".to_owned();
            out.unread.push(Unread { place: dynamic.place.clone(), why });
        }
    }
    let within = |node: &Node, key: &str| {
        node.at(&["static_resources", key])
            .or_else(|| node.get(key))
            .map(Node::items)
            .unwrap_or_default()
            .to_vec()
    };
    for item in nodes.iter().flat_map(|node| within(node, "listeners")) {
        listener(&item, &mut clusters, &mut out);
    }
    for item in nodes.iter().flat_map(|node| within(node, "clusters")) {
        let name = item.text_of("name");
        let serves =
            clusters.iter().filter(|(cluster, _)| cluster == name).flat_map(|(_, indexes)| indexes.clone());
        cluster(&item, serves.collect(), &mut out);
    }
    vec![out]
}

/// The type of a filter or transport, from its name or its `@type`.
fn is(node: &Node, word: &str) -> bool {
    let kind = node.at(&["typed_config", "@type"]).map_or("", Node::text);
    kind.contains(word) || node.text_of("name").contains(word)
}

fn listener(node: &Node, clusters: &mut Vec<(String, Vec<usize>)>, out: &mut Neighbour) {
    let place = node.get("address").unwrap_or(node).place.clone();
    let mut listen = Listen::new(node.text_of("name"), place.clone());
    match node.get("address").and_then(socket) {
        Some((at, place)) => {
            listen.place = place.clone();
            listen.header_place = place;
            listen.addresses.push(at);
        }
        None => {
            out.unread.push(Unread { place, why: "where it listens is not told in this file".to_owned() });
        }
    }
    listen.protocol = listen.addresses.iter().find_map(Address::port).and_then(Protocol::of_port);
    let filters = node.get("listener_filters").map(Node::items).unwrap_or_default();
    for filter in filters.iter().filter(|filter| is(filter, "proxy_protocol") || is(filter, "ProxyProtocol"))
    {
        let config = filter.get("typed_config");
        let without =
            config.is_some_and(|config| config.text_of("allow_requests_without_proxy_protocol") == "true");
        let refused =
            config.and_then(|config| config.get("disallowed_versions")).map(Node::items).unwrap_or_default();
        let refuses = |word: &str| refused.iter().any(|item| item.text() == word);
        let versions = Versions { v1: !refuses("V1"), v2: !refuses("V2") };
        listen.header = if without { Reads::Optional(versions) } else { Reads::Required(versions) };
        listen.header_place = filter.place.clone();
        listen.trust = Trust::Everybody;
        listen.wait(time(node, "listener_filters_timeout"), Some(WAITS));
    }
    let chains = node.get("filter_chains").map(Node::items).unwrap_or_default();
    let ends = |chain: &&Node| {
        chain.get("transport_socket").is_some_and(|socket| is(socket, "tls") || is(socket, "Tls"))
    };
    listen.tls = match (chains.iter().filter(ends).count(), chains.len()) {
        (0, _) => ListenTls::None,
        (some, all) if some == all => ListenTls::Implicit,
        _ => ListenTls::Unknown,
    };
    let index = out.listens.len();
    out.listens.push(listen);
    let mut leading = Vec::new();
    chains.iter().for_each(|chain| chain.find("cluster", &mut leading));
    for found in leading {
        clusters.push((found.text_of("cluster").to_owned(), vec![index]));
    }
    let mut weighted = Vec::new();
    chains.iter().for_each(|chain| chain.find("weighted_clusters", &mut weighted));
    for found in
        weighted.iter().filter_map(|node| node.at(&["weighted_clusters", "clusters"])).flat_map(Node::items)
    {
        clusters.push((found.text_of("name").to_owned(), vec![index]));
    }
}

fn time(node: &Node, key: &str) -> Option<Patience> {
    let value = node.get(key)?;
    patience(value.text(), Duration::from_secs(1), &value.place)
}

fn socket(address: &Node) -> Option<(Address, super::Place)> {
    if let Some(path) = address.at(&["pipe", "path"]) {
        return Some((Address::Unix(path.text().to_owned()), path.place.clone()));
    }
    let socket = address.get("socket_address")?;
    let port = socket.get("port_value")?;
    let host = match socket.text_of("address") {
        "::" if socket.text_of("ipv4_compat") != "true" => Host::Any(Families::V6),
        host => Host::parse(host),
    };
    Some((Address::tcp(host, port.text().parse().ok()?), port.place.clone()))
}

fn cluster(node: &Node, serves: Vec<usize>, out: &mut Neighbour) {
    let transport = node.get("transport_socket");
    let proxy =
        transport.filter(|transport| is(transport, "proxy_protocol") || is(transport, "ProxyProtocol"));
    let config = proxy.and_then(|proxy| proxy.get("typed_config"));
    let version = config.and_then(|config| config.at(&["config", "version"]));
    let sends = match (proxy, version.map(Node::text)) {
        (None, _) => Sends::Nothing,
        (Some(_), Some("V2")) => Sends::V2,
        // The enumeration's first value.
        (Some(_), _) => Sends::V1,
    };
    let inner = config.and_then(|config| config.get("transport_socket")).or(transport);
    let tls = inner.is_some_and(|inner| is(inner, "UpstreamTls") || is(inner, "transport_sockets.tls"));
    let check = node.get("health_checks").and_then(|checks| checks.items().first());
    let mut endpoints = Vec::new();
    node.find("lb_endpoints", &mut endpoints);
    let ends = endpoints.iter().filter_map(|group| group.get("lb_endpoints")).flat_map(Node::items);
    for end in ends.filter_map(|end| end.get("endpoint")) {
        let Some((to, place)) = end.get("address").and_then(socket) else { continue };
        let mut connect = Connect::new(node.text_of("name"), place, to);
        connect.sends = sends;
        if let Some(place) = version.or(proxy).map(|node| node.place.clone()) {
            connect.sends_place = place;
        }
        if tls {
            connect.tls = ConnectTls::AfterHeader;
        }
        let source = node.at(&["upstream_bind_config", "source_address", "address"]);
        connect.from.extend(source.and_then(|source| source.text().parse::<std::net::IpAddr>().ok()));
        connect.patience = time(node, "connect_timeout");
        connect.check = check.map(|check| {
            let other =
                end.at(&["health_check_config", "port_value"]).and_then(|port| port.text().parse().ok());
            let tcp = check.get("tcp_health_check");
            // Observed: a check that says nothing brings no header either.
            let silent = tcp.is_some_and(|tcp| tcp.get("send").is_none());
            Check {
                place: tcp.unwrap_or(check).place.clone(),
                to: match (other, &connect.to) {
                    (Some(port), Address::Tcp { host, .. }) => Address::tcp(host.clone(), port),
                    _ => connect.to.clone(),
                },
                sends: if silent { Sends::Nothing } else { sends },
                form: if silent { CheckForm::Connects } else { CheckForm::Speaks },
                patience: time(check, "timeout"),
            }
        });
        let fed = serves.iter().find_map(|index| out.listens.get(*index)?.protocol);
        connect.protocol = fed.or_else(|| connect.to.port().and_then(Protocol::of_port));
        connect.serves = serves.clone();
        out.connects.push(connect);
    }
}
