//! Kubernetes and what runs in it: one row for each text.

use super::{Only, Row};
use crate::{Class, Confidence, Product, Side};

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "cert-manager",
        product: Some(Product::CertManager),
        class: Class::Mix,
        side: Side::Network,
        confidence: Confidence::Likely,
        needs: &[&["self check"], &["http-01", "get request", "acme-challenge"]],
        only: Only::Any,
        quote: &[],
        cause: "the check goes from inside the cluster straight to the ingress, past the balancer that adds the header",
        change: "let the cluster go through the balancer: give the Service a hostname instead of an address (`.../load-balancer-hostname` annotation, or ipMode Proxy), or use DNS-01",
    },
    Row {
        id: "kube-probe",
        product: Some(Product::Kubernetes),
        class: Class::Mix,
        side: Side::Back,
        confidence: Confidence::Possible,
        needs: &[
            &["liveness probe failed", "readiness probe failed", "startup probe failed"],
            &["eof", "connection reset", "malformed http", "statuscode: 400", "status code 400"],
        ],
        only: Only::Any,
        quote: &[],
        cause: "the kubelet's probe sends no header: on a port that expects one it fails",
        change: "point the probe at a port without the PROXY protocol",
    },
    Row {
        id: "empty-reply",
        product: None,
        class: Class::Mix,
        side: Side::Network,
        confidence: Confidence::Possible,
        needs: &[&["empty reply from server"]],
        only: Only::Any,
        quote: &[],
        cause: "the server closed without a word: it expects a header that this client, who came past the balancer, does not send",
        change: "come through the balancer, or test with one: `curl --haproxy-protocol http://HOST/`",
    },
];
