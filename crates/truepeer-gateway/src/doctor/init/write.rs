//! The configuration as text, with comments that say why each line is there.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{Answers, Found, GivenAnswers, Service};
use crate::facts::protocol::ClientTls;

/// Writes it.
pub(super) fn write(found: &Found, answers: &Answers) -> String {
    let mut out = "\
# Made by `truepeer init` for this machine. `truepeer check` says what it means, `man truepeer.toml` has every setting.

[server]
# What greetings and refusals call this host.
"
    .to_owned();
    // Writing to a string cannot fail.
    let _ = match &answers.hostname {
        Some(name) => writeln!(out, "hostname = {}", quoted(name)),
        None => writeln!(out, "#hostname = \"mx1.example.org\""),
    };
    let proxies = list(answers.proxies.iter());
    let _ = write!(
        out,
        "
[server.proxy]
# Who may say who the client is: the proxy alone, never a whole network.
trusted-networks = {proxies}
# Clients do not come to these ports themselves; they have the servers' own until they are moved.
unlisted = \"refuse\"
"
    );
    for service in &answers.services {
        listener(&mut out, *service, found, answers);
    }
    for service in &answers.services {
        let kind = service.server(found).unwrap_or("other");
        let _ = write!(
            out,
            "
[backend.{}]
kind = \"{kind}\"
# A port of its own, on loopback, that reads truepeer's header.
address = \"127.0.0.1:{}\"
",
            service.backend(found),
            service.server_port(),
        );
    }
    out.push_str(
        "
[admin]
# Where `truepeer status`, `reload`, `deny` and `connections` reach the running front door.
socket = \"/run/truepeer/admin.sock\"
# Denied clients stay denied over a restart.
state = \"/var/lib/truepeer/denied\"

# Numbers and readiness for monitoring, once somebody reads them.
#[status]
#bind = \"127.0.0.1:9470\"
",
    );
    out
}

fn listener(out: &mut String, service: Service, found: &Found, answers: &Answers) {
    let binds = list(answers.here.iter().map(|own| SocketAddr::new(*own, service.door_port())));
    let _ = write!(
        out,
        "
# {} connects here; its own clients come to port {}.
[server.listener.{}]
bind = {binds}
protocol = \"{}\"
backend = \"{}\"
",
        GivenAnswers::word(answers.product),
        answers.front_port(service),
        service.name(),
        service.protocol(),
        service.backend(found),
    );
    if service.tls() == ClientTls::Implicit {
        out.push_str("# The client's TLS passes through proxy and truepeer; the server ends it.\ntls.implicit = true\n");
    }
}

/// One string, or several in brackets.
fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<_> = items.map(|item| quoted(&item.to_string())).collect();
    match items.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", items.join(", ")),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
