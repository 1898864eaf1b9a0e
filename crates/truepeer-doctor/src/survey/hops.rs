//! What the kernel shows of connections that configurations do not expect.

use std::net::IpAddr;

use super::{Published, Socket};
use crate::neighbour::{Listen, Machine, Neighbour, Outsiders, Reads, Trust};
use crate::{Class, Confidence, Finding, Product, Side};

/// Addresses that are named in one finding.
const MAX_NAMED: usize = 4;

/// Peers that are connected to a port which expects a header and does not trust them.
#[must_use]
pub fn untrusted_peers(neighbours: &[Neighbour], machine: &Machine, connected: &[Socket]) -> Vec<Finding> {
    let mut found = Vec::new();
    for neighbour in neighbours {
        for listen in &neighbour.listens {
            let mut peers: Vec<IpAddr> = connected
                .iter()
                .filter(|socket| arrives(listen, socket) && is_stranger(listen, socket.peer.ip(), machine))
                .map(|socket| socket.peer.ip())
                .collect();
            peers.sort_unstable();
            peers.dedup();
            found.extend(hop(neighbour.product, listen, &peers, machine));
        }
    }
    found
}

fn arrives(listen: &Listen, socket: &Socket) -> bool {
    listen.addresses.iter().any(|at| at.port() == Some(socket.local.port()))
}

/// Whether a connection from there is one that the server does not expect.
fn is_stranger(listen: &Listen, peer: IpAddr, machine: &Machine) -> bool {
    let is_ours = machine.gateways.contains(&peer) || machine.addresses.contains(&peer) || peer.is_loopback();
    let expects = match listen.outsiders {
        Outsiders::Refused => matches!(listen.header, Reads::Required(_) | Reads::Optional(_)),
        // There clients come, too: only what can be no client is remarkable.
        Outsiders::Clients | Outsiders::Disbelieved => !matches!(listen.header, Reads::No) && is_ours,
    };
    expects
        && matches!(listen.trust, Trust::Listed(_) | Trust::Nobody)
        && listen.trust.holds(peer) == Some(false)
}

fn hop(product: Product, listen: &Listen, peers: &[IpAddr], machine: &Machine) -> Option<Finding> {
    let first = peers.first()?;
    let named: Vec<_> = peers.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let more = peers.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let is_gateway = machine.gateways.contains(first);
    let why = if is_gateway {
        ", which is this machine's default gateway: the address of the proxy was translated on the way"
    } else {
        ""
    };
    Some(Finding {
        class: Class::Hop,
        side: if is_gateway { Side::Network } else { Side::Back },
        product: Some(product),
        seen: format!("connected now from {}{more}; {}", named.join(", "), listen.header_place),
        cause: format!(
            "anyone who connects there comes from {first}, and the list of proxies does not hold it{why}"
        )
        .into(),
        change: if is_gateway {
            "let the proxy reach the server over a network without address translation (containers: one common network, or `network_mode: host`); do not list the gateway: every client comes from its address".into()
        } else {
            format!("if {first} is the proxy, {}", list_it(product, *first)).into()
        },
        confidence: Confidence::Likely,
    })
}

fn list_it(product: Product, ip: IpAddr) -> String {
    match product {
        Product::Dovecot => format!("add it: `haproxy_trusted_networks = ... {ip}`"),
        Product::Exim => format!("add it: `hosts_proxy = ... : {ip}`"),
        Product::Nginx => format!("add it: `set_real_ip_from {ip};`"),
        Product::Truepeer => format!("add \"{ip}\" to `proxy.trusted-networks`"),
        _ => format!("add {ip} to the list of trusted proxies"),
    }
}

/// Ports of mail servers in containers that IPv6 clients reach as the bridge's gateway.
///
/// Docker's userland proxy connects anew wherever the kernel does not translate: for IPv6 to a container that has
/// IPv4 only.
#[must_use]
pub fn unmasked_families(published: &[Published], machine: &Machine) -> Option<Finding> {
    const MAIL: [u16; 8] = [25, 110, 143, 465, 587, 993, 995, 4190];
    let is_global = |ip: &IpAddr| match ip {
        IpAddr::V6(ip) => (ip.segments()[0] & 0xe000) == 0x2000,
        IpAddr::V4(_) => false,
    };
    if !machine.addresses.iter().any(is_global) {
        return None;
    }
    let found = published.iter().find(|published| {
        published.host.is_ipv6() && published.container.is_ipv4() && MAIL.contains(&published.host.port())
    })?;
    Some(Finding {
        class: Class::Hop,
        side: Side::Network,
        product: Some(Product::Docker),
        seen: format!("docker-proxy on {} for {}", found.host, found.container),
        cause: "the container has no IPv6 address, so that Docker's userland proxy connects anew for IPv6 clients: the \
                server sees its bridge's gateway for all of them"
            .into(),
        change: "give the network IPv6 (`enable_ipv6: true`, with a subnet), or publish the port for IPv4 only \
                 (`0.0.0.0:25:25`) and serve IPv6 by a proxy on the host that sends a header"
            .into(),
        confidence: Confidence::Likely,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour::{Address, Entry, Host, Place, Versions};
    use crate::survey::{published, sockets};

    fn dovecot(outsiders: Outsiders) -> Neighbour {
        let place = Place::new("doveconf -n", 7, "haproxy = yes");
        let entry = Entry {
            text: "10.0.0.5".to_owned(),
            place: place.clone(),
            network: Some("10.0.0.5/32".parse().unwrap()),
        };
        let mut listen = Listen::new("imap", place);
        listen.addresses = vec![Address::tcp(Host::parse("*"), 10_143)];
        listen.header = Reads::Required(Versions::BOTH);
        listen.trust = Trust::Listed(vec![entry]);
        listen.outsiders = outsiders;
        let mut neighbour = Neighbour::new(Product::Dovecot, "doveconf -n");
        neighbour.listens.push(listen);
        neighbour
    }

    /// A connection to port 10143 (0x279F) from there.
    fn connection(peer: &str) -> Socket {
        let octets = peer.parse::<std::net::Ipv4Addr>().unwrap().octets();
        let word = u32::from_ne_bytes(octets);
        let line = format!("0: 020012AC:279F {word:08X}:9C40 01 0:0 0:0 0 0 0 0");
        sockets(&line).pop().unwrap()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_peer_that_is_connected_and_not_listed_is_named() {
        let machine = Machine { gateways: vec!["172.18.0.1".parse().unwrap()], ..Machine::default() };
        let found = |outsiders, peer: &str| {
            untrusted_peers(&[dovecot(outsiders)], &machine, &[connection(peer), connection("10.0.0.5")])
                .iter()
                .map(|found| format!("{} {} {}", found.class, found.side, found.change))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(
            found(Outsiders::Refused, "10.0.0.6"),
            "HOP back if 10.0.0.6 is the proxy, add it: `haproxy_trusted_networks = ... 10.0.0.6`"
        );
        assert!(found(Outsiders::Refused, "172.18.0.1").starts_with("HOP network let the proxy reach"));
        assert_eq!(found(Outsiders::Refused, "10.0.0.5"), "");
        // Where clients come as well, only the gateway can be none.
        assert_eq!(found(Outsiders::Clients, "10.0.0.6"), "");
        assert!(found(Outsiders::Clients, "172.18.0.1").starts_with("HOP network"));
    }

    #[test]
    fn ipv6_clients_of_a_container_without_ipv6_are_its_gateway() {
        let words =
            "docker-proxy -proto tcp -host-ip :: -host-port 25 -container-ip 172.18.0.2 -container-port 25";
        let args: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let published = [published(&args).unwrap()];
        let machine = |ip: &str| Machine { addresses: vec![ip.parse().unwrap()], ..Machine::default() };
        assert!(unmasked_families(&published, &machine("2001:db8::1")).is_some());
        assert!(unmasked_families(&published, &machine("fe80::1")).is_none());
        assert!(unmasked_families(&[], &machine("2001:db8::1")).is_none());
    }
}
