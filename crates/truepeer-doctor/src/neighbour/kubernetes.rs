//! Kubernetes: what `kubectl get service,configmap,ingress,daemonset -o yaml` prints.
//!
//! Services of type LoadBalancer become neighbours of the cloud whose annotation they have; the ConfigMaps of
//! ingress-nginx become one neighbour.

mod annotations;
mod ingress;
mod workload;

use super::tree::{self, Node};
use super::{
    Address, Connect, File, Host, Listen, ListenTls, Neighbour, Outsiders, Protocol, Reads, Sends, Trust,
    Unread, Versions,
};
use crate::{Class, Confidence, Finding, Product, Side};

/// The name by which a balancer and the controller find each other here.
const CONTROLLER: &str = "ingress-nginx";

/// Reads lists and single objects.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let origin = names.join(", ");
    let mut cluster = Neighbour::new(Product::Kubernetes, origin.clone());
    let mut objects: Vec<Node> = Vec::new();
    for file in files {
        match tree::yaml(file) {
            Ok(documents) => {
                objects.extend(documents.into_iter().flat_map(|document| match document.get("items") {
                    Some(items) => items.items().to_vec(),
                    None => vec![document],
                }));
            }
            Err(unread) => cluster.unread.push(unread),
        }
    }
    let workloads = workload::all(&objects);
    let mut found = Vec::new();
    for object in &objects {
        match object.text_of("kind") {
            "Service" => found.extend(service(object, &origin, &workloads, &mut cluster)),
            "Ingress" => ingress::annotations(object, &mut cluster),
            _ => {}
        }
    }
    found.extend(ingress::controller(&objects, &origin));
    found.extend(workloads.iter().filter_map(|workload| workload.traefik(&origin)));
    found.insert(0, cluster);
    found
}

fn name_of(object: &Node) -> &str {
    object.at(&["metadata", "name"]).map_or("", Node::text)
}

/// Whether an object belongs to the ingress controller, by its name or labels.
fn is_controller(object: &Node) -> bool {
    let within = |path: &[&str]| {
        object.at(path).is_some_and(|node| node.entries().iter().any(|(_, value)| value.text() == CONTROLLER))
    };
    name_of(object).contains(CONTROLLER) || within(&["metadata", "labels"]) || within(&["spec", "selector"])
}

/// A balancer in front of a service, if there is one.
fn service(
    object: &Node,
    origin: &str,
    workloads: &[workload::Workload<'_>],
    cluster: &mut Neighbour,
) -> Option<Neighbour> {
    let spec = object.get("spec")?;
    let kind = spec.text_of("type");
    if !matches!(kind, "LoadBalancer" | "NodePort") {
        return None;
    }
    let name = name_of(object);
    let annotations = object.at(&["metadata", "annotations"]).map(Node::entries).unwrap_or_default();
    let foreign = annotations::foreign(annotations);
    // A switch of another cloud's is as good as none.
    let told = if foreign.is_some() { None } else { annotations::read(annotations) };
    cluster.findings.extend(foreign.map(|foreign| copied(object, &foreign)));
    let product = told.as_ref().map_or(Product::Kubernetes, |told| told.product);
    let mut balancer = Neighbour::new(product, format!("{origin} (service {name})"));
    let pods = workload::selected(workloads, object);
    let target = match pods.filter(|pods| pods.traefik(origin).is_some()) {
        _ if is_controller(object) => Host::Name(CONTROLLER.to_owned()),
        Some(pods) => pods.host(),
        None => Host::Name(name.to_owned()),
    };
    for port in spec.get("ports").map(Node::items).unwrap_or_default() {
        let Ok(number) = port.text_of("port").parse::<u16>() else { continue };
        let index = balancer.listens.len();
        let place = port.get("port").unwrap_or(port).place.clone();
        let mut listen = Listen::new(format!("{name}:{number}"), place.clone());
        // Only the balancer itself has its address.
        listen.addresses.push(Address::tcp(Host::Name(format!("balancer of {name}")), number));
        listen.protocol = Protocol::of_port(number);
        // Some balancers end TLS, by settings that are not here.
        listen.tls = ListenTls::Unknown;
        balancer.listens.push(listen);
        let named = port.text_of("targetPort");
        let inner = match named {
            word if pods.is_some_and(|pods| pods.port(word).is_some()) => {
                pods.and_then(|pods| pods.port(word)).unwrap_or(number)
            }
            "" | "smtp" | "imap" | "imaps" | "submission" => number,
            "http" => 80,
            "https" => 443,
            word => match word.parse() {
                Ok(inner) => inner,
                Err(_) => {
                    let why = format!("`{word}` is a name that only the pod's own port list explains");
                    let place = port.get("targetPort").unwrap_or(port).place.clone();
                    balancer.unread.push(Unread { place, why });
                    continue;
                }
            },
        };
        let mut connect = Connect::new(name, place, Address::tcp(target.clone(), inner));
        connect.protocol = Protocol::of_port(number);
        connect.serves = vec![index];
        if let Some(told) = &told {
            connect.sends = told.sends;
            connect.sends_place = told.place.clone();
        }
        balancer.connects.push(connect);
    }
    let mail = balancer.connects.iter().find(|connect| connect.protocol.is_some_and(Protocol::is_mail));
    let keeps = spec.text_of("externalTrafficPolicy") == "Local";
    if let Some(connect) = mail.filter(|connect| connect.sends == Sends::Nothing && !keeps) {
        let place =
            spec.get("externalTrafficPolicy").or_else(|| spec.get("type")).unwrap_or(spec).place.clone();
        cluster.findings.push(Finding {
            class: Class::Ban,
            side: Side::Network,
            product: Some(Product::Kubernetes),
            seen: format!("{}; {place}", connect.place),
            cause: format!(
                "service {name} sends its traffic through any node, and each node puts its own address in place of the client's"
            )
            .into(),
            change: format!(
                "in {}: `externalTrafficPolicy: Local`, or let the balancer send the PROXY protocol by its annotation",
                place.spot()
            )
            .into(),
            confidence: Confidence::Likely,
        });
    }
    if let Some(told) = told.filter(|told| told.sends.is_header()) {
        cluster.findings.extend(hairpin(object, &told, annotations));
    }
    Some(balancer)
}

/// The switch of one cloud, copied into another.
fn copied(object: &Node, foreign: &annotations::Foreign) -> Finding {
    let annotations::Foreign { place, whose, cloud, right } = foreign;
    Finding {
        class: Class::Dir,
        side: Side::Front,
        product: Some(Product::Kubernetes),
        seen: place.to_string(),
        cause: format!(
            "service {} has settings of {cloud}, and the switch of {whose}, which {cloud} does not read: its balancer sends no header",
            name_of(object)
        )
        .into(),
        change: format!("in {}: `{right}` instead", place.spot()).into(),
        confidence: Confidence::Likely,
    }
}

/// Pods that connect to the balancer's own address reach the service without the balancer, and without its header.
fn hairpin(object: &Node, told: &annotations::Told, all: &[(String, Node)]) -> Option<Finding> {
    let hostname = told.hostname?;
    let named = all.iter().any(|(key, value)| key == hostname && !value.text().is_empty());
    let mut modes = Vec::new();
    object.get("status").into_iter().for_each(|status| status.find("ipMode", &mut modes));
    let proxied = modes.iter().any(|mode| mode.text_of("ipMode") == "Proxy");
    (!named && !proxied).then(|| Finding {
        class: Class::Mix,
        side: Side::Network,
        product: Some(told.product),
        seen: told.place.to_string(),
        cause: format!(
            "pods that connect to the balancer of service {} by its address come past it, and without a header",
            name_of(object)
        )
        .into(),
        change: format!("beside {}: `{hostname}: mail.example.org` with a name of the balancer", told.place.spot()).into(),
        confidence: Confidence::Possible,
    })
}
