//! What a backend says first is looked at while nobody knows whether it reads our header.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};

use crate::program::Program;
use crate::support::fake::Fake;
use crate::support::{House, Plan, Record, expect, read_to_end};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::{ClientTls, Protocol};
use truepeer_gateway::rooms::backend::Readiness;
use truepeer_gateway::rooms::handoff::Handoff;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x0a";

/// Says `words` to the first line that it hears, and ends.
fn says(words: &'static [u8]) -> Fake {
    Fake::start(move |mut stream: TcpStream| {
        let (mut heard, mut lines) = (Vec::new(), BufReader::new(stream.try_clone().unwrap()));
        let _ = lines.read_until(b'\n', &mut heard);
        let _ = stream.write_all(words);
        let _ = stream.shutdown(Shutdown::Write);
        // Not reset: its words are to arrive whatever else came.
        let _ = std::io::copy(&mut lines, &mut std::io::sink());
        heard
    })
}

fn behind(protocol: Protocol, tls: ClientTls, backend: &Fake) -> House {
    let mut plan = Plan::new(protocol, Handoff::ProxyV1, backend.address);
    plan.tls = tls;
    let house = plan.start();
    assert_eq!(*house.readiness(), Readiness::Unproven);
    house
}

/// What a client hears that says `words`, and the record that it leaves.
fn client(house: &House, words: &[u8]) -> (Vec<u8>, Record) {
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(words).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let heard = read_to_end(&client);
    (heard, house.record())
}

#[test]
fn an_answer_to_our_header_instead_of_the_client_carries_cause_and_setting() {
    for (protocol, tls, answer, words, said) in [
        (Protocol::Tcp, ClientTls::None, BAD_REQUEST, &b"GET / HTTP/1.1\r\n\r\n"[..], "for a request"),
        (Protocol::Smtp, ClientTls::Implicit, ALERT, b"\x16\x03\x01", "TLS alert"),
        (
            Protocol::Tcp,
            ClientTls::None,
            b"220 mx\r\n500 5.5.2 bad syntax\r\n",
            b"",
            "before the client had said",
        ),
        (Protocol::Tcp, ClientTls::None, b"", b"", "said nothing before the end"),
    ] {
        let backend = says(answer);
        let house = behind(protocol, tls, &backend);
        let (heard, record) = client(&house, words);
        assert_eq!(heard, answer, "not a byte is changed");
        record.assert_outcome(Outcome::Done);
        let (cause, remedy) =
            (record.get("cause").unwrap_or_default(), record.get("remedy").unwrap_or_default());
        assert!(cause.contains(said) && cause.contains("may not read our header"), "{record:?}");
        assert!(remedy.contains("make this port of the backend read the header"), "{record:?}");
    }
}

#[test]
fn a_backend_that_has_locked_us_out_is_told_by_its_error() {
    let blocked =
        b"\x6a\0\0\0\xff\x69\x04Host '192.0.2.1' is blocked because of many connection errors; unblock with";
    let backend = says(blocked);
    let house = behind(Protocol::Tcp, ClientTls::None, &backend);
    let (heard, record) = client(&house, b"");
    assert_eq!(heard, blocked);
    assert!(record.get("cause").unwrap().contains("keeps truepeer's address out"), "{record:?}");
    assert!(record.get("remedy").unwrap().contains("FLUSH HOSTS"), "{record:?}");
}

#[test]
fn an_answer_to_the_client_carries_nothing() {
    for (answer, words) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"GET / HTTP/1.1\r\n\r\n"[..]),
        // The client's own word may be what is wrong.
        (b"220 mx\r\n500 5.5.2 bad syntax\r\n", b"HELLO\r\n"),
    ] {
        let backend = says(answer);
        let house = behind(Protocol::Tcp, ClientTls::None, &backend);
        let (heard, record) = client(&house, words);
        assert_eq!((heard.as_slice(), record.get("cause"), record.get("remedy")), (answer, None, None));
    }
}

#[test]
fn a_backend_that_is_proved_is_not_listened_to() {
    let backend = Fake::start(|mut stream: TcpStream| {
        let (mut heard, mut lines) = (Vec::new(), BufReader::new(stream.try_clone().unwrap()));
        let _ = lines.read_until(b'\n', &mut heard);
        let is_check =
            lines.read_until(b'\n', &mut heard).is_ok() && heard.windows(5).any(|word| word == b"HEAD ");
        let _ = stream.write_all(if is_check { b"HTTP/1.1 200 OK\r\n\r\n" } else { BAD_REQUEST });
        heard
    });
    let house = Plan::new(Protocol::Http, Handoff::ProxyV1, backend.address).start();
    assert_eq!(*house.readiness(), Readiness::Proved);
    let (heard, record) = client(&house, b"NONSENSE\r\n");
    assert_eq!((heard.as_slice(), record.get("cause")), (BAD_REQUEST, None));
}

#[test]
fn bytes_come_through_whole_while_they_are_listened_to() {
    let many: &'static [u8] = Box::leak(vec![b'x'; 300_000].into_boxed_slice());
    let backend = says(many);
    let house = behind(Protocol::Tcp, ClientTls::None, &backend);
    let mut first = house.connect();
    first.write_all(HEADER).unwrap();
    expect(&first, many);
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&first), b"");
    let record = house.record();
    record.assert(&[("bytes_out", "300000")]);
    assert_eq!(record.get("cause"), None);
}

#[test]
fn a_row_of_such_answers_is_said_once() {
    let backend = says(BAD_REQUEST);
    let mut program = Program::start(&format!(
        "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"web\"\n\
         [backend.web]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        backend.address
    ));
    for _ in 0..5 {
        let mut client = program.connect("door");
        client.write_all(HEADER).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client), BAD_REQUEST);
        program.wait_for("event=connection ");
    }
    assert_eq!(program.count("event=backend_misreads"), 1, "{:#?}", program.seen);
    let line = program.seen.iter().find(|line| line.contains("event=backend_misreads")).unwrap();
    assert!(
        line.contains("level=info") && line.contains("backend=web") && line.contains("remedy="),
        "{line}"
    );
}
