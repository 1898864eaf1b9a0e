//! What the built-in backend says, word for word and without IO; then over loopback, where its bounds show.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use truepeer::{ClientIdentity, HeaderReader, HeaderRules, PeerAddress, Progress};

use super::facts::tests::fact;
use super::session::Session;
use super::{Limits, Whoami};
use crate::facts::protocol::Protocol;
use crate::rooms::own::{Answer, Then};

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.25 4711 25\r\n";
const V1_IPV6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// A v2 header for a client whose TLS ended at the proxy: version, cipher, a common name that was verified, a host
/// name with a byte that no name has, and an id of raw bytes.
const V2_TLS: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x57\
    \xcb\0\x71\x07\xc0\0\x02\x19\x12\x67\0\x19\
    \x20\0\x30\x07\0\0\0\0\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_128_GCM_SHA256\x22\0\x05a b\"c\
    \x02\0\x08mx.test\"\x05\0\x03\0\xff\x0a\x01\0\x04smtp";

fn identity(header: &[u8]) -> ClientIdentity {
    let peer = PeerAddress::tcp("127.0.0.1:53210".parse().unwrap());
    match HeaderReader::new(HeaderRules::default(), peer, Instant::now()).advance(header) {
        Ok(Progress::Done { identity, header_len }) => {
            assert_eq!(header_len, header.len());
            identity
        }
        other => panic!("{other:?}"),
    }
}

/// Everything that is said to a client that asks [`question`], and how it ends.
fn interview(protocol: Protocol, header: &[u8]) -> (String, Then) {
    let mut session = Session::new(protocol, &identity(header));
    let mut reply = session.greet();
    if reply.then == Then::GoOn {
        let answers = session.receive(protocol.question());
        reply.bytes.extend(answers.bytes);
        reply.then = answers.then;
    }
    (String::from_utf8(reply.bytes).unwrap(), reply.then)
}

#[test]
fn a_client_is_told_who_it_is_in_each_protocol() {
    let you = "you are 203.0.113.7:4711, connected through 127.0.0.1:53210, in clear text (I believe it because the \
               peer is in the trusted networks and sent a v1 header)";
    let facts = ["client=203.0.113.7:4711", "peer=127.0.0.1:53210", "destination=192.0.2.25:25", "source=v1"];
    let lines = |start: &str, end: &str| -> String {
        facts.iter().chain(&["tls=none"]).map(|fact| format!("{start}{fact}{end}")).collect()
    };
    let hello = |name: &str| {
        format!(
            "220 whoami.truepeer {name} {you}\r\n250-whoami.truepeer\r\n{}250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n\
             221 2.0.0 whoami.truepeer goodbye\r\n",
            lines("250-", "\r\n")
        )
    };
    let sieve = format!(
        "\"IMPLEMENTATION\" \"truepeer\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"VERSION\" \"1.0\"\r\n\
         \"XWHOAMI\" \"{}tls=none\"\r\n",
        lines("", " ").replace("tls=none ", "")
    );
    let page = format!("whoami.truepeer {you}\n{}", lines("", "\n"));
    for (protocol, expected) in [
        (Protocol::Smtp, hello("ESMTP")),
        (Protocol::Submission, hello("ESMTP")),
        (Protocol::Lmtp, hello("LMTP")),
        (
            Protocol::Imap,
            format!(
                "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] whoami.truepeer {you}\r\n{}a1 OK done\r\n\
                 * BYE goodbye\r\na2 OK done\r\n",
                lines("* OK ", "\r\n")
            ),
        ),
        (
            Protocol::Pop3,
            format!(
                "+OK whoami.truepeer {you}\r\n+OK capabilities follow\r\n{}PIPELINING\r\nRESP-CODES\r\n.\r\n\
                 +OK goodbye\r\n",
                lines("", "\r\n")
            ),
        ),
        (
            Protocol::ManageSieve,
            format!("{sieve}OK \"whoami.truepeer {you}\"\r\n{sieve}OK \"done\"\r\nOK \"goodbye\"\r\n"),
        ),
        (
            Protocol::Http,
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
                 Cache-Control: no-store\r\nConnection: close\r\n\r\n{page}",
                page.len()
            ),
        ),
        (Protocol::Tcp, page.clone()),
    ] {
        let (said, then) = interview(protocol, V1);
        assert_eq!(said, expected, "{protocol}");
        assert_eq!(then, Then::Close, "{protocol}");
    }
}

#[test]
fn the_facts_follow_the_header() {
    type Facts = &'static [(&'static str, Option<&'static str>)];
    const CASES: &[(&str, &[u8], Facts)] = &[
        (
            "v1 over IPv6",
            V1_IPV6,
            &[
                ("client", Some("[2001:db8::7]:4711")),
                ("destination", Some("[2001:db8::25]:25")),
                ("source", Some("v1")),
                ("tls", Some("none")),
                ("own", None),
            ],
        ),
        (
            "v2 with TLS facts",
            V2_TLS,
            &[
                ("client", Some("203.0.113.7:4711")),
                ("peer", Some("127.0.0.1:53210")),
                ("source", Some("v2")),
                ("tls", Some("TLSv1.3")),
                ("cipher", Some("TLS_AES_128_GCM_SHA256")),
                ("common_name", Some("a%20b%22c")),
                ("authority", Some("mx.test%22")),
                ("alpn", Some("smtp")),
                ("id", Some("%00%FF%0A")),
            ],
        ),
        (
            "the proxy's own connection",
            LOCAL,
            &[
                ("client", Some("none")),
                ("destination", Some("none")),
                ("source", Some("v2")),
                ("own", Some("local")),
                ("tls", Some("none")),
            ],
        ),
        ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n", &[("client", Some("none")), ("own", Some("unknown"))]),
        (
            "ports and destination that were not told",
            b"PROXY TCP4 203.0.113.7 0.0.0.0 0 0\r\n",
            &[("client", Some("203.0.113.7")), ("destination", Some("none"))],
        ),
    ];
    for protocol in Protocol::ALL {
        for (name, header, facts) in CASES {
            let (said, _) = interview(protocol, header);
            for (word, value) in *facts {
                assert_eq!(fact(&said, word), *value, "{protocol}, {name}: {word} in {said}");
            }
        }
    }
}

#[test]
fn tls_and_the_proxy_itself_are_named_in_the_greeting() {
    let because = "(I believe it because the peer is in the trusted networks and sent a v2 header)\r\n";
    for (header, you) in [
        (V2_TLS, "you are 203.0.113.7:4711, connected through 127.0.0.1:53210, over TLSv1.3"),
        (LOCAL, "you are the proxy 127.0.0.1:53210 itself and speak for nobody (local)"),
    ] {
        let greeting = Session::new(Protocol::Smtp, &identity(header)).greet();
        let expected = format!("220 whoami.truepeer ESMTP {you} {because}");
        assert_eq!(String::from_utf8(greeting.bytes).unwrap(), expected);
    }
}

#[test]
fn no_mail_is_taken_and_nobody_logs_in() {
    let no = "this is a demonstration, no mail is served\r\n";
    for (protocol, asked, said) in [
        (Protocol::Smtp, "MAIL FROM:<a@example.com>", "451 4.7.1 "),
        (Protocol::Smtp, "RCPT TO:<b@example.net>", "451 4.7.1 "),
        (Protocol::Smtp, "DATA", "502 5.5.1 "),
        (Protocol::Lmtp, "RCPT TO:<b@example.net>", "451 4.7.1 "),
        (Protocol::Imap, "a LOGIN bob secret", "a NO [UNAVAILABLE] "),
        (Protocol::Pop3, "USER bob", "-ERR [SYS/TEMP] "),
    ] {
        let mut session = Session::new(protocol, &identity(V1));
        let reply = session.receive(format!("{asked}\r\n").as_bytes());
        assert_eq!(
            (String::from_utf8(reply.bytes).unwrap(), reply.then),
            (format!("{said}{no}"), Then::GoOn)
        );
    }
}

/// Short where a test waits for the end, long where the end would be wrong.
fn limits() -> Limits {
    let long = Duration::from_secs(60);
    Limits { header: long, idle: long, session: long, linger: long, at_once: 8 }
}

/// What is heard by a client that connects, writes each piece, and reads to the end.
async fn heard(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        // The other side may have ended it already.
        let _ = stream.write_all(piece).await;
    }
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn every_port_tells_the_facts_over_loopback_and_ends() {
    let whoami = Whoami::start_with(limits()).unwrap();
    for protocol in Protocol::ALL {
        let address = whoami.address(protocol);
        assert!(address.ip().is_loopback());
        let pieces = [V1, protocol.question()];
        for said in [heard(address, &pieces).await, heard(address, &[&pieces.concat()]).await] {
            assert_eq!(fact(&said, "client"), Some("203.0.113.7:4711"), "{protocol}: {said}");
            assert_eq!(fact(&said, "source"), Some("v1"), "{protocol}: {said}");
        }
    }
    shutdown(whoami).await;
}

#[tokio::test]
async fn the_peer_named_is_the_socket_that_connected() {
    let whoami = Whoami::start_with(limits()).unwrap();
    let mut stream = TcpStream::connect(whoami.address(Protocol::Tcp)).await.unwrap();
    stream.write_all(V1).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(fact(&said, "peer"), Some(stream.local_addr().unwrap().to_string().as_str()));
}

#[tokio::test]
async fn nothing_is_said_without_a_whole_header() {
    let whoami = Whoami::start_with(Limits { header: Duration::from_millis(20), ..limits() }).unwrap();
    for protocol in Protocol::ALL {
        let address = whoami.address(protocol);
        for bytes in
            [&b""[..], b"PROXY TCP4 203.0", b"EHLO x\r\nQUIT\r\n", b"PROXY TCP4 0.0.0.0 192.0.2.1 1 2\r\n"]
        {
            assert_eq!(heard(address, &[bytes]).await, "", "{protocol}: {bytes:?}");
        }
    }
}

#[tokio::test]
async fn silence_and_slowness_end_a_conversation() {
    let short = Duration::from_millis(100);
    for limits in [Limits { idle: short, ..limits() }, Limits { session: short, ..limits() }] {
        let whoami = Whoami::start_with(limits).unwrap();
        let said = heard(whoami.address(Protocol::Smtp), &[V1]).await;
        assert!(said.starts_with("220 ") && said.lines().count() == 1, "{said}");
    }
}

#[tokio::test]
async fn an_endless_line_ends_with_a_word_that_arrives() {
    let whoami = Whoami::start_with(limits()).unwrap();
    let line = vec![b'x'; Answer::MAX_LINE + 20_000];
    let said = heard(whoami.address(Protocol::Smtp), &[V1, &line]).await;
    assert!(said.ends_with("421 4.7.0 whoami.truepeer line too long\r\n"), "{said}");
}

#[tokio::test]
async fn one_connection_too_many_waits_for_its_turn() {
    let whoami = Whoami::start_with(Limits { at_once: 1, ..limits() }).unwrap();
    let address = whoami.address(Protocol::Smtp);
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(V1).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(V1).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), second.read(&mut byte)).await;
    assert!(early.is_err(), "greeted while another connection is open");
    drop(first);
    assert_eq!(second.read(&mut byte).await.unwrap(), 1);
}

#[tokio::test]
async fn shutting_down_or_dropping_it_ends_connections_and_closes_the_ports() {
    for drop_only in [false, true] {
        let whoami = Whoami::start_with(limits()).unwrap();
        let address = whoami.address(Protocol::Imap);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(V1).await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        if drop_only {
            drop(whoami);
        } else {
            shutdown(whoami).await;
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(TcpStream::connect(address).await.is_err(), "still accepts");
    }
}

#[test]
fn outside_a_runtime_it_says_what_it_needs() {
    let error = Whoami::start().unwrap_err();
    assert_eq!(error.to_string(), "the built-in backend needs a tokio runtime around it");
}

/// Ends every connection and closes the ports, then returns.
async fn shutdown(mut whoami: Whoami) {
    whoami._ports.shutdown().await;
}
