//! Backends that are told in words who the client is, before the client may speak.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::support::fake::{Fake, answer_lines};
use crate::support::{Plan, expect, read_to_end};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{Readiness, Unready};
use truepeer_gateway::rooms::handoff::Handoff;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const REFUSAL: &[u8] = b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n";
const OFFER: &str = "250-backend\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT\r\n";
const TOLD: &str = "XCLIENT PORT=4711 NAME=[UNAVAILABLE] ADDR=203.0.113.7\r\n";

/// What a mail server with XCLIENT says, and to whom.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// To an EHLO from us.
    offer: &'static str,
    /// To XCLIENT about 203.0.113.7.
    answer: &'static str,
    /// To XCLIENT about anybody else, such as the client of the proof.
    answer_to_others: &'static str,
    /// To an EHLO from somebody it was told of.
    offer_to_clients: &'static str,
}

const POLITE: Manners = Manners {
    offer: OFFER,
    answer: "220 backend greets the client\r\n",
    answer_to_others: "220 backend greets the client\r\n",
    offer_to_clients: "250 backend\r\n",
};

fn mail_server(manners: Manners) -> impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static {
    move |stream| {
        let mut writer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        let mut heard = Vec::new();
        let mut knows = false;
        let _ = writer.write_all(b"220 backend greets the proxy\r\n");
        loop {
            let before = heard.len();
            if !matches!(reader.read_until(b'\n', &mut heard), Ok(1..)) {
                return heard;
            }
            let line = String::from_utf8_lossy(&heard[before..]).trim_end().to_owned();
            let answer = match line.split(' ').next().unwrap() {
                "EHLO" if knows => manners.offer_to_clients,
                "EHLO" => manners.offer,
                "XCLIENT" if line.contains("ADDR=203.0.113.7") => manners.answer,
                "XCLIENT" => manners.answer_to_others,
                "QUIT" => "221 bye\r\n",
                _ => "250 ok\r\n",
            };
            knows |= line.starts_with("XCLIENT");
            if writer.write_all(answer.as_bytes()).is_err() || line == "QUIT" {
                return heard;
            }
        }
    }
}

/// What the client's connection was told, that is, without the proofs.
fn about_the_client(backend: Fake) -> Vec<String> {
    let heard = backend.finish().into_iter().map(|heard| String::from_utf8(heard).unwrap());
    heard.filter(|heard| !heard.contains("ADDR=192.0.2.1\r\n") && !heard.is_empty()).collect()
}

#[test]
fn a_client_is_greeted_once_and_the_backend_hears_who_it_is_before_its_first_byte() {
    let backend = Fake::start(mail_server(POLITE));
    let house = Plan::new(Protocol::Smtp, Handoff::Xclient, backend.address).start();
    assert_eq!(*house.readiness(), Readiness::Proved);
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"220 backend greets the client\r\n");
    client.write_all(b"EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nQUIT\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"250 backend\r\n250 ok\r\n221 bye\r\n");
    drop(client);
    let record = house.record();
    record.assert_outcome(Outcome::Done);
    record.assert(&[
        ("handoff", "xclient"),
        ("client", "203.0.113.7:4711"),
        // The greeting is counted, what was said between backend and front door is not.
        ("bytes_out", "61"),
        ("bytes_in", "57"),
    ]);
    assert!(house.finish().is_empty());
    let session = "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nQUIT\r\n";
    assert_eq!(about_the_client(backend), [format!("EHLO mx.example\r\n{TOLD}{session}")]);
}

#[test]
fn a_backend_that_turns_the_proofs_client_away_serves_unproven() {
    let manners = Manners { answer_to_others: "554 5.7.1 not from there\r\n", ..POLITE };
    let backend = Fake::start(mail_server(manners));
    let house = Plan::new(Protocol::Smtp, Handoff::Xclient, backend.address).start();
    assert_eq!(*house.readiness(), Readiness::Unproven, "what that client may say itself was not seen");
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"220 backend greets the client\r\n");
}

#[test]
fn a_backend_that_does_not_offer_it_gets_no_client_and_the_remedy_names_its_setting() {
    let backend = Fake::start(mail_server(Manners { offer: "250 backend\r\n", ..POLITE }));
    let house = Plan::new(Protocol::Smtp, Handoff::Xclient, backend.address).start();
    let found = house.readiness();
    let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
    assert!(saw.contains("does not offer XCLIENT to us"), "{saw}");
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    assert_eq!(read_to_end(&client), REFUSAL);
    house.record().assert_outcome(Outcome::BackendUnready);
    assert!(house.finish().is_empty());
    assert!(about_the_client(backend).iter().all(|heard| !heard.contains("203.0.113.7")));
}

#[test]
fn a_backend_that_would_let_its_clients_say_who_they_are_gets_none() {
    let backend = Fake::start(mail_server(Manners { offer_to_clients: OFFER, ..POLITE }));
    let house = Plan::new(Protocol::Submission, Handoff::Xclient, backend.address).start();
    let found = house.readiness();
    let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
    assert!(saw.contains("offers XCLIENT to 192.0.2.1"), "{saw}");
    house.finish();
    backend.finish();
}

#[test]
fn a_backend_that_takes_no_word_of_one_client_refuses_that_client_only() {
    let answer = "501 5.5.4 Bad ADDR syntax\r\n";
    let backend = Fake::start(mail_server(Manners { answer, ..POLITE }));
    let house = Plan::new(Protocol::Smtp, Handoff::Xclient, backend.address).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"MAIL FROM:<secret@client.example>\r\n").unwrap();
    assert_eq!(read_to_end(&client), REFUSAL);
    let record = house.record();
    record.assert_outcome(Outcome::HandoffRefused);
    record.assert(&[("bytes_in", "0"), ("bytes_out", "0")]);
    let (cause, remedy) = (record.get("cause").unwrap(), record.get("remedy").unwrap());
    assert!(cause.contains("501 5.5.4"), "{cause}");
    assert!(remedy.contains("smtpd_authorized_xclient_hosts"), "{remedy}");
    assert_eq!(*house.readiness(), Readiness::Proved);
    house.finish();
    assert!(about_the_client(backend).iter().all(|heard| !heard.contains("secret")));
}

#[test]
fn a_backend_that_lost_the_setting_refuses_and_serves_nobody_until_it_is_asked_again() {
    let answer = "550 5.7.0 Error: insufficient authorization\r\n";
    let backend = Fake::start(mail_server(Manners { answer, ..POLITE }));
    let house = Plan::new(Protocol::Smtp, Handoff::Xclient, backend.address).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    assert_eq!(read_to_end(&client), REFUSAL);
    house.record().assert_outcome(Outcome::HandoffRefused);
    house.finish();
    assert!(about_the_client(backend).iter().all(|heard| !heard.contains("secret")));
}

#[test]
fn a_client_that_the_backend_turns_away_hears_the_backends_own_words() {
    let answer = "554 5.7.1 Client host rejected: Access denied\r\n";
    let backend = Fake::start(mail_server(Manners { answer, ..POLITE }));
    let house = Plan::new(Protocol::Smtp, Handoff::Xclient, backend.address).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"MAIL FROM:<secret@client.example>\r\n").unwrap();
    assert_eq!(read_to_end(&client), answer.as_bytes());
    house.record().assert_outcome(Outcome::BackendTurnsAway);
    assert_eq!(*house.readiness(), Readiness::Proved);
    house.finish();
    assert!(about_the_client(backend).iter().all(|heard| !heard.contains("secret")));
}

#[test]
fn a_client_that_sends_a_header_of_its_own_reaches_no_backend() {
    let backend = Fake::start(mail_server(POLITE));
    let house = Plan::new(Protocol::Smtp, Handoff::Xclient, backend.address).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"220 backend greets the client\r\n");
    client.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"");
    house.record().assert_outcome(Outcome::HeaderRepeated);
    house.finish();
    assert_eq!(about_the_client(backend), [format!("EHLO mx.example\r\n{TOLD}")]);
}

/// A Dovecot that answers `id` with this; LOGOUT as ever.
fn imap_server(id: &'static str) -> impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static {
    move |mut stream| {
        let _ = stream.write_all(b"* OK [CAPABILITY IMAP4rev1 ID] ready\r\n");
        answer_lines(stream, |line| {
            if line.ends_with(b"LOGOUT") {
                "* BYE Logging out\r\na OK Logout completed\r\n"
            } else if line.starts_with(b"tp0 ID ") {
                id
            } else {
                "* ID NIL\r\nx OK done\r\n"
            }
        })
    }
}

const BELIEVES: &str = "* ID (\"name\" \"Dovecot\")\r\ntp0 OK Trusted ID completed.\r\n";
const UNSAID: &str = "* ID (\"name\" \"Dovecot\")\r\ntp0 OK ID completed.\r\n";

#[test]
fn an_imap_client_hears_the_greeting_once_the_backend_believes_who_it_is() {
    for (handoff, answer, readiness) in [
        (Handoff::ImapId, BELIEVES, Readiness::Proved),
        (Handoff::ImapIdUnconfirmed, UNSAID, Readiness::Unproven),
    ] {
        let backend = Fake::start(imap_server(answer));
        let house = Plan::new(Protocol::Imap, handoff, backend.address).start();
        assert_eq!(*house.readiness(), readiness);
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        client.write_all(b"x NOOP\r\n").unwrap();
        expect(&client, b"* OK [CAPABILITY IMAP4rev1 ID] ready\r\n* ID NIL\r\nx OK done\r\n");
        drop(client);
        let record = house.record();
        record.assert(&[("handoff", handoff.name()), ("client", "203.0.113.7:4711"), ("bytes_in", "8")]);
        let id = record.get("id").unwrap().to_owned();
        house.finish();
        let told = format!(
            "tp0 ID (\"x-originating-ip\" \"203.0.113.7\" \"x-originating-port\" \"4711\" \"x-connected-ip\" \
             \"198.51.100.25\" \"x-connected-port\" \"25\" \"x-session-id\" \"{id}\")\r\nx NOOP\r\n"
        );
        let heard = backend.finish().into_iter().map(|heard| String::from_utf8(heard).unwrap());
        let about_clients: Vec<_> = heard.filter(|heard| heard.contains("203.0.113.7")).collect();
        assert_eq!(about_clients, [told]);
    }
}

#[test]
fn an_imap_backend_that_does_not_say_that_it_believes_us_gets_no_client() {
    let backend = Fake::start(imap_server(UNSAID));
    let house = Plan::new(Protocol::Imap, Handoff::ImapId, backend.address).start();
    let found = house.readiness();
    let Readiness::Unready(Unready::RefusesHandoff { saw }) = &*found else { panic!("{found:?}") };
    assert!(saw.contains("does not say that it believes us"), "{saw}");
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"x LOGIN secret secret\r\n").unwrap();
    assert_eq!(
        read_to_end(&client),
        b"* BYE [UNAVAILABLE] no server is ready for you now, try again later\r\n"
    );
    house.record().assert_outcome(Outcome::BackendUnready);
    house.finish();
    let heard = backend.finish().concat();
    assert!(!heard.windows(6).any(|window| window == b"secret"), "{}", heard.escape_ascii());
}
