//! Servers without a setting for proxies, connected to from the client's own address: they log and decide by the client.
//!
//! Called by `cases`. Each of these servers treats this host's own addresses otherwise than its clients', and the last
//! assertion of each case is that no client was taken for this host. Postfix and sshd are in `words`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::words::follow_the_snippet;
use super::{Case, PROXY, case, told_client, told_destination};
use crate::client::Client;
use crate::feed::{Feed, Mark};
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::dovecot::{PASSWORD, words};
use crate::servers::nginx::Nginx;
use crate::servers::python::Python;
use crate::servers::redis::Redis;
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::verdict::{Result, ensure};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("transparent_dovecot_logs_and_decides_by_the_client", dovecot),
        case("transparent_nginx_logs_and_decides_by_the_client_in_both_families", nginx),
        case("transparent_redis_logs_and_decides_by_the_client", redis),
        case("transparent_python_logs_and_decides_by_the_client_in_both_families", python),
    ]
}

/// A client that these servers let in, and one that they do not.
fn clients(port: u16) -> [SocketAddr; 2] {
    [told_client(port), SocketAddr::from((Ipv4Addr::new(198, 51, 100, 9), port))]
}

/// The same in IPv6; documentation has only one network there, so the second is a private one.
fn clients_v6(port: u16) -> [SocketAddr; 2] {
    let first = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    let second = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
    [(first, port).into(), (second, port).into()]
}

/// A truepeer in front of `servers`, each told of the client by its address.
fn truepeer(lab: &Lab, protocol: &str, servers: &[(&str, SocketAddr)]) -> Result<Truepeer> {
    let listeners: Vec<_> = servers
        .iter()
        .map(|(id, _)| Listener { id, ip: PROXY.ip(), protocol, backend: id, lines: "" })
        .collect();
    let backends: Vec<_> = servers
        .iter()
        .map(|(id, addr)| Backend { id, kind: "other", handoff: Some("transparent"), addr: *addr })
        .collect();
    let truepeer = lab.start_truepeer("truepeer-transparent", &listeners, &backends)?;
    for (_, addr) in servers {
        truepeer.wait_event(Mark::default(), "backend_proved", &addr.to_string())?;
    }
    Ok(truepeer)
}

/// A client of the proxy in front of `truepeer`.
fn client(truepeer: &Truepeer, id: &str, told: SocketAddr) -> Result<Client> {
    let mut client = Client::dial(PROXY, truepeer.port(id)?)?;
    let to = match told {
        SocketAddr::V4(_) => told_destination(),
        SocketAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25), 25).into(),
    };
    client.send(&header::v1(told, to))?;
    Ok(client)
}

/// The record says that the backend saw the client with its own port.
fn seen_as_itself(truepeer: &Truepeer, before: Mark, told: SocketAddr) -> Result {
    let record = truepeer.record_of(before, told)?;
    let is_so = record.text("handoff") == "transparent" && record.text("substituted").is_empty();
    ensure(is_so, || format!("{record:?}"))
}

/// The last word of each case: since `mark` the server has logged nobody under one of this host's addresses.
fn nobody_is_us(log: &Feed, mark: Mark, ours: &[&str]) -> Result {
    let us = log.lines(mark).into_iter().find(|line| ours.iter().any(|words| line.contains(words)));
    ensure(us.is_none(), || format!("a client appears as us: {us:?}"))
}

/// A user who may log in from 203.0.113.0/24 only (`allow_nets`); truepeer's own address is not in it.
fn dovecot(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    let dovecot = lab.start_choosy_dovecot()?;
    let truepeer = truepeer(lab, "imap", &[("imap", dovecot.plain_port())])?;
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
        seen_as_itself(&truepeer, before, told)?;
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
    let truepeer = truepeer(lab, "tcp", &[("v4", v4), ("v6", v6)])?;
    let (mark, before) = (nginx.log().mark(), truepeer.log().mark());
    for (id, clients) in [("v4", clients(4771)), ("v6", clients_v6(4772))] {
        for (told, status) in clients.into_iter().zip(["200", "403"]) {
            get(&truepeer, id, told, status)?;
            let whom = format!("{} {} {status}", told.ip(), told.port());
            nginx.log().wait_line(mark, &format!("NGINX logs {whom}"), |line| line == whom)?;
            seen_as_itself(&truepeer, before, told)?;
        }
    }
    nobody_is_us(nginx.log(), mark, &["127.0.0.1 ", "::1 "])
}

fn get(truepeer: &Truepeer, id: &str, told: SocketAddr, status: &str) -> Result {
    let mut browser = client(truepeer, id, told)?;
    browser.send(b"GET / HTTP/1.0\r\n\r\n")?;
    let said = browser.line("an HTTP answer")?;
    ensure(said.split(' ').nth(1) == Some(status), || format!("{told}: {said}"))?;
    browser.rest("the server closes").map(|_| ())
}

/// Protected mode: who comes from this host is served, and nobody else.
fn redis(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    let redis = Redis::start(&lab.fresh_dir("redis")?)?;
    lab.watch("redis", redis.log());
    let mut direct = Client::dial(PROXY, redis.addr())?;
    direct.send(b"PING\r\n")?;
    let said = direct.line("an answer")?;
    ensure(said == "+PONG", || format!("whoever is here is served: {said}"))?;
    drop(direct);
    let truepeer = truepeer(lab, "tcp", &[("redis", redis.addr())])?;
    let (mark, before) = (redis.log().mark(), truepeer.log().mark());
    let told = told_client(4773);
    let mut outside = client(&truepeer, "redis", told)?;
    outside.send(b"PING\r\n")?;
    let said = outside.line("an answer")?;
    ensure(said.starts_with("-DENIED Redis is running in protected mode"), || said)?;
    drop(outside);
    seen_as_itself(&truepeer, before, told)?;
    nobody_is_us(redis.log(), mark, &["Accepted 127.0.0.1:"])
}

/// A program of a few lines that looks at what accept() says.
fn python(lab: &Lab) -> Result {
    follow_the_snippet(lab)?;
    lab.ipv6()?;
    let start = |name, ip| -> Result<Python> {
        let python = Python::start(&lab.fresh_dir(name)?, ip)?;
        lab.watch(name, python.log());
        Ok(python)
    };
    let (v4, v6) = (start("python4", PROXY.ip())?, start("python6", IpAddr::V6(Ipv6Addr::LOCALHOST))?);
    let truepeer = truepeer(lab, "tcp", &[("v4", v4.addr()), ("v6", v6.addr())])?;
    let before = truepeer.log().mark();
    for (id, server, clients) in [("v4", &v4, clients(4774)), ("v6", &v6, clients_v6(4775))] {
        let mark = server.log().mark();
        for (told, status) in clients.into_iter().zip(["204", "403"]) {
            get(&truepeer, id, told, status)?;
            let whom = format!("served {} {} {status}", told.ip(), told.port());
            server.log().wait_line(mark, &format!("it prints `{whom}`"), |line| line == whom)?;
            seen_as_itself(&truepeer, before, told)?;
        }
        nobody_is_us(server.log(), mark, &["served 127.0.0.1", "served ::1"])?;
    }
    Ok(())
}
