//! Connections to programs of this machine whose configuration is not known: that nobody was seen to listen there is then
//! no misfit.

use std::net::{IpAddr, SocketAddr};

use truepeer_doctor::neighbour::{Address, Connect, Host, Neighbour, pairs};

use super::machine::Machine;
use super::unseen::NotSeen;

/// Takes out of `neighbours` the connections to somebody who listens here and is none of them; says to whom they lead.
pub(super) fn set_aside(neighbours: &mut [Neighbour], machine: &Machine) -> Vec<NotSeen> {
    let paired: Vec<Vec<bool>> = {
        let pairs = pairs(neighbours);
        let is_paired = |connect: &Connect| pairs.iter().any(|pair| std::ptr::eq(pair.connect, connect));
        neighbours.iter().map(|neighbour| neighbour.connects.iter().map(is_paired).collect()).collect()
    };
    let mut unseen: Vec<NotSeen> = Vec::new();
    for (neighbour, paired) in neighbours.iter_mut().zip(paired) {
        let mut paired = paired.into_iter();
        let sender = neighbour.product;
        neighbour.connects.retain(|connect| {
            let is_paired = paired.next().unwrap_or(true);
            let Some(addr) = local(&connect.to).filter(|_| !is_paired) else { return true };
            let Some((_, owner)) = machine.listener_at(addr) else { return true };
            // What leads into a container is followed there.
            if machine.published.iter().any(|published| published.host.port() == addr.port()) {
                return true;
            }
            let who = owner.as_ref().map_or_else(
                || "a program of another user".to_owned(),
                |owner| format!("{} (process {})", owner.name, owner.pid),
            );
            let new = NotSeen {
                what: format!(
                    "what {who} does with the header on {addr}, to which {sender} connects: its configuration"
                ),
                command: Some(format!("truepeer probe {addr}")),
            };
            if !unseen.contains(&new) {
                unseen.push(new);
            }
            false
        });
    }
    unseen
}

fn local(to: &Address) -> Option<SocketAddr> {
    let ip = match to.host()? {
        Host::Ip(ip) => *ip,
        Host::Name(name) if name == "localhost" => IpAddr::from([127, 0, 0, 1]),
        Host::Any(_) | Host::Name(_) => return None,
    };
    Some(SocketAddr::new(ip, to.port()?))
}
