//! What monitoring asks: the real program over real HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_cmp,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::support::fake::Nobody;
use crate::support::{HeaderMailServer, eventually, expect, read_to_end};
use rustix::process::Signal;

/// Two listeners in front of one backend each; the second backend is not there.
fn config(backend: &HeaderMailServer, more: &str) -> String {
    format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [status]\nbind = \"127.0.0.1:0\"\n{more}",
        backend.address
    )
}

/// What one request gets: status, head and body.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

fn ask(program: &Program, request: &str) -> Reply {
    ask_with(program, request, "")
}

fn ask_with(program: &Program, request: &str, headers: &str) -> Reply {
    let mut stream = program.connect("status");
    let head = format!("{request} HTTP/1.1\r\nHost: status\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    reply(&stream)
}

fn reply(stream: &TcpStream) -> Reply {
    let text = String::from_utf8(read_to_end(stream)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Reply { status: head[9..12].parse().unwrap(), head: head.to_ascii_lowercase(), body: body.to_owned() }
}

#[track_caller]
fn assert_reply(program: &Program, request: &str, status: u16, body: &str) {
    let reply = ask(program, request);
    assert_eq!((reply.status, reply.body.as_str()), (status, body), "{request}");
    assert!(!reply.body.contains("127.0.0.1"), "no address in {}", reply.body);
}

#[test]
fn a_server_with_a_proved_backend_is_ready_until_it_drains() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, ""));
    for path in ["/healthz", "/healthz?verbose"] {
        assert_reply(&program, &format!("GET {path}"), 200, "ok\n");
    }
    assert_reply(&program, "GET /readyz", 200, "ready\n");
    assert_reply(&program, "GET /readyz/door", 200, "ready\n");
    assert_reply(&program, "GET /readyz/other", 404, "there is no such listener\n");

    let mut open = program.connect("door");
    open.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&open, b"220 backend ready\r\n");
    program.signal(Signal::TERM);
    program.wait_for("event=draining");
    assert_reply(&program, "GET /readyz", 503, "draining\n");
    assert_reply(&program, "GET /readyz/door", 503, "draining\n");
    assert_reply(&program, "GET /healthz", 200, "ok\n");
    open.shutdown(Shutdown::Write).unwrap();
    program.end();
}

#[test]
fn a_listener_without_a_ready_backend_is_named_and_the_others_are_ready() {
    let backend = HeaderMailServer::start();
    let nobody = Nobody::new();
    let gone = nobody.address();
    let program = Program::start(&config(
        &backend,
        &format!(
            "[server.listener.imap]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\nbackend = \"gone\"\n\
             [backend.gone]\nhandoff = \"proxy-v1\"\naddress = \"{gone}\"\n"
        ),
    ));
    assert_reply(&program, "GET /readyz", 503, "no backend is ready for: imap\n");
    assert_reply(&program, "GET /readyz/imap", 503, "no backend is ready\n");
    assert_reply(&program, "GET /readyz/door", 200, "ready\n");
}

#[test]
fn only_reading_is_possible_and_the_operators_functions_are_not_here() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    for request in ["POST /readyz", "DELETE /metrics", "PUT /", "OPTIONS *"] {
        let refused = ask(&program, request);
        assert_eq!(refused.status, 405, "{request}");
        assert!(refused.head.contains("\r\nallow: get, head"), "{}", refused.head);
    }
    for path in ["/connections", "/reload", "/status", "/deny", "//readyz", "/readyz/"] {
        assert_eq!(ask(&program, &format!("GET {path}")).status, 404, "{path}");
    }
    let head = ask(&program, "HEAD /healthz");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("\r\ncache-control: no-store"), "{}", head.head);

    // Not HTTP at all, and a head without end: an answer or the end, and the next one is served.
    for bytes in [
        b"{\"command\":\"reload\"}\n\r\n".to_vec(),
        [b"GET / HTTP/1.1\r\nX: ", vec![b'x'; 64 * 1024].as_slice()].concat(),
    ] {
        let mut stream = program.connect("status");
        // The server may have closed before all of it was written.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let said = read_to_end(&stream);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{}", said.escape_ascii());
    }
    assert_reply(&program, "GET /healthz", 200, "ok\n");
}

#[test]
fn silent_visitors_do_not_keep_the_next_one_out_for_long() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    // Some say nothing, some begin a request and never end it, some do not take what they asked for.
    let silent: Vec<_> = (0..300)
        .map(|visitor| {
            let mut stream = program.connect("status");
            let said: &[u8] = match visitor % 3 {
                0 => b"",
                1 => b"GET /healthz HTTP/1.1\r\nHost: sta",
                _ => b"GET /metrics HTTP/1.1\r\nHost: status\r\n\r\n",
            };
            // One that had to make room already is refused.
            let _ = stream.write_all(said);
            stream
        })
        .collect();
    for _ in 0..3 {
        let asked = Instant::now();
        assert_reply(&program, "GET /healthz", 200, "ok\n");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    drop(silent);
}

#[test]
fn status_and_admin_are_apart() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, "[admin]\nsocket = \"ADMIN\"\n"));
    let mut admin = std::os::unix::net::UnixStream::connect(program.folder.path("admin.sock")).unwrap();
    admin.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut admin, &mut said).unwrap();
    assert!(said.contains("the request is not JSON"), "{said}");
}

/// The value of one series.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

#[test]
fn metrics_are_exact_and_there_from_the_start() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, ""));
    let first = ask(&program, "GET /metrics");
    assert_eq!(first.status, 200);
    assert!(
        first.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{}",
        first.head
    );
    assert!(first.body.ends_with("# EOF\n"));
    // Who takes plain text and no OpenMetrics gets the older format, with the same series.
    let old = ask_with(&program, "GET /metrics", "Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1\r\n");
    assert!(old.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", old.head);
    assert!(old.head.contains("\r\nvary: accept"), "{}", old.head);
    assert!(old.body.contains("# TYPE truepeer_accepted_connections_total counter\n"));
    assert!(!old.body.contains("# EOF"));
    assert_eq!(value(&old.body, "truepeer_accepted_connections_total{listener=\"door\"}"), 0.0);
    for series in [
        "truepeer_accepted_connections_total{listener=\"door\"}",
        "truepeer_ended_connections_total{listener=\"door\",outcome=\"done\"}",
        "truepeer_identified_connections_total{listener=\"door\",source=\"v1\",scope=\"public\"}",
    ] {
        assert_eq!(value(&first.body, series), 0.0, "{series}");
    }
    assert_eq!(value(&first.body, "truepeer_backend_ready{backend=\"mail\"}"), 1.0);
    assert_eq!(value(&first.body, "truepeer_backend_addresses{backend=\"mail\",readiness=\"proved\"}"), 1.0);

    for _ in 0..3 {
        let mut client = program.connect("door");
        client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nQUIT\r\n").unwrap();
        expect(&client, b"220 backend ready\r\n221 bye\r\n");
        assert_eq!(read_to_end(&client), b"");
        drop(client);
        program.wait_for("outcome=done");
    }
    let mut own = program.connect("door");
    own.write_all(b"PROXY UNKNOWN\r\nQUIT\r\n").unwrap();
    assert!(!read_to_end(&own).is_empty());
    drop(own);
    let mut broken = program.connect("door");
    broken.write_all(b"EHLO mail.example\r\n").unwrap();
    assert_eq!(read_to_end(&broken), b"");
    program.wait_for("outcome=header_missing");
    let mut open = program.connect("door");
    open.write_all(b"PROXY TCP6 fd00::7 2001:db8::25 4711 25\r\n").unwrap();
    expect(&open, b"220 backend ready\r\n");
    let pending = program.connect("door");

    // That a worker has taken the last connection, and that the proxy's own one is over, can be seen only here.
    let mut text = String::new();
    let own_ended = "truepeer_ended_connections_total{listener=\"door\",outcome=\"own_answered\"}";
    let is_pending = eventually(|| {
        text = ask(&program, "GET /metrics").body;
        value(&text, "truepeer_pending_headers") == 1.0 && value(&text, own_ended) == 1.0
    });
    assert!(is_pending, "{text}");
    for (series, count) in [
        ("truepeer_accepted_connections_total{listener=\"door\"}", 7.0),
        ("truepeer_open_connections{listener=\"door\"}", 2.0),
        ("truepeer_own_connections_total{listener=\"door\"}", 1.0),
        ("truepeer_identified_connections_total{listener=\"door\",source=\"v1\",scope=\"public\"}", 3.0),
        ("truepeer_identified_connections_total{listener=\"door\",source=\"v1\",scope=\"private\"}", 1.0),
        ("truepeer_ended_connections_total{listener=\"door\",outcome=\"done\"}", 3.0),
        ("truepeer_ended_connections_total{listener=\"door\",outcome=\"own_answered\"}", 1.0),
        ("truepeer_ended_connections_total{listener=\"door\",outcome=\"header_missing\"}", 1.0),
        ("truepeer_relayed_bytes_total{listener=\"door\",direction=\"in\"}", 18.0),
        ("truepeer_relayed_bytes_total{listener=\"door\",direction=\"out\"}", 84.0),
        ("truepeer_relay_duration_seconds_count{listener=\"door\"}", 3.0),
        ("truepeer_connection_duration_seconds_count{listener=\"door\"}", 5.0),
        ("truepeer_lost_log_lines_total", 0.0),
    ] {
        assert_eq!(value(&text, series), count, "{series}");
    }
    assert!(value(&text, "truepeer_open_descriptors") > 5.0);
    for address in ["127.0.0.1", "203.0.113.7", "fd00::7"] {
        assert!(!text.contains(address), "{address} in the metrics");
    }
    drop((open, pending));
}
