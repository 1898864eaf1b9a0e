//! The proxies of the matrix, each started with its first cell, by the lines of its page: once for every listener.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::house::Way;
use super::{Family, Sender};
use crate::feed::PATIENCE;
use crate::lab::{Lab, Shared};
use crate::page;
use crate::port::Port;
use crate::servers::caddy::Caddy;
use crate::servers::envoy::Envoy;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::Nginx;
use crate::servers::traefik::Traefik;
use crate::servers::truepeer::Truepeer;
use crate::space::{GATE_V4, GATE_V6};
use crate::verdict::{Result, failed};

/// All of them.
#[derive(Debug)]
pub(super) struct Senders {
    ways: Vec<Way>,
    running: [Shared<Running>; Sender::ALL.len()],
}

/// A proxy, and where it listens for each way.
#[derive(Debug)]
struct Running {
    _program: Proxy,
    doors: Vec<(Way, Port)>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held until the end")]
enum Proxy {
    Haproxy(Haproxy),
    Nginx(Nginx),
    Traefik(Traefik),
    Envoy(Envoy),
    Caddy(Caddy),
}

/// One way through a proxy.
struct Passage {
    id: String,
    listen: SocketAddr,
    to: SocketAddr,
}

impl Senders {
    /// None of them runs yet; each will have these ways.
    pub(super) fn new(ways: Vec<Way>) -> Self {
        Self { ways, running: core::array::from_fn(|_| Shared::default()) }
    }

    /// Where `sender` listens for this way to `truepeer`.
    pub(super) fn door(
        &self,
        lab: &Lab,
        truepeer: &Truepeer,
        sender: Sender,
        way: Way,
    ) -> Result<SocketAddr> {
        let at = Sender::ALL.iter().position(|known| *known == sender);
        let Some(running) = at.and_then(|at| self.running.get(at)) else {
            return failed(format!("there is no {sender:?}"));
        };
        let running = running.get(|| start(lab, truepeer, sender, &self.ways))?;
        match running.doors.iter().find(|(known, _)| *known == way) {
            Some((_, port)) => Ok(port.addr()),
            None => failed(format!("{sender:?} has no door for {way:?}")),
        }
    }
}

fn start(lab: &Lab, truepeer: &Truepeer, sender: Sender, ways: &[Way]) -> Result<Running> {
    let mut doors = Vec::new();
    let mut passages = Vec::new();
    for way in ways {
        if !sender.passes_bytes() && !way.carries_requests() {
            continue;
        }
        let port = Port::free(match way.family {
            Family::V4 => IpAddr::V4(GATE_V4),
            Family::V6 => IpAddr::V6(GATE_V6),
        })?;
        passages.push(Passage { id: way.id(), listen: port.addr(), to: truepeer.port(&way.id())? });
        doors.push((*way, port));
    }
    let (name, _) = sender.names();
    let dir = lab.fresh_dir(name)?;
    let each = |passage: fn(Sender, &Passage) -> Result<String>| -> Result<Vec<String>> {
        passages.iter().map(|one| passage(sender, one)).collect()
    };
    let (program, log) = match sender {
        Sender::HaproxyV1 | Sender::HaproxyV2 => {
            // Its checks are other cases' affair.
            let head = format!("{HEAD}  default-server inter 60s\n");
            let started = Haproxy::start_as_written(&dir, &format!("{head}{}", each(haproxy)?.concat()))?;
            let log = started.log().clone();
            (Proxy::Haproxy(started), log)
        }
        Sender::NginxV1 => {
            let text = format!("stream {{\n{}}}\n", each(nginx)?.concat());
            let started = Nginx::start_as_written(&dir, &text)?;
            let log = started.log().clone();
            (Proxy::Nginx(started), log)
        }
        Sender::TraefikV1 | Sender::TraefikV2 => {
            let entries: Vec<_> =
                passages.iter().map(|passage| (passage.id.as_str(), passage.listen)).collect();
            let started = Traefik::start_with(&dir, &entries, &each(traefik)?)?;
            let log = started.log().clone();
            (Proxy::Traefik(started), log)
        }
        Sender::EnvoyV1 | Sender::EnvoyV2 => {
            let started = Envoy::start(&dir, &envoy(sender, &passages)?)?;
            let log = started.log().clone();
            (Proxy::Envoy(started), log)
        }
        Sender::CaddyV1 | Sender::CaddyV2 => {
            let started = Caddy::start(&dir, &each(caddy)?.concat())?;
            let log = started.log().clone();
            (Proxy::Caddy(started), log)
        }
    };
    lab.watch(name, &log);
    wait_until_it_serves(lab, sender, &doors)?;
    Ok(Running { _program: program, doors })
}

/// Envoy says that it serves a moment before it listens, at its last port last, and Traefik listens a moment before it
/// knows its routes; whoever comes in between is kept without an answer.
fn wait_until_it_serves(lab: &Lab, sender: Sender, doors: &[(Way, Port)]) -> Result {
    let greets = |(way, _): &&(Way, Port)| sender.passes_bytes() && way.greets();
    let ends = [doors.iter().find(greets), doors.iter().rfind(greets)];
    for (_, door) in ends.into_iter().flatten() {
        let door = door.addr();
        // A client from here would be one of truepeer's own machine.
        lab.outside()?.enter(move || wait_until_greeted(door))?;
    }
    Ok(())
}

fn wait_until_greeted(door: SocketAddr) -> Result {
    const TRY: Duration = Duration::from_secs(2);
    let begin = Instant::now();
    let hears = || {
        let mut stream = TcpStream::connect(door).ok()?;
        stream.set_read_timeout(Some(TRY)).ok()?;
        stream.read(&mut [0]).ok().filter(|len| *len > 0)
    };
    while hears().is_none() {
        if begin.elapsed() > PATIENCE {
            return failed(format!("nobody is greeted at {door}"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

fn haproxy(sender: Sender, Passage { id, listen, to }: &Passage) -> Result<String> {
    let lines = page::block(include_str!("../../../../docs/neighbours/haproxy.md"), "", "haproxy")?;
    let send = if sender == Sender::HaproxyV1 { "send-proxy " } else { "send-proxy-v2 " };
    Ok(lines
        .replace("send-proxy-v2 ", send)
        .replace("bind :25", &format!("bind {listen}"))
        .replace("192.0.2.20:25", &to.to_string())
        .replace("smtp", id))
}

/// What stands in `stream`.
fn nginx(_: Sender, Passage { listen, to, .. }: &Passage) -> Result<String> {
    let lines =
        page::block(include_str!("../../../../docs/neighbours/nginx.md"), "In front of truepeer", "nginx")?;
    let inner = lines.trim_end().strip_prefix("stream {\n").and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner else { return failed("the page on NGINX has another form") };
    Ok(inner.replace("listen 25", &format!("listen {listen}")).replace("192.0.2.20:25", &to.to_string()))
}

/// One dynamic file.
fn traefik(sender: Sender, Passage { id, to, .. }: &Passage) -> Result<String> {
    const PAGE: &str = include_str!("../../../../docs/neighbours/traefik.md");
    // The first block is the entry point.
    let Some((_, rest)) = PAGE.split_once("in a dynamic file:") else {
        return failed("the page on Traefik has another form");
    };
    let lines = page::block(rest, "", "yaml")?;
    let version = if sender == Sender::TraefikV1 { "version: 1" } else { "version: 2" };
    Ok(lines
        .replace("smtp", id)
        .replace("truepeer", &format!("truepeer-{id}"))
        .replace("version: 2", version)
        .replace("192.0.2.20:25", &to.to_string()))
}

/// Its one file, whose two lists have a part for each way.
fn envoy(sender: Sender, passages: &[Passage]) -> Result<String> {
    let lines = page::block(include_str!("../../../../docs/neighbours/envoy.md"), "", "yaml")?;
    let (head, cut) = ("static_resources:\n  listeners:\n", "  clusters:\n");
    let Some((listener, cluster)) = lines.strip_prefix(head).and_then(|rest| rest.split_once(cut)) else {
        return failed("the page on Envoy has another form");
    };
    let version = if sender == Sender::EnvoyV1 { "V1" } else { "V2" };
    let yaml = |addr: SocketAddr| format!("\"{}\", port_value: {}}}", addr.ip(), addr.port());
    let (mut listeners, mut clusters) = (String::new(), String::new());
    for Passage { id, listen, to } in passages {
        listeners.push_str(
            &listener
                .replace("0.0.0.0, port_value: 25}", &yaml(*listen))
                .replace(": smtp", &format!(": {id}")),
        );
        clusters.push_str(
            &cluster
                .replace("192.0.2.20, port_value: 25}", &yaml(*to))
                .replace("version: V2", &format!("version: {version}"))
                .replace(": smtp", &format!(": {id}")),
        );
    }
    Ok(format!("{head}{listeners}{cut}{clusters}"))
}

fn caddy(sender: Sender, Passage { listen, to, .. }: &Passage) -> Result<String> {
    let lines = page::block(include_str!("../../../../docs/neighbours/caddy.md"), "", "caddyfile")?;
    let version = if sender == Sender::CaddyV1 { "proxy_protocol v1" } else { "proxy_protocol v2" };
    let site = format!("http://:{} {{\n  bind {}\n", listen.port(), listen.ip());
    Ok(lines
        .replace("http://:80 {\n", &site)
        .replace("192.0.2.20:80", &to.to_string())
        // A record is written when a connection ends.
        .replace("proxy_protocol v2", &format!("{version}\n      keepalive off")))
}
