//! The status page over real HTTP, without a browser: who gets it, what it says, how news come, and who is dropped.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::support::{HeaderMailServer, PATIENCE, eventually, expect, read_to_end};
use socket2::{Domain, Socket, Type};

fn config(backend: &HeaderMailServer, status: &str) -> String {
    format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\naccess.deny = [\"203.0.113.66\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [status]\nbind = \"127.0.0.1:0\"\n{status}",
        backend.address
    )
}

fn ask(program: &Program, path: &str, host: &str) -> (String, String) {
    let mut stream = program.connect("status");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let text = String::from_utf8(read_to_end(&stream)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

/// A page that stays open: the events that it is sent.
struct Open(BufReader<TcpStream>);

impl Open {
    fn on(program: &Program) -> Self {
        Self::with(program.connect("status"))
    }

    /// One whose system takes little that is not read.
    fn deaf(program: &Program) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        socket.connect(&program.address("status").into()).unwrap();
        Self::with(socket.into())
    }

    fn with(mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut open = Self(BufReader::new(stream));
        assert_eq!(open.line(), "HTTP/1.1 200 OK");
        while !open.line().is_empty() {}
        open
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The data of the next event of this kind; `None` where there is no further one.
    fn next(&mut self, kind: &str) -> Option<String> {
        let mut line = String::new();
        let mut is_it = false;
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("event", found)) => is_it = found == kind,
                Some(("data", data)) if is_it => return Some(data.to_owned()),
                _ => {}
            }
        }
    }
}

/// As a proxy, for this client; what it hears.
fn come(program: &Program, client: &str) -> String {
    come_to(program.address("door"), client)
}

fn come_to(door: SocketAddr, client: &str) -> String {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "PROXY TCP4 {client} 198.51.100.25 4711 25\r\nQUIT\r\n").unwrap();
    String::from_utf8(read_to_end(&stream)).unwrap()
}

#[test]
fn on_loopback_there_is_a_page_that_asks_nothing_of_others_and_names_nobody() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    assert!(come(&program, "203.0.113.66").contains("203.0.113.66 are not accepted"));
    assert!(come(&program, "203.0.113.7").starts_with("220 "));
    let mut page = (String::new(), String::new());
    let is_told = eventually(|| {
        page = ask(&program, "/", "localhost:1");
        page.1.contains("access_denied")
    });
    let (head, body) = page;
    assert!(is_told, "{body}");
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none';",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    for words in [
        "a list names the client",
        "nothing, if the list is right",
        "ready: clients of every listener",
        "proved",
    ] {
        assert!(body.contains(words), "{words} in {body}");
    }
    assert!(!body.contains("203.0.113."), "{body}");
}

#[test]
fn addresses_are_shown_where_the_configuration_says_so() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, "addresses = true\n"));
    // What is no header is shown as it came, escaped in the record's way and in that of HTML.
    let mut stream = program.connect("door");
    stream.write_all(b"<script>alert('203.0.113.9')</script>\r\n").unwrap();
    assert_eq!(read_to_end(&stream), b"");
    come(&program, "203.0.113.66");
    let mut body = String::new();
    let is_told = eventually(|| {
        body = ask(&program, "/", "127.0.0.1:1").1;
        body.contains("203.0.113.66") && body.contains("header_missing")
    });
    assert!(is_told, "{body}");
    assert!(body.contains("&lt;script&gt;alert("), "{body}");
    assert_eq!(body.matches("<script").count(), 1);
    assert!(body.contains("<h2 id=\"h-senders\">"), "the proxies have a table");
}

#[test]
fn without_it_only_monitoring_is_answered() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, "page = false\n"));
    for path in ["/", "/events"] {
        let (head, body) = ask(&program, path, "localhost");
        assert!(head.starts_with("http/1.1 404 ") && !body.contains("are /,"), "{head}\n{body}");
    }
    assert_eq!(ask(&program, "/healthz", "localhost").1, "ok\n");
    // Beyond loopback it is not there by itself.
    let program = Program::start(
        &config(&backend, "").replace("[status]\nbind = \"127.0.0.1", "[status]\nbind = \"0.0.0.0"),
    );
    assert!(ask(&program, "/", "localhost").0.starts_with("http/1.1 404 "));
}

#[test]
fn a_foreign_name_reads_nothing_on_loopback() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    for path in ["/", "/events"] {
        let (head, body) = ask(&program, path, "evil.example");
        assert!(head.starts_with("http/1.1 421 "), "{head}");
        assert!(body.contains("by an address or `localhost`"), "{body}");
    }
    // Monitoring asks by whatever name it likes.
    assert_eq!(ask(&program, "/readyz", "mx.example").1, "ready\n");
}

#[test]
fn a_refusal_is_told_to_open_pages_within_two_seconds_and_nothing_while_nothing_changes() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    let mut pages: Vec<_> = (0..3).map(|_| Open::on(&program)).collect();
    for page in &mut pages {
        assert_eq!(page.next("version").unwrap(), env!("CARGO_PKG_VERSION"));
        assert!(page.next("parts").unwrap().contains("Nobody in the last hour"));
    }
    let began = Instant::now();
    come(&program, "203.0.113.66");
    for page in &mut pages {
        while !page.next("parts").unwrap().contains("a list names the client") {}
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn news_end_with_the_page_and_a_reload_is_never_held_up_by_it() {
    let backend = HeaderMailServer::start();
    let with = config(&backend, "");
    let program = Program::start(&format!("{with}[admin]\nsocket = \"ADMIN\"\n"));
    let mut open = Open::on(&program);
    assert!(open.next("parts").is_some());
    program.write_config(&format!("{with}page = false\n[admin]\nsocket = \"ADMIN\"\n"));
    program.command(&["reload"]).ok();
    while open.next("parts").is_some() {}
    assert!(ask(&program, "/", "localhost").0.starts_with("http/1.1 404 "));
}

#[test]
fn a_page_that_does_not_read_is_dropped_and_open_pages_keep_no_check_out() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    // More than there are places for monitoring.
    let mut open: Vec<_> = (0..80).map(|_| Open::on(&program)).collect();
    let asked = Instant::now();
    assert_eq!(ask(&program, "/healthz", "localhost").1, "ok\n");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // One reads on, and one does not; what changes is told until the socket of the latter is full.
    let (mut reads, deaf) = (open.remove(0), Open::deaf(&program));
    drop(open);
    let at = deaf.0.get_ref().local_addr().unwrap().port();
    let is_open = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        // Established, and the server's end: the local port is the other one.
        let remote = format!(":{at:04X} 01 ");
        table.lines().any(|line| line.contains(&remote))
    };
    assert!(is_open());
    let began = Instant::now();
    while is_open() {
        assert!(began.elapsed() < Duration::from_secs(120), "it is still there");
        // Each makes a difference that shows.
        for client in 0..20 {
            come(&program, &format!("198.51.100.{client}"));
        }
        assert!(reads.next("parts").is_some());
    }
    assert!(reads.next("parts").is_some());
    let mut rest = Vec::new();
    let _ = deaf.0.into_inner().read_to_end(&mut rest);
    assert!(!rest.is_empty());
    // Its own connection is answered as before.
    let mut client = program.connect("door");
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&client, b"220 ");
}

#[test]
fn the_more_pages_are_open_the_less_often_they_are_told() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    // Each hundred of them has its news a second later.
    let mut open: Vec<_> = (0..350).map(|_| Open::on(&program)).collect();
    let mut reads = open.remove(0);
    let door = program.address("door");
    let over = std::sync::atomic::AtomicBool::new(false);
    let seldom = std::thread::scope(|scope| {
        scope.spawn(|| {
            // There is something new all the time.
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                come_to(door, "203.0.113.66");
            }
        });
        // All of them are open now, and the next look is that of so many.
        for _ in 0..2 {
            assert!(reads.next("parts").is_some());
        }
        let told = Instant::now();
        assert!(reads.next("parts").is_some());
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        told.elapsed()
    });
    assert!(seldom > Duration::from_millis(3_000), "{seldom:?}");
}
