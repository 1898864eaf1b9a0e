//! Exim: what `exim -bP` prints, or the main section of its configuration.

use std::time::Duration;

use super::text::{MAX_ENTRIES, entry};
use super::{
    Address, Entry, Families, File, Host, Listen, ListenTls, MAX_PORTS, Neighbour, Outsiders, Place,
    Protocol, Reads, Trust, Unread, Versions,
};
use crate::Product;

/// How long Exim waits for a header.
const WAITS: Duration = Duration::from_secs(3);

/// Reads the texts as one configuration; what comes later replaces what came before.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Exim, names.join(", "));
    let settings: Vec<Setting> = files.iter().flat_map(settings).collect();
    let get = |key: &str| settings.iter().rfind(|setting| setting.key == key);
    let origin = Place::new(out.origin.clone(), 0, "");
    let ports: Vec<u16> = get("daemon_smtp_ports")
        .map_or_else(|| vec!["smtp".to_owned()], |setting| items(&setting.value))
        .iter()
        .filter_map(|word| port(word))
        .collect();
    let on_connect: Vec<u16> = get("tls_on_connect_ports")
        .map(|setting| items(&setting.value).iter().filter_map(|word| port(word)).collect())
        .unwrap_or_default();
    let hosts = get("local_interfaces").map(|setting| items(&setting.value)).unwrap_or_default();
    let proxy = get("hosts_proxy").filter(|setting| !setting.value.is_empty());
    let (trust, only) = proxy.map_or((Trust::Nobody, None), |setting| {
        let (trust, only) = trusted(setting);
        if trust == Trust::Unknown {
            out.unread.push(Unread {
                place: setting.place.clone(),
                why: "an expansion that only Exim can work out decides who sends a header".to_owned(),
            });
        }
        (trust, only)
    });
    for (host, port) in places(&hosts, &ports).into_iter().take(MAX_PORTS.saturating_add(1)) {
        let place = get("daemon_smtp_ports")
            .or_else(|| get("local_interfaces"))
            .map_or(&origin, |setting| &setting.place);
        let mut listen = Listen::new(format!("port {port}"), place.clone());
        listen.addresses.push(Address::tcp(host, port));
        listen.protocol =
            Protocol::of_port(port).filter(|protocol| protocol.is_mail()).or(Some(Protocol::Smtp));
        listen.outsiders = Outsiders::Clients;
        listen.waits = Some(WAITS);
        if on_connect.contains(&port) {
            listen.tls = ListenTls::Implicit;
        }
        if let Some(setting) = proxy.filter(|_| only.is_none_or(|only| only == port)) {
            listen.header =
                if trust == Trust::Unknown { Reads::Unknown } else { Reads::Required(Versions::BOTH) };
            listen.header_place = setting.place.clone();
            listen.trust = trust.clone();
        }
        let relay = settings.iter().filter(|setting| setting.key == "hostlist relay_from_hosts");
        listen.privileged =
            relay.flat_map(|setting| entries(&items(&setting.value), &setting.place)).collect();
        out.listens.push(listen);
    }
    vec![out]
}

struct Setting {
    key: String,
    value: String,
    place: Place,
}

/// `name = value` up to the first `begin`; a backslash at the end of a line joins the next one to it.
fn settings(file: &File<'_>) -> Vec<Setting> {
    let mut found: Vec<Setting> = Vec::new();
    let mut open = false;
    for (index, raw) in file.text.lines().enumerate() {
        let line = raw.trim();
        if line.starts_with("begin ") {
            break;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let joins = line.ends_with('\\');
        let line = line.trim_end_matches('\\').trim_end();
        match found.last_mut() {
            Some(last) if open => last.value.push_str(line.trim_start()),
            _ => {
                if let Some((key, value)) = line.split_once('=') {
                    let key =
                        key.split_whitespace().filter(|word| *word != "hide").collect::<Vec<_>>().join(" ");
                    let place = Place::new(file.name, index.saturating_add(1), raw);
                    found.push(Setting { key, value: value.trim().to_owned(), place });
                }
            }
        }
        open = joins;
    }
    found
}

/// The items of one of Exim's lists: colons part them unless `<` names another mark; a doubled mark is itself.
fn items(list: &str) -> Vec<String> {
    let list = list.trim();
    let (mark, list) =
        match list.strip_prefix('<').and_then(|rest| rest.chars().next().map(|mark| (mark, rest))) {
            Some((mark, rest)) => (mark, rest.get(mark.len_utf8()..).unwrap_or_default()),
            None => (':', list),
        };
    let doubled: String = [mark; 2].iter().collect();
    // A character that no configuration holds keeps the doubled ones together.
    let kept = list.replace(&doubled, "\0");
    let found = kept.split(mark).map(|item| item.replace('\0', &mark.to_string()).trim().to_owned());
    found.filter(|item| !item.is_empty()).collect()
}

fn port(word: &str) -> Option<u16> {
    word.parse().ok().or(match word {
        "smtp" => Some(25),
        "smtps" | "submissions" | "ssmtp" => Some(465),
        "submission" => Some(587),
        _ => None,
    })
}

/// Each interface with its own port, or with every one of the daemon's.
fn places(hosts: &[String], ports: &[u16]) -> Vec<(Host, u16)> {
    if hosts.is_empty() {
        return ports.iter().map(|port| (Host::Any(Families::Both), *port)).collect();
    }
    let mut found = Vec::new();
    for host in hosts {
        // Each of them may stand for every port.
        if found.len() > MAX_PORTS {
            break;
        }
        // `127.0.0.1.2525`, `[127.0.0.1]:2525`, `127.0.0.1`
        let dotted = host.rsplit_once('.').filter(|(ip, _)| ip.parse::<std::net::IpAddr>().is_ok());
        let bracketed = host.rsplit_once("]:");
        match dotted.or(bracketed).and_then(|(ip, port)| Some((ip, port.parse().ok()?))) {
            Some((ip, port)) => found.push((Host::parse(ip.trim_start_matches('[')), port)),
            None => found.extend(ports.iter().map(|port| (Host::parse(host), *port))),
        }
    }
    found
}

/// The proxies, and the one port to which an expansion limits them.
fn trusted(setting: &Setting) -> (Trust, Option<u16>) {
    let value = setting.value.as_str();
    if !value.contains('$') {
        return (Trust::Listed(entries(&items(value), &setting.place)), None);
    }
    let by_port = || {
        let rest = value.strip_prefix("${if")?.trim_start();
        let rest =
            rest.strip_prefix("eq{$received_port}{").or_else(|| rest.strip_prefix("={$received_port}{"))?;
        let (port, rest) = rest.split_once('}')?;
        let (list, rest) = rest.trim_start().strip_prefix('{')?.split_once('}')?;
        let rest: String = rest.chars().filter(|c| !c.is_whitespace()).collect();
        matches!(rest.as_str(), "{}}" | "}").then_some(())?;
        Some((Trust::Listed(entries(&items(list), &setting.place)), port.parse().ok()))
    };
    by_port().unwrap_or((Trust::Unknown, None))
}

fn entries(items: &[String], place: &Place) -> Vec<Entry> {
    let made = |item: &String| match item.as_str() {
        "*" => Entry { network: "0.0.0.0/0".parse().ok(), ..entry(item, place) },
        _ => entry(item, place),
    };
    let mut found: Vec<Entry> = items.iter().take(MAX_ENTRIES).map(made).collect();
    if items.len() > MAX_ENTRIES {
        found.push(Entry { text: "and more".to_owned(), place: place.clone(), network: None });
    }
    found
}
