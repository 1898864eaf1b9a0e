//! `send`, `probe` and `watch` beside real programs.
//!
//! Called by `cases`.

use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::Value;

use super::health::wait_until_greeted;
use super::{Case, PROXY, case, hello, row};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::lab::Lab;
use crate::port::Port;
use crate::program::Program;
use crate::servers::Front;
use crate::servers::caddy::Caddy;
use crate::servers::envoy::Envoy;
use crate::servers::haproxy::{Frontend, HEAD, Haproxy};
use crate::servers::http::WebServer;
use crate::servers::nginx::{Chained, Nginx, StreamServer};
use crate::servers::traefik::Traefik;
use crate::servers::truepeer::{Backend, Listener};
use crate::verdict::{During, Result, ensure, failed};

/// What a probe of a server's port is to find.
struct Probed {
    addr: fn(&Lab) -> Result<SocketAddr>,
    protocol: &'static str,
    expects: &'static str,
    product: &'static str,
    /// The longest header that is served, and the shortest that is not.
    largest: (Option<u64>, Option<u64>),
    /// For how many seconds a header is waited for.
    waits: Option<u64>,
    /// Sentences, in part.
    says: &'static [&'static str],
    code: i32,
}

/// A proxy that runs.
struct Proxy {
    /// Where it listens.
    door: Port,
    /// Ends it when it is dropped.
    _program: Box<dyn core::any::Any>,
}

/// What is to be seen of a proxy.
struct Watched {
    /// Starts it in front of that address.
    start: fn(&Lab, SocketAddr) -> Result<Proxy>,
    /// The header's version, if one comes.
    version: Option<u64>,
    product: Option<&'static str>,
    /// Classes of what is found.
    findings: &'static [&'static str],
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let postfix = Probed {
        addr: |lab| Ok(lab.postfix()?.header_port()),
        protocol: "smtp",
        expects: "required",
        product: "postfix",
        largest: (Some(233), Some(537)),
        waits: Some(5),
        says: &[
            "It reads version 1 and version 2.",
            "It serves the proxy's own connections (LOCAL).",
            "It does not serve `PROXY UNKNOWN`.",
            "It does not take a header in pieces.",
            "It accepted a header naming a documentation address from 127.0.0.1",
        ],
        code: 0,
    };
    let dovecot = Probed {
        addr: |lab| Ok(lab.dovecot()?.header_port()),
        protocol: "imap",
        product: "dovecot",
        largest: (Some(537), Some(1501)),
        waits: Some(3),
        says: &[
            "It reads version 1 and version 2.",
            "It serves `PROXY UNKNOWN`.",
            "It does not take a header in pieces.",
            "It accepted a header naming a documentation address from 127.0.0.1",
        ],
        ..postfix
    };
    let plain = |addr, protocol, product| Probed {
        addr,
        protocol,
        expects: "no",
        product,
        largest: (None, None),
        waits: None,
        says: &["It expects no header from this address: a client that sends one is not served."],
        code: 0,
    };
    vec![
        row("probe_of_a_postfix_that_reads_headers".to_owned(), postfix, probe),
        row("probe_of_a_dovecot_that_reads_headers".to_owned(), dovecot, probe),
        row(
            "probe_of_a_postfix_that_reads_none".to_owned(),
            plain(|lab| Ok(lab.postfix()?.plain_port()), "smtp", "postfix"),
            probe,
        ),
        row(
            "probe_of_a_dovecot_that_reads_none".to_owned(),
            plain(|lab| Ok(lab.dovecot()?.plain_port()), "imap", "dovecot"),
            probe,
        ),
        case("probe_that_expects_a_closed_postfix_finds_it_open", open),
        row(
            "watch_behind_haproxy_with_send_proxy_v2_ssl".to_owned(),
            Watched {
                start: |lab, to| haproxy(lab, to, "send-proxy-v2-ssl"),
                version: Some(2),
                product: Some("haproxy"),
                findings: &[],
            },
            watch,
        ),
        row(
            "watch_behind_nginx_with_proxy_protocol".to_owned(),
            Watched { start: nginx, version: Some(1), product: None, findings: &[] },
            watch,
        ),
        row(
            "watch_behind_haproxy_without_send_proxy".to_owned(),
            Watched {
                start: |lab, to| haproxy(lab, to, ""),
                version: None,
                product: None,
                findings: &["MISS"],
            },
            watch,
        ),
        row("snippet_of_haproxy_carries_a_client".to_owned(), "haproxy", snippet),
        row("snippet_of_nginx_carries_a_client".to_owned(), "nginx", snippet),
        row("snippet_of_traefik_carries_a_client".to_owned(), "traefik", snippet),
        row("snippet_of_envoy_carries_a_client".to_owned(), "envoy", snippet),
        case("snippet_of_caddy_carries_a_client", snippet_of_caddy),
        case("send_is_served_where_headers_are_read_and_only_there", send),
    ]
}

fn command(lab: &Lab, words: &[&str]) -> Result<Output> {
    Command::new(lab.program()?).args(words).output().during("run truepeer")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn probe(lab: &Lab, probed: &Probed) -> Result {
    let addr = (probed.addr)(lab)?.to_string();
    let output = command(lab, &["probe", &addr, "--protocol", probed.protocol, "--json"])?;
    let text = said(&output);
    ensure(output.status.code() == Some(probed.code), || format!("{}: {text}", output.status))?;
    let last: Value =
        serde_json::from_str(text.lines().last().unwrap_or_default()).during("read the verdict")?;
    for (field, value) in [
        ("expects_header", Value::from(probed.expects)),
        ("product", Value::from(probed.product)),
        ("largest_served", Value::from(probed.largest.0)),
        ("smallest_refused", Value::from(probed.largest.1)),
    ] {
        ensure(last.get(field) == Some(&value), || format!("`{field}` is not {value}: {text}"))?;
    }
    let waits = last.get("waits_ms").and_then(Value::as_u64).and_then(|waits| waits.checked_div(1000));
    ensure(waits == probed.waits, || format!("it waits for {waits:?} s: {text}"))?;
    let sentences = last.get("sentences").map(Value::to_string).unwrap_or_default();
    for words in probed.says {
        ensure(sentences.contains(words), || format!("nothing says `{words}`: {text}"))?;
    }
    Ok(())
}

fn open(lab: &Lab) -> Result {
    let addr = lab.postfix()?.header_port().to_string();
    let words =
        ["probe", &addr, "--protocol", "smtp", "--expect-closed", "--source", "127.0.0.77", "--wait", "1s"];
    let output = command(lab, &words)?;
    let text = said(&output);
    ensure(output.status.code() == Some(1), || format!("{}: {text}", output.status))?;
    ensure(text.contains("FORGE (certain)") && text.contains("from 127.0.0.77"), || text.clone())?;
    // Dovecot has a list, which holds the address of this lab's proxies alone.
    let addr = lab.dovecot()?.header_port().to_string();
    let words =
        ["probe", &addr, "--protocol", "imap", "--expect-closed", "--source", "127.0.0.77", "--wait", "1s"];
    let output = command(lab, &words)?;
    let text = said(&output);
    ensure(output.status.success(), || format!("{}: {text}", output.status))?;
    ensure(text.contains("It is closed to 127.0.0.77"), || text.clone())
}

fn send(lab: &Lab) -> Result {
    let (postfix, dovecot) = (lab.postfix()?, lab.dovecot()?);
    for (addr, protocol, served) in [
        (postfix.header_port(), "smtp", true),
        (dovecot.header_port(), "imap", true),
        (postfix.plain_port(), "smtp", false),
        (dovecot.plain_port(), "imap", false),
    ] {
        let addr = addr.to_string();
        let output = command(lab, &["send", &addr, "--protocol", protocol, "--tlv", "ssl=TLSv1.3"])?;
        ensure(output.status.success() == served, || format!("{addr}: {}", said(&output)))?;
    }
    Ok(())
}

fn haproxy(lab: &Lab, to: SocketAddr, server: &str) -> Result<Proxy> {
    let listen = Port::free(PROXY.ip())?;
    let frontend = Frontend {
        name: "watched".to_owned(),
        front: Front { listen: listen.addr(), to },
        bind: String::new(),
        server: server.to_owned(),
        lines: String::new(),
    };
    let haproxy = Haproxy::start(&lab.fresh_dir("haproxy-watched")?, &[frontend])?;
    lab.watch("haproxy-watched", haproxy.log());
    Ok(Proxy { door: listen, _program: Box::new(haproxy) })
}

fn nginx(lab: &Lab, to: SocketAddr) -> Result<Proxy> {
    let listen = Port::free(PROXY.ip())?;
    let server = StreamServer { front: Front { listen: listen.addr(), to }, chained: Chained::First };
    let nginx = Nginx::start(&lab.fresh_dir("nginx-watched")?, &[server])?;
    lab.watch("nginx-watched", nginx.log());
    Ok(Proxy { door: listen, _program: Box::new(nginx) })
}

/// A client comes through the proxy, is greeted, and leaves; what the watcher tells of it is compared.
fn watch(lab: &Lab, watched: &Watched) -> Result {
    let port = Port::free(PROXY.ip())?;
    let mut command = Command::new(lab.program()?);
    command.args(["watch", "--json", "--as", "smtp", "--count", "1", "--wait", "1s", "--listen"]);
    let watcher = Program::start("truepeer watch", command.arg(port.addr().to_string()))?;
    lab.watch("watcher", watcher.log());
    watcher.wait_started(|line| line.starts_with("watching "))?;
    let proxy = (watched.start)(lab, port.addr())?;
    let mut client = Client::dial(Place::Here(lab.fresh_source()), proxy.door.addr())?;
    hello(&mut client)?;
    let line = watcher.log().wait_line(Mark::default(), "the watcher tells", |line| line.starts_with('{'))?;
    let told: Value = serde_json::from_str(&line).during("read what was told")?;
    let header = told.get("header").unwrap_or(&Value::Null);
    let version = header.get("version").and_then(Value::as_u64);
    ensure(version == watched.version, || format!("version {version:?}: {line}"))?;
    if version.is_some() {
        let source = header.get("source").and_then(Value::as_str).unwrap_or_default();
        ensure(source == client.addr().to_string(), || format!("not {}: {line}", client.addr()))?;
    }
    let product = told.get("product").and_then(Value::as_str);
    ensure(product == watched.product, || format!("product {product:?}: {line}"))?;
    let findings = told.get("findings").and_then(Value::as_array).cloned().unwrap_or_default();
    let classes: Vec<_> =
        findings.iter().filter_map(|found| found.get("class").and_then(Value::as_str)).collect();
    ensure(classes == watched.findings, || format!("found {classes:?}: {line}"))
}

/// The same for HTTP, which is all that Caddy carries.
fn snippet_of_caddy(lab: &Lab) -> Result {
    let web = WebServer::start(&lab.fresh_dir("web-snippet")?, lab.pair()?)?;
    lab.watch("web-snippet", web.log());
    let listener = Listener { id: "web", ip: PROXY.ip(), protocol: "http", backend: "web", lines: "" };
    let backend = Backend { id: "web", kind: "nginx", handoff: None, addr: web.clear_port() };
    let truepeer = lab.start_truepeer("truepeer-snippet", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_proved", "web")?;
    let front = Port::free(PROXY.ip())?;
    let words = ["snippet", "caddy", "--listener", "web", "--front", &front.addr().to_string()];
    let output = truepeer.command(&words)?;
    ensure(output.status.success() && output.stderr.is_empty(), || said(&output))?;
    let caddy = Caddy::start(&lab.fresh_dir("snippet")?, &String::from_utf8_lossy(&output.stdout))?;
    lab.watch("snippet", caddy.log());
    let place = Place::Here(lab.fresh_source());
    let mut client = Client::dial(place, front.addr())?;
    client.send(b"GET / HTTP/1.1\r\nHost: web.interop.test\r\nConnection: close\r\n\r\n")?;
    let heard = client.rest("the web server answers")?;
    let words = format!("you are {} port ", place.ip());
    ensure(heard.contains(&words), || format!("NGINX does not say `{words}`: {heard}"))
}

/// The printed lines start that proxy, and a client who comes through it is known to truepeer and to Postfix.
fn snippet(lab: &Lab, proxy: &&'static str) -> Result {
    let health = Port::free(PROXY.ip())?;
    let lines = format!("health-bind = \"{}\"\n", health.addr());
    let listener =
        Listener { id: "smtp", ip: PROXY.ip(), protocol: "smtp", backend: "server", lines: &lines };
    let backend =
        Backend { id: "server", kind: "postfix", handoff: None, addr: lab.postfix()?.header_port() };
    drop(health);
    let truepeer = lab.start_truepeer("truepeer-snippet", &[listener], &[backend])?;
    lab.wait_until_served(truepeer.port("smtp")?)?;
    let front = Port::free(PROXY.ip())?;
    let words = ["snippet", proxy, "--listener", "smtp", "--front", &front.addr().to_string()];
    let output = truepeer.command(&words)?;
    ensure(output.status.success() && output.stderr.is_empty(), || said(&output))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let dir = lab.fresh_dir("snippet")?;
    let (running, log): (Box<dyn core::any::Any>, _) = match *proxy {
        "haproxy" => {
            let started = Haproxy::start_as_written(&dir, &format!("{HEAD}{text}"))?;
            let log = started.log().clone();
            (Box::new(started), log)
        }
        "nginx" => {
            let started = Nginx::start_as_written(&dir, &text)?;
            let log = started.log().clone();
            (Box::new(started), log)
        }
        "traefik" => {
            let started = Traefik::start(&dir, front.addr(), &text)?;
            let log = started.log().clone();
            (Box::new(started), log)
        }
        "envoy" => {
            let started = Envoy::start(&dir, &text)?;
            let log = started.log().clone();
            (Box::new(started), log)
        }
        other => return failed(format!("nobody starts {other}")),
    };
    lab.watch("snippet", &log);
    wait_until_greeted(front.addr())?;
    let (ours, theirs) = (truepeer.log().mark(), lab.postfix()?.log().mark());
    let mut client = Client::dial(Place::Here(lab.fresh_source()), front.addr())?;
    hello(&mut client)?;
    let addr = client.addr();
    drop(client);
    lab.postfix()?.wait_connect(theirs, addr)?;
    let record = truepeer.record_of(ours, addr)?;
    ensure(record.text("outcome") == "done", || format!("it ended as {}", record.text("outcome")))?;
    drop(running);
    Ok(())
}
