//! The variables of mail images: docker-mailserver, mailcow and Mailu, from environment files or a compose file.
//!
//! What these images make of a variable is written down here as they document it; what a user's own scripts change
//! inside of the container is not seen.

use super::text::{entries, entry};
use super::tree::Node;
use super::{
    Address, Entry, Families, File, Host, Listen, ListenTls, Neighbour, Outsiders, Place, Protocol, Reads,
    Trust, Unread, Versions, compose,
};
use crate::{Class, Confidence, Finding, Product, Side};

/// A variable, its value, and where it stands.
type Variable = (String, String, Place);

/// Reads docker-mailserver's `mailserver.env`.
pub(super) fn docker_mailserver(files: &[File<'_>]) -> Vec<Neighbour> {
    of_files(Product::DockerMailserver, files)
}

/// Reads mailcow's `mailcow.conf`.
pub(super) fn mailcow(files: &[File<'_>]) -> Vec<Neighbour> {
    of_files(Product::Mailcow, files)
}

/// Reads Mailu's `mailu.env`.
pub(super) fn mailu(files: &[File<'_>]) -> Vec<Neighbour> {
    of_files(Product::Mailu, files)
}

/// The image of a compose file's service, if it is one of these.
pub(super) fn of_service(name: &str, service: &Node) -> Option<Neighbour> {
    const IMAGES: &[(&str, Product)] =
        &[("docker-mailserver", Product::DockerMailserver), ("mailu/nginx", Product::Mailu)];
    let image = service.text_of("image");
    let (_, product) = IMAGES.iter().find(|(word, _)| image.contains(word))?;
    let mut neighbour = of_variables(*product, name.to_owned(), &compose::pairs(service.get("environment")));
    if let Some(file) = service.get("env_file") {
        let why =
            format!("its variables are in another file: `--neighbour {}:FILE` reads it", product.name());
        neighbour.unread.push(Unread { place: file.place.clone(), why });
    }
    Some(neighbour)
}

fn of_files(product: Product, files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let variables: Vec<Variable> = files.iter().flat_map(variables).collect();
    vec![of_variables(product, names.join(", "), &variables)]
}

fn variables(file: &File<'_>) -> Vec<Variable> {
    let lines = file.text.lines().enumerate().filter_map(|(index, raw)| {
        let line = raw.trim().strip_prefix("export ").unwrap_or(raw.trim());
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        Some((key.trim().to_owned(), value.to_owned(), Place::new(file.name, index.saturating_add(1), raw)))
    });
    lines.collect()
}

fn of_variables(product: Product, origin: String, variables: &[Variable]) -> Neighbour {
    let mut out = Neighbour::new(product, origin);
    match product {
        Product::DockerMailserver => permit_docker(variables, &mut out),
        Product::Mailcow => fixed_ports(variables, &mut out),
        _ => front(variables, &mut out),
    }
    out
}

fn get<'v>(variables: &'v [Variable], key: &str) -> Option<&'v Variable> {
    variables.iter().rfind(|(name, value, _)| name == key && !value.is_empty())
}

fn every(port: u16) -> Vec<Address> {
    vec![Address::tcp(Host::Any(Families::Both), port)]
}

/// The ports of mail, and whether TLS begins at once.
const PORTS: &[u16] = &[25, 110, 143, 465, 587, 993, 995, 4190];

fn tls_of(port: u16) -> ListenTls {
    if matches!(port % 10_000, 465 | 993 | 995) { ListenTls::Implicit } else { ListenTls::None }
}

/// docker-mailserver: its ports read no header unless a user's own files say so, and `PERMIT_DOCKER` fills mynetworks.
fn permit_docker(variables: &[Variable], out: &mut Neighbour) {
    let permit = get(variables, "PERMIT_DOCKER");
    let networks = match permit.map(|(_, value, _)| value.as_str()) {
        Some("network") => "172.16.0.0/12",
        // The gateway of docker0, whatever it is there.
        Some("host") => "172.17.0.1",
        Some("connected-networks") => "172.16.0.0/12 192.168.0.0/16",
        _ => "",
    };
    if let Some((_, value, place)) = permit.filter(|_| !networks.is_empty()) {
        out.findings.push(Finding {
            class: Class::Ban,
            side: Side::Back,
            product: Some(Product::DockerMailserver),
            seen: place.to_string(),
            cause: format!(
                "`PERMIT_DOCKER={value}` lets Docker's gateway relay, and clients of published ports may come from there: an open relay"
            )
            .into(),
            change: format!("in {}: `PERMIT_DOCKER=none`, and let applications log in", place.spot()).into(),
            confidence: Confidence::Likely,
        });
    }
    for port in PORTS {
        let place = Place::new(out.origin.clone(), 0, &format!("port {port} (docker-mailserver's default)"));
        let mut listen = Listen::new(format!("port {port}"), place);
        listen.addresses = every(*port);
        listen.protocol = Protocol::of_port(*port);
        listen.tls = tls_of(*port);
        // `user-patches.sh`, `postfix-master.cf` and `dovecot.cf` can switch it on.
        listen.header = Reads::Unknown;
        listen.privileged = permit.map(|(_, _, place)| entries(networks, place)).unwrap_or_default();
        out.listens.push(listen);
    }
    out.unread.push(Unread {
        place: Place::new(out.origin.clone(), 0, ""),
        why: "whether its ports read a header is in docker-data/dms/config: `docker exec CONTAINER postconf -Mf` and `doveconf -n` show it, for `--neighbour postfix:FILE` and `--neighbour dovecot:FILE`".to_owned(),
    });
}

/// mailcow: ports of its own for headers, inside of the containers; the published ones read none.
fn fixed_ports(variables: &[Variable], out: &mut Neighbour) {
    const HEADERS: &[(u16, Protocol)] = &[
        (10025, Protocol::Smtp),
        (10465, Protocol::Submission),
        (10587, Protocol::Submission),
        (10143, Protocol::Imap),
        (10993, Protocol::Imap),
        (10110, Protocol::Pop3),
        (10995, Protocol::Pop3),
        (14190, Protocol::ManageSieve),
    ];
    const PUBLISHED: &[(&str, u16)] = &[
        ("SMTP_PORT", 25),
        ("SMTPS_PORT", 465),
        ("SUBMISSION_PORT", 587),
        ("IMAP_PORT", 143),
        ("IMAPS_PORT", 993),
        ("POP_PORT", 110),
        ("POPS_PORT", 995),
        ("SIEVE_PORT", 4190),
    ];
    let network = get(variables, "IPV4_NETWORK");
    let own: Vec<Entry> =
        network.map(|(_, value, place)| vec![entry(&format!("{value}.0/24"), place)]).unwrap_or_default();
    for (name, port) in PUBLISHED {
        let told = get(variables, name);
        let place = told.map_or_else(
            || Place::new(out.origin.clone(), 0, &format!("{name}={port} (mailcow's default)")),
            |(_, _, place)| place.clone(),
        );
        let mut listen = Listen::new(*name, place.clone());
        let value = told.map_or_else(|| port.to_string(), |(_, value, _)| value.clone());
        let (host, number) = value.rsplit_once(':').unwrap_or(("", value.as_str()));
        match number.parse() {
            Ok(number) => listen.addresses.push(Address::tcp(Host::parse(host), number)),
            Err(_) => out.unread.push(Unread { place, why: format!("`{value}` is no port") }),
        }
        listen.protocol = Protocol::of_port(*port);
        listen.tls = tls_of(*port);
        listen.privileged = own.clone();
        out.listens.push(listen);
    }
    for (port, protocol) in HEADERS {
        let place =
            Place::new(out.origin.clone(), 0, &format!("port {port} of its containers (mailcow's own)"));
        let mut listen = Listen::new(format!("port {port}"), place);
        listen.addresses = every(*port);
        listen.protocol = Some(*protocol);
        listen.header = Reads::Required(Versions::BOTH);
        // Postfix has no list, Dovecot's is not in this file, and neither port is published by default.
        listen.trust = Trust::Unknown;
        listen.tls = tls_of(*port);
        out.listens.push(listen);
    }
}

/// Mailu: `PROXY_PROTOCOL` says which ports of the front read a header, `REAL_IP_FROM` whose counts.
fn front(variables: &[Variable], out: &mut Neighbour) {
    let switch = get(variables, "PROXY_PROTOCOL");
    let from = get(variables, "REAL_IP_FROM");
    let reads = |port: u16| {
        let Some((_, value, _)) = switch else { return false };
        let is_http = matches!(port, 80 | 443);
        value.split(',').map(str::trim).any(|word| match word {
            "all" => true,
            "mail" | "all-but-http" => !is_http || word == "all-but-http" && port == 443,
            "http" => port == 80,
            "https" => port == 443,
            word => word.parse() == Ok(port),
        })
    };
    let rights = ["SUBNET", "RELAYNETS"].iter().filter_map(|key| get(variables, key));
    let rights: Vec<Entry> = rights.flat_map(|(_, value, place)| entries(value, place)).collect();
    for port in PORTS.iter().chain(&[80, 443]) {
        let place = switch.map_or_else(
            || Place::new(out.origin.clone(), 0, &format!("port {port} (Mailu's default)")),
            |(_, _, place)| place.clone(),
        );
        let mut listen = Listen::new(format!("port {port}"), place);
        listen.addresses = every(*port);
        listen.protocol = Protocol::of_port(*port);
        listen.tls = if *port == 443 { ListenTls::Implicit } else { tls_of(*port) };
        listen.outsiders = Outsiders::Disbelieved;
        if reads(*port) {
            listen.header = Reads::Required(Versions::BOTH);
            listen.trust = match from {
                Some((_, value, place)) => Trust::Listed(entries(value, place)),
                None => Trust::Nobody,
            };
        }
        if !matches!(*port, 80 | 443) {
            listen.privileged = rights.clone();
        }
        out.listens.push(listen);
    }
}
