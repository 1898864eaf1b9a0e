//! Is the peer that connects one of those that are believed, and who else is?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::lines::Lines;
use super::super::{Address, Connect, Entry, Host, Listen, Neighbour, Outsiders, Reads, Trust};
use super::{Machine, Pair, both, listed};
use crate::{Class, Confidence, Finding, Product, Side};

/// What is wrong between the list of one side and the address of the other.
pub(super) fn judge(pair: &Pair<'_>, machine: &Machine) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    if !connect.sends.is_header() || matches!(listen.header, Reads::No | Reads::Unknown) {
        return None;
    }
    let to = receiver.product;
    let peers = pair.peers(machine);
    let missed: Vec<IpAddr> =
        peers.iter().copied().filter(|peer| listen.trust.holds(*peer) == Some(false)).collect();
    // The peer's address is not known, but it cannot be one of this machine's own.
    let only_here = |entries: &[Entry]| {
        let local = |entry: &Entry| entry.network.is_some_and(|network| network.addr().is_loopback());
        peers.is_empty() && !connect.to.is_local_only() && !entries.is_empty() && entries.iter().all(local)
    };
    let (sure, address) = match &listen.trust {
        Trust::Listed(_) | Trust::Nobody if !missed.is_empty() => {
            (confidence, missed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Trust::Nobody => (confidence, format!("the address from which {} connects", sender.product.title())),
        Trust::Listed(entries) if only_here(entries) && matches!(connect.to.host(), Some(Host::Ip(_))) => {
            (Confidence::Likely, format!("the address from which {} connects", sender.product.title()))
        }
        _ => return None,
    };
    let list = trust_place(listen);
    let what = match (&listen.trust, listen.outsiders) {
        (Trust::Nobody, Outsiders::Refused) => "trusts nobody, so every connection with a header is closed",
        (Trust::Nobody, _) => "trusts nobody, so the proxy counts as the client",
        (_, Outsiders::Refused) => "does not trust the peer that sends it, and closes the connection",
        (_, Outsiders::Clients) if to == Product::Truepeer => {
            "does not trust the peer that sends it, and refuses the connection (`untrusted_header`)"
        }
        (_, Outsiders::Clients) => {
            "does not trust the peer that sends it, and takes the header for the client's own bytes"
        }
        (_, Outsiders::Disbelieved) => {
            "does not trust the peer that sends it, and takes that peer for the client"
        }
    };
    Some(Finding {
        class: Class::Hop,
        side: Side::Back,
        product: Some(to),
        seen: format!("{}; {list}", both(&connect.sends_place, &listen.header_place)),
        cause: format!("{} reads a header here and {what}", to.title()).into(),
        change: format!("in {}: {} {address}", spot(listen, &list), Lines::of(to).trust).into(),
        confidence: sure,
    })
}

/// What a list itself says, no matter who connects.
pub(super) fn alone(neighbour: &Neighbour, listen: &Listen, machine: &Machine) -> Vec<Finding> {
    let mut found = Vec::new();
    if matches!(listen.header, Reads::No | Reads::Unknown) {
        return found;
    }
    let product = neighbour.product;
    match &listen.trust {
        Trust::Everybody => found.extend(exposed(neighbour, listen)),
        Trust::Listed(entries) => {
            found.extend(entries.iter().filter_map(|entry| too_wide(product, listen, entry)));
            found.extend(entries.iter().filter_map(|entry| odd(product, entry)));
            found.extend(entries.iter().filter_map(|entry| gateway(product, entry, machine)));
        }
        Trust::Nobody | Trust::Unknown => {}
    }
    found
}

/// A port without a list that more than this machine can reach.
fn exposed(neighbour: &Neighbour, listen: &Listen) -> Option<Finding> {
    let wide = listen.addresses.iter().find(|at| !at.is_local_only())?;
    let everywhere = matches!(wide.host(), Some(Host::Any(_)));
    // A proxy at the edge usually stands behind a balancer that only it can be reached through.
    let proxy = serves(neighbour, listen).next().is_some();
    let relay = if listen.privileged.is_empty() {
        String::new()
    } else {
        format!("; a header that names an address of {} gives the right to relay", listed(&listen.privileged))
    };
    let product = neighbour.product;
    let port = wide.port().unwrap_or_default();
    Some(Finding {
        class: Class::Forge,
        side: Side::Back,
        product: Some(product),
        seen: both(&listen.place, &listen.header_place),
        cause: format!(
            "{} has no list of proxies for {wide}: anyone who can reach the port may speak for any client{relay}",
            product.title()
        )
        .into(),
        change: match product {
            Product::Haproxy | Product::Nginx => {
                format!("in {}: {} the proxies' addresses", listen.header_place.spot(), Lines::of(product).trust)
            }
            _ => format!(
                "in {}: listen on 127.0.0.1:{port} if the proxy is on this machine; otherwise let a firewall admit only the proxy to port {port}, and prove it from another machine: `truepeer probe HOST:{port} --expect-closed`",
                listen.place.spot()
            ),
        }
        .into(),
        confidence: if everywhere && !proxy { Confidence::Likely } else { Confidence::Possible },
    })
}

/// The connections that `listen` of `neighbour` feeds.
pub(super) fn serves<'n>(neighbour: &'n Neighbour, listen: &Listen) -> impl Iterator<Item = &'n Connect> {
    let index = neighbour.listens.iter().position(|each| each == listen);
    neighbour
        .connects
        .iter()
        .filter(move |connect| index.is_some_and(|index| connect.serves.contains(&index)))
}

/// The longest prefix, by family, that no network of one's own proxies can have.
fn too_wide(product: Product, listen: &Listen, entry: &Entry) -> Option<Finding> {
    let network = entry.network?;
    // A whole /8 of private space is one organisation's network; more than that is everybody.
    let shortest = if network.addr().is_ipv4() { 8 } else { 16 };
    if network.prefix_len() >= shortest || network.addr().is_loopback() {
        return None;
    }
    let everybody = network.prefix_len() == 0;
    Some(Finding {
        class: Class::Forge,
        side: Side::Back,
        product: Some(product),
        seen: both(&listen.header_place, &entry.place),
        cause: format!(
            "`{}` trusts {}: anyone who can reach the port may speak for any client",
            entry.text,
            if everybody { "everybody" } else { "a large part of the internet" }
        )
        .into(),
        change: format!(
            "in {}: write the proxies' own addresses instead of `{}`",
            entry.place.spot(),
            entry.text
        )
        .into(),
        confidence: Confidence::Certain,
    })
}

/// An entry that does not mean what it looks like.
fn odd(product: Product, entry: &Entry) -> Option<Finding> {
    let finding = |cause: String, change: String, confidence| Finding {
        class: Class::Syn,
        side: Side::Back,
        product: Some(product),
        seen: entry.place.to_string(),
        cause: cause.into(),
        change: format!("in {}: {change}", entry.place.spot()).into(),
        confidence,
    };
    let never = |ip: IpAddr| ip == Ipv4Addr::UNSPECIFIED || ip == Ipv6Addr::UNSPECIFIED;
    let network = entry.network?;
    if network.prefix_len() == network.max_prefix_len() && never(network.addr()) {
        return Some(finding(
            format!("`{}` is one address that no peer has, and no wildcard", entry.text),
            "write the proxies' own addresses".to_owned(),
            Confidence::Certain,
        ));
    }
    let written: truepeer::IpNet = entry.text.trim_matches(['[', ']']).parse().ok()?;
    (written.trunc() != written).then(|| {
        finding(
            format!("`{}` has bits behind its prefix: it means all of {}", entry.text, written.trunc()),
            format!(
                "write `{}` for that one address, or `{}` for all of it",
                written.addr(),
                written.trunc()
            ),
            Confidence::Likely,
        )
    })
}

/// Whatever this machine forwards for others comes from its gateway.
fn gateway(product: Product, entry: &Entry, machine: &Machine) -> Option<Finding> {
    let network = entry.network?;
    let gateway =
        machine.gateways.iter().find(|gateway| machine.is_container && network.contains(*gateway))?;
    Some(Finding {
        class: Class::Forge,
        side: Side::Back,
        product: Some(product),
        seen: entry.place.to_string(),
        cause: format!(
            "`{}` holds {gateway}, the gateway of this container: everybody whom it forwards comes from there, and could forge a client",
            entry.text
        )
        .into(),
        change: format!(
            "in {}: write the proxy's own address, and let it reach this port through a network of containers, not through a published port",
            entry.place.spot()
        )
        .into(),
        confidence: Confidence::Likely,
    })
}

/// Where the list stands, for people.
fn trust_place(listen: &Listen) -> String {
    match &listen.trust {
        Trust::Listed(entries) => {
            entries.first().map_or_else(|| "an empty list".to_owned(), |entry| entry.place.to_string())
        }
        _ => "no list of proxies".to_owned(),
    }
}

fn spot(listen: &Listen, list: &str) -> String {
    match &listen.trust {
        Trust::Listed(entries) => entries.first().map_or_else(|| list.to_owned(), |entry| entry.place.spot()),
        _ => listen.header_place.spot(),
    }
}

/// Addresses as people list them.
pub(super) fn shown(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
