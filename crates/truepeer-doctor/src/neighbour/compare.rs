//! Who connects to whom, and what does not fit.

mod checks;
mod header;
mod ports;
mod rights;
mod tls;
mod trust;

use std::net::IpAddr;

use super::address::Fit;
use super::{Connect, Entry, Host, Listen, Neighbour, Place};
use crate::{Confidence, Finding};

/// What the machine tells on which the neighbours run; empty where that is not this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Its default gateways.
    pub gateways: Vec<IpAddr>,
    /// Whether it is a container, whose gateway forwards strangers under its own address.
    pub is_container: bool,
}

/// A connection of one neighbour that arrives at another.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'n> {
    /// Who connects.
    pub sender: &'n Neighbour,
    /// With which connection.
    pub connect: &'n Connect,
    /// Who takes it.
    pub receiver: &'n Neighbour,
    /// On which port.
    pub listen: &'n Listen,
    /// How sure it is that this connection arrives there.
    pub confidence: Confidence,
}

impl Pair<'_> {
    /// The addresses from which the connection comes, as far as they are known: those it binds to, or this machine's
    /// own where it connects to one of them.
    #[must_use]
    pub fn peers(&self, machine: &Machine) -> Vec<IpAddr> {
        if !self.connect.from.is_empty() {
            return self.connect.from.clone();
        }
        match self.connect.to.host() {
            // The kernel takes the address that it connects to for the source, too.
            Some(Host::Ip(ip)) if ip.is_loopback() || machine.addresses.contains(ip) => vec![*ip],
            Some(host) if host.is_loopback() => vec![IpAddr::from([127, 0, 0, 1])],
            _ => Vec::new(),
        }
    }
}

/// Every connection of one neighbour that arrives at another, as far as addresses and ports tell.
#[must_use]
pub fn pairs(neighbours: &[Neighbour]) -> Vec<Pair<'_>> {
    let mut found = Vec::new();
    for (from, sender) in neighbours.iter().enumerate() {
        for connect in &sender.connects {
            for (to, receiver) in neighbours.iter().enumerate() {
                let fits = receiver.listens.iter().filter_map(|listen| {
                    let fit = listen.addresses.iter().map(|at| connect.to.reaches(at)).max()?;
                    // A proxy that connects to itself says so by an address of its own.
                    (fit == Fit::Certain || fit == Fit::Likely && from != to).then_some((fit, listen))
                });
                // The first of the best: `max_by_key` keeps the last.
                let fits: Vec<_> = fits.collect();
                let Some((fit, listen)) = fits.iter().rev().max_by_key(|(fit, _)| *fit) else { continue };
                let confidence = if *fit == Fit::Certain { Confidence::Certain } else { Confidence::Likely };
                found.push(Pair { sender, connect, receiver, listen, confidence });
            }
        }
    }
    found
}

/// What does not fit, best first: what is wrong with each alone, and with each pair.
#[must_use]
pub fn compare(neighbours: &[Neighbour], machine: &Machine) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for neighbour in neighbours {
        found.extend(neighbour.findings.iter().cloned());
        for listen in &neighbour.listens {
            found.extend(trust::alone(neighbour, listen, machine));
            found.extend(rights::alone(neighbour, listen, machine));
        }
        found.extend(checks::judge(neighbours, neighbour));
    }
    for pair in pairs(neighbours) {
        found.extend(header::judge(&pair, machine));
        found.extend(trust::judge(&pair, machine));
        found.extend(rights::judge(&pair, machine));
        found.extend(tls::judge(&pair));
        found.extend(ports::families(&pair));
        found.extend(ports::identity(&pair));
    }
    found.extend(ports::missed(neighbours));
    crate::sort(&mut found);
    let mut once: Vec<Finding> = Vec::new();
    for finding in found {
        if !once.contains(&finding) {
            once.push(finding);
        }
    }
    once
}

/// Two places as they are shown: the sender's, then the receiver's.
fn both(sender: &Place, receiver: &Place) -> String {
    if sender == receiver { sender.to_string() } else { format!("{sender} -> {receiver}") }
}

/// The less sure of the two.
fn weaker(one: Confidence, other: Confidence) -> Confidence {
    one.max(other)
}

/// The networks as they were written.
fn listed(entries: &[Entry]) -> String {
    entries.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>().join(" ")
}
