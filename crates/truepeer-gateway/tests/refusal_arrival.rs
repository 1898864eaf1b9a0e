//! A refusal arrives whole, in each protocol, even while the client is still sending.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::fake::Nobody;
use crate::support::{HeaderMailServer, House, expect, read_to_end};
use truepeer_gateway::facts::protocol::Protocol;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const DENY: &str = "access.deny = [\"203.0.113.0/24\"]\n";
const DENIED: &str = "connections from 203.0.113.7 are not accepted here";
const DOWN: &str = "no server is ready for you now, try again later";
/// Within the 64 KiB that are read after last words.
const TALK: usize = 60 * 1024;

fn http(status: &str, retry: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n{retry}Connection: close\r\n\r\n{body}\n",
        body.len().checked_add(1).unwrap()
    )
}

fn denied(text: &str) -> [(Protocol, String); 7] {
    let said = format!("{DENIED}{text}");
    [
        (Protocol::Smtp, format!("554 5.7.1 mx.example {said}\r\n")),
        (Protocol::Submission, format!("554 5.7.1 mx.example {said}\r\n")),
        (Protocol::Lmtp, format!("554 5.7.1 mx.example {said}\r\n")),
        (Protocol::Imap, format!("* BYE [ALERT] {said}\r\n")),
        (Protocol::Pop3, format!("-ERR [SYS/PERM] {said}\r\n")),
        (Protocol::ManageSieve, format!("BYE \"{said}\"\r\n")),
        (Protocol::Http, http("403 Forbidden", "", &said)),
    ]
}

fn down() -> [(Protocol, String); 7] {
    [
        (Protocol::Smtp, format!("421 4.3.2 mx.example {DOWN}\r\n")),
        (Protocol::Submission, format!("421 4.3.2 mx.example {DOWN}\r\n")),
        (Protocol::Lmtp, format!("421 4.3.2 mx.example {DOWN}\r\n")),
        (Protocol::Imap, format!("* BYE [UNAVAILABLE] {DOWN}\r\n")),
        (Protocol::Pop3, format!("-ERR [SYS/TEMP] {DOWN}\r\n")),
        (Protocol::ManageSieve, format!("BYE (TRYLATER) \"{DOWN}\"\r\n")),
        (Protocol::Http, http("503 Service Unavailable", "Retry-After: 30\r\n", DOWN)),
    ]
}

/// A client that has sent all of that before it reads a byte.
fn talks(house: &House, len: usize) -> TcpStream {
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(&vec![b'x'; len]).unwrap();
    client
}

/// Everything, and then the end of the stream: a reset fails.
#[track_caller]
fn read_whole(mut client: &TcpStream) -> String {
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    heard
}

#[test]
fn a_denied_client_that_has_sent_much_hears_it_whole() {
    let backend = HeaderMailServer::start();
    for (protocol, words) in denied("") {
        let house = House::written(protocol, backend.address, DENY);
        for len in [0, 1, TALK] {
            let client = talks(&house, len);
            assert_eq!(read_whole(&client), words, "{protocol}, {len} bytes");
            drop(client);
            house.record().assert(&[("outcome", "access_denied"), ("bytes_in", "0")]);
        }
    }
}

#[test]
fn a_client_that_does_not_stop_sending_hears_it_and_is_ended() {
    let backend = HeaderMailServer::start();
    for (protocol, words) in denied("") {
        let house = House::written(protocol, backend.address, DENY);
        let client = talks(&house, 0);
        let mut sends = client.try_clone().unwrap();
        // Ends with an error as soon as the other end has had enough.
        let sender = std::thread::spawn(move || while sends.write_all(&[b'x'; 4096]).is_ok() {});
        expect(&client, words.as_bytes());
        sender.join().unwrap();
        house.record().assert(&[("outcome", "access_denied"), ("bytes_in", "0")]);
    }
}

#[test]
fn a_client_that_stays_is_ended_after_it() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Smtp, backend.address, DENY);
    let client = talks(&house, 0);
    assert_eq!(read_whole(&client), format!("554 5.7.1 mx.example {DENIED}\r\n"));
    // Its end of the connection stays open.
    house.record().assert(&[("outcome", "access_denied")]);
    drop(client);
}

#[test]
fn without_a_reachable_backend_the_refusal_is_temporary_and_arrives_whole() {
    let nobody = Nobody::new();
    for (protocol, words) in down() {
        let house = House::written(protocol, nobody.address(), "");
        let client = talks(&house, TALK);
        assert_eq!(read_whole(&client), words, "{protocol}");
        drop(client);
        house.record().assert(&[("outcome", "backend_unready")]);
    }
}

#[test]
fn where_tls_passes_through_and_in_no_language_it_is_a_plain_close() {
    let (backend, nobody) = (HeaderMailServer::start(), Nobody::new());
    for (protocol, tls) in denied("")
        .map(|(protocol, _)| (protocol, "tls.implicit = true\n"))
        .into_iter()
        .chain([(Protocol::Tcp, "")])
    {
        let more = format!("refuse.text = \"never said\"\n{tls}");
        let house = House::written(protocol, backend.address, &format!("{more}{DENY}"));
        assert_eq!(read_to_end(&talks(&house, 10)), b"", "{protocol}");
        house.record().assert(&[("outcome", "access_denied")]);
        let house = House::written(protocol, nobody.address(), &more);
        assert_eq!(read_to_end(&talks(&house, 10)), b"", "{protocol}");
        house.record().assert(&[("outcome", "backend_unready")]);
    }
}

#[test]
fn what_the_operator_adds_is_said_in_each_protocol_and_a_listeners_own_words_win() {
    let backend = HeaderMailServer::start();
    for (protocol, words) in denied("; ask +49 30 123456 about 203.0.113.7") {
        let more = format!("{DENY}refuse.text = \"ask +49 30 123456 about {{client}}\"\n");
        let house = House::written(protocol, backend.address, &more);
        assert_eq!(read_whole(&talks(&house, TALK)), words, "{protocol}");
    }
    let all = "[server.refuse]\ntext = \"of all\"\n";
    for (own, text) in [("", "; of all"), ("refuse.text = \"own\"\n", "; own"), ("refuse.text = \"\"\n", "")]
    {
        let house = House::written(Protocol::Smtp, backend.address, &format!("{DENY}{own}{all}"));
        assert_eq!(read_whole(&talks(&house, 0)), format!("554 5.7.1 mx.example {DENIED}{text}\r\n"));
    }
}
