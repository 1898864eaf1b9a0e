//! Who else can reach a backend: anyone who can, and is believed there, may speak for any client.

use std::net::SocketAddr;

use truepeer_doctor::neighbour::believes_everybody;
use truepeer_doctor::{Class, Confidence, Finding, Product, Side};

use super::neighbours::machine;
use crate::config::{Config, Listener};
use crate::doctor::listening::{listening, reached};
use crate::facts::bind::Bind;
use crate::rooms::backend::{Backend, BackendAddress};
use crate::rooms::handoff::Proof;

/// What is to be said of all backends.
#[derive(Debug, Default)]
pub(super) struct Exposure {
    pub(super) findings: Vec<Finding>,
    /// Key and text.
    pub(super) advice: Vec<(String, String)>,
}

/// Looks at each backend that is handed a header.
pub(super) fn of(config: &Config) -> Exposure {
    let (machine, listening) = (machine(), listening());
    let mut exposure = Exposure::default();
    for listener in &config.listeners {
        exposure.advice.extend(port_meant(listener));
    }
    for backend in &config.backends {
        if backend.handoff.facts().proof != Proof::GreetsOnlyWith {
            continue;
        }
        for address in &backend.addresses {
            match address {
                BackendAddress::Socket(addr)
                    if addr.ip().is_loopback() || machine.addresses.contains(&addr.ip()) =>
                {
                    exposure.findings.extend(exposed(backend, *addr, &listening));
                }
                BackendAddress::Socket(addr) => exposure.advice.push(elsewhere(backend, &addr.to_string())),
                BackendAddress::Host { name, port } => {
                    exposure.advice.push(elsewhere(backend, &format!("{name}:{port}")));
                }
                BackendAddress::Unix(_) | BackendAddress::Program(_) => {}
            }
        }
    }
    exposure
}

/// Stalwart's policies ask for the port that it is bound to, and mean the one that the client came to.
fn port_meant(listener: &Listener) -> Option<(String, String)> {
    let is_25 = |bind: &Bind| matches!(bind, Bind::Tcp { addr, .. } if addr.port() == 25);
    let other = |address: &&BackendAddress| match address {
        BackendAddress::Socket(addr) => addr.port() != 25,
        BackendAddress::Host { port, .. } => *port != 25,
        BackendAddress::Unix(_) | BackendAddress::Program(_) => false,
    };
    let backend = &listener.backend;
    let is_stalwart = backend.kind.facts().name == Product::Stalwart.name();
    (is_stalwart && listener.binds.iter().any(is_25) && backend.addresses.iter().any(|address| other(&address)))
        .then(|| {
            let text = "Stalwart's policies treat every other port as one for users: let it listen on port 25 of an address \
                        that only truepeer reaches, or other servers hear `503 5.5.1 You must authenticate first.`";
            (format!("backend.{}.address", backend.id), text.to_owned())
        })
}

/// A port of this machine on which more than this machine is believed.
fn exposed(backend: &Backend, addr: SocketAddr, listening: &[SocketAddr]) -> Option<Finding> {
    let kind = backend.kind.facts();
    let product = Product::parse(kind.name);
    if !product.is_some_and(believes_everybody) {
        return None;
    }
    let wide = reached(listening, addr).into_iter().find(|at| !at.ip().is_loopback())?;
    Some(Finding {
        class: Class::Forge,
        side: Side::Back,
        product,
        seen: format!("backend.{}: {addr} is served by a socket on {wide}", backend.id),
        cause: format!(
            "{} has no list of proxies: anyone who can reach {wide} may speak for any client, past truepeer",
            kind.title
        )
        .into(),
        change: format!(
            "let it listen on 127.0.0.1:{port} only, or let a firewall admit nobody else to port {port}; then on another machine `truepeer probe HOST:{port} --expect-closed` proves it",
            port = addr.port()
        )
        .into(),
        confidence: Confidence::Certain,
    })
}

/// What only another machine can find out.
fn elsewhere(backend: &Backend, address: &str) -> (String, String) {
    let text = format!(
        "whether others than truepeer are believed at {address} shows on a machine that is no proxy: \
         `truepeer probe {address} --expect-closed`"
    );
    (format!("backend.{}.address", backend.id), text)
}
