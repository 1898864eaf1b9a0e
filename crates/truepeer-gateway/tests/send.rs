//! `truepeer send`, the real command: every header as it was asked for, and no server that can hang or garble it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::program::{Answer, BINARY};
use crate::support::PATIENCE;
use crate::support::fake::{Fake, Nobody, deaf_smtp, listens, reset};
use crate::support::shapes::assert_documented;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use truepeer_testkit::fake::{Afterwards, HeaderBackend, Loopback};
use truepeer_testkit::reference::{Accepted, Profile, Verdict, judge};

/// The command with `input` typed into it.
fn send_with(target: SocketAddr, arguments: &[&str], input: &[u8]) -> Answer {
    let mut child = Command::new(BINARY)
        .args(["send", &target.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut typed = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything.
    let typing = std::thread::spawn(move || drop(typed.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    typing.join().unwrap();
    Answer(output)
}

fn send(target: SocketAddr, arguments: &[&str]) -> Answer {
    send_with(target, arguments, b"")
}

/// What a server heard of the command, which is to go well.
fn heard(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let server = Fake::start(listens);
    send_with(server.address, arguments, input).ok();
    server.finish().into_iter().next().unwrap()
}

fn header(arguments: &[&str]) -> Accepted {
    let bytes = heard(arguments, b"");
    match judge(&bytes, Profile { max_len: 70_000, ..Profile::default() }) {
        Verdict::Accept(accepted) => {
            assert_eq!(accepted.consumed, bytes.len());
            *accepted
        }
        other => panic!("{arguments:?}: {other:?}: {}", bytes.escape_ascii()),
    }
}

#[test]
fn every_header_is_the_one_that_was_asked_for() {
    let ends = |client: &str, destination: &str| Some((client.to_owned(), destination.to_owned()));
    let both = &["--client", "203.0.113.7:4711", "--destination", "198.51.100.1:25"][..];
    let with = |more: &[&'static str]| [both, more].concat();
    let v1 = header(&with(&["--version", "v1"]));
    assert_eq!((v1.version, v1.command), (1, "PROXY"));
    assert_eq!(v1.ends, ends("203.0.113.7:4711", "198.51.100.1:25"));
    let v2 = header(both);
    assert_eq!((v2.version, v2.command, v2.transport), (2, "PROXY", 1));
    assert_eq!(v2.ends, ends("203.0.113.7:4711", "198.51.100.1:25"));
    assert!(v2.tlvs.is_empty());
    let v6 = header(&["--client", "[2001:db8::7]:1", "--destination", "[2001:db8::1]:993"]);
    assert_eq!(v6.ends, ends("[2001:db8::7]:1", "[2001:db8::1]:993"));
    assert_eq!(header(&with(&["--datagram"])).transport, 2);
    let local = header(&["--local"]);
    assert_eq!((local.version, local.command, local.ends), (2, "LOCAL", None));
    assert_eq!(header(&["--unknown"]).command, "UNKNOWN");
    let tlvs = header(&with(&[
        "--tlv",
        "alpn=h2",
        "--tlv",
        "authority=mx.example.org",
        "--tlv",
        "unique-id=hex:00ff",
        "--tlv",
        "netns=blue",
        "--tlv",
        "noop=3",
        "--tlv",
        "aws=vpce-1",
        "--tlv",
        "azure=258",
        "--tlv",
        "gcp=1",
        "--tlv",
        "0xE5=x",
        "--tlv",
        "ssl=TLSv1.3,cipher=C,cn=me,verify=1",
        "--crc",
    ]));
    let ssl = b"\x07\x00\x00\x00\x01\x21\x00\x07TLSv1.3\x23\x00\x01C\x22\x00\x02me".to_vec();
    let (last, rest) = tlvs.tlvs.split_last().unwrap();
    assert_eq!(
        rest,
        [
            (0x01, b"h2".to_vec()),
            (0x02, b"mx.example.org".to_vec()),
            (0x05, vec![0, 0xff]),
            (0x30, b"blue".to_vec()),
            (0x04, vec![0; 3]),
            (0xEA, b"\x01vpce-1".to_vec()),
            (0xEE, vec![1, 2, 1, 0, 0]),
            (0xE0, vec![0, 0, 0, 0, 0, 0, 0, 1]),
            (0xE5, b"x".to_vec()),
            (0x20, ssl),
        ]
    );
    // That it is the right one is judged with the whole.
    assert_eq!((last.0, last.1.len()), (3, 4));
    let none = header(&with(&["--tlv", "ssl=none"])).tlvs;
    assert_eq!(none, [(0x20, vec![0; 5])]);
    assert_eq!(header(&["--tlv", "noop=60000"]).consumed, 60_031);
}

#[test]
fn without_words_it_names_nobody_and_the_address_that_was_reached() {
    let server = Fake::start(listens);
    let address = server.address;
    let said = send(address, &[]).ok();
    let bytes = server.finish().into_iter().next().unwrap();
    let Verdict::Accept(header) = judge(&bytes, Profile::default()) else { panic!("{bytes:?}") };
    assert_eq!(header.ends, Some(("192.0.2.1:40000".to_owned(), address.to_string())));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(said.error(), format!("connected to {address}; header of 28 bytes: {hex}\n"));
}

#[test]
fn raw_bytes_and_no_header_are_sent_as_they_are_and_input_follows() {
    assert_eq!(heard(&["--raw", "50 52:4f 58 59 0d", "--split", "2"], b"EHLO a\r\n"), b"PROXY\rEHLO a\r\n");
    assert_eq!(heard(&["--version", "none"], b"EHLO a\r\n"), b"EHLO a\r\n");
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nEHLO a\r\n";
    assert_eq!(
        heard(&["--version", "v1", "--client", "192.0.2.1:1", "--destination", "192.0.2.2:2"], b"EHLO a\r\n"),
        line
    );
}

#[test]
fn pieces_are_sent_with_pauses_and_come_out_whole() {
    let server = Fake::start(listens);
    let started = Instant::now();
    send(server.address, &["--version", "v1", "--unknown", "--split", "1,5,5,99", "--pause", "200ms"]).ok();
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(server.finish(), [b"PROXY UNKNOWN\r\n".to_vec()]);
}

#[test]
fn what_the_server_says_comes_out_byte_for_byte() {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| u8::try_from(number * 7 % 251).unwrap()).collect();
    let backend = HeaderBackend::start(Loopback::V4, b"220 ready\r\n", Afterwards::Send(bytes.clone()));
    let said = send_with(backend.address(), &["--timeout", "20s"], b"give\r\n").ok();
    assert_eq!(said.0.stdout, [b"220 ready\r\n", bytes.as_slice()].concat());
    // It says all and ends at once, perhaps before our words have gone; that they go is asked below, and in other tests.
    let heard = backend.sessions.next().bytes;
    assert!(heard.is_empty() || heard == b"give\r\n", "{heard:?}");
    let v6 = HeaderBackend::start(Loopback::V6, b"", Afterwards::Echo);
    assert_eq!(send_with(v6.address(), &[], b"hello").ok().0.stdout, b"hello");
    assert_eq!(v6.headers.next().ends.unwrap().0.to_string(), "[2001:db8::1]:40000");
}

#[test]
fn a_polite_session_is_told_from_a_rude_one() {
    let polite = Fake::start(|mut stream: TcpStream| {
        let mut header = [0; 28];
        stream.read_exact(&mut header).unwrap();
        stream.write_all(b"220-one\r\n220 two\x1b[31m\r\n").unwrap();
        support::fake::answer_lines(stream, |_| "221 bye\r\n")
    });
    let said = send(polite.address, &["--protocol", "smtp"]).ok();
    assert_eq!(said.out(), "220-one\n220 two\\x1b[31m\n221 bye\n");
    let object = &send(polite.address, &["--protocol", "smtp", "--json"]).ok().json()[0];
    assert_documented("Sent header", object);
    assert_eq!(object["ok"], true);
    assert_eq!(object["greeting"], serde_json::json!(["220-one", "220 two\\x1b[31m"]));
    assert_eq!(object["answer"], serde_json::json!(["221 bye"]));
    assert_eq!((object["header_bytes"].as_u64(), object["why"].is_null()), (Some(28), true));
    polite.finish();

    // It takes our header for commands; the QUIT in the signature ends the session.
    let deaf = Fake::start(deaf_smtp);
    let said = send(deaf.address, &["--protocol", "smtp"]);
    assert_eq!(said.code(), Some(1));
    assert!(said.out().starts_with("220 mx.example ESMTP Postfix\n"), "{}", said.out());
    assert!(said.error().contains("error: it did not take leave: "), "{}", said.error());
    deaf.finish();

    let web = Fake::start(|stream: TcpStream| {
        let mut stream = stream;
        let mut heard = vec![0; 28];
        stream.read_exact(&mut heard).unwrap();
        while !heard.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n").unwrap();
        heard
    });
    assert_eq!(send(web.address, &["--protocol", "http"]).ok().out(), "HTTP/1.1 200 OK\nServer: x\n\n");
    web.finish();
}

#[test]
fn no_server_hangs_floods_or_garbles_it() {
    let endless = Fake::start(|mut stream: TcpStream| {
        while stream.write_all(&[b'\x1b'; 4096]).is_ok() {}
        Vec::new()
    });
    let said = send(endless.address, &["--protocol", "smtp"]);
    assert_eq!(said.code(), Some(1));
    assert!(said.0.stdout.len() < 2000 && !said.0.stdout.contains(&0x1b), "{}", said.out());
    assert!(said.error().contains("more was said than any answer has"), "{}", said.error());
    endless.finish();

    let drips = Fake::start(|mut stream: TcpStream| {
        // One byte whenever the last one is gone; what the command sends is awaited in between.
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut heard = [0; 64];
        while stream.write_all(b"2").is_ok() {
            let _ = stream.read(&mut heard);
        }
        Vec::new()
    });
    let said = send(drips.address, &["--protocol", "smtp", "--timeout", "500ms"]);
    assert_eq!(said.code(), Some(1));
    assert!(said.error().contains("there was no greeting: nothing more came in time"), "{}", said.error());
    // And where input is over, the end of it is the last thing that is waited for.
    let said = send(drips.address, &["--timeout", "500ms"]);
    assert_eq!((said.code(), said.error().contains("did not close the connection in time")), (Some(1), true));
    drips.finish();

    let silent = Fake::start(listens_until_reset);
    let said = send(silent.address, &["--protocol", "imap", "--timeout", "300ms"]);
    assert_eq!(said.code(), Some(1));
    silent.finish();

    let resets = Fake::start(|mut stream: TcpStream| {
        // Not before the connection is there for both.
        let _ = stream.read(&mut [0]);
        reset(stream);
        Vec::new()
    });
    let said = send(resets.address, &["--protocol", "pop3"]);
    assert_eq!(said.code(), Some(1), "{}", said.error());
    resets.finish();
}

fn listens_until_reset(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    let _ = stream.shutdown(Shutdown::Both);
    heard
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
    let server = Fake::start(move |mut stream: TcpStream| {
        let mut header = vec![0; 28];
        stream.read_exact(&mut header).unwrap();
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut inside = StreamOwned::new(session, stream);
        inside.write_all(b"* OK inside\r\n").unwrap();
        let mut line = [0; 10];
        inside.read_exact(&mut line).unwrap();
        header.extend(line);
        header.extend(inside.conn.server_name().unwrap_or_default().bytes());
        inside.write_all(b"* BYE\r\na OK\r\n").unwrap();
        header
    });
    let said = send(server.address, &["--tls", "--server-name", "localhost", "--protocol", "imap"]).ok();
    assert_eq!(said.out(), "* OK inside\n* BYE\na OK\n");
    assert!(said.error().contains("TLS: TLSv1_3 TLS13_AES_256_GCM_SHA384; the certificate was not checked"));
    // By address, no name is asked for.
    send(server.address, &["--tls", "--protocol", "imap"]).ok();
    let heard = server.finish();
    assert!(heard[0].ends_with(b"a LOGOUT\r\nlocalhost"), "{}", heard[0].escape_ascii());
    assert!(heard[1].ends_with(b"a LOGOUT\r\n"), "{}", heard[1].escape_ascii());

    // What is no TLS is said so.
    let clear = Fake::start(deaf_smtp);
    let said = send(clear.address, &["--tls", "--protocol", "smtp"]);
    assert_eq!(said.code(), Some(1));
    assert!(said.error().contains("error: no TLS handshake: received corrupt message"), "{}", said.error());
    clear.finish();
}

#[test]
fn the_connection_comes_from_the_address_that_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = std::thread::spawn(move || {
        let (stream, peer) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        listens(stream);
        peer
    });
    send(address, &["--source", "127.0.0.9"]).ok();
    assert_eq!(accepted.join().unwrap().ip().to_string(), "127.0.0.9");
}

#[test]
fn who_is_not_there_and_what_cannot_be_said_have_exit_codes_of_their_own() {
    let nobody = Nobody::new();
    let said = send(nobody.address(), &["--protocol", "smtp"]);
    assert_eq!(said.code(), Some(3));
    assert_eq!(said.error(), format!("error: {}: Connection refused (os error 111)\n", nobody.address()));
    let said = send(nobody.address(), &["--source", "::1"]);
    assert_eq!(said.code(), Some(3));
    assert!(said.error().contains("no address of the family of ::1"), "{}", said.error());
    for arguments in [
        &["--tlv", "colour=red"][..],
        &["--raw", "0g"],
        &["--version", "v1", "--crc"],
        &["--version", "none", "--client", "192.0.2.1:1"],
        &["--local", "--client", "192.0.2.1:1"],
        &["--protocol", "gopher"],
        &["--json"],
        &["--server-name", "a.example"],
        &["--timeout", "soon"],
    ] {
        let said = send(nobody.address(), arguments);
        assert_eq!((said.code(), said.out().as_str()), (Some(2), ""), "{arguments:?}: {}", said.error());
    }
    // What only the codec can judge, once there is a connection.
    let server = Fake::start(listens);
    let said = send(server.address, &["--tlv", "noop=65000", "--tlv", "noop=65000"]);
    assert_eq!(said.code(), Some(2));
    assert!(said.error().starts_with("error: no such header can be made: "), "{}", said.error());
    server.finish();
}

#[test]
fn help_has_examples_and_exit_codes() {
    let help = Answer(Command::new(BINARY).args(["send", "--help"]).output().unwrap()).ok().out();
    for text in ["Exit codes: 0", "Examples:", "--split 5,16", "alibaba-endpoint=ID", "2001:db8::1"] {
        assert!(help.contains(text), "{text}: {help}");
    }
}
