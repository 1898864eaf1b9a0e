//! DaemonSets and Deployments: which pods a service selects, what their ports are called, and Traefik among them.

use super::super::{traefik, tree};
use super::{Address, Host, Neighbour, Node, Product, name_of};

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Workload<'o> {
    pub(super) name: &'o str,
    labels: &'o [(String, Node)],
    containers: &'o [Node],
}

/// Every one in the order of the text.
pub(super) fn all(objects: &[Node]) -> Vec<Workload<'_>> {
    let kinds = ["DaemonSet", "Deployment", "StatefulSet"];
    let made = |object: &'_ Node| kinds.contains(&object.text_of("kind"));
    let pods = |object: &'static str| ["spec", "template", object];
    let found = objects.iter().filter(|object| made(object)).map(|object| Workload {
        name: name_of(object),
        labels: object
            .at(&[pods("metadata").as_slice(), &["labels"]].concat())
            .map(Node::entries)
            .unwrap_or_default(),
        containers: object
            .at(&[pods("spec").as_slice(), &["containers"]].concat())
            .map(Node::items)
            .unwrap_or_default(),
    });
    found.collect()
}

/// The one whose pods a service selects.
pub(super) fn selected<'w, 'o>(all: &'w [Workload<'o>], service: &Node) -> Option<&'w Workload<'o>> {
    let selector = service.at(&["spec", "selector"])?.entries();
    let has = |workload: &Workload<'_>| {
        selector.iter().all(|(key, value)| {
            workload.labels.iter().any(|(label, given)| label == key && given.text() == value.text())
        })
    };
    all.iter().find(|workload| !selector.is_empty() && has(workload))
}

impl Workload<'_> {
    /// The number of a port by its name.
    pub(super) fn port(&self, name: &str) -> Option<u16> {
        let ports =
            self.containers.iter().filter_map(|container| container.get("ports")).flat_map(Node::items);
        ports
            .filter(|port| port.text_of("name") == name)
            .find_map(|port| port.text_of("containerPort").parse().ok())
    }

    /// By what its pods are found here.
    pub(super) fn host(&self) -> Host {
        Host::Name(format!("pods of {}", self.name))
    }

    /// Traefik as the flags of its container make it.
    pub(super) fn traefik(&self, origin: &str) -> Option<Neighbour> {
        let container =
            self.containers.iter().find(|container| traefik::is_image(container.text_of("image")))?;
        let flags = container.get("args").map(Node::items).unwrap_or_default();
        let root = tree::of_pairs(&traefik::flags(flags))?;
        let mut neighbour =
            Neighbour::new(Product::Traefik, format!("{origin} (arguments of {})", self.name));
        traefik::of_trees(&[root], &mut neighbour);
        for listen in &mut neighbour.listens {
            for at in &mut listen.addresses {
                if let Address::Tcp { host, .. } = at {
                    *host = self.host();
                }
            }
        }
        Some(neighbour)
    }
}
