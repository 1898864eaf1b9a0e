//! Who connects to whom, and what does not fit.

mod checks;
mod header;
mod ports;
mod rights;
mod tls;
mod trust;
mod waits;

use std::net::IpAddr;

use super::address::Fit;
use super::{Address, Connect, Entry, Host, Listen, Neighbour, Place};
use crate::{Class, Confidence, Finding, Product};

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
    /// The published port that hands it on, if it comes through one.
    pub via: Option<&'n Connect>,
    /// How sure it is that this connection arrives there.
    pub confidence: Confidence,
}

impl Pair<'_> {
    /// The addresses from which the connection comes, as far as they are known: those it binds to, or this machine's
    /// own where it connects to one of them.
    #[must_use]
    pub fn peers(&self, machine: &Machine) -> Vec<IpAddr> {
        // Docker puts its gateway in place of the client's address.
        if let Some(via) = self.via {
            return via.from.clone();
        }
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
    for sender in neighbours {
        for connect in &sender.connects {
            for (receiver, listen, confidence) in reached(neighbours, sender, &connect.to) {
                let pair = Pair { sender, connect, receiver, listen, via: None, confidence };
                match behind(receiver, listen) {
                    Some(via) => found.extend(reached(neighbours, receiver, &via.to).into_iter().map(
                        |(receiver, listen, _)| Pair {
                            receiver,
                            listen,
                            via: Some(via),
                            confidence: Confidence::Likely,
                            ..pair
                        },
                    )),
                    None => found.push(pair),
                }
            }
        }
    }
    found
}

/// Where a published port of Docker's leads; nothing for any other.
fn behind<'n>(receiver: &'n Neighbour, listen: &Listen) -> Option<&'n Connect> {
    if receiver.product != Product::Docker {
        return None;
    }
    trust::serves(receiver, listen).next()
}

/// Who takes a connection of `sender` to `to`: those that fit best, one port of each.
fn reached<'n>(
    neighbours: &'n [Neighbour],
    sender: &Neighbour,
    to: &Address,
) -> Vec<(&'n Neighbour, &'n Listen, Confidence)> {
    let mut found: Vec<(Fit, &Neighbour, &Listen)> = Vec::new();
    for receiver in neighbours {
        let fits = receiver.listens.iter().filter_map(|listen| {
            let fit = listen.addresses.iter().map(|at| to.reaches(at)).max()?;
            (fit != Fit::No).then_some((fit, receiver, listen))
        });
        // The first of the best: `max_by_key` keeps the last.
        let fits: Vec<_> = fits.collect();
        found.extend(fits.iter().rev().max_by_key(|(fit, ..)| *fit).copied());
    }
    let Some(best) = found.iter().map(|(fit, ..)| *fit).max() else { return Vec::new() };
    found.retain(|(fit, ..)| *fit == best);
    // A proxy connects to itself only where nobody else is meant, and its own address says so.
    let others = found.iter().any(|(_, receiver, _)| !std::ptr::eq(*receiver, sender));
    found.retain(|(fit, receiver, _)| !std::ptr::eq(*receiver, sender) || !others && *fit >= Fit::Certain);
    let confidence = if best >= Fit::Certain { Confidence::Certain } else { Confidence::Likely };
    found.into_iter().map(|(_, receiver, listen)| (receiver, listen, confidence)).collect()
}

/// What does not fit, best first: what is wrong with each alone, and with each pair.
#[must_use]
pub fn compare(neighbours: &[Neighbour], machine: &Machine) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let met = pairs(neighbours);
    let late: Vec<(&Listen, Finding)> =
        met.iter().filter_map(|pair| Some((pair.listen, waits::late(pair, machine)?))).collect();
    for neighbour in neighbours {
        found.extend(neighbour.findings.iter().cloned());
        for listen in &neighbour.listens {
            found.extend(trust::alone(neighbour, listen, machine));
            found.extend(rights::alone(neighbour, listen, machine));
            // Said better where the sender is known.
            if !late.iter().any(|(told, _)| std::ptr::eq(*told, listen)) {
                found.extend(waits::hurried(neighbour.product, listen));
            }
        }
        found.extend(checks::judge(neighbours, neighbour, machine));
    }
    found.extend(late.into_iter().map(|(_, finding)| finding));
    for pair in &met {
        found.extend(header::judge(pair, machine));
        found.extend(trust::judge(pair, machine));
        found.extend(rights::judge(pair, machine));
        found.extend(rights::through_us(pair, machine));
        found.extend(tls::judge(pair));
        found.extend(ports::families(pair));
        found.extend(ports::identity(pair));
        found.extend(ports::crossed(pair));
    }
    found.extend(ports::missed(neighbours, &met));
    crate::sort(&mut found);
    let mut once: Vec<Finding> = Vec::new();
    for finding in found {
        if !once.contains(&finding) {
            once.push(finding);
        }
    }
    once
}

/// What the servers behind `sender` let its clients do only because of the address that they see: relay rights and the
/// like, which proxies and gateways must not have. Part of what [`compare`] says.
#[must_use]
pub fn rights(neighbours: &[Neighbour], sender: &Neighbour, machine: &Machine) -> Vec<Finding> {
    let of_sender = |pair: &Pair<'_>| std::ptr::eq(pair.sender, sender);
    let pairs = pairs(neighbours);
    let found = pairs.iter().filter(|pair| of_sender(pair));
    let mut found: Vec<Finding> = found
        .flat_map(|pair| [rights::judge(pair, machine), rights::through_us(pair, machine)])
        .flatten()
        .filter(|finding| finding.class == Class::Ban)
        .collect();
    crate::sort(&mut found);
    found
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
