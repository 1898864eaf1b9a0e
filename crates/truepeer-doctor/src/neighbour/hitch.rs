//! Hitch: its `frontend`s, its one `backend`, and which header it writes.

use super::text::patience;
use super::{
    Address, Connect, File, Host, Listen, ListenTls, Neighbour, Place, Reads, Sends, Trust, Unread, Versions,
};
use crate::Product;

use std::time::Duration;

/// Reads the texts as one configuration; what comes later replaces what came before.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Hitch, names.join(", "));
    let settings: Vec<Setting<'_>> = files.iter().flat_map(settings).collect();
    let last = |key: &str| settings.iter().rfind(|setting| setting.key == key);
    let on = |key: &str| last(key).filter(|setting| matches!(setting.value, "on" | "yes" | "true"));
    let mut hosts: Vec<(&Setting<'_>, Option<&Setting<'_>>)> = Vec::new();
    for setting in &settings {
        match (setting.key, setting.inside) {
            ("frontend", false) if !setting.value.is_empty() => hosts.push((setting, None)),
            ("port", true) => {
                // The host may stand before or behind it, in the same block.
                let host = settings
                    .iter()
                    .find(|other| other.key == "host" && other.inside && other.block == setting.block);
                hosts.push((setting, host));
            }
            _ => {}
        }
    }
    // It passes the header of a proxy in front of it on, and reads none otherwise.
    let passes = on("proxy-proxy");
    for (setting, host) in hosts {
        let address = match host {
            Some(host) => setting.value.parse().ok().map(|port| Address::tcp(Host::parse(host.value), port)),
            None if setting.inside => {
                setting.value.parse().ok().map(|port| Address::tcp(Host::parse("*"), port))
            }
            None => place_of(setting.value),
        };
        let mut listen = Listen::new("frontend", setting.place.clone());
        listen.tls = ListenTls::Implicit;
        match address {
            Some(address) => listen.addresses.push(address),
            None => out
                .unread
                .push(Unread { place: setting.place.clone(), why: "this is no address and port".to_owned() }),
        }
        if let Some(switch) = passes {
            listen.header = Reads::Required(Versions::BOTH);
            listen.header_place = switch.place.clone();
            listen.trust = Trust::Everybody;
        }
        out.listens.push(listen);
    }
    let Some((backend, to)) = last("backend").and_then(|backend| Some((backend, place_of(backend.value)?)))
    else {
        return vec![out];
    };
    let mut connect = Connect::new("backend", backend.place.clone(), to);
    connect.serves = (0..out.listens.len()).collect();
    // Its TLVs are on unless they are switched off.
    let tlvs = last("proxy-tlv").is_none_or(|setting| setting.value != "off");
    let v2 = if tlvs { Sends::V2Ssl } else { Sends::V2 };
    let written = [
        ("write-proxy-v2", v2),
        ("write-proxy", v2),
        ("write-proxy-v1", Sends::V1),
        ("proxy-proxy", Sends::Unknown),
    ];
    if let Some((switch, sends)) = written.into_iter().find_map(|(key, sends)| Some((on(key)?, sends))) {
        (connect.sends, connect.sends_place) = (sends, switch.place.clone());
    }
    connect.patience = last("backend-connect-timeout")
        .and_then(|setting| patience(setting.value, Duration::from_secs(1), &setting.place));
    if let Some(switch) = on("write-ip") {
        connect.sends = Sends::Unknown;
        out.unread.push(Unread {
            place: switch.place.clone(),
            why: "`write-ip` writes the address in a form of Hitch's own, which few servers read".to_owned(),
        });
    }
    out.connects.push(connect);
    vec![out]
}

struct Setting<'t> {
    key: &'t str,
    value: &'t str,
    place: Place,
    /// Whether it stands in a block.
    inside: bool,
    /// Which one, counted.
    block: usize,
}

/// `key = value` on a line, values in quotes or not, and blocks in braces.
fn settings<'t>(file: &File<'t>) -> Vec<Setting<'t>> {
    let mut found = Vec::new();
    let (mut depth, mut block) = (0_usize, 0_usize);
    for (index, raw) in file.text.lines().enumerate() {
        let line = raw.split_once('#').map_or(raw, |(line, _)| line).trim();
        for piece in line.split_inclusive(['{', '}', ';', ',']) {
            let text = piece.trim().trim_end_matches(['{', '}', ';', ',']).trim();
            if let Some((key, value)) = text.split_once('=') {
                found.push(Setting {
                    key: key.trim(),
                    value: value.trim().trim_matches('"'),
                    place: Place::new(file.name, index.saturating_add(1), raw),
                    inside: depth > 0,
                    block,
                });
            }
            if piece.ends_with('{') {
                (depth, block) = (depth.saturating_add(1), block.saturating_add(1));
            } else if piece.ends_with('}') {
                depth = depth.saturating_sub(1);
            }
        }
    }
    found
}

/// `[host]:port`, `host:port`, a path; behind a `+` stands a certificate.
fn place_of(text: &str) -> Option<Address> {
    let text = text.split_once('+').map_or(text, |(place, _)| place);
    if text.starts_with('/') {
        return Some(Address::Unix(text.to_owned()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = if host == "[*]" { "*" } else { host };
    Some(Address::tcp(Host::parse(host), port.parse().ok()?))
}
