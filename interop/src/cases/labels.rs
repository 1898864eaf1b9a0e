//! Servers whose own sockets say who the client is: nothing is changed for them, and nothing on the host.
//!
//! Called by `cases`. What they admit decides whether anybody is taken for truepeer.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use super::words::{client, shown_to_postfix, shown_to_sshd, truepeer_for_imap};
use super::{Case, PROXY, case, shown, told_client, told_destination};
use crate::client::Client;
use crate::feed::Mark;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::dovecot::PASSWORD;
use crate::servers::nginx::Nginx;
use crate::servers::truepeer::{Backend, Listener};
use crate::verdict::{During, Result, Verdict, ensure};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("label_postfix_logs_and_decides_by_the_client", postfix),
        case("label_sshd_behind_haproxy_logs_the_clients_from_outside", sshd),
        case("label_dovecot_logs_and_decides_by_the_client", dovecot),
        case("label_nginx_admits_by_the_client", nginx),
        case("label_nginx_with_deferred_gets_no_client", deferred),
        case("label_opensmtpd_logs_and_decides_by_the_client", |lab| {
            possible()?;
            shown::opensmtpd(lab, "label")
        }),
        case("label_redis_logs_and_decides_by_the_client", |lab| {
            possible()?;
            shown::redis(lab, "label")
        }),
        case("label_python_logs_and_decides_by_the_client_in_both_families", |lab| {
            possible()?;
            shown::python(lab, "label")
        }),
    ]
}

/// Whether labels can be given here at all.
pub(super) fn possible() -> Result {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_BPF: u64 = 1 << 39;
    let status = fs::read_to_string("/proc/self/status").during("read our rights")?;
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let rights = rights.and_then(|rights| u64::from_str_radix(rights.trim(), 16).ok()).unwrap_or(0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").during("read what is mounted")?;
    if rights & (CAP_NET_ADMIN | CAP_BPF) != CAP_NET_ADMIN | CAP_BPF || !mounts.contains(" - cgroup2 ") {
        return Err(Verdict::Skipped("CAP_BPF, CAP_NET_ADMIN or control groups of version 2".to_owned()));
    }
    Ok(())
}

fn postfix(lab: &Lab) -> Result {
    possible()?;
    shown_to_postfix(lab, "label")
}

fn sshd(lab: &Lab) -> Result {
    possible()?;
    shown_to_sshd(lab, "label")
}

/// It takes passwords in clear text from this host only, and so from no client.
fn dovecot(lab: &Lab) -> Result {
    possible()?;
    let dovecot = lab.start_believing_dovecot()?;
    let truepeer = truepeer_for_imap(lab, "label", dovecot.plain_port())?;
    lab.wait_until_served(truepeer.port("door")?)?;
    let who = told_client(4774);
    let mut user = client(&truepeer, who, told_destination())?;
    user.line("an IMAP greeting")?;
    let answer = user.imap("a1", &format!("LOGIN user {PASSWORD}"))?;
    ensure(answer.contains("a1 NO [PRIVACYREQUIRED]"), || answer)?;
    user.imap("a2", "LOGOUT")?;
    let whom = format!("rip={}, rport={},", who.ip(), who.port());
    dovecot.log().wait_line(Mark::default(), &format!("Dovecot logs {whom}"), |line| line.contains(&whom))?;
    let us = dovecot.log().lines(Mark::default()).into_iter().find(|line| line.contains("rip=127.84."));
    ensure(us.is_none(), || format!("a client appears as us: {us:?}"))
}

/// An NGINX that admits 203.0.113.0/24 to `/`, and whoever is on this host to `/us`.
fn start_nginx(lab: &Lab, listen: &str) -> Result<(Nginx, SocketAddr)> {
    let port = Port::free(PROXY.ip())?;
    let text = format!(
        "\
http {{
  access_log off;
  add_header X-Client $remote_addr:$remote_port always;
  server {{
    listen {}{listen};
    location / {{ allow 203.0.113.0/24; deny all; empty_gif; }}
    location /us {{ allow 127.0.0.0/8; deny all; empty_gif; }}
  }}
}}
",
        port.addr()
    );
    let nginx = Nginx::start_as_written(&lab.fresh_dir("nginx-label")?, &text)?;
    lab.watch("nginx-label", nginx.log());
    Ok((nginx, port.addr()))
}

/// The status line and the header with the client that `path` is answered with.
fn answer(client: &mut Client, path: &str) -> Result<(String, String)> {
    client.send(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let answer = client.rest("NGINX' answer")?;
    let mut lines = answer.lines();
    let status = lines.next().unwrap_or_default().to_owned();
    let whom = lines.find_map(|line| line.strip_prefix("X-Client: ")).unwrap_or_default().to_owned();
    Ok((status, whom))
}

fn nginx(lab: &Lab) -> Result {
    possible()?;
    let (nginx, addr) = start_nginx(lab, "")?;
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "http", backend: "server", lines: "" };
    let backend = Backend { id: "server", kind: "other", handoff: Some("label"), addr };
    let truepeer = lab.start_truepeer("truepeer-nginx", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_proved", "server")?;
    let stranger = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 9), 4771));
    for (who, path, status) in [
        (told_client(4770), "/", "HTTP/1.1 200 OK"),
        (stranger, "/", "HTTP/1.1 403 Forbidden"),
        // The last word: nobody is taken for truepeer.
        (told_client(4772), "/us", "HTTP/1.1 403 Forbidden"),
    ] {
        let told = answer(&mut client(&truepeer, who, told_destination())?, path)?;
        ensure(told == (status.to_owned(), who.to_string()), || format!("{who} at {path}: {told:?}"))?;
    }
    // Who comes directly is who it is.
    let mut direct = Client::dial(PROXY, addr)?;
    let (status, whom) = answer(&mut direct, "/us")?;
    drop(nginx);
    ensure(status == "HTTP/1.1 200 OK" && whom.starts_with("127.0.0.1:"), || format!("{status} {whom}"))
}

/// Its socket comes to be with the client's first byte, so that no label can be seen to before.
fn deferred(lab: &Lab) -> Result {
    possible()?;
    let (nginx, addr) = start_nginx(lab, " deferred")?;
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "http", backend: "server", lines: "" };
    let backend = Backend { id: "server", kind: "other", handoff: Some("label"), addr };
    let truepeer = lab.start_truepeer("truepeer-deferred", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_refuses_handoff", "TCP_DEFER_ACCEPT")?;
    let mut client = client(&truepeer, told_client(4773), told_destination())?;
    let (status, whom) = answer(&mut client, "/us")?;
    drop(nginx);
    // The refusal is truepeer's.
    ensure(status.contains(" 503 ") && whom.is_empty(), || format!("{status} {whom}"))
}
