//! Whether a backend lets somebody relay mail because of truepeer's, a proxy's or a gateway's address (`mynetworks` and
//! its like): asked of the program itself where it is on this machine, and otherwise said with the command that shows it.

use std::path::Path;

use truepeer_doctor::neighbour::{Neighbour, pairs, rights};
use truepeer_doctor::{Finding, Product};

use super::neighbours::machine;
use super::ours::ours;
use crate::config::Config;
use crate::doctor::neighbours::NamedNeighbour;
use crate::rooms::backend::{Backend, BackendAddress};

/// What is to be said of rights by address.
#[derive(Debug, Default)]
pub(super) struct Relay {
    pub(super) findings: Vec<Finding>,
    /// Key and text.
    pub(super) advice: Vec<(String, String)>,
}

/// Servers with a list of networks that may do more, and what it is called.
const LISTS: &[(Product, &str)] = &[
    (Product::Postfix, "mynetworks"),
    (Product::Postscreen, "mynetworks"),
    (Product::Exim, "relay_from_hosts"),
    (Product::Dovecot, "login_trusted_networks"),
];

/// Looks at each backend of such a kind; `path` is where the configuration is.
pub(super) fn of(config: &Config, path: &Path) -> Relay {
    let (machine, mut relay) = (machine(), Relay::default());
    let mut read: Vec<(Product, Option<Vec<Neighbour>>)> = Vec::new();
    for backend in &config.backends {
        let Some((product, list)) =
            LISTS.iter().find(|(product, _)| product.name() == backend.kind.facts().name)
        else {
            continue;
        };
        let here = |address: &BackendAddress| match address {
            BackendAddress::Socket(addr) => addr.ip().is_loopback() || machine.addresses.contains(&addr.ip()),
            BackendAddress::Host { .. } | BackendAddress::Unix(_) | BackendAddress::Program(_) => false,
        };
        // Postscreen is Postfix' own.
        let program = if *product == Product::Postscreen { Product::Postfix } else { *product };
        if !backend.addresses.iter().any(here) {
            relay.advice.push(elsewhere(backend, program, list));
            continue;
        }
        if !read.iter().any(|(known, _)| *known == program) {
            let asked = NamedNeighbour::parse(program.name()).ok().and_then(|asked| asked.read().ok());
            read.push((program, asked));
        }
        let found = read.iter().find(|(known, _)| *known == program).and_then(|(_, read)| read.clone());
        let all: Vec<Neighbour> =
            std::iter::once(ours(config, path)).chain(found.unwrap_or_default()).collect();
        let Some((us, _)) = all.split_first() else { continue };
        let met = pairs(&all);
        if !met.iter().any(|pair| pair.connect.name == *backend.id && std::ptr::eq(pair.sender, us)) {
            relay.advice.push(elsewhere(backend, program, list));
        }
        for finding in rights(&all, us, &machine) {
            if !relay.findings.contains(&finding) {
                relay.findings.push(finding);
            }
        }
    }
    relay
}

/// What only that program can say, on its machine.
fn elsewhere(backend: &Backend, program: Product, list: &str) -> (String, String) {
    let name = program.name();
    let text = format!(
        "whether `{list}` gives rights to truepeer's, a proxy's or a gateway's address shows where {} runs: `truepeer \
         check FILE --neighbour {name}`, or with what it prints in files",
        program.title()
    );
    (format!("backend.{}.address", backend.id), text)
}
