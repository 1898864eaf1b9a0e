//! The annotations by which clouds are told to send a header: one row each.

use super::super::tree::Node;
use super::super::{Place, Sends};
use crate::Product;

/// What an annotation tells.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) product: Product,
    pub(super) sends: Sends,
    pub(super) place: Place,
    /// The annotation with which pods are sent through the balancer, where there is one.
    pub(super) hostname: Option<&'static str>,
}

struct Row {
    key: &'static str,
    product: Product,
    /// What each value means; a word that ends in `*` stands for all that begin so.
    values: &'static [(&'static str, Sends)],
    hostname: Option<&'static str>,
}

const ON_V1: &[(&str, Sends)] = &[("true", Sends::V1), ("false", Sends::Nothing)];
const ON_V2: &[(&str, Sends)] = &[("true", Sends::V2), ("false", Sends::Nothing)];
const VERSIONS: &[(&str, Sends)] = &[
    ("v1", Sends::V1),
    ("v2", Sends::V2),
    ("1", Sends::V1),
    ("2", Sends::V2),
    ("true", Sends::V1),
    ("none", Sends::Nothing),
    ("false", Sends::Nothing),
];

const fn row(key: &'static str, product: Product, values: &'static [(&'static str, Sends)]) -> Row {
    Row { key, product, values, hostname: None }
}

const ROWS: &[Row] = &[
    row("service.beta.kubernetes.io/aws-load-balancer-proxy-protocol", Product::AwsNlb, &[("*", Sends::V2)]),
    Row {
        hostname: Some("service.beta.kubernetes.io/do-loadbalancer-hostname"),
        ..row(
            "service.beta.kubernetes.io/do-loadbalancer-enable-proxy-protocol",
            Product::DigitaloceanBalancer,
            ON_V1,
        )
    },
    Row {
        hostname: Some("load-balancer.hetzner.cloud/hostname"),
        ..row("load-balancer.hetzner.cloud/uses-proxyprotocol", Product::HetznerBalancer, ON_V2)
    },
    row("service.beta.kubernetes.io/azure-pls-proxy-protocol", Product::AzureBalancer, ON_V2),
    Row {
        hostname: Some("loadbalancer.openstack.org/hostname"),
        ..row("loadbalancer.openstack.org/proxy-protocol", Product::Kubernetes, VERSIONS)
    },
    row("service.beta.kubernetes.io/ovh-loadbalancer-proxy-protocol", Product::Kubernetes, VERSIONS),
    row("service.beta.kubernetes.io/scw-loadbalancer-proxy-protocol-v1", Product::Kubernetes, ON_V1),
    row("service.beta.kubernetes.io/scw-loadbalancer-proxy-protocol-v2", Product::Kubernetes, ON_V2),
    row(
        "service.beta.kubernetes.io/linode-loadbalancer-default-proxy-protocol",
        Product::Kubernetes,
        VERSIONS,
    ),
    row("service.beta.kubernetes.io/vultr-loadbalancer-proxy-protocol", Product::Kubernetes, ON_V1),
    row(
        "kubernetes.civo.com/loadbalancer-enable-proxy-protocol",
        Product::Kubernetes,
        &[("send-proxy", Sends::V1), ("send-proxy-v2", Sends::V2)],
    ),
    row(
        "service.beta.kubernetes.io/oci-load-balancer-connection-proxy-protocol-version",
        Product::Kubernetes,
        VERSIONS,
    ),
];

/// Attributes of AWS target groups, in a list of their own.
const AWS_ATTRIBUTES: &str = "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes";
/// Without this one, AWS's balancer is the classic one, which sends version 1.
const AWS_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";

/// How each cloud's annotations begin, whose they are, and what makes its balancer send a header.
const CLOUDS: &[(&str, &str, &str)] = &[
    (
        "service.beta.kubernetes.io/aws-load-balancer-",
        "AWS",
        "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: proxy_protocol_v2.enabled=true",
    ),
    (
        "service.beta.kubernetes.io/do-loadbalancer-",
        "DigitalOcean",
        "service.beta.kubernetes.io/do-loadbalancer-enable-proxy-protocol: \"true\"",
    ),
    ("load-balancer.hetzner.cloud/", "Hetzner", "load-balancer.hetzner.cloud/uses-proxyprotocol: \"true\""),
    (
        "service.beta.kubernetes.io/azure-",
        "Azure",
        "service.beta.kubernetes.io/azure-pls-proxy-protocol: \"true\"",
    ),
    ("loadbalancer.openstack.org/", "OpenStack", "loadbalancer.openstack.org/proxy-protocol: \"true\""),
    (
        "service.beta.kubernetes.io/scw-loadbalancer-",
        "Scaleway",
        "service.beta.kubernetes.io/scw-loadbalancer-proxy-protocol-v2: \"true\"",
    ),
    (
        "service.beta.kubernetes.io/linode-loadbalancer-",
        "Linode",
        "service.beta.kubernetes.io/linode-loadbalancer-default-proxy-protocol: v2",
    ),
    (
        "service.beta.kubernetes.io/vultr-loadbalancer-",
        "Vultr",
        "service.beta.kubernetes.io/vultr-loadbalancer-proxy-protocol: \"true\"",
    ),
];

/// A switch of one cloud's beside settings of another one's, which is where the service is.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) place: Place,
    /// Whose switch it is, and whose settings the others are.
    pub(super) whose: &'static str,
    pub(super) cloud: &'static str,
    /// The switch of that cloud.
    pub(super) right: &'static str,
}

/// The switch that says nothing here, since every other setting is of one other cloud.
pub(super) fn foreign(annotations: &[(String, Node)]) -> Option<Foreign> {
    let cloud = |key: &str| CLOUDS.iter().find(|(prefix, ..)| key.starts_with(prefix));
    let is_switch = |key: &String| ROWS.iter().any(|row| row.key == key) || key.as_str() == AWS_ATTRIBUTES;
    let (key, value) = annotations.iter().find(|(key, _)| is_switch(key))?;
    let (_, whose, _) = cloud(key)?;
    let mut others = annotations.iter().filter(|(other, _)| other != key).filter_map(|(key, _)| cloud(key));
    let (_, there, right) = others.next()?;
    (there != whose && others.all(|(_, name, _)| name == there)).then(|| Foreign {
        place: value.place.clone(),
        whose,
        cloud: there,
        right,
    })
}

/// What the annotations of a service say about the PROXY protocol.
pub(super) fn read(annotations: &[(String, Node)]) -> Option<Told> {
    for (key, value) in annotations {
        let text = value.text();
        if key == AWS_ATTRIBUTES && text.contains("proxy_protocol_v2.enabled=true") {
            let place = value.place.clone();
            return Some(Told { product: Product::AwsNlb, sends: Sends::V2, place, hostname: None });
        }
        let Some(row) = ROWS.iter().find(|row| row.key == key) else { continue };
        let mut sends =
            row.values.iter().find(|(word, _)| *word == text).map_or(Sends::Unknown, |(_, sends)| *sends);
        let classic = row.product == Product::AwsNlb && !annotations.iter().any(|(key, _)| key == AWS_TYPE);
        if classic && sends == Sends::V2 {
            sends = Sends::V1;
        }
        return Some(Told {
            product: row.product,
            sends,
            place: value.place.clone(),
            hostname: row.hostname,
        });
    }
    None
}
