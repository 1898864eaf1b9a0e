//! Who may speak for others: proxies in front of proxies, one port for proxied and direct clients, and proxies by name.
//!
//! Called by `cases`. Client, proxy and truepeer have addresses of their own wherever the namespace outside is there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Case, PROXY, case, hello, row, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::names::{Answer, NameServer, resolving_here};
use crate::servers::traefik::Traefik;
use crate::servers::truepeer::{Backend, Listener, Record, Truepeer};
use crate::space::{GATE_V4, OUTSIDE_V4, PROXY_V4};
use crate::verdict::{Result, ensure};

/// A proxy behind another one connects from here, which no other case uses.
const HOP: Ipv4Addr = Ipv4Addr::new(127, 8, 0, 21);

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        row("haproxy_in_front_of_haproxy_and_both_headers_are_read".to_owned(), Second::Haproxy, chain),
        row("haproxy_in_front_of_traefik_and_both_headers_are_read".to_owned(), Second::Traefik, chain),
        case("truepeer_in_front_of_truepeer_tells_the_client_and_its_own_id", doubled),
        case("a_header_of_the_clients_own_behind_haproxy_is_refused", smuggled),
        case("a_balancer_that_keeps_addresses_and_sends_a_header_is_named", redundant),
        case("proxied_and_direct_clients_share_a_port_by_their_source", mixed),
        case("proxied_and_direct_clients_share_an_address_where_a_missing_header_is_no_mistake", shared),
        case("a_proxy_that_is_trusted_by_name_may_move", named),
    ]
}

/// What stands behind the first HAProxy, and passes its header on as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    Haproxy,
    Traefik,
}

fn chain(lab: &Lab, second: &Second) -> Result {
    let health = Port::free(PROXY.ip())?.addr();
    let lines = format!("proxy.hop-networks = [\"{HOP}\"]\nhealth-bind = \"{health}\"\n");
    let truepeer = start(lab, "chained", PROXY.ip(), &lines)?;
    let door = truepeer.port("door")?;
    lab.wait_until_served(door)?;
    let (outer, inner) = (Port::free(PROXY.ip())?, Port::free(PROXY.ip())?);
    let frontend = |name: &str, listen: &Port, to, server: &str| Frontend {
        name: name.to_owned(),
        front: Front { listen: listen.addr(), to },
        bind: String::new(),
        server: server.to_owned(),
        lines: String::new(),
    };
    let first = frontend("first", &outer, inner.addr(), &format!("send-proxy-v2 source {HOP}"));
    let traefik = match second {
        Second::Haproxy => None,
        Second::Traefik => {
            let traefik = Traefik::start(&lab.fresh_dir("traefik")?, inner.addr(), &routes(door, health))?;
            lab.watch("traefik", traefik.log());
            Some(traefik)
        }
    };
    let mut frontends = vec![first];
    if *second == Second::Haproxy {
        frontends.push(frontend("second", &inner, door, "send-proxy"));
    }
    let haproxy = Haproxy::start(&lab.fresh_dir("haproxy")?, &frontends)?;
    lab.watch("haproxy", haproxy.log());

    let (mark, before) = (lab.postfix()?.log().mark(), truepeer.log().mark());
    let mut client = Client::dial(Place::Here(lab.fresh_source()), outer.addr())?;
    hello(&mut client)?;
    let addr = client.addr();
    drop(client);
    lab.postfix()?.wait_connect(mark, addr)?;
    let record = truepeer.record_of(before, addr)?;
    ensure(record.is_from("peer", PROXY.ip()), || format!("the peer is the second proxy: {record:?}"))?;
    ensure(record.is_from("hops", IpAddr::V4(HOP)), || format!("the first proxy is on the way: {record:?}"))?;
    ensure(record.is_at("destination", outer.addr()), || {
        format!("the destination is that of the first proxy: {record:?}")
    })?;
    drop((haproxy, traefik));
    Ok(())
}

/// Traefik's dynamic configuration: everything to `door` behind a header, checked at `health` without one.
fn routes(door: SocketAddr, health: SocketAddr) -> String {
    format!(
        "\
tcp:
  routers:
    smtp: {{entryPoints: [smtp], rule: \"HostSNI(`*`)\", service: smtp}}
  services:
    smtp:
      loadBalancer:
        serversTransport: truepeer
        servers: [{{address: \"{door}\"}}]
        healthCheck: {{port: {}, expect: \"220\", interval: 1s, timeout: 1s}}
  serversTransports: {{truepeer: {{proxyProtocol: {{version: 2}}}}}}
",
        health.port()
    )
}

fn doubled(lab: &Lab) -> Result {
    let inner = start(lab, "inner", PROXY.ip(), "")?;
    let door = inner.port("door")?;
    lab.wait_until_served(door)?;
    let outer = lab.start_truepeer(
        "outer",
        &[Listener { id: "door", ip: PROXY.ip(), protocol: "smtp", backend: "inner", lines: "" }],
        &[Backend { id: "inner", kind: "other", handoff: Some("proxy-v2"), addr: door }],
    )?;
    let front = outer.port("door")?;
    lab.wait_until_served(front)?;
    let (mark, before, inside) = (lab.postfix()?.log().mark(), outer.log().mark(), inner.log().mark());
    let mut client = Client::dial(Place::Here(lab.fresh_source()), front)?;
    hello(&mut client)?;
    let addr = client.addr();
    drop(client);
    lab.postfix()?.wait_connect(mark, addr)?;
    let (first, second) = (outer.record_of(before, addr)?, inner.record_of(inside, addr)?);
    ensure(second.text("proxy_id") == first.text("id") && !first.text("id").is_empty(), || {
        format!("the id of the first goes on to the second: {first:?}, {second:?}")
    })
}

/// The proxy passes on what the client sends, which is a header: as an AWS balancer does.
fn smuggled(lab: &Lab) -> Result {
    let truepeer = start(lab, "behind", PROXY.ip(), "")?;
    let door = truepeer.port("door")?;
    lab.wait_until_served(door)?;
    let port = Port::free(PROXY.ip())?;
    let haproxy = Haproxy::start(
        &lab.fresh_dir("haproxy")?,
        &[Frontend {
            name: "front".to_owned(),
            front: Front { listen: port.addr(), to: door },
            bind: String::new(),
            server: "send-proxy-v2".to_owned(),
            lines: String::new(),
        }],
    )?;
    lab.watch("haproxy", haproxy.log());
    for (number, forged) in [
        header::v1(told_client(4714), told_destination()),
        header::v2(told_client(4714), told_destination(), &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let (mark, before) = (lab.postfix()?.log().mark(), truepeer.log().mark());
        let mut client = Client::dial(Place::Here(lab.fresh_source()), port.addr())?;
        client.send(&[forged, b"EHLO client.interop.test\r\n".to_vec()].concat())?;
        client.rest("truepeer closes")?;
        let addr = client.addr();
        drop(client);
        let record = truepeer.record_of(before, addr)?;
        outcome(&record, "header_repeated")?;
        let lines = lab.postfix()?.log().lines(mark);
        ensure(!lines.iter().any(|line| line.contains("203.0.113.9")), || {
            format!("Postfix saw the forged client of form {number}: {lines:#?}")
        })?;
    }
    Ok(())
}

fn redundant(lab: &Lab) -> Result {
    let truepeer = start(lab, "redundant", PROXY.ip(), "")?;
    let before = truepeer.log().mark();
    let mut balancer = Client::dial(Place::Here(lab.fresh_source()), truepeer.port("door")?)?;
    let addr = balancer.addr();
    balancer.send(&header::v2(addr, truepeer.port("door")?, &[]))?;
    balancer.rest("truepeer closes")?;
    drop(balancer);
    let record = truepeer.record(before, "a record of the balancer", |record| record.is_at("peer", addr))?;
    outcome(&record, "header_redundant")
}

fn mixed(lab: &Lab) -> Result {
    let outside = lab.outside()?;
    let lines = format!("proxy.trusted-networks = [\"{PROXY_V4}\"]\n");
    let truepeer = start(lab, "mixed", IpAddr::V4(GATE_V4), &lines)?;
    let door = truepeer.port("door")?;
    let port = Port::free(IpAddr::V4(GATE_V4))?;
    let haproxy = at_gateway(lab, &port, door)?;
    let client = Place::Outside(outside, IpAddr::V4(OUTSIDE_V4));
    served_from(client, door)?;

    for (to, peer) in [(door, OUTSIDE_V4), (port.addr(), PROXY_V4), (door, OUTSIDE_V4)] {
        let (mark, before) = (lab.postfix()?.log().mark(), truepeer.log().mark());
        let mut client = Client::dial(client, to)?;
        hello(&mut client)?;
        let addr = client.addr();
        drop(client);
        lab.postfix()?.wait_connect(mark, addr)?;
        let record = truepeer.record_of(before, addr)?;
        ensure(record.is_from("peer", IpAddr::V4(peer)), || format!("the peer is {peer}: {record:?}"))?;
        let source = if peer == OUTSIDE_V4 { "direct" } else { "v2" };
        ensure(record.text("source") == source, || format!("the source is {source}: {record:?}"))?;
    }
    // Whoever comes directly speaks for nobody; whoever has the proxy's address must.
    let before = truepeer.log().mark();
    let mut liar = Client::dial(client, door)?;
    let addr = liar.addr();
    liar.send(&header::v1(told_client(4715), told_destination()))?;
    liar.rest("truepeer closes")?;
    drop(liar);
    outcome(
        &truepeer.record(before, "a record of the liar", |record| record.is_at("peer", addr))?,
        "untrusted_header",
    )?;
    let before = truepeer.log().mark();
    let mut headless = Client::dial(Place::Here(IpAddr::V4(PROXY_V4)), door)?;
    let addr = headless.addr();
    headless.send(b"EHLO proxy.interop.test\r\n")?;
    headless.rest("truepeer closes")?;
    drop(headless);
    let record = truepeer.record(before, "a record of the proxy", |record| record.is_at("peer", addr))?;
    drop(haproxy);
    outcome(&record, "header_missing")
}

/// The gateway of a container network: HAProxy's connections and direct ones come from the same address.
fn shared(lab: &Lab) -> Result {
    let outside = lab.outside()?;
    let lines = format!(
        "proxy.trusted-networks = [\"{PROXY_V4}\"]\nproxy.missing-header = \"unsafe-client-is-peer\"\n\
         proxy.missing-header-wait = \"500ms\"\n"
    );
    let truepeer = start(lab, "shared", IpAddr::V4(GATE_V4), &lines)?;
    let door = truepeer.port("door")?;
    let advice = truepeer.wait_event(Mark::default(), "advice", "missing-header")?;
    ensure(advice.contains(&PROXY_V4.to_string()), || format!("the start says who can lie: {advice}"))?;
    let port = Port::free(IpAddr::V4(GATE_V4))?;
    let haproxy = at_gateway(lab, &port, door)?;
    let gateway = Place::Here(IpAddr::V4(PROXY_V4));
    served_from(gateway, door)?;

    let (mark, before) = (lab.postfix()?.log().mark(), truepeer.log().mark());
    let mut direct = Client::dial(gateway, door)?;
    let mut proxied = Client::dial(Place::Outside(outside, IpAddr::V4(OUTSIDE_V4)), port.addr())?;
    hello(&mut proxied)?;
    hello(&mut direct)?;
    let (direct_addr, proxied_addr) = (direct.addr(), proxied.addr());
    drop((direct, proxied));
    lab.postfix()?.wait_connect(mark, direct_addr)?;
    lab.postfix()?.wait_connect(mark, proxied_addr)?;
    ensure(truepeer.record_of(before, direct_addr)?.text("source") == "direct", || {
        "a direct one".to_owned()
    })?;
    ensure(truepeer.record_of(before, proxied_addr)?.text("source") == "v2", || "a proxied one".to_owned())?;

    // After the greeting no header is believed, and no private client ever.
    let (mark, before) = (lab.postfix()?.log().mark(), truepeer.log().mark());
    let mut late = Client::dial(gateway, door)?;
    let addr = late.addr();
    late.expect_reply("220")?;
    late.send(&header::v2(told_client(4716), told_destination(), &[]))?;
    late.rest("truepeer closes")?;
    drop(late);
    outcome(&truepeer.record_of(before, addr)?, "untrusted_header")?;
    let before = truepeer.log().mark();
    let mut near = Client::dial(gateway, door)?;
    let addr = near.addr();
    near.send(&header::v1(SocketAddr::from(([10, 0, 0, 1], 4717)), told_destination()))?;
    near.rest("truepeer closes")?;
    drop(near);
    let record = truepeer.record(before, "a record of the forger", |record| record.is_at("peer", addr))?;
    outcome(&record, "client_implausible")?;
    let lines = lab.postfix()?.log().lines(mark);
    drop(haproxy);
    ensure(!lines.iter().any(|line| line.contains("203.0.113.9") || line.contains("[10.0.0.1]")), || {
        format!("Postfix saw a forged client: {lines:#?}")
    })
}

fn named(lab: &Lab) -> Result {
    let proxy = |last| Ipv4Addr::new(127, 8, 1, last);
    let addresses = |all: &[Ipv4Addr]| Answer::Addresses(all.to_vec());
    let names = NameServer::start(addresses(&[proxy(1)]))?;
    let script = resolving_here(&lab.fresh_dir("resolver")?, lab.program()?)?;
    let (door, admin) = (Port::free(PROXY.ip())?, lab.fresh_dir("named")?);
    let text = format!(
        "\
[server.proxy]
trusted-names = [\"proxy.interop.test\"]
trusted-names-refresh = \"1s\"
[log]
format = \"json\"
[admin]
socket = \"{}\"
[server.listener.door]
bind = \"{}\"
protocol = \"smtp\"
backend = \"postfix\"
[backend.postfix]
kind = \"postfix\"
address = \"{}\"
",
        admin.join("admin.sock").display(),
        door.addr(),
        lab.postfix()?.header_port()
    );
    // Given up only now, since truepeer asks for its ports exclusively.
    let door = door.addr();
    let truepeer = Truepeer::start_as_written(&script, &admin, &text, ("door", door))?;
    lab.watch("named", truepeer.log());
    truepeer.wait_event(Mark::default(), "trusted_name_changed", &proxy(1).to_string())?;
    lab.wait_until_served(door)?;
    let mut stays = proxied_from(proxy(1), door)?;
    stays.expect_reply("220")?;

    // The container is replaced: its open connections live on, new ones are believed from the new address only.
    let mark = truepeer.log().mark();
    names.set(addresses(&[proxy(2), proxy(3)]));
    let moved = truepeer.wait_event(mark, "trusted_name_changed", &proxy(3).to_string())?;
    ensure(moved.contains(&format!("\"removed\":\"{}\"", proxy(1))), || {
        format!("who went is said: {moved}")
    })?;
    stays.smtp("NOOP", "250")?;
    believed(lab, &truepeer, proxy(2))?;
    believed(lab, &truepeer, proxy(3))?;
    refused(&truepeer, proxy(1))?;

    // What a proxy hardly has is named; what is too much is not used.
    let mark = truepeer.log().mark();
    names.set(addresses(&[proxy(2), Ipv4Addr::UNSPECIFIED, told_ip()]));
    truepeer.wait_event(mark, "trusted_name_surprising", "0.0.0.0")?;
    truepeer.wait_event(mark, "trusted_name_surprising", "on the internet")?;
    let mark = truepeer.log().mark();
    names.set(addresses(&(1..=70).map(proxy).collect::<Vec<_>>()));
    truepeer.wait_event(mark, "trusted_name_unresolved", "70 addresses")?;
    believed(lab, &truepeer, proxy(2))?;
    refused(&truepeer, proxy(7))?;

    // The name server goes: the last good answer is kept.
    let mark = truepeer.log().mark();
    names.set(addresses(&[proxy(2)]));
    truepeer.wait_event(mark, "trusted_name_changed", &proxy(2).to_string())?;
    let mark = truepeer.log().mark();
    names.set(Answer::Silence);
    truepeer.wait_event(mark, "trusted_name_unresolved", "last good answer is kept")?;
    believed(lab, &truepeer, proxy(2))?;
    let said = String::from_utf8_lossy(&truepeer.command(&["status"])?.stdout).into_owned();
    let expected = format!("proxy.interop.test: {}, for ", proxy(2));
    ensure(said.contains(&expected) && said.contains("look-ups FAIL"), || {
        format!("`truepeer status` says what the name means: {said}")
    })?;
    stays.smtp("QUIT", "221").map(|_| ())
}

/// A client that a proxy at `from` brings.
fn proxied_from(from: Ipv4Addr, door: SocketAddr) -> Result<Client> {
    let mut client = Client::dial(Place::Here(IpAddr::V4(from)), door)?;
    client.send(&header::v2(told_client(client.addr().port()), told_destination(), &[]))?;
    Ok(client)
}

fn believed(lab: &Lab, truepeer: &Truepeer, from: Ipv4Addr) -> Result {
    let mark = lab.postfix()?.log().mark();
    let mut client = proxied_from(from, truepeer.port("door")?)?;
    let told = told_client(client.addr().port());
    hello(&mut client)?;
    drop(client);
    lab.postfix()?.wait_connect(mark, told)
}

fn refused(truepeer: &Truepeer, from: Ipv4Addr) -> Result {
    let before = truepeer.log().mark();
    let mut client = proxied_from(from, truepeer.port("door")?)?;
    let addr = client.addr();
    client.rest("truepeer closes")?;
    drop(client);
    let record =
        truepeer.record(before, "a record of the former proxy", |record| record.is_at("peer", addr))?;
    outcome(&record, "untrusted_header")
}

fn told_ip() -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 9)
}

/// A truepeer in front of the Postfix port that reads a header, with one listener and these lines.
fn start(lab: &Lab, name: &str, ip: IpAddr, lines: &str) -> Result<Truepeer> {
    let addr = lab.postfix()?.header_port();
    lab.start_truepeer(
        name,
        &[Listener { id: "door", ip, protocol: "smtp", backend: "postfix", lines }],
        &[Backend { id: "postfix", kind: "postfix", handoff: None, addr }],
    )
}

/// HAProxy at `port`, which connects to `door` from the proxy's own address.
fn at_gateway(lab: &Lab, port: &Port, door: SocketAddr) -> Result<Haproxy> {
    let haproxy = Haproxy::start(
        &lab.fresh_dir("haproxy")?,
        &[Frontend {
            name: "front".to_owned(),
            front: Front { listen: port.addr(), to: door },
            bind: String::new(),
            server: format!("send-proxy-v2 source {PROXY_V4}"),
            lines: String::new(),
        }],
    )?;
    lab.watch("haproxy", haproxy.log());
    Ok(haproxy)
}

/// Comes back when a client from `place` is greeted: until the backend is proved, truepeer answers temporarily.
fn served_from(place: Place<'_>, door: SocketAddr) -> Result {
    const TRIES: usize = 400;
    for _ in 0..TRIES {
        let mut client = Client::dial(place, door)?;
        if client.line("a greeting")?.starts_with("220 ") {
            return Ok(());
        }
    }
    crate::verdict::failed(format!("no greeting on {door}, only refusals"))
}

fn outcome(record: &Record, expected: &str) -> Result {
    ensure(record.text("outcome") == expected, || format!("expected the outcome {expected}: {record:?}"))
}
