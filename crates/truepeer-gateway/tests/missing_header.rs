//! `proxy.missing-header = "unsafe-client-is-peer"`: one address from which a proxy's clients and direct ones come, as
//! from the gateway of a container network. Here that gateway is 127.0.0.1.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::support::fake::{Fake, echo_behind_v1, greets_behind_v1};
use crate::support::{HeaderMailServer, House, Record, expect, read_to_end};
use truepeer_gateway::facts::protocol::Protocol;

const CLIENT: &str = "PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const SHORT: &str = "proxy.missing-header-wait = \"300ms\"\n";
/// So long that a test which had to wait for it would fail.
const LONG: &str = "proxy.missing-header-wait = \"100s\"\nproxy.header-timeout = \"200s\"\n";

fn house(protocol: Protocol, backend: std::net::SocketAddr, more: &str) -> House {
    House::written(protocol, backend, &format!("proxy.missing-header = \"unsafe-client-is-peer\"\n{more}"))
}

/// What a backend is told of a client that is this connection's own end.
fn itself(client: &TcpStream) -> String {
    let (ours, theirs) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    format!("PROXY TCP4 {} {} {} {}", ours.ip(), theirs.ip(), ours.port(), theirs.port())
}

fn millis(record: &Record, field: &str) -> u64 {
    record.get(field).unwrap().parse().unwrap()
}

#[test]
fn a_direct_client_that_waits_for_the_greeting_hears_it_after_the_wait() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, SHORT);
    let began = Instant::now();
    let mut client = house.connect();
    let told = itself(&client);
    expect(&client, b"220 backend ready\r\n");
    let waited = began.elapsed();
    client.write_all(b"NOOP\r\n").unwrap();
    expect(&client, b"250 ok\r\n");
    drop(client);
    assert_eq!(backend.heard(), (told, b"NOOP\r\n".to_vec()));
    let record = house.record();
    let client = record.get("client").unwrap();
    record.assert(&[("outcome", "done"), ("source", "direct"), ("peer", client), ("bytes_in", "6")]);
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    // The header's own deadline is far later.
    assert!((300..3_000).contains(&millis(&record, "identify_ms")), "{}", record.0);
}

#[test]
fn a_direct_client_that_speaks_first_waits_for_nothing_in_any_protocol() {
    for (protocol, greeting, bye, line) in [
        (Protocol::Smtp, "220 b\r\n", "221 b\r\n", "QUIT\r\n"),
        (Protocol::Submission, "220 b\r\n", "221 b\r\n", "EHLO client.example\r\n"),
        (Protocol::Lmtp, "220 b\r\n", "221 b\r\n", "LHLO client.example\r\n"),
        (Protocol::Imap, "* OK b\r\n", "* BYE b\r\n", "a LOGOUT\r\n"),
        (Protocol::Pop3, "+OK b\r\n", "+OK b\r\n", "PASS x\r\n"),
        (Protocol::ManageSieve, "OK \"b\"\r\n", "OK \"b\"\r\n", "CAPABILITY\r\n"),
        (Protocol::Http, "", "", "GET / HTTP/1.1\r\n\r\n"),
        (Protocol::Http, "", "", "PROPFIND / HTTP/1.1\r\n\r\n"),
        (Protocol::Tcp, "", "", "\x16\x03\x01\x02\0\x01\0"),
        (Protocol::Tcp, "", "", "\r\n\r\nGET"),
    ] {
        let backend = match greeting {
            "" => Fake::start(echo_behind_v1),
            _ => Fake::start(greets_behind_v1(greeting, bye)),
        };
        let house = house(protocol, backend.address, LONG);
        let mut client = house.connect();
        client.write_all(line.as_bytes()).unwrap();
        let answer = if greeting.is_empty() { line.to_owned() } else { format!("{greeting}{bye}") };
        expect(&client, answer.as_bytes());
        drop(client);
        let record = house.record();
        let len = line.len().to_string();
        record.assert(&[("outcome", "done"), ("source", "direct"), ("bytes_in", &len)]);
        assert!(millis(&record, "identify_ms") < 50_000, "{}", record.0);
    }
}

#[test]
fn proxied_and_direct_clients_come_at_once_and_each_is_who_it_is() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, SHORT);
    let mut proxied = Vec::new();
    let mut direct = Vec::new();
    for number in 0..20 {
        let mut client = house.connect();
        write!(client, "PROXY TCP4 203.0.113.{number} 198.51.100.25 4711 25\r\n").unwrap();
        proxied.push(client);
        direct.push(house.connect());
    }
    let mut expected: Vec<_> =
        (0..20).map(|number| format!("PROXY TCP4 203.0.113.{number} 198.51.100.25 4711 25")).collect();
    expected.extend(direct.iter().map(itself));
    for mut client in proxied.into_iter().chain(direct) {
        expect(&client, b"220 backend ready\r\n");
        client.write_all(b"NOOP\r\nQUIT\r\n").unwrap();
        assert_eq!(read_to_end(&client), b"250 ok\r\n221 bye\r\n");
    }
    let mut told: Vec<_> = (0..40).map(|_| backend.heard().0).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    let sources: Vec<_> = (0..40).map(|_| house.record().get("source").unwrap().to_owned()).collect();
    assert_eq!(sources.iter().filter(|source| *source == "v1").count(), 20, "{sources:?}");
    assert_eq!(sources.iter().filter(|source| *source == "direct").count(), 20, "{sources:?}");
}

#[test]
fn a_header_that_began_within_the_wait_has_the_whole_time_of_a_header() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, "proxy.missing-header-wait = \"500ms\"\n");
    let mut client = house.connect();
    client.write_all(b"PROXY TCP4 203.0.113.7").unwrap();
    // The direct client that came later is served first, so the wait of this one is over.
    let waits = house.connect();
    expect(&waits, b"220 backend ready\r\n");
    client.write_all(b" 198.51.100.25 4711 25\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n");
    drop((waits, client));
    let clients: Vec<_> = (0..2).map(|_| house.record().get("client").unwrap().to_owned()).collect();
    assert!(clients.contains(&"203.0.113.7:4711".to_owned()), "{clients:?}");
}

#[test]
fn a_header_after_the_wait_is_refused_in_every_form_and_never_reaches_the_backend() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, "proxy.missing-header-wait = \"100ms\"\n");
    let v2_ssl =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19\x20\0\x05\x01\0\0\0\0";
    for forged in [
        CLIENT.as_bytes(),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 25\r\n",
        b"PROXY TCP4 10.0.0.1 127.0.0.1 4711 25\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY garbage\r\n",
        V2,
        V2_LOCAL,
        v2_ssl,
    ] {
        let mut client = house.connect();
        let told = itself(&client);
        expect(&client, b"220 backend ready\r\n");
        client.write_all(forged).unwrap();
        client.write_all(b"MAIL FROM:<a@example>\r\n").unwrap();
        let _ = client.shutdown(Shutdown::Write);
        read_to_end(&client);
        let record = house.record();
        record.assert(&[("outcome", "untrusted_header"), ("bytes_in", "0"), ("source", "direct")]);
        assert!(record.get("cause").unwrap().contains("missing-header-wait"), "{}", record.0);
        assert!(record.get("remedy").unwrap().contains("forge"), "{}", record.0);
        assert_eq!(backend.heard(), (told, Vec::new()), "{}", forged.escape_ascii());
    }
}

#[test]
fn a_header_that_trickles_past_the_wait_or_comes_behind_other_bytes_is_refused() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, "proxy.missing-header-wait = \"100ms\"\n");
    for (first, rest) in [(&CLIENT.as_bytes()[..1], &CLIENT.as_bytes()[1..]), (&V2[..5], &V2[5..])] {
        let mut client = house.connect();
        client.write_all(first).unwrap();
        // The backend is connected to only once the wait is over.
        expect(&client, b"220 backend ready\r\n");
        client.write_all(rest).unwrap();
        let _ = client.shutdown(Shutdown::Write);
        read_to_end(&client);
        let record = house.record();
        // What was held for a second is a client's own words by then, and no beginning of a header any more.
        record.assert(&[("outcome", "untrusted_header"), ("bytes_in", "0")]);
    }
    let mut client = house.connect();
    client.write_all(format!("EHLO x\r\n{CLIENT}QUIT\r\n").as_bytes()).unwrap();
    let heard = read_to_end(&client);
    // Behind ordinary bytes it is a command that the backend does not know, under the peer's own address.
    assert_eq!(heard, b"220 backend ready\r\n250 ok\r\n250 ok\r\n221 bye\r\n");
    drop(client);
    let record = house.record();
    record.assert(&[("outcome", "done"), ("source", "direct")]);
    assert!(record.get("client").unwrap().starts_with("127.0.0.1:"), "{}", record.0);
}

#[test]
fn nobody_from_there_can_be_a_private_or_loopback_client() {
    let backend = HeaderMailServer::start();
    let nat64 = "proxy.nat64-prefixes = [\"64:ff9b::/96\"]\n";
    let near = [
        "TCP4 10.0.0.1 198.51.100.25",
        "TCP4 172.18.0.5 198.51.100.25",
        "TCP4 192.168.1.1 198.51.100.25",
        "TCP4 127.0.0.1 127.0.0.1",
        "TCP4 127.0.0.9 198.51.100.25",
        "TCP4 169.254.1.1 198.51.100.25",
        "TCP4 100.64.0.1 198.51.100.25",
        "TCP6 ::1 ::1",
        "TCP6 ::ffff:10.0.0.1 ::ffff:198.51.100.25",
        "TCP6 ::ffff:127.0.0.1 2001:db8::1",
        "TCP6 fd00::7 2001:db8::1",
        "TCP6 fe80::7 2001:db8::1",
        "TCP6 64:ff9b::7f00:1 2001:db8::1",
        "TCP6 64:ff9b::a00:1 2001:db8::1",
    ];
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x12\x67\0\x19".to_vec();
    let mut headers: Vec<_> =
        near.iter().map(|near| format!("PROXY {near} 4711 25\r\n").into_bytes()).collect();
    headers.push(v2);
    for more in ["", "proxy.unsafe-accept-implausible-clients = true\n"] {
        // After ten of a kind, records are only counted: a front door of its own for each few.
        for headers in headers.chunks(8) {
            let house = house(Protocol::Smtp, backend.address, &format!("{LONG}{nat64}{more}"));
            for header in headers {
                let mut client = house.connect();
                client.write_all(&[header, &b"QUIT\r\n"[..]].concat()).unwrap();
                assert_eq!(read_to_end(&client), b"", "{}", header.escape_ascii());
                let record = house.record();
                record.assert(&[("outcome", "client_implausible"), ("bytes_in", "0")]);
                assert!(record.get("cause").unwrap().contains("never believed"), "{}", record.0);
            }
            // A client of the internet is believed.
            let mut client = house.connect();
            client.write_all(format!("{CLIENT}QUIT\r\n").as_bytes()).unwrap();
            assert_eq!(read_to_end(&client), b"220 backend ready\r\n221 bye\r\n");
            drop(client);
            house.record().assert(&[("outcome", "done"), ("client", "203.0.113.7:4711")]);
            assert_eq!(backend.heard().0, CLIENT.trim_end());
        }
    }
}

#[test]
fn what_is_wrong_with_a_header_in_time_is_still_the_proxys_mistake() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, LONG);
    for (bytes, outcome) in [
        (&b"PROXY TCP4 203.0.113.999 1.1.1.1 1 1\r\n"[..], "header_malformed"),
        (b"PROXY TCP4 203.0.1", "header_truncated"),
        (b"PROXY TCP4 224.0.0.1 198.51.100.25 1 25\r\n", "client_implausible"),
    ] {
        let mut client = house.connect();
        client.write_all(bytes).unwrap();
        let _ = client.shutdown(Shutdown::Write);
        assert_eq!(read_to_end(&client), b"");
        house.record().assert(&[("outcome", outcome)]);
    }
    // Whoever closes without a byte was a probe, and leaves no line.
    drop(house.connect());
    let mut last = house.connect();
    last.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&last), b"220 backend ready\r\n221 bye\r\n");
    drop(last);
    house.record().assert(&[("outcome", "done")]);
}

#[test]
fn a_beginning_of_a_header_at_the_end_of_a_stream_is_a_clients_words() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, LONG);
    let mut client = house.connect();
    let told = itself(&client);
    client.write_all(b"PROX").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    read_to_end(&client);
    house.record().assert(&[("outcome", "done"), ("bytes_in", "4")]);
    assert_eq!(backend.heard(), (told, b"PROX".to_vec()));
}

#[test]
fn access_and_limits_hold_for_such_a_client_as_for_any_other() {
    let backend = HeaderMailServer::start();
    let denied = house(Protocol::Smtp, backend.address, &format!("{LONG}access.deny = [\"127.0.0.1\"]\n"));
    let mut client = denied.connect();
    client.write_all(b"EHLO x\r\n").unwrap();
    let heard = read_to_end(&client);
    assert!(heard.starts_with(b"554 5.7.1 "), "{}", heard.escape_ascii());
    let record = denied.record();
    record.assert(&[("outcome", "access_denied"), ("source", "direct")]);
    assert_eq!(record.get("remedy"), None, "it is trusted already");
    // The clients of the proxy are not the peer.
    let mut client = denied.connect();
    client.write_all(format!("{CLIENT}QUIT\r\n").as_bytes()).unwrap();
    assert_eq!(read_to_end(&client), b"220 backend ready\r\n221 bye\r\n");
    drop(client);
    denied.record().assert(&[("outcome", "done")]);

    let limited =
        house(Protocol::Smtp, backend.address, &format!("{LONG}limits.connections-per-client = 1\n"));
    let mut first = limited.connect();
    first.write_all(b"NOOP\r\n").unwrap();
    expect(&first, b"220 backend ready\r\n250 ok\r\n");
    let mut second = limited.connect();
    second.write_all(b"NOOP\r\n").unwrap();
    let heard = read_to_end(&second);
    assert!(heard.starts_with(b"421 "), "{}", heard.escape_ascii());
    limited.record().assert(&[("outcome", "limit_reached")]);
    let mut proxied = limited.connect();
    proxied.write_all(format!("{CLIENT}QUIT\r\n").as_bytes()).unwrap();
    assert_eq!(read_to_end(&proxied), b"220 backend ready\r\n221 bye\r\n");
}

#[test]
fn a_header_without_a_client_is_no_way_past_access() {
    let echo = Fake::start(echo_behind_v1);
    let house = house(Protocol::Tcp, echo.address, &format!("{LONG}access.deny = [\"127.0.0.1\"]\n"));
    for header in [V2_LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = house.connect();
        client.write_all(&[header, b"hello"].concat()).unwrap();
        assert_eq!(read_to_end(&client), b"");
        house.record().assert(&[("outcome", "access_denied"), ("source", "direct")]);
    }
    // In mail protocols such a connection is answered here, as ever.
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Smtp,
        backend.address,
        &format!("proxy.missing-header = \"unsafe-client-is-peer\"\n{LONG}access.deny = [\"127.0.0.1\"]\n"),
    );
    let mut check = house.connect();
    check.write_all(V2_LOCAL).unwrap();
    expect(&check, b"220 mx.example ");
    assert!(!backend.was_reached());
}

#[test]
fn peers_that_are_in_no_list_are_what_they_were() {
    let backend = HeaderMailServer::start();
    let house = house(Protocol::Smtp, backend.address, LONG);
    let stranger = house.connect_from([127, 0, 0, 9].into());
    expect(&stranger, b"220 backend ready\r\n");
    drop(stranger);
    house.record().assert(&[("outcome", "done"), ("source", "direct")]);
    let mut forger = house.connect_from([127, 0, 0, 9].into());
    forger.write_all(CLIENT.as_bytes()).unwrap();
    let record = house.record();
    record.assert(&[("outcome", "untrusted_header")]);
    assert!(record.get("cause").unwrap().contains("in no trusted network"), "{}", record.0);
}

#[test]
fn without_the_word_a_missing_header_is_refused_as_ever() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Smtp, backend.address, "");
    let mut client = house.connect();
    client.write_all(b"EHLO x\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"");
    house.record().assert(&[("outcome", "header_missing")]);
    assert!(!backend.was_reached());
}
