//! Servers without a setting for proxies, shown the client by whichever handoff needs none: they log and decide by it.
//!
//! Called by `transparent` and `labels`. Each of these servers treats this host's own addresses otherwise than its
//! clients', and the last assertion of each is that no client was taken for this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{PROXY, told_client, told_destination};
use crate::client::Client;
use crate::feed::{Feed, Mark};
use crate::header;
use crate::lab::Lab;
use crate::servers::opensmtpd::Opensmtpd;
use crate::servers::python::Python;
use crate::servers::redis::Redis;
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::verdict::{Result, ensure};

/// A client that these servers let in, and one that they do not.
pub(super) fn clients(port: u16) -> [SocketAddr; 2] {
    [told_client(port), SocketAddr::from((Ipv4Addr::new(198, 51, 100, 9), port))]
}

/// The same in IPv6; documentation has only one network there, so the second is a private one.
pub(super) fn clients_v6(port: u16) -> [SocketAddr; 2] {
    let first = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    let second = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
    [(first, port).into(), (second, port).into()]
}

/// A truepeer in front of `servers`, each shown the client by `handoff`.
pub(super) fn truepeer(
    lab: &Lab,
    handoff: &str,
    protocol: &str,
    servers: &[(&str, SocketAddr)],
) -> Result<Truepeer> {
    let listeners: Vec<_> = servers
        .iter()
        .map(|(id, _)| Listener { id, ip: PROXY.ip(), protocol, backend: id, lines: "" })
        .collect();
    let backends: Vec<_> = servers
        .iter()
        .map(|(id, addr)| Backend { id, kind: "other", handoff: Some(handoff), addr: *addr })
        .collect();
    let truepeer = lab.start_truepeer(&format!("truepeer-{handoff}"), &listeners, &backends)?;
    for (_, addr) in servers {
        truepeer.wait_event(Mark::default(), "backend_proved", &addr.to_string())?;
    }
    Ok(truepeer)
}

/// A client of the proxy in front of `truepeer`.
pub(super) fn client(truepeer: &Truepeer, id: &str, told: SocketAddr) -> Result<Client> {
    let mut client = Client::dial(PROXY, truepeer.port(id)?)?;
    let to = match told {
        SocketAddr::V4(_) => told_destination(),
        SocketAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25), 25).into(),
    };
    client.send(&header::v1(told, to))?;
    Ok(client)
}

/// The record says that the backend saw the client with its own port.
pub(super) fn seen_as_itself(truepeer: &Truepeer, before: Mark, handoff: &str, told: SocketAddr) -> Result {
    let record = truepeer.record_of(before, told)?;
    let is_so = record.text("handoff") == handoff && record.text("substituted").is_empty();
    ensure(is_so, || format!("{record:?}"))
}

/// The last word of each case: since `mark` the server has logged nobody under one of this host's addresses.
pub(super) fn nobody_is_us(log: &Feed, mark: Mark, ours: &[&str]) -> Result {
    let us = log.lines(mark).into_iter().find(|line| ours.iter().any(|words| line.contains(words)));
    ensure(us.is_none(), || format!("a client appears as us: {us:?}"))
}

pub(super) fn get(truepeer: &Truepeer, id: &str, told: SocketAddr, status: &str) -> Result {
    let mut browser = client(truepeer, id, told)?;
    browser.send(b"GET / HTTP/1.0\r\n\r\n")?;
    let said = browser.line("an HTTP answer")?;
    ensure(said.split(' ').nth(1) == Some(status), || format!("{told}: {said}"))?;
    browser.rest("the server closes").map(|_| ())
}

/// Protected mode: who comes from this host is served, and nobody else.
pub(super) fn redis(lab: &Lab, handoff: &str) -> Result {
    let redis = Redis::start(&lab.fresh_dir("redis")?)?;
    lab.watch("redis", redis.log());
    let mut direct = Client::dial(PROXY, redis.addr())?;
    direct.send(b"PING\r\n")?;
    let said = direct.line("an answer")?;
    ensure(said == "+PONG", || format!("whoever is here is served: {said}"))?;
    drop(direct);
    let truepeer = truepeer(lab, handoff, "tcp", &[("redis", redis.addr())])?;
    let (mark, before) = (redis.log().mark(), truepeer.log().mark());
    let told = told_client(4773);
    let mut outside = client(&truepeer, "redis", told)?;
    outside.send(b"PING\r\n")?;
    let said = outside.line("an answer")?;
    ensure(said.starts_with("-DENIED Redis is running in protected mode"), || said)?;
    drop(outside);
    seen_as_itself(&truepeer, before, handoff, told)?;
    nobody_is_us(redis.log(), mark, &["Accepted 127."])
}

/// A program of a few lines that looks at what accept() says.
pub(super) fn python(lab: &Lab, handoff: &str) -> Result {
    lab.ipv6()?;
    let start = |name, ip| -> Result<Python> {
        let python = Python::start(&lab.fresh_dir(name)?, ip)?;
        lab.watch(name, python.log());
        Ok(python)
    };
    let (v4, v6) = (start("python4", PROXY.ip())?, start("python6", IpAddr::V6(Ipv6Addr::LOCALHOST))?);
    let truepeer = truepeer(lab, handoff, "tcp", &[("v4", v4.addr()), ("v6", v6.addr())])?;
    let before = truepeer.log().mark();
    for (id, server, clients) in [("v4", &v4, clients(4774)), ("v6", &v6, clients_v6(4775))] {
        let mark = server.log().mark();
        for (told, status) in clients.into_iter().zip(["204", "403"]) {
            get(&truepeer, id, told, status)?;
            let whom = format!("served {} {} {status}", told.ip(), told.port());
            server.log().wait_line(mark, &format!("it prints `{whom}`"), |line| line == whom)?;
            seen_as_itself(&truepeer, before, handoff, told)?;
        }
        nobody_is_us(server.log(), mark, &["served 127.", "served ::1"])?;
    }
    Ok(())
}

/// Mail for interop.test from 203.0.113.0/24 only, and from this host for everybody.
pub(super) fn opensmtpd(lab: &Lab, handoff: &str) -> Result {
    let opensmtpd = Opensmtpd::start_choosy(&lab.fresh_dir("opensmtpd-choosy")?)?;
    lab.watch("opensmtpd-choosy", opensmtpd.log());
    let truepeer = truepeer(lab, handoff, "smtp", &[("mail", opensmtpd.port())])?;
    let (mark, before) = (opensmtpd.log().mark(), truepeer.log().mark());
    for (told, answer) in clients(4776).into_iter().zip(["250", "550"]) {
        let mut mail = client(&truepeer, "mail", told)?;
        mail.expect_reply("220")?;
        mail.smtp("EHLO client.interop.test", "250")?;
        mail.smtp("MAIL FROM:<a@interop.test>", "250")?;
        mail.smtp("RCPT TO:<b@interop.test>", answer)?;
        // Whoever is taken for this host may send it.
        mail.smtp("RCPT TO:<b@elsewhere.example>", "550")?;
        mail.smtp("QUIT", "221")?;
        drop(mail);
        let whom = format!("connected address={} ", told.ip());
        opensmtpd.log().wait_line(mark, &format!("OpenSMTPD logs `{whom}`"), |line| line.contains(&whom))?;
        seen_as_itself(&truepeer, before, handoff, told)?;
    }
    nobody_is_us(opensmtpd.log(), mark, &["connected address=127.", "connected address=::1"])
}
