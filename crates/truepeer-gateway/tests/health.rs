//! `health-bind`: a port that greets without a header exactly while a backend of its listener can be reached.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::program;
use crate::support;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use crate::program::Program;
use crate::support::fake::{Fake, Nobody, echo_behind_v1, greets_behind_v1};
use crate::support::{HeaderMailServer, House, PATIENCE, eventually, expect, read_to_end, written};
use rustix::process::Signal;
use truepeer_gateway::config::{self, Surroundings};
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::Check;

const HEALTH: &str = "health-bind = \"127.0.0.1:0\"\n";
const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

fn health(house: &House) -> SocketAddr {
    house.server.view().layout().health[0].bound.tcp.unwrap()
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn says(to: SocketAddr, words: &[u8]) -> String {
    let mut check = connect(to);
    check.write_all(words).unwrap();
    String::from_utf8(read_to_end(&check)).unwrap()
}

fn is_refused(to: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&to, PATIENCE) {
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        Ok(_) => false,
    }
}

const READY: &str = "truepeer_health_checks_total{listener=\"door\",answer=\"ready\"}";
const UNREADY: &str = "truepeer_health_checks_total{listener=\"door\",answer=\"unready\"}";

#[test]
fn each_protocol_greets_and_says_goodbye_while_a_backend_can_be_reached() {
    use Protocol::{Http, Imap, Lmtp, ManageSieve, Pop3, Smtp, Submission};
    for (protocol, backend, asks, answers) in [
        (
            Smtp,
            ("220 x\r\n", "221 x\r\n"),
            "QUIT\r\n",
            "220 mx.example ESMTP ready\r\n221 2.0.0 mx.example goodbye\r\n",
        ),
        (
            Submission,
            ("220 x\r\n", "221 x\r\n"),
            "EHLO x\r\nMAIL FROM:<a@b>\r\nQUIT\r\n",
            "220 mx.example ESMTP ready\r\n250-mx.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n\
             451 4.7.1 this port answers health checks only, no mail is taken or given over it\r\n\
             221 2.0.0 mx.example goodbye\r\n",
        ),
        (
            Lmtp,
            ("220 x\r\n", "221 x\r\n"),
            "QUIT\r\n",
            "220 mx.example LMTP ready\r\n221 2.0.0 mx.example goodbye\r\n",
        ),
        (
            Imap,
            ("* OK x\r\n", "* BYE x\r\n"),
            "a LOGOUT\r\n",
            "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] mx.example ready\r\n* BYE goodbye\r\na OK done\r\n",
        ),
        (Pop3, ("+OK x\r\n", "+OK x\r\n"), "QUIT\r\n", "+OK mx.example ready\r\n+OK goodbye\r\n"),
        (
            ManageSieve,
            ("OK \"x\"\r\n", "OK \"x\"\r\n"),
            "LOGOUT\r\n",
            "\"IMPLEMENTATION\" \"truepeer\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"VERSION\" \"1.0\"\r\n\
             OK \"mx.example ready\"\r\nOK \"goodbye\"\r\n",
        ),
        (
            Http,
            ("", ""),
            "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 17\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\nmx.example ready\n",
        ),
    ] {
        let backend = Fake::start(greets_behind_v1(backend.0, backend.1));
        let house = House::written(protocol, backend.address, HEALTH);
        assert_eq!(says(health(&house), asks.as_bytes()), answers, "{protocol}");
        assert_eq!((house.counted(READY), house.counted(UNREADY)), (1, 0), "{protocol}");
        // Passing TLS through changes nothing: this port is ours.
        let more = format!("tls.implicit = true\n{HEALTH}");
        let house = House::written(protocol, backend.address, &more);
        assert_eq!(says(health(&house), asks.as_bytes()), answers, "{protocol}");
    }
}

#[test]
fn each_protocol_says_the_temporary_refusal_while_no_backend_can_be_reached() {
    use Protocol::{Http, Imap, Lmtp, ManageSieve, Pop3, Smtp, Submission};
    let why = "no server is ready for you now, try again later";
    for (protocol, answers) in [
        (Smtp, format!("421 4.3.2 mx.example {why}\r\n")),
        (Submission, format!("421 4.3.2 mx.example {why}\r\n")),
        (Lmtp, format!("421 4.3.2 mx.example {why}\r\n")),
        (Imap, format!("* BYE [UNAVAILABLE] {why}\r\n")),
        (Pop3, format!("-ERR [SYS/TEMP] {why}\r\n")),
        (ManageSieve, format!("BYE (TRYLATER) \"{why}\"\r\n")),
        (
            Http,
            format!(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: 48\r\nCache-Control: no-store\r\nRetry-After: 30\r\nConnection: close\r\n\r\n{why}\n"
            ),
        ),
    ] {
        let nobody = Nobody::new();
        let house = House::written(protocol, nobody.address(), HEALTH);
        assert_eq!(says(health(&house), b"GET / HTTP/1.1\r\n\r\n"), answers, "{protocol}");
        assert_eq!((house.counted(READY), house.counted(UNREADY)), (0, 1), "{protocol}");
    }
}

#[test]
fn where_no_language_has_a_refusal_or_the_listener_closes_so_does_the_health_port() {
    for (protocol, more) in
        [(Protocol::Tcp, ""), (Protocol::Smtp, "when-backend-down = \"close-listener\"\n")]
    {
        let nobody = Nobody::new();
        let mut config = written(protocol, nobody.address(), &format!("{HEALTH}{more}"));
        if protocol == Protocol::Tcp {
            config = support::checked(config, Check::Connect);
        }
        let house = House::start(&config);
        let port = health(&house);
        assert!(is_refused(port), "{protocol}");
        assert_eq!(house.server.health(), [], "nobody says that {protocol} is answered there");
        assert_eq!(is_refused(house.address()), protocol == Protocol::Smtp);
        let backend = match protocol {
            Protocol::Tcp => Fake::on(nobody.come_back(), echo_behind_v1),
            _ => Fake::on(nobody.come_back(), support::fake::smtp_behind_v1("220 x\r\n")),
        };
        assert!(eventually(|| !is_refused(port)), "{protocol}");
        assert_eq!(house.server.health()[0].tcp, Some(port));
        let _nobody = Nobody::instead_of(backend);
        // Nobody but the front door itself finds it out.
        assert!(eventually(|| is_refused(port)), "{protocol}");
    }
}

#[test]
fn a_unix_health_port_which_cannot_be_shut_answers_at_once_in_every_case() {
    for (protocol, more, no) in
        [(Protocol::Tcp, "", ""), (Protocol::Smtp, "when-backend-down = \"close-listener\"\n", "421 4.3.2 ")]
    {
        let folder = program::Folder::new();
        let path = folder.path("health.sock");
        let more = format!("health-bind = \"unix:{}\"\n{more}", path.display());
        let nobody = Nobody::new();
        let house = House::written(protocol, nobody.address(), &more);
        let ask = || {
            let mut check = UnixStream::connect(&path).unwrap();
            check.set_read_timeout(Some(PATIENCE)).unwrap();
            check.write_all(b"QUIT\r\n").unwrap();
            check.shutdown(Shutdown::Write).unwrap();
            let mut said = String::new();
            check.read_to_string(&mut said).unwrap();
            said
        };
        let said = ask();
        assert!(said.starts_with(no) && said.is_empty() == no.is_empty(), "{said}");
        assert_eq!(house.counted(UNREADY), 1);
        let _backend = match protocol {
            Protocol::Tcp => Fake::on(nobody.come_back(), echo_behind_v1),
            _ => Fake::on(nobody.come_back(), support::fake::smtp_behind_v1("220 x\r\n")),
        };
        let ready = || {
            ask();
            house.counted(READY) > 0
        };
        assert!(eventually(ready), "{protocol}");
    }
}

#[test]
fn a_unix_health_port_has_the_mode_of_its_listener() {
    let folder = program::Folder::new();
    let path = folder.path("health.sock");
    let backend = HeaderMailServer::start();
    let more = format!("health-bind = \"unix:{}\"\nsocket-mode = \"0666\"\n", path.display());
    let _house = House::written(Protocol::Smtp, backend.address, &more);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn checks_are_no_clients_no_proxies_and_no_lines_in_the_log() {
    let backend = HeaderMailServer::start();
    let more = format!(
        "{HEALTH}access.deny = [\"127.0.0.0/8\", \"203.0.113.0/24\"]\nlimits.connections-per-client = 1\n"
    );
    let house = House::written(Protocol::Smtp, backend.address, &more);
    let port = health(&house);
    let open: Vec<_> = (0..5).map(|_| connect(port)).collect();
    for check in &open {
        expect(check, b"220 mx.example ESMTP ready\r\n");
    }
    // Connect and close, and a header where none is read.
    drop(connect(port));
    let said = says(port, &[HEADER, b"QUIT\r\n"].concat());
    assert!(said.contains("\r\n502 5.5.1 ") && said.ends_with(" goodbye\r\n"), "{said}");
    assert!(eventually(|| house.counted(READY) == 7));
    assert_eq!(house.counted("truepeer_accepted_connections_total{listener=\"door\"}"), 0);
    assert_eq!(house.server.open_connections(), 0);
    assert!(!backend.was_reached());
    assert!(house.finish().is_empty());
}

#[test]
fn whoever_stays_at_the_health_port_keeps_no_check_out() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Smtp, backend.address, HEALTH);
    let port = health(&house);
    let stays: Vec<_> = (0..200).map(|_| connect(port)).collect();
    let said = says(port, b"QUIT\r\n");
    assert!(said.starts_with("220 ") && said.ends_with(" goodbye\r\n"), "{said}");
    let heard = read_to_end(&stays[0]);
    assert!(heard.is_empty() || heard.starts_with(b"220 "), "{}", heard.escape_ascii());
}

#[test]
fn while_draining_checks_hear_that() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&format!(
        "[server]\nhostname = \"mx.example\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\n{HEALTH}protocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        backend.address
    ));
    let check = program.connect("door.health");
    expect(&check, b"220 mx.example ESMTP ready\r\n");
    let mut open = program.connect("door");
    open.write_all(HEADER).unwrap();
    expect(&open, b"220 backend ready\r\n");
    program.signal(Signal::TERM);
    program.wait_for("event=draining");
    let check = program.connect("door.health");
    assert_eq!(read_to_end(&check), b"421 4.3.2 mx.example this server is going down, try again later\r\n");
    open.shutdown(Shutdown::Write).unwrap();
    program.end();
}

#[test]
fn a_reload_brings_keeps_and_ends_health_ports() {
    let backend = HeaderMailServer::start();
    let mut house = House::written(Protocol::Smtp, backend.address, "");
    assert!(house.server.health().is_empty());
    house.server.take(&written(Protocol::Smtp, backend.address, HEALTH)).unwrap();
    let port = health(&house);
    assert!(says(port, b"QUIT\r\n").starts_with("220 "));
    // Another backend, at the same port.
    let nobody = Nobody::new();
    house.server.take(&written(Protocol::Smtp, nobody.address(), HEALTH)).unwrap();
    assert_eq!(health(&house), port);
    assert!(says(port, b"QUIT\r\n").starts_with("421 4.3.2 "));
    house.server.take(&written(Protocol::Smtp, backend.address, "")).unwrap();
    assert!(eventually(|| is_refused(port)));

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let more = format!("health-bind = \"{taken}\"\n");
    let error = house.server.take(&written(Protocol::Smtp, backend.address, &more)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("server.listener.door.health-bind: {taken} is in use")), "{error}");
}

#[test]
fn a_health_port_that_a_reload_removes_while_it_is_shut_is_free_for_others() {
    let nobody = Nobody::new();
    let mut house = House::written(Protocol::Tcp, nobody.address(), HEALTH);
    let port = health(&house);
    assert!(is_refused(port));
    house.server.take(&written(Protocol::Tcp, nobody.address(), "")).unwrap();
    assert!(house.server.health().is_empty());
    let plain = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    assert!(eventually(|| plain().bind(&port.into()).is_ok()));
}

#[test]
fn one_address_is_not_both_a_listener_and_a_health_port() {
    let text = "[backend.b]\nhandoff = \"proxy-v1\"\naddress = \"127.0.0.1:10025\"\n\
                [server.listener.door]\nbind = \"127.0.0.1:2525\"\nhealth-bind = \"127.0.0.1:2525\"\n\
                protocol = \"smtp\"\nbackend = \"b\"\n";
    let errors = config::resolve(text, "test.toml", &Surroundings::default()).unwrap_err().to_string();
    assert!(errors.contains("listener `door` listens twice on one address"), "{errors}");
}
