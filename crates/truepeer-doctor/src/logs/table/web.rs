//! Web servers and brokers that other tables do not name: one row for each text.

use super::{Only, Row};
use crate::change::SEND;
use crate::{Class, Confidence, Product, Side};

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "gunicorn-line",
        product: Some(Product::PythonServer),
        class: Class::Miss,
        side: Side::Front,
        confidence: Confidence::Certain,
        needs: &[&["invalidproxyline", "invalid proxy line:"]],
        only: Only::Any,
        quote: &["invalid proxy line:"],
        cause: "gunicorn was told to read a header (`--proxy-protocol`), and none came",
        change: SEND,
    },
    Row {
        id: "gunicorn-forbidden",
        product: Some(Product::PythonServer),
        class: Class::Hop,
        side: Side::Back,
        confidence: Confidence::Certain,
        needs: &[
            &["forbiddenproxyrequest", "proxy request from '", "proxy request from \""],
            &["' not allowed", "\" not allowed", "forbiddenproxyrequest"],
        ],
        only: Only::Any,
        quote: &[],
        cause: "a header came from {peer}, which is not among gunicorn's proxies",
        change: "start gunicorn with `--proxy-allow-from={peer}` (several are separated by commas)",
    },
    Row {
        id: "envoy-codec",
        product: Some(Product::Envoy),
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Possible,
        needs: &[&["http1.codec_error", "http1_codec_error"], &[" dpe "]],
        only: Only::NearOrUnsaid,
        quote: &[],
        cause: "what came is not an HTTP request: a header, if the balancer in front sends one, or TLS to a clear port",
        change: "if the balancer sends the PROXY protocol, let the listener read it: the listener filter `envoy.filters.listener.proxy_protocol` before `tls_inspector` (Istio: `proxyProtocol: {}` in the gateway's `gatewayTopology`); or switch it off at the balancer",
    },
    Row {
        id: "amqp-signature",
        product: None,
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Possible,
        needs: &[&["server sent signature"], &["amqp"]],
        only: Only::Any,
        quote: &[],
        cause: "the broker answered with its own AMQP header, as it does to every peer that begins with something else: a PROXY header, if a proxy in front sends one",
        change: "RabbitMQ: `proxy_protocol = true` in rabbitmq.conf, for all of its ports; or take `send-proxy`, `proxy_protocol on;` away at the proxy",
    },
    Row {
        id: "forwarded-untrusted",
        product: None,
        class: Class::Xff,
        side: Side::Back,
        confidence: Confidence::Likely,
        needs: &[
            &[
                "request from a reverse proxy",
                "header from an untrusted proxy",
                "header from untrusted proxy",
            ],
            &["not set-up", "not set up", "not trusted", "untrusted"],
        ],
        only: Only::Any,
        quote: &[],
        cause: "the program got an HTTP header that names the client, from {peer}, which it does not believe; the PROXY protocol has no part in this",
        change: "trust {peer} there for HTTP (Home Assistant: `use_x_forwarded_for: true` and `trusted_proxies: [{peer}]` below `http:`); a PROXY header is another thing, and for ports that speak no HTTP",
    },
];
