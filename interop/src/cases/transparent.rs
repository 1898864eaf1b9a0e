//! Servers without a setting for proxies, connected to from the client's own address: they log and decide by the client.
//!
//! Called by `cases`. Each of these servers treats this host's own addresses otherwise than its clients', and the last
//! assertion of each case is that no client was taken for this host. Postfix and sshd are in `words`, others in `shown`.

use std::net::{IpAddr, Ipv6Addr};

use super::shown::{self, client, clients, clients_v6, get, nobody_is_us, seen_as_itself, truepeer};
use super::words::follow_the_snippet;
use super::{Case, PROXY, case};
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::dovecot::{PASSWORD, words};
use crate::servers::nginx::Nginx;
use crate::verdict::{Result, ensure};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("transparent_dovecot_logs_and_decides_by_the_client", dovecot),
        case("transparent_nginx_logs_and_decides_by_the_client_in_both_families", nginx),
        case("transparent_opensmtpd_logs_and_decides_by_the_client", |lab| {
            follow_the_snippet(lab)?;
            shown::opensmtpd(lab, "transparent")
        }),
        case("transparent_redis_logs_and_decides_by_the_client", |lab| {
            follow_the_snippet(lab)?;
            shown::redis(lab, "transparent")
        }),
        case("transparent_python_logs_and_decides_by_the_client_in_both_families", |lab| {
            follow_the_snippet(lab)?;
            shown::python(lab, "transparent")
        }),
    ]
}

/// A user who may log in from 203.0.113.0/24 only (`allow_nets`); truepeer's own address is not in it.
fn dovecot(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    let dovecot = lab.start_choosy_dovecot()?;
    let truepeer = truepeer(lab, "transparent", "imap", &[("imap", dovecot.plain_port())])?;
    let (mark, before) = (dovecot.log().mark(), truepeer.log().mark());
    for (told, answer) in clients(4770).into_iter().zip(["a1 OK", "a1 NO"]) {
        let mut user = client(&truepeer, "imap", told)?;
        let greeting = user.line("an IMAP greeting")?;
        ensure(greeting.starts_with("* OK [CAPABILITY "), || greeting)?;
        let said = user.imap("a1", &format!("LOGIN user {PASSWORD}"))?;
        ensure(said.contains(answer), || format!("{told}: {said}"))?;
        user.imap("a2", "LOGOUT")?;
        drop(user);
        let whom = words(told);
        dovecot.log().wait_line(mark, &format!("Dovecot logs {whom}"), |line| line.contains(&whom))?;
        seen_as_itself(&truepeer, before, "transparent", told)?;
    }
    // Whoever is there directly is not let in: this is how a client that is taken for us would fare.
    nobody_is_us(dovecot.log(), mark, &["rip=127.0.0.1,", "rip=::1,"])
}

/// `allow 203.0.113.0/24; deny all;` with an access log.
fn nginx(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    lab.ipv6()?;
    let ports = [Port::free(PROXY.ip())?, Port::free(IpAddr::V6(Ipv6Addr::LOCALHOST))?];
    let [v4, v6] = [ports[0].addr(), ports[1].addr()];
    let text = format!(
        "http {{\n  log_format who '$remote_addr $remote_port $status';\n  access_log /dev/stdout who;\n  \
         server {{\n    listen {v4};\n    listen {v6};\n    location / {{\n      allow 203.0.113.0/24;\n      \
         allow 2001:db8::/32;\n      deny all;\n      empty_gif;\n    }}\n  }}\n}}\n"
    );
    let nginx = Nginx::start_as_written(&lab.fresh_dir("nginx-choosy")?, &text)?;
    lab.watch("nginx-choosy", nginx.log());
    // With `tcp` it is reached, and never asked for a page.
    let truepeer = truepeer(lab, "transparent", "tcp", &[("v4", v4), ("v6", v6)])?;
    let (mark, before) = (nginx.log().mark(), truepeer.log().mark());
    for (id, clients) in [("v4", clients(4771)), ("v6", clients_v6(4772))] {
        for (told, status) in clients.into_iter().zip(["200", "403"]) {
            get(&truepeer, id, told, status)?;
            let whom = format!("{} {} {status}", told.ip(), told.port());
            nginx.log().wait_line(mark, &format!("NGINX logs {whom}"), |line| line == whom)?;
            seen_as_itself(&truepeer, before, "transparent", told)?;
        }
    }
    nobody_is_us(nginx.log(), mark, &["127.0.0.1 ", "::1 "])
}
