//! Caddy: the JSON that `caddy adapt` prints, with the servers of `http` and of the `layer4` plugin.

use super::text::{entry, patience};
use super::tree::{self, Node};
use super::{
    Address, Check, CheckForm, Connect, ConnectTls, Families, File, Host, Listen, ListenTls, Neighbour,
    Outsiders, Patience, Protocol, Reads, Sends, Trust, Unread, Versions,
};
use crate::Product;

use std::time::Duration;

/// Reads adapted configurations; a Caddyfile is said to need adapting.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Caddy, names.join(", "));
    for file in files {
        if !file.text.trim_start().starts_with('{') || !file.text.contains("\"apps\"") {
            out.unread.push(Unread {
                place: super::Place::new(file.name, 0, ""),
                why: "this is no adapted configuration: `caddy adapt --config Caddyfile --pretty` prints it"
                    .to_owned(),
            });
            continue;
        }
        match tree::yaml(file) {
            Ok(found) => found.iter().for_each(|node| apps(node, &mut out)),
            Err(unread) => out.unread.push(unread),
        }
    }
    vec![out]
}

fn apps(node: &Node, out: &mut Neighbour) {
    for (app, protocol) in [("http", Some(Protocol::Http)), ("layer4", None)] {
        let servers = node.at(&["apps", app, "servers"]).map(Node::entries).unwrap_or_default();
        for (name, server) in servers {
            let index = out.listens.len();
            out.listens.push(listen(name, server, protocol));
            let mut handlers = Vec::new();
            server.find("handler", &mut handlers);
            for handler in handlers {
                match handler.text_of("handler") {
                    "reverse_proxy" => reverse_proxy(handler, index, out),
                    "proxy" => layer4(handler, index, out),
                    "proxy_protocol" => {
                        if let Some(listen) = out.listens.get_mut(index) {
                            reads(handler, listen);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

fn listen(name: &str, server: &Node, protocol: Option<Protocol>) -> Listen {
    let place = server.get("listen").unwrap_or(server).place.clone();
    let mut listen = Listen::new(name, place);
    let items = server.get("listen").map(Node::items).unwrap_or_default();
    listen.addresses = items.iter().filter_map(|item| address(item.text())).collect();
    let port = listen.addresses.iter().find_map(Address::port);
    listen.protocol = protocol.or_else(|| port.and_then(Protocol::of_port));
    let wrappers = server.get("listener_wrappers").map(Node::items).unwrap_or_default();
    let at = |word: &str| wrappers.iter().position(|wrapper| wrapper.text_of("wrapper") == word);
    if let Some(wrapper) = at("proxy_protocol").and_then(|at| wrappers.get(at)) {
        reads(wrapper, &mut listen);
    }
    let tls = protocol.is_some() && (port == Some(443) || server.get("tls_connection_policies").is_some());
    listen.tls = match (tls, at("tls"), at("proxy_protocol")) {
        (true, Some(tls), Some(proxy)) if tls < proxy => ListenTls::HeaderInside,
        // Without its place in the list, TLS comes before all of it.
        (true, None, Some(_)) => ListenTls::HeaderInside,
        (true, ..) => ListenTls::Implicit,
        // Whether certificates are managed for other ports is not told here.
        (false, ..) if protocol.is_some() && port != Some(80) => ListenTls::Unknown,
        (false, ..) => ListenTls::None,
    };
    listen
}

/// A wrapper or handler that reads a header: anyone who is allowed may also come without one.
fn reads(node: &Node, listen: &mut Listen) {
    listen.header_place = node.get("wrapper").or_else(|| node.get("handler")).unwrap_or(node).place.clone();
    let allowed = node.get("allow").map(Node::items).unwrap_or_default();
    listen.trust = match allowed {
        [] => Trust::Everybody,
        allowed => Trust::Listed(allowed.iter().map(|item| entry(item.text(), &item.place)).collect()),
    };
    listen.header = match node.text_of("fallback_policy").to_ascii_lowercase().as_str() {
        "require" => Reads::Required(Versions::BOTH),
        _ => Reads::Optional(Versions::BOTH),
    };
    listen.outsiders = match node.text_of("fallback_policy").to_ascii_lowercase().as_str() {
        "reject" => Outsiders::Refused,
        "skip" => Outsiders::Clients,
        _ => Outsiders::Disbelieved,
    };
    listen.wait(time(node, "timeout"), None);
}

/// A time: as JSON a number of nanoseconds.
fn time(node: &Node, key: &str) -> Option<Patience> {
    let value = node.get(key)?;
    patience(value.text(), Duration::from_nanos(1), &value.place)
}

fn reverse_proxy(handler: &Node, index: usize, out: &mut Neighbour) {
    let transport = handler.get("transport");
    let switch = transport.and_then(|transport| transport.get("proxy_protocol"));
    let checks = handler.at(&["health_checks", "active"]);
    upstreams(handler, index, out, |connect| {
        (connect.sends, connect.protocol) = (version(switch), Some(Protocol::Http));
        if let Some(switch) = switch {
            connect.sends_place = switch.place.clone();
        }
        if transport.is_some_and(|transport| transport.get("tls").is_some()) {
            connect.tls = ConnectTls::AfterHeader;
        }
        connect.patience = transport.and_then(|transport| time(transport, "dial_timeout"));
        connect.check = checks.map(|check| Check {
            place: check.place.clone(),
            to: connect.to.clone(),
            // Observed: with `proxy_protocol` its checks send nothing at all.
            sends: Sends::Nothing,
            form: CheckForm::Connects,
            patience: time(check, "timeout"),
        });
    });
}

fn layer4(handler: &Node, index: usize, out: &mut Neighbour) {
    let switch = handler.get("proxy_protocol");
    upstreams(handler, index, out, |connect| {
        connect.sends = version(switch);
        if let Some(switch) = switch {
            connect.sends_place = switch.place.clone();
        }
    });
}

fn upstreams(handler: &Node, index: usize, out: &mut Neighbour, fill: impl Fn(&mut Connect)) {
    for target in handler.get("upstreams").map(Node::items).unwrap_or_default() {
        for dial in target.get("dial").map(Node::items).unwrap_or_default() {
            let Some(to) = address(dial.text()) else {
                let why = "where it connects to is only known when a connection is there".to_owned();
                out.unread.push(Unread { place: dial.place.clone(), why });
                continue;
            };
            let mut connect = Connect::new(handler.text_of("handler"), dial.place.clone(), to);
            connect.protocol = connect.to.port().and_then(Protocol::of_port);
            connect.serves = vec![index];
            if target.get("tls").is_some() {
                connect.tls = ConnectTls::AfterHeader;
            }
            fill(&mut connect);
            out.connects.push(connect);
        }
    }
}

fn version(switch: Option<&Node>) -> Sends {
    match switch.map(Node::text) {
        None | Some("") => Sends::Nothing,
        Some("v1") => Sends::V1,
        Some("v2") => Sends::V2,
        Some(_) => Sends::Unknown,
    }
}

/// `:443`, `tcp/127.0.0.1:25`, `unix//run/x`; placeholders are not known here.
fn address(text: &str) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix/") {
        return Some(Address::Unix(path.to_owned()));
    }
    let text = text.split_once('/').map_or(text, |(_, rest)| rest);
    let (host, port) = text.rsplit_once(':')?;
    if text.contains('{') {
        return None;
    }
    let host = if host.is_empty() { Host::Any(Families::Both) } else { Host::parse(host) };
    Some(Address::tcp(host, port.parse().ok()?))
}
