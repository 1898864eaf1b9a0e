//! stunnel: the services of its configuration.

use super::text::patience;
use super::{
    Address, Connect, ConnectTls, Families, File, Host, Listen, ListenTls, Neighbour, Place, Protocol, Sends,
    Unread,
};
use crate::Product;

use std::time::Duration;

/// Reads the texts as one configuration.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Stunnel, names.join(", "));
    let mut global = Service::default();
    let mut services: Vec<Service<'_>> = Vec::new();
    for file in files {
        for (index, raw) in file.text.lines().enumerate() {
            let line = raw.trim();
            let place = || Place::new(file.name, index.saturating_add(1), raw);
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                services.push(Service { name, settings: Vec::new() });
            } else if let Some((key, value)) = line.split_once('=') {
                let setting = (key.trim(), value.trim(), place());
                services.last_mut().unwrap_or(&mut global).settings.push(setting);
            }
        }
    }
    for service in &services {
        add(service, &global, &mut out);
    }
    vec![out]
}

#[derive(Default)]
struct Service<'t> {
    name: &'t str,
    settings: Vec<(&'t str, &'t str, Place)>,
}

impl<'t> Service<'t> {
    fn all(&self, key: &str) -> impl Iterator<Item = &(&'t str, &'t str, Place)> {
        self.settings.iter().filter(move |(known, ..)| known.eq_ignore_ascii_case(key))
    }

    /// Its own setting, or the one that stands before all services.
    fn get<'s>(&'s self, global: &'s Self, key: &str) -> Option<&'s (&'t str, &'t str, Place)> {
        self.all(key).last().or_else(|| global.all(key).last())
    }
}

fn add(service: &Service<'_>, global: &Service<'_>, out: &mut Neighbour) {
    let is = |key: &str, value: &str| {
        service.get(global, key).is_some_and(|(_, known, _)| known.eq_ignore_ascii_case(value))
    };
    let client = is("client", "yes");
    let protocol = service.get(global, "protocol");
    let word = protocol.map(|(_, value, _)| value.to_ascii_lowercase());
    let starts_tls = word.as_deref().is_some_and(|word| word != "proxy" && word != "socks");
    let Some((_, accept, place)) = service.all("accept").last() else { return };
    let Some(at) = address(accept, Host::Any(Families::Both)) else {
        let why = "the port is a name that only this machine's /etc/services knows".to_owned();
        out.unread.push(Unread { place: place.clone(), why });
        return;
    };
    let mut listen = Listen::new(service.name, place.clone());
    listen.protocol = at.port().and_then(Protocol::of_port);
    listen.addresses.push(at);
    listen.tls = if client || starts_tls { ListenTls::None } else { ListenTls::Implicit };
    let index = out.listens.len();
    out.listens.push(listen);
    for (_, to, place) in service.all("connect") {
        let Some(to) = address(to, Host::Ip([127, 0, 0, 1].into())) else {
            let why = "the port is a name that only this machine's /etc/services knows".to_owned();
            out.unread.push(Unread { place: place.clone(), why });
            continue;
        };
        let mut connect = Connect::new(service.name, place.clone(), to);
        connect.serves = vec![index];
        connect.patience = service
            .get(global, "TIMEOUTconnect")
            .and_then(|(_, value, place)| patience(value, Duration::from_secs(1), place));
        connect.from =
            service.get(global, "local").and_then(|(_, ip, _)| ip.parse().ok()).into_iter().collect();
        connect.tls = match (client, starts_tls) {
            (true, true) => ConnectTls::Unknown,
            (true, false) => ConnectTls::AfterHeader,
            (false, _) => ConnectTls::None,
        };
        if let Some((_, _, place)) = protocol.filter(|_| word.as_deref() == Some("proxy")) {
            (connect.sends, connect.sends_place) = (Sends::V1, place.clone());
            if client {
                connect.sends = Sends::Unknown;
                let why = "`protocol = proxy` is for services without `client = yes`".to_owned();
                out.unread.push(Unread { place: place.clone(), why });
            }
        } else if is("transparent", "source") || is("transparent", "both") || is("transparent", "yes") {
            connect.sends = Sends::OtherWay;
        }
        out.connects.push(connect);
    }
}

/// `[host:]port`, or a path; a bare port belongs to `otherwise`.
fn address(text: &str, otherwise: Host) -> Option<Address> {
    if text.starts_with('/') {
        return Some(Address::Unix(text.to_owned()));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => Some(Address::tcp(Host::parse(host), port.parse().ok()?)),
        None => Some(Address::tcp(otherwise, text.parse().ok()?)),
    }
}
