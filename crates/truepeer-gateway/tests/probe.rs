//! `truepeer probe`, the real command: what servers make of headers is concluded from what they show, and from no more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::program::{Answer, BINARY};
use crate::support::fake::{Fake, Nobody, deaf_imap, deaf_smtp, listens};
use crate::support::shapes::assert_documented;
use serde_json::{Value, json};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use truepeer_testkit::fake::read_header;

fn probe(target: SocketAddr, arguments: &[&str]) -> Answer {
    let output = Command::new(BINARY).args(["probe", &target.to_string()]).args(arguments).output().unwrap();
    Answer(output)
}

/// The answers by question, and what they prove.
fn probed(target: SocketAddr, arguments: &[&str]) -> (Vec<Value>, Value, Option<i32>) {
    let patience: &[&str] =
        if arguments.contains(&"--timeout") { &[] } else { &["--timeout", "2s", "--wait", "1s"] };
    let done = probe(target, &[&["--json"], patience, arguments].concat());
    let mut objects = done.json();
    let last = objects.pop().unwrap_or_else(|| panic!("{}", done.error()));
    objects.iter().for_each(|answer| assert_documented("Probe question", answer));
    assert_documented("Probe verdict", &last);
    (objects, last, done.code())
}

fn outcome<'v>(answers: &'v [Value], question: &str) -> &'v str {
    answers.iter().find(|answer| answer["question"] == question).unwrap()["outcome"].as_str().unwrap()
}

/// What a server does whose peer sends no header.
#[derive(Clone, Copy, PartialEq)]
enum WithoutHeader {
    /// Gives up after a while, with a word.
    GiveUp,
    /// Serves it as a client.
    Serve,
}

/// An SMTP server that reads headers; TLS facts change what it offers.
fn reads_headers(mut stream: TcpStream, without: WithoutHeader) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let waiting = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let secure = match waiting {
        Ok(1..) => match read_header(&mut &stream) {
            Ok(header) => header.tlvs.iter().any(|(kind, value)| *kind == 0x20 && value.first() == Some(&1)),
            Err(_) => return Vec::new(),
        },
        Err(error) if error.kind() == ErrorKind::WouldBlock && without == WithoutHeader::Serve => false,
        _ => {
            let _ = stream.write_all(b"421 4.3.0 no header\r\n");
            return Vec::new();
        }
    };
    stream.write_all(b"220 mx.example ESMTP Stalwart\r\n").unwrap();
    let offers: &str = if secure {
        "250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n"
    } else {
        "250-mx.example\r\n250 STARTTLS\r\n"
    };
    serve(stream, offers)
}

fn serve(mut stream: TcpStream, offers: &str) -> Vec<u8> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut heard = Vec::new();
    loop {
        let before = heard.len();
        if !matches!(reader.read_until(b'\n', &mut heard), Ok(1..)) {
            return heard;
        }
        let answer = match &heard[before..] {
            line if line.starts_with(b"EHLO ") => offers,
            b"QUIT\r\n" => "221 bye\r\n",
            _ => "500 what\r\n",
        };
        if stream.write_all(answer.as_bytes()).is_err() || answer.starts_with("221") {
            return heard;
        }
    }
}

#[test]
fn a_server_that_requires_headers_is_told_with_all_that_it_shows() {
    let server = Fake::start(|stream| reads_headers(stream, WithoutHeader::GiveUp));
    let (answers, last, code) = probed(server.address, &["--protocol", "smtp"]);
    let heard = server.finish();
    assert_eq!(code, Some(0));
    assert_eq!(heard.len(), 11, "one connection for each question");
    // Nobody logs in, and nothing is said but hello and goodbye.
    for heard in heard.iter().filter(|heard| !heard.is_empty()) {
        assert_eq!(heard, b"EHLO probe.invalid\r\nQUIT\r\n", "{}", heard.escape_ascii());
    }
    for (question, expected) in [
        ("no-header", "refused"),
        ("v1", "served"),
        ("v2", "served"),
        ("v2-ssl", "served"),
        ("local", "served"),
        ("unknown", "served"),
        ("split", "served"),
        ("over-232", "served"),
        ("over-536", "served"),
        ("over-1500", "served"),
        ("garbage", "refused"),
    ] {
        assert_eq!(outcome(&answers, question), expected, "{question}: {answers:#?}");
    }
    let ssl = answers.iter().find(|answer| answer["question"] == "v2-ssl").unwrap();
    assert_eq!((&ssl["starttls"], &ssl["auth"]), (&json!(false), &json!(["LOGIN", "PLAIN"])));
    assert_eq!(last["expects_header"], "required");
    assert_eq!(last["versions"], json!([1, 2]));
    assert_eq!(last["forgeable"], "from-here");
    assert_eq!(last["product"], "stalwart");
    assert_eq!((&last["largest_served"], &last["smallest_refused"]), (&json!(1501), &Value::Null));
    assert!((250..15_000).contains(&last["waits_ms"].as_u64().unwrap()), "{last}");
    assert_eq!(last["inconclusive"], json!([]));
    let sentences = last["sentences"].to_string();
    for words in [
        "It expects a header from this address: without one nobody is served.",
        "It reads version 1 and version 2.",
        "It takes a header in pieces.",
        "It takes headers of 1501 bytes; longer ones were not tried.",
        "To a client that used TLS it does not offer STARTTLS.",
        "Ways to log in: none in clear text, LOGIN PLAIN over TLS.",
        "It accepted a header naming a documentation address from 127.0.0.1: this host may speak for others.",
    ] {
        assert!(sentences.contains(words), "{words}: {sentences}");
    }
}

#[test]
fn a_server_that_reads_a_header_if_one_comes_is_a_finding() {
    let server = Fake::start(|stream| reads_headers(stream, WithoutHeader::Serve));
    let (_, last, code) = probed(server.address, &["--protocol", "smtp"]);
    server.finish();
    assert_eq!((code, &last["expects_header"]), (Some(1), &json!("optional")));
    let found = &last["findings"][0];
    assert_eq!(
        (&found["class"], &found["side"], &found["confidence"]),
        (&json!("FORGE"), &json!("back"), &json!("likely"))
    );
}

#[test]
fn a_server_that_reads_no_header_is_told_in_each_language() {
    for (protocol, deaf) in [("smtp", deaf_smtp as fn(TcpStream) -> Vec<u8>), ("imap", deaf_imap)] {
        let serve = move |stream: TcpStream| {
            if protocol == "smtp" { serve_greeting(stream) } else { serve_imap(stream) }
        };
        let server = Fake::start(serve);
        let (answers, last, code) = probed(server.address, &["--protocol", protocol]);
        server.finish();
        assert_eq!(
            (code, &last["expects_header"], &last["forgeable"]),
            (Some(0), &json!("no"), &json!("not-from-here")),
            "{answers:#?}"
        );
        assert_eq!(outcome(&answers, "no-header"), "served");
        assert_eq!(outcome(&answers, "v1"), "misread");
        // One that does not even know our question is not taken for one that serves.
        let server = Fake::start(deaf);
        let (_, last, _) = probed(server.address, &["--protocol", protocol]);
        server.finish();
        assert_eq!(last["versions"], json!([]));
    }
}

fn serve_greeting(mut stream: TcpStream) -> Vec<u8> {
    let _ = stream.write_all(b"220 mx.example ESMTP\r\n");
    serve(stream, "250 mx.example\r\n")
}

fn serve_imap(mut stream: TcpStream) -> Vec<u8> {
    let _ = stream.write_all(b"* OK ready\r\n");
    support::fake::answer_lines(stream, |line| match line {
        b"a CAPABILITY" => "* CAPABILITY IMAP4rev1 STARTTLS\r\na OK done\r\n",
        b"a LOGOUT" => "* BYE\r\na OK\r\n",
        _ => "* BAD what\r\n",
    })
}

#[test]
fn http_is_judged_by_its_answers() {
    let server = Fake::start(|mut stream: TcpStream| {
        let with = read_header(&mut &stream).is_ok();
        let mut heard = Vec::new();
        let mut byte = [0];
        while with && !heard.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read(&mut byte), Ok(1)) {
                return heard;
            }
            heard.push(byte[0]);
        }
        let answer: &[u8] = if with {
            b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\n\r\n"
        } else {
            b"HTTP/1.1 400 Bad Request\r\n\r\n"
        };
        let _ = stream.write_all(answer);
        heard
    });
    let (answers, last, code) = probed(server.address, &["--protocol", "http"]);
    server.finish();
    assert_eq!(
        (code, &last["expects_header"], &last["product"]),
        (Some(0), &json!("required"), &json!("nginx")),
        "{answers:#?}"
    );
    assert_eq!(outcome(&answers, "no-header"), "refused");
}

#[test]
fn a_web_server_that_takes_a_header_for_an_unknown_method_expects_none() {
    let server = Fake::start(|stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let (mut heard, mut line) = (Vec::new(), Vec::new());
        while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 2) {
            heard.append(&mut line);
        }
        let answer: &[u8] = if heard.starts_with(b"HEAD ") {
            b"HTTP/1.1 200 OK\r\n\r\n"
        } else {
            b"HTTP/1.0 501 Not Implemented\r\n\r\n"
        };
        let _ = (&stream).write_all(answer);
        heard
    });
    let (answers, last, _) = probed(server.address, &["--protocol", "http"]);
    server.finish();
    assert_eq!(last["expects_header"], json!("no"), "{answers:#?}");
    assert_eq!((outcome(&answers, "v1"), outcome(&answers, "no-header")), ("refused", "served"));
}

#[test]
fn tls_is_spoken_behind_the_header() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key =
        tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let server = Fake::start(move |stream: TcpStream| {
        if read_header(&mut &stream).is_err() {
            return Vec::new();
        }
        let mut inside = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let _ = inside.write_all(b"+OK pop ready\r\n");
        let mut reader = BufReader::new(inside);
        let mut heard = Vec::new();
        loop {
            let before = heard.len();
            if !matches!(reader.read_until(b'\n', &mut heard), Ok(1..)) {
                return heard;
            }
            let answer: &[u8] = match &heard[before..] {
                b"CAPA\r\n" => b"+OK\r\nSASL PLAIN\r\n.\r\n",
                _ => b"+OK bye\r\n",
            };
            let _ = reader.get_mut().write_all(answer);
        }
    });
    let (answers, last, code) = probed(server.address, &["--protocol", "pop3", "--tls"]);
    server.finish();
    assert_eq!(
        (code, &last["expects_header"], &last["versions"]),
        (Some(0), &json!("required"), &json!([1, 2])),
        "{answers:#?}"
    );
}

#[test]
fn a_server_that_shows_nothing_is_inconclusive() {
    let closes = Fake::start(|stream: TcpStream| {
        drop(stream);
        Vec::new()
    });
    let (_, last, code) = probed(closes.address, &["--protocol", "smtp"]);
    closes.finish();
    assert_eq!((code, &last["expects_header"]), (Some(4), &json!("inconclusive")));
    assert_eq!(last["sentences"], json!([]));
    let silent = Fake::start(listens);
    let (answers, last, code) =
        probed(silent.address, &["--protocol", "imap", "--timeout", "200ms", "--wait", "200ms"]);
    silent.finish();
    assert_eq!(
        (code, outcome(&answers, "v2"), outcome(&answers, "no-header")),
        (Some(4), "silent", "silent")
    );
    assert_eq!(last["forgeable"], "inconclusive");
    assert!(last["inconclusive"].to_string().contains("neither with one nor without"), "{last}");
}

#[test]
fn no_server_hangs_floods_or_garbles_it() {
    let floods = Fake::start(|mut stream: TcpStream| {
        while stream.write_all(b"\x1b]0;x\x07\x9b").is_ok() {}
        Vec::new()
    });
    let drips = Fake::start(|mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut piece = [0; 64];
        while stream.write_all(b"220-x\r\n").is_ok() && !matches!(stream.read(&mut piece), Ok(0)) {}
        Vec::new()
    });
    let banners = Fake::start(|mut stream: TcpStream| {
        let _ = stream.write_all(&[b'2'; 1 << 20]);
        Vec::new()
    });
    for server in [floods, drips, banners] {
        let started = Instant::now();
        let done = probe(server.address, &["--protocol", "smtp", "--timeout", "300ms", "--wait", "300ms"]);
        // Eleven questions, each over after twice the patience, and the machine may be busy.
        assert!(started.elapsed() < support::PATIENCE, "{:?}", started.elapsed());
        assert_eq!(done.code(), Some(4), "{}", done.out());
        let shown = [done.0.stdout.as_slice(), &done.0.stderr].concat();
        assert!(shown.len() < 6000, "{}", done.out());
        assert!(shown.iter().all(|byte| *byte == b'\n' || (b' '..=b'~').contains(byte)), "{}", done.out());
        server.finish();
    }
}

#[test]
fn what_should_be_closed_is_closed_or_a_finding() {
    // As a server with a list of proxies: others are clients, whatever they say.
    let server = Fake::start(|stream: TcpStream| {
        let proxy: IpAddr = [127, 0, 0, 1].into();
        if stream.peer_addr().unwrap().ip() == proxy {
            reads_headers(stream, WithoutHeader::GiveUp)
        } else {
            serve_greeting(stream)
        }
    });
    let ask = |arguments: &[&str]| {
        probed(server.address, &[&["--protocol", "smtp", "--expect-closed"], arguments].concat())
    };
    let (_, last, code) = ask(&["--source", "127.0.0.9"]);
    assert_eq!((code, &last["forgeable"], &last["findings"]), (Some(0), &json!("not-from-here"), &json!([])));
    assert!(
        last["sentences"].to_string().contains("It is closed to 127.0.0.9: no header was believed."),
        "{last}"
    );
    let (_, last, code) = ask(&[]);
    assert_eq!((code, &last["forgeable"]), (Some(1), &json!("from-here")));
    let found = &last["findings"][0];
    assert_eq!((&found["class"], &found["confidence"]), (&json!("FORGE"), &json!("certain")));
    assert!(found["seen"].as_str().unwrap().ends_with("from 127.0.0.1"), "{found}");
    server.finish();
    // Nobody there is as closed as can be.
    let nobody = Nobody::new();
    let (_, last, code) = probed(nobody.address(), &["--protocol", "smtp", "--expect-closed"]);
    assert_eq!(code, Some(0));
    assert!(last["sentences"].to_string().contains("It is closed to this host"), "{last}");
    // Silence is no proof.
    let silent = Fake::start(listens);
    let (_, _, code) = probed(
        silent.address,
        &["--protocol", "smtp", "--expect-closed", "--timeout", "100ms", "--wait", "100ms"],
    );
    silent.finish();
    assert_eq!(code, Some(4));
}

#[test]
fn a_dry_run_lists_everything_and_connects_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listed = probe(address, &["--protocol", "smtp", "--dry-run"]).ok().out();
    assert_eq!(listed.lines().count(), 12, "{listed}");
    assert!(
        listed.starts_with(&format!("11 connections to {address}, speaking smtp behind the header:\n")),
        "{listed}"
    );
    assert!(listed.contains("  version 2, 537 bytes         537 bytes\n"), "{listed}");
    let objects = probe(address, &["--protocol", "smtp", "--dry-run", "--json"]).ok().json();
    assert_eq!(objects.len(), 11);
    assert_eq!(objects[0], json!({ "question": "no-header", "header_bytes": 0 }));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn who_is_not_there_and_what_cannot_be_asked_have_exit_codes_of_their_own() {
    let nobody = Nobody::new();
    let done = probe(nobody.address(), &["--protocol", "smtp"]);
    assert_eq!(done.code(), Some(3));
    assert!(done.error().ends_with("Connection refused (os error 111)\n"), "{}", done.error());
    for arguments in
        [&[][..], &["--protocol", "tcp"], &["--protocol", "gopher"], &["--protocol", "smtp", "--source", "x"]]
    {
        assert_eq!(probe(nobody.address(), arguments).code(), Some(2), "{arguments:?}");
    }
    let help = Answer(Command::new(BINARY).args(["probe", "--help"]).output().unwrap()).ok().out();
    for text in ["Exit codes: 0", "4 what", "Examples:", "--expect-closed", "at most"] {
        assert!(help.contains(text), "{text}: {help}");
    }
}
