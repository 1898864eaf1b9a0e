//! Every example as a program, run and spoken to as its reader would.
//!
//! `cargo test` builds the examples beside the tests; their arguments say where to listen and who is a proxy.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{V1, V2};

/// A running example; it ends with the test.
struct Program {
    child: Child,
    addr: SocketAddr,
}

impl Program {
    /// Starts `name`, which trusts loopback and listens on a free port. `more`: arguments between the two.
    fn start(name: &str, more: &[&str], dir: &Path) -> Self {
        let tests = std::env::current_exe().unwrap();
        let program = tests.parent().unwrap().with_file_name("examples").join(name);
        let mut child = Command::new(&program)
            .arg("127.0.0.1:0")
            .args(more)
            .arg("127.0.0.1")
            .current_dir(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; `cargo test` without --test builds it", program.display())
            });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{name}: {line}"));
        Self { child, addr: addr.parse().unwrap() }
    }

    /// What it answers to `bytes` and the end of them.
    fn answer(&self, bytes: &[&[u8]]) -> String {
        let stream = self.say(bytes);
        stream.shutdown(Shutdown::Write).unwrap();
        Self::listen(stream)
    }

    /// What it answers to an HTTP/1.0 request behind `header`. HTTP servers take a half-close for a client that left.
    fn get(&self, header: &[u8]) -> String {
        Self::listen(self.say(&[header, b"GET / HTTP/1.0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"]))
    }

    fn say(&self, bytes: &[&[u8]]) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(&bytes.concat()).unwrap();
        stream
    }

    fn listen(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_example_is_short_and_is_run_here() {
    let tests = std::fs::read_to_string(here().join("tests/programs.rs")).unwrap();
    for entry in std::fs::read_dir(here().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        // A folder is no example to read at one sitting; `mail` is a small server, told in `docs/`,
        // and `quic` has the socket that quinn wants, which is to be copied.
        if path.is_dir() {
            let socket = std::fs::read_to_string(path.join("socket.rs")).unwrap_or_default();
            assert!(socket.lines().count() < 60, "{}", path.display());
            continue;
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(lines < 60, "{name}: {lines} lines");
        assert!(tests.contains(&format!("Program::start(\"{name}\"")), "{name} is not run");
    }
}

#[test]
fn line_and_smtp_and_backend_know_the_client() {
    let line = Program::start("line", &[], &here());
    let smtp = Program::start("smtp", &[], &here());
    let mail = Program::start("mail", &["smtp"], &here());
    let proxy = Program::start("backend", &[&line.addr.to_string()], &here());
    for header in [V1, V2] {
        assert_eq!(line.answer(&[header, b"one\n"]), "hello 203.0.113.5:40000\none\n");
        assert_eq!(proxy.answer(&[header, b"two\n"]), "hello 203.0.113.5:40000\ntwo\n");
        let session = smtp.answer(&[header, b"EHLO client\r\nQUIT\r\n"]);
        assert!(session.contains("250 mx.example.org greets 203.0.113.5\r\n221 bye\r\n"), "{session}");
        let session = mail.answer(&[header, b"EHLO client\r\nQUIT\r\n"]);
        assert!(session.contains("250-mx.example.org greets 203.0.113.5\r\n"), "{session}");
    }
    assert_eq!(line.answer(&[b"no header\n"]), "", "a trusted peer without a header gets nothing");
}

#[test]
fn hyper_knows_the_client() {
    let program = Program::start("hyper", &[], &here());
    for header in [V1, V2] {
        let answer = program.get(header);
        assert!(answer.ends_with("\r\n\r\nhello 203.0.113.5:40000\n"), "{answer}");
    }
}

#[cfg(feature = "axum")]
#[test]
fn axum_knows_the_client() {
    let program = Program::start("axum", &[], &here());
    for header in [V1, V2] {
        let answer = program.get(header);
        assert!(answer.contains("\r\n\r\nhello 203.0.113.5:40000, through 127.0.0.1:"), "{answer}");
    }
}

#[cfg(feature = "actix")]
#[test]
fn actix_knows_the_client() {
    let program = Program::start("actix", &[], &here());
    for header in [V1, V2] {
        let answer = program.get(header);
        assert!(answer.contains("\r\n\r\nhello 203.0.113.5:40000, through 127.0.0.1:"), "{answer}");
    }
}

#[test]
fn dns_knows_the_client() {
    let program = Program::start("dns", &[], &here());
    let proxy = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    proxy.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // As V2, with UDP for TCP, and the question for the A record of `a.`.
    let mut header = V2.to_vec();
    header[13] = 0x12;
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    proxy.send_to(&[&header, &question[..]].concat(), program.addr).unwrap();
    let mut answer = [0; 512];
    let (len, _) = proxy.recv_from(&mut answer).unwrap();
    assert_eq!((&answer[..2], &answer[len - 4..len]), (&question[..2], &[203, 0, 113, 5][..]));
}

#[cfg(feature = "tokio-rustls")]
#[test]
fn quic_reads_what_is_behind_the_header() {
    let (dir, _) = folder_and_pair("quic");
    let program = Program::start("quic", &[], &dir);
    let proxy = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    proxy.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut header = V2.to_vec();
    header[13] = 0x12;
    // RFC 9000, 6: a version that nobody speaks is answered with those that are, to the proxy and without a header.
    let mut greeting = b"\xC0\x1A\x2A\x3A\x4A\x08destinat\x06source".to_vec();
    greeting.resize(1200, 0);
    proxy.send_to(&greeting, program.addr).unwrap();
    proxy.send_to(&[header, greeting].concat(), program.addr).unwrap();
    let mut answer = [0; 1500];
    let (len, _) = proxy.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[1..21], b"\0\0\0\0\x06source\x08destinat");
    assert!(answer[21..len].chunks(4).any(|version| version == [0, 0, 0, 1]), "{:?}", &answer[21..len]);
    // Without a header there is none.
    proxy.set_nonblocking(true).unwrap();
    assert!(proxy.recv_from(&mut answer).is_err());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[cfg(all(feature = "axum", feature = "tower"))]
#[test]
fn tower_knows_the_client_and_no_forged_field() {
    let program = Program::start("tower", &[], &here());
    for header in [V1, V2] {
        let answer = program.get(header);
        assert!(answer.ends_with("\r\n\r\nhello 203.0.113.5:40000, forged: false\n"), "{answer}");
    }
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn tonic_judges_the_client() {
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let program = Program::start("tonic", &[], &here());
    for (client, answer) in [("203.0.113.5:1", "0"), ("198.51.100.7:1", "7")] {
        let io = TokioIo::new(common::net::dial_as(program.addr, client).await);
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        // An empty HealthCheckRequest in a gRPC frame.
        let body = http_body_util::Full::new(hyper::body::Bytes::from_static(&[0; 5]));
        let request = http::Request::post("http://health.example/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let response = send.send_request(request).await.unwrap();
        let early = response.headers().get("grpc-status").cloned();
        let collected = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        let status = early.or_else(|| collected.trailers()?.get("grpc-status").cloned());
        assert_eq!(status.unwrap(), answer, "{client}: 0 is OK, 7 is permission denied");
    }
}

#[cfg(feature = "tokio-rustls")]
#[tokio::test]
async fn tls_knows_the_client() {
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;
    use tokio_rustls::{TlsConnector, rustls};

    let (dir, certificate) = folder_and_pair("tls");
    let program = Program::start("tls", &[], &dir);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for header in [V1, V2] {
        let stream = common::net::dial(program.addr, header).await;
        let mut stream = connector.connect("mx.example.org".try_into().unwrap(), stream).await.unwrap();
        let mut hello = String::new();
        stream.read_to_string(&mut hello).await.unwrap();
        assert_eq!(hello, "hello 203.0.113.5:40000\n");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A folder with what an example reads in it, and its certificate.
#[cfg(feature = "tokio-rustls")]
fn folder_and_pair(name: &str) -> (PathBuf, tokio_rustls::rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let dir = std::env::temp_dir().join(format!("truepeer-example-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("chain.pem"), pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(dir.join("key.pem"), pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    (dir, made.cert.der().clone())
}

/// RFC 7468, for one thing.
#[cfg(feature = "tokio-rustls")]
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - three.len()));
        for at in 0..4 {
            text.push(if at <= three.len() { char::from(DIGITS[bits >> (18 - 6 * at) & 63]) } else { '=' });
        }
    }
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
