//! Machines within the machine: containers have sockets and addresses of their own.
//!
//! Neighbours of several of them are made fit to be compared together: `*` becomes the addresses that it stands for,
//! what leads to a published port leads into the container, and a container's loopback is left out, for anyone who
//! meets there is compared within it.

use std::net::IpAddr;

use super::Published;
use crate::neighbour::{Address, Connect, Families, Host, Neighbour, Place};

/// A network namespace: this machine, or a container.
#[derive(Debug, Clone, Default)]
pub struct Space {
    /// The container's name; none for the machine itself, which comes first.
    pub container: Option<String>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Its default gateways.
    pub gateways: Vec<IpAddr>,
    /// The programs in it.
    pub neighbours: Vec<Neighbour>,
}

/// Neighbours of several spaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// Fit to be compared.
    pub neighbours: Vec<Neighbour>,
    /// Connections of which it is not known where they arrive, as they are written; they are left out.
    pub unclear: Vec<Place>,
}

/// The neighbours of all `spaces` as those of one machine; as they are where there is only one.
#[must_use]
pub fn join(spaces: &[Space], published: &[Published]) -> Joined {
    let mut joined = Joined::default();
    if let [space] = spaces {
        joined.neighbours.clone_from(&space.neighbours);
        return joined;
    }
    for space in spaces {
        for neighbour in &space.neighbours {
            let mut neighbour = neighbour.clone();
            for listen in &mut neighbour.listens {
                listen.addresses = listen.addresses.iter().flat_map(|at| space.widen(at)).collect();
                listen.addresses.retain(|at| !space.is_inner(at));
            }
            neighbour.connects.retain(|connect| !space.is_inner(&connect.to));
            for connect in &mut neighbour.connects {
                space.lead(connect, spaces, published);
            }
            joined.neighbours.push(neighbour);
        }
    }
    joined.leave_out_unclear();
    joined
}

impl Joined {
    /// A name stands for whichever container listens at that port, if it is only one: who has which name is known to
    /// the containers' resolver alone.
    fn leave_out_unclear(&mut self) {
        let ports = |neighbour: &Neighbour| -> Vec<u16> {
            neighbour.listens.iter().flat_map(|listen| &listen.addresses).filter_map(Address::port).collect()
        };
        let listening: Vec<_> = self.neighbours.iter().map(ports).collect();
        for (index, neighbour) in self.neighbours.iter_mut().enumerate() {
            let unclear = &mut self.unclear;
            neighbour.connects.retain(|connect| {
                let Address::Tcp { host: Host::Name(name), port } = &connect.to else { return true };
                let others = listening
                    .iter()
                    .enumerate()
                    .filter(|(other, ports)| *other != index && ports.contains(port));
                let is_clear = name == "localhost" || others.count() < 2;
                if !is_clear {
                    unclear.push(connect.place.clone());
                }
                is_clear
            });
        }
    }
}

impl Space {
    /// The addresses for which one that is listened on stands.
    fn widen(&self, at: &Address) -> Vec<Address> {
        let Address::Tcp { host, port } = at else { return vec![at.clone()] };
        let holds = |families: Families, ip: &IpAddr| match families {
            Families::V4 => ip.is_ipv4(),
            Families::V6 => ip.is_ipv6(),
            Families::Both => true,
        };
        match host {
            Host::Any(families) if !self.addresses.is_empty() => self
                .addresses
                .iter()
                .filter(|ip| holds(*families, ip))
                .map(|ip| Address::tcp(Host::Ip(*ip), *port))
                .collect(),
            _ => vec![at.clone()],
        }
    }

    /// Whether nobody outside of this container comes there, or nobody from there comes out.
    fn is_inner(&self, at: &Address) -> bool {
        self.container.is_some() && at.is_local_only()
    }

    /// Says where a connection really arrives, and from which address.
    fn lead(&self, connect: &mut Connect, spaces: &[Self], published: &[Published]) {
        let Address::Tcp { host, port } = connect.to.clone() else { return };
        let Host::Ip(ip) = host else { return };
        let is_ours = ip.is_loopback() || self.addresses.contains(&ip);
        let leads = |published: &&Published| {
            let at = published.host;
            at.port() == port && (at.ip() == ip || at.ip().is_unspecified())
        };
        if let Some(published) = published.iter().find(leads).filter(|_| is_ours && self.container.is_none())
        {
            let to = published.container;
            connect.to = Address::tcp(Host::Ip(to.ip()), to.port());
            // Docker connects anew, from the gateway of that container's network.
            let there = spaces.iter().find(|space| space.addresses.contains(&to.ip()));
            connect.from = there.map(|space| space.gateways.clone()).unwrap_or_default();
            return;
        }
        if !is_ours && connect.from.is_empty() {
            connect.from.extend(self.source_towards(ip));
        }
    }

    /// The own address from which the kernel would connect to a neighbour in the same network.
    fn source_towards(&self, to: IpAddr) -> Option<IpAddr> {
        const SAME_NETWORK: u32 = 16;
        let IpAddr::V4(to) = to else { return None };
        let alike = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => (u32::from(*ip) ^ u32::from(to)).leading_zeros(),
            IpAddr::V6(_) => 0,
        };
        self.addresses.iter().copied().filter(|ip| alike(ip) >= SAME_NETWORK).max_by_key(alike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Product;
    use crate::neighbour::{File, Machine, compare, pairs, read};
    use crate::survey::published;

    fn space(container: Option<&str>, ip: &str, neighbours: Vec<Neighbour>) -> Space {
        Space {
            container: container.map(str::to_owned),
            addresses: vec![IpAddr::from([127, 0, 0, 1]), ip.parse().unwrap()],
            gateways: vec!["172.18.0.1".parse().unwrap()],
            neighbours,
        }
    }

    fn haproxy(to: &str, words: &str) -> Vec<Neighbour> {
        let text = format!("listen imap\n  mode tcp\n  bind :143\n  server s {to} {words}\n");
        read(Product::Haproxy, &[File { name: "haproxy.cfg", text: &text }])
    }

    fn dovecot(trusted: &str) -> Vec<Neighbour> {
        let text = format!(
            "haproxy_trusted_networks = {trusted}\nservice imap-login {{\n  inet_listener imap {{\n    haproxy = yes\n    port = 10143\n  }}\n}}\n"
        );
        read(Product::Dovecot, &[File { name: "doveconf -n", text: &text }])
    }

    fn found(spaces: &[Space], published: &[Published]) -> Vec<String> {
        let joined = join(spaces, published);
        let found = compare(&joined.neighbours, &Machine::default());
        found.iter().map(|found| format!("{} {}", found.class, found.side)).collect()
    }

    #[test]
    fn containers_meet_at_their_addresses_and_not_at_their_loopbacks() {
        let mail = |trusted| space(Some("mail"), "172.18.0.3", dovecot(trusted));
        let proxy = |to, words| space(Some("proxy"), "172.18.0.2", haproxy(to, words));
        let host = || space(None, "172.18.0.1", Vec::new());
        assert_eq!(
            found(&[host(), proxy("172.18.0.3:10143", "send-proxy-v2"), mail("172.18.0.2")], &[]),
            [""; 0]
        );
        assert_eq!(found(&[host(), proxy("172.18.0.3:10143", ""), mail("172.18.0.2")], &[]), ["MISS front"]);
        // The source is the proxy's own address in their network.
        assert_eq!(
            found(&[host(), proxy("172.18.0.3:10143", "send-proxy-v2"), mail("172.18.0.9")], &[]),
            ["HOP back"]
        );
        // Its own loopback is not that of the other.
        let spaces = [host(), proxy("127.0.0.1:10143", ""), mail("172.18.0.2")];
        assert!(pairs(&join(&spaces, &[]).neighbours).is_empty());
    }

    #[test]
    fn a_published_port_leads_into_the_container_and_comes_from_its_gateway() {
        let words = "docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port 20143 -container-ip 172.18.0.3 -container-port 10143";
        let args: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let published = [published(&args).unwrap()];
        let spaces = |trusted| {
            [
                space(None, "192.0.2.1", haproxy("127.0.0.1:20143", "send-proxy-v2")),
                space(Some("mail"), "172.18.0.3", dovecot(trusted)),
            ]
        };
        assert_eq!(found(&spaces("172.18.0.1"), &published), [""; 0]);
        assert_eq!(found(&spaces("127.0.0.1"), &published), ["HOP back"]);
        assert!(pairs(&join(&spaces("127.0.0.1"), &[]).neighbours).is_empty(), "nothing leads there");
    }

    #[test]
    fn a_name_that_may_be_one_of_two_is_nobody_s() {
        let proxy = || space(Some("proxy"), "172.18.0.2", haproxy("mail:10143", ""));
        let mail = |ip| space(Some("mail"), ip, dovecot("172.18.0.2"));
        let host = || space(None, "172.18.0.1", Vec::new());
        assert_eq!(found(&[host(), proxy(), mail("172.18.0.3")], &[]), ["MISS front"]);
        let two = join(&[host(), proxy(), mail("172.18.0.3"), mail("172.18.0.4")], &[]);
        assert!(pairs(&two.neighbours).is_empty());
        assert_eq!(two.unclear.len(), 1);
    }

    #[test]
    fn one_machine_is_left_as_it_is() {
        let alone = space(None, "192.0.2.1", haproxy("127.0.0.1:10143", ""));
        assert_eq!(join(std::slice::from_ref(&alone), &[]).neighbours, alone.neighbours);
    }
}
