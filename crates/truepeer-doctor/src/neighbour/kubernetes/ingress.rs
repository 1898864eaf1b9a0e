//! ingress-nginx: its own ConfigMap, and the one of TCP services.

use std::time::Duration;

use super::super::text::{entries, patience};
use super::{
    Address, CONTROLLER, Connect, Host, Listen, ListenTls, Neighbour, Node, Outsiders, Product, Protocol,
    Reads, Sends, Trust, Unread, Versions, is_controller,
};

/// Settings in annotations that may change what is said here.
const SNIPPETS: &[&str] = &["configuration-snippet", "server-snippet", "stream-snippet"];

/// Snippets of raw nginx lines are not interpreted.
pub(super) fn annotations(object: &Node, out: &mut Neighbour) {
    for (key, value) in object.at(&["metadata", "annotations"]).map(Node::entries).unwrap_or_default() {
        if SNIPPETS.iter().any(|word| key.ends_with(word)) && value.text().contains("proxy_protocol") {
            let why = "raw lines of nginx are not interpreted here".to_owned();
            out.unread.push(Unread { place: value.place.clone(), why });
        }
    }
}

/// How long headers are waited for, five seconds unless told otherwise.
fn waits(data: Option<&Node>, listen: &mut Listen) {
    let told = data.and_then(|data| data.get("proxy-protocol-header-timeout"));
    let told = told.and_then(|told| patience(told.text(), Duration::from_secs(1), &told.place));
    listen.wait(told, Some(Duration::from_secs(5)));
}

/// The controller as its ConfigMaps make it; nothing where there is none.
pub(super) fn controller(objects: &[Node], origin: &str) -> Option<Neighbour> {
    let maps: Vec<&Node> = objects.iter().filter(|object| object.text_of("kind") == "ConfigMap").collect();
    let main = maps.iter().find(|map| is_controller(map) && tcp_services(map).is_empty());
    let tcp: Vec<(u16, &Node)> = maps.iter().flat_map(|map| tcp_services(map)).collect();
    if main.is_none() && tcp.is_empty() {
        return None;
    }
    let mut out = Neighbour::new(Product::IngressNginx, origin);
    let data = main.and_then(|map| map.get("data"));
    let switch = data.and_then(|data| data.get("use-proxy-protocol"));
    let on = switch.is_some_and(|switch| switch.text() == "true");
    // HTTP and TLS alike; TCP services have words of their own.
    if let Some(place) = switch.or_else(|| main.copied()).map(|node| &node.place) {
        for (port, tls) in [(80, ListenTls::None), (443, ListenTls::Implicit)] {
            let mut listen = at(port, place.clone());
            listen.tls = tls;
            if on {
                listen.header = Reads::Required(Versions::BOTH);
                let told = data.and_then(|data| data.get("proxy-real-ip-cidr"));
                listen.trust =
                    told.map_or(Trust::Unknown, |told| Trust::Listed(entries(told.text(), &told.place)));
                listen.outsiders = Outsiders::Disbelieved;
                waits(data, &mut listen);
            }
            out.listens.push(listen);
        }
    }
    for (port, value) in tcp {
        // `namespace/service:port[:PROXY][:PROXY]`: read one, send one.
        let words: Vec<&str> = value.text().split(':').collect();
        let is_proxy = |index: usize| words.get(index).is_some_and(|word| *word == "PROXY");
        let index = out.listens.len();
        let mut listen = at(port, value.place.clone());
        if is_proxy(2) {
            listen.header = Reads::Required(Versions::BOTH);
            listen.trust = Trust::Unknown;
            waits(data, &mut listen);
        }
        out.listens.push(listen);
        let service = words.first().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        let Some(inner) = words.get(1).and_then(|port| port.parse().ok()) else {
            let why = "the service's port is a name that only the service explains".to_owned();
            out.unread.push(Unread { place: value.place.clone(), why });
            continue;
        };
        let to = Address::tcp(Host::Name(service.to_owned()), inner);
        let mut connect = Connect::new(service, value.place.clone(), to);
        connect.sends = if is_proxy(3) { Sends::V1 } else { Sends::Nothing };
        connect.protocol = Protocol::of_port(port);
        connect.serves = vec![index];
        out.connects.push(connect);
    }
    Some(out)
}

fn at(port: u16, place: super::super::Place) -> Listen {
    let mut listen = Listen::new(format!("port {port}"), place);
    listen.addresses.push(Address::tcp(Host::Name(CONTROLLER.to_owned()), port));
    listen.protocol = Protocol::of_port(port);
    listen
}

/// The entries of a ConfigMap of TCP services: ports as keys, `namespace/service:port` as values.
fn tcp_services(map: &Node) -> Vec<(u16, &Node)> {
    let data = map.get("data").map(Node::entries).unwrap_or_default();
    let is_tcp = |value: &Node| value.text().contains('/') && value.text().contains(':');
    data.iter()
        .filter_map(|(key, value)| Some((key.parse().ok()?, value)))
        .filter(|(_, value)| is_tcp(value))
        .collect()
}
