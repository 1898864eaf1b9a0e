//! `backend.<id>.label`: where a backend's socket is made, and what it says besides the client.

use std::net::Ipv4Addr;

use super::problem::Problem;
use super::read::Reader;
use super::settings::{LABEL_CGROUP, LABEL_DESTINATION, LABEL_SUBSTITUTE};
use super::tree::{Found, Owner};
use crate::facts::cgroup::CgroupName;
use crate::rooms::handoff::{Handoff, LabelDestination, LabelSettings};

/// Reads what `owner`, which is told by `handoff`, says of its labels.
pub(super) fn read(reader: &mut Reader<'_>, owner: Owner<'_>, handoff: Option<Handoff>) -> LabelSettings {
    let all = [&LABEL_CGROUP, &LABEL_DESTINATION, &LABEL_SUBSTITUTE];
    let [cgroup, destination, substitute] = all.map(|setting| reader.get(setting, owner));
    let settings = LabelSettings {
        cgroup: cgroup.and_then(|found| read_cgroup(reader, found)),
        destination: match reader.flag(destination) {
            Some(true) => LabelDestination::Clients,
            Some(false) | None => LabelDestination::Own,
        },
        substitute: substitute.and_then(|found| read_substitute(reader, found)),
    };
    if let Some(handoff) = handoff.filter(|handoff| *handoff != Handoff::Label) {
        // A program's own socket can say where the client wanted to go, too.
        let destination = destination.filter(|_| handoff != Handoff::Exec);
        for found in [cgroup, destination, substitute].into_iter().flatten() {
            let text = format!("has no effect: this backend's `handoff` is `\"{}\"`", handoff.name());
            reader.advise(&found.key, &found.value.span(), text);
        }
    }
    settings
}

fn read_cgroup<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Option<CgroupName> {
    let text = reader.text(found)?;
    match CgroupName::parse(text.text) {
        Ok(name) => Some(name),
        Err(help) => {
            reader.problem(
                Problem::new(format!("`{}`: {:?} names no control group", found.key, text.text))
                    .at(text.at, "not understood")
                    .help(help)
                    .help(format!("`{}` is {}", found.setting.name, found.setting.shape.allowed())),
            );
            None
        }
    }
}

fn read_substitute<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>) -> Option<Ipv4Addr> {
    let text = reader.text(found)?;
    let why = match text.text.parse::<Ipv4Addr>() {
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() => {
            "servers trust that address, and every client of IPv6 would have it"
        }
        Ok(ip) if ip.is_multicast() || ip.is_broadcast() => "that is the address of many",
        Ok(ip) => return Some(ip),
        Err(_) => "an IPv4 address is needed here",
    };
    reader.problem(
        Problem::new(format!("`{}`: {:?} cannot stand for a client", found.key, text.text))
            .at(text.at, why)
            .help("choose one that no real client has and no server trusts, such as `\"192.0.2.66\"`"),
    );
    None
}
