//! A backend is proved before it is handed a client: one that ignores our header, or refuses it, gets none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::fake::{
    Fake, Nobody, answer_lines, deaf_imap, deaf_smtp, greets_behind_v1, listens, smtp_behind_v1,
};
use crate::support::{House, Plan, eventually, expect, read_to_end};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::{ClientTls, Protocol};
use truepeer_gateway::rooms::backend::{BackendAddress, Readiness, Unready};
use truepeer_gateway::rooms::handoff::Handoff;

/// What no backend of these tests may ever hear.
const SECRET: &[u8] = b"MAIL FROM:<secret@client.example>\r\n";
const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const SMTP_REFUSAL: &[u8] = b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n";
const IMAP_REFUSAL: &[u8] = b"* BYE [UNAVAILABLE] no server is ready for you now, try again later\r\n";

/// A proxied client that speaks at once: what it hears.
fn speak(house: &House) -> Vec<u8> {
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(SECRET).unwrap();
    read_to_end(&client)
}

#[track_caller]
fn assert_never_heard(backend: Fake) {
    for heard in backend.finish() {
        let holds = |needle: &[u8]| heard.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(b"secret") && !holds(b"203.0.113.7"), "{}", heard.escape_ascii());
    }
}

#[test]
fn an_smtp_backend_that_ignores_the_header_is_found_out_and_hears_no_client() {
    for handoff in [Handoff::ProxyV1, Handoff::ProxyV2] {
        let backend = Fake::start(deaf_smtp);
        let house = Plan::new(Protocol::Smtp, handoff, backend.address).start();
        let found = house.readiness();
        let Readiness::Unready(Unready::IgnoresHeader { saw }) = &*found else { panic!("{found:?}") };
        assert!(
            saw.contains("502 5.5.2 Error") || saw.contains("500 5.5.2") || saw.contains("220 "),
            "{saw}"
        );
        assert_eq!(speak(&house).escape_ascii().to_string(), SMTP_REFUSAL.escape_ascii().to_string());
        let record = house.record();
        record.assert_outcome(Outcome::BackendUnready);
        record.assert(&[("client", "203.0.113.7:4711"), ("bytes_in", "0"), ("bytes_out", "0")]);
        let cause = record.get("cause").unwrap();
        assert!(cause.contains(&backend.address.to_string()), "{cause}");
        assert!(cause.contains("does not read our header"), "{cause}");
        assert!(house.finish().is_empty());
        assert_never_heard(backend);
    }
}

#[test]
fn an_imap_backend_that_ignores_the_header_is_found_out_and_hears_no_client() {
    for handoff in [Handoff::ProxyV1, Handoff::ProxyV2] {
        let backend = Fake::start(deaf_imap);
        let house = Plan::new(Protocol::Imap, handoff, backend.address).start();
        let found = house.readiness();
        assert!(matches!(&*found, Readiness::Unready(Unready::IgnoresHeader { .. })), "{found:?}");
        assert_eq!(speak(&house), IMAP_REFUSAL);
        house.record().assert_outcome(Outcome::BackendUnready);
        assert!(house.finish().is_empty());
        assert_never_heard(backend);
    }
}

#[test]
fn a_backend_that_swallows_our_header_and_greets_anyway_is_found_out_by_the_question_without_one() {
    // Every line it does not know is answered like a goodbye, so that only the silent question can tell.
    let backend = Fake::start(|mut stream: TcpStream| {
        let _ = stream.write_all(b"220 mx.example\r\n");
        answer_lines(stream, |_| "221 whatever\r\n")
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV2, backend.address).start();
    let found = house.readiness();
    let Readiness::Unready(Unready::IgnoresHeader { saw }) = &*found else { panic!("{found:?}") };
    assert!(saw.contains("without a header it said"), "{saw}");
    assert_eq!(speak(&house), SMTP_REFUSAL);
    assert!(house.finish().len() == 1);
    assert_never_heard(backend);
}

#[test]
fn a_backend_that_takes_our_header_for_talking_too_soon_ignores_it() {
    // Postfix from 3.10 on, without the option: whoever speaks before the greeting is sent away.
    let backend = Fake::start(|mut stream: TcpStream| {
        let soon = Duration::from_millis(150);
        stream.set_read_timeout(Some(soon)).unwrap();
        let mut first = [0; 512];
        if matches!((&stream).read(&mut first), Ok(len) if len > 0) {
            let _ = stream.write_all(b"554 5.5.0 Error: SMTP protocol synchronization\r\n");
            return Vec::new();
        }
        let _ = stream.write_all(b"220 mx.example\r\n");
        answer_lines(stream, |_| "250 ok\r\n")
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV2, backend.address).start();
    let found = house.readiness();
    assert!(matches!(&*found, Readiness::Unready(Unready::IgnoresHeader { .. })), "{found:?}");
    assert_eq!(speak(&house), SMTP_REFUSAL);
    house.finish();
    assert_never_heard(backend);
}

#[test]
fn a_backend_is_found_by_its_name() {
    let backend = Fake::start(smtp_behind_v1("220 backend ready\r\n"));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.addresses =
        vec![BackendAddress::Host { name: "localhost".to_owned(), port: backend.address.port() }];
    let house = plan.start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"220 backend ready\r\n");
    drop(client);
    house.finish();
}

#[test]
fn a_backend_that_closes_on_our_header_is_said_to_refuse_it() {
    // It reads v1 and is sent v2: the first line is empty.
    let backend = Fake::start(|stream: TcpStream| {
        let mut first = [0];
        let _ = (&stream).read(&mut first);
        match first {
            [b'P'] => smtp_behind_v1("220 backend ready\r\n")(stream),
            _ => Vec::new(),
        }
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV2, backend.address).start();
    let found = house.readiness();
    let Readiness::Unready(Unready::RefusesHeader { saw }) = &*found else { panic!("{found:?}") };
    assert!(!saw.is_empty());
    assert_eq!(speak(&house), SMTP_REFUSAL);
    let record = house.record();
    record.assert_outcome(Outcome::BackendUnready);
    assert!(
        record.get("cause").unwrap().contains("does not greet a peer that sends our header"),
        "{}",
        record.0
    );
    house.finish();
    assert_never_heard(backend);
}

#[test]
fn a_slow_backend_that_reads_the_header_is_proved_and_served() {
    let slow = Duration::from_millis(700);
    let backend = Fake::start(move |stream: TcpStream| {
        let serve = smtp_behind_v1("220 backend ready\r\n");
        serve(after_silence(stream, slow))
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    assert_eq!(*house.readiness(), Readiness::Proved);
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"QUIT\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n221 bye\r\n");
}

#[test]
fn a_slow_backend_that_ignores_the_header_is_found_out_all_the_same() {
    let slow = Duration::from_millis(700);
    let backend = Fake::start(move |stream: TcpStream| deaf_smtp(after_silence(stream, slow)));
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let found = house.readiness();
    assert!(matches!(&*found, Readiness::Unready(Unready::IgnoresHeader { .. })), "{found:?}");
    assert_eq!(speak(&house), SMTP_REFUSAL);
    house.finish();
    assert_never_heard(backend);
}

#[test]
fn where_nothing_can_be_asked_a_backend_is_unproven_and_serves() {
    for (protocol, handoff, tls, told) in [
        (Protocol::Smtp, Handoff::None, ClientTls::None, &b""[..]),
        (Protocol::Tcp, Handoff::ProxyV1, ClientTls::None, HEADER),
        (Protocol::Http, Handoff::ProxyV1, ClientTls::None, HEADER),
        (Protocol::Imap, Handoff::ProxyV1, ClientTls::Implicit, HEADER),
    ] {
        let backend = Fake::start(listens);
        let mut plan = Plan::new(protocol, handoff, backend.address);
        plan.tls = tls;
        let house = plan.start();
        assert_eq!(*house.readiness(), Readiness::Unproven, "{protocol}");
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        client.write_all(b"\x16\x03\x01 anything").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client), b"");
        house.record().assert_outcome(Outcome::Done);
        house.finish();
        let mut heard = backend.finish();
        // Not our own question to a web server.
        heard.retain(|heard| !heard.is_empty() && !heard.windows(5).any(|window| window == b"HEAD "));
        assert_eq!(heard, [[told, b"\x16\x03\x01 anything"].concat()], "{protocol}");
    }
}

#[test]
fn into_tls_that_passes_through_no_plain_text_is_written() {
    for protocol in [Protocol::Imap, Protocol::Submission, Protocol::Pop3] {
        let nobody = Nobody::new();
        let mut plan = Plan::new(protocol, Handoff::ProxyV1, nobody.address());
        plan.tls = ClientTls::Implicit;
        let house = plan.start();
        // A client that cannot be served.
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        assert_eq!(read_to_end(&client), b"", "{protocol}");
        house.record().assert_outcome(Outcome::BackendUnready);
        // One of the proxy's own connections.
        let mut check = house.connect();
        check.write_all(b"PROXY UNKNOWN\r\n").unwrap();
        assert_eq!(read_to_end(&check), b"", "{protocol}");
        // A trusted peer without a header.
        let mut mistaken = house.connect();
        mistaken.write_all(b"\x16\x03\x01\x02\0\x01\0").unwrap();
        assert_eq!(read_to_end(&mistaken), b"", "{protocol}");
        house.record().assert_outcome(Outcome::HeaderMissing);
    }
}

/// The stream, after so long a time: this backend is slow, as one that looks a name up.
fn after_silence(stream: TcpStream, silence: Duration) -> TcpStream {
    let (never, nothing) = std::sync::mpsc::sync_channel::<()>(0);
    let _ = nothing.recv_timeout(silence);
    drop(never);
    stream
}

/// A backend that reads headers until it loses its option, and is deaf to them from then on.
fn forgetful(forgets: &Arc<AtomicBool>, deaf: fn(TcpStream) -> Vec<u8>, heard: Reads) -> Fake {
    let forgets = Arc::clone(forgets);
    Fake::start(move |stream| if forgets.load(Ordering::SeqCst) { deaf(stream) } else { heard(stream) })
}

type Reads = fn(TcpStream) -> Vec<u8>;

fn reads_smtp(stream: TcpStream) -> Vec<u8> {
    greets_behind_v1("220 backend ready\r\n", "221 bye\r\n")(stream)
}

fn reads_imap(stream: TcpStream) -> Vec<u8> {
    greets_behind_v1("* OK ready\r\n", "* BYE Logging out\r\n")(stream)
}

#[test]
fn a_backend_that_lost_its_option_is_found_out_by_the_first_client_that_waits_for_a_greeting() {
    for (protocol, deaf, reads, refusal) in [
        (Protocol::Smtp, deaf_smtp as Reads, reads_smtp as Reads, SMTP_REFUSAL),
        (Protocol::Imap, deaf_imap, reads_imap, IMAP_REFUSAL),
    ] {
        let forgets = Arc::default();
        let backend = forgetful(&forgets, deaf, reads);
        let house = Plan::new(protocol, Handoff::ProxyV1, backend.address).start();
        assert_eq!(*house.readiness(), Readiness::Proved);
        forgets.store(true, Ordering::SeqCst);
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        // The greeting may be on its way to the client before the answer to our header is there.
        let heard = read_to_end(&client);
        assert!(heard.ends_with(refusal), "{}", heard.escape_ascii());
        assert!(!heard.windows(3).any(|window| window == b"BAD" || window == b"502"));
        let record = house.record();
        record.assert_outcome(Outcome::HandoffRefused);
        record.assert(&[("client", "203.0.113.7:4711"), ("bytes_in", "0")]);
        assert!(record.get("cause").unwrap().contains("does not read our header"), "{}", record.0);
        assert!(record.get("remedy").is_some(), "{}", record.0);
        let found = house.readiness();
        assert!(matches!(&*found, Readiness::Unready(Unready::IgnoresHeader { .. })), "{found:?}");
        // It is asked again, and serves once it has its option back.
        forgets.store(false, Ordering::SeqCst);
        assert!(eventually(|| *house.readiness() == Readiness::Proved), "{:?}", house.readiness());
        house.finish();
        backend.finish();
    }
}
