//! Every case of `vectors/` through the shell: whole, byte by byte, at every split, and with a tail.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::path::Path;
use std::time::Instant;

use common::PROXY;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use truepeer::{
    Connection, HeaderReader, HeaderRules, Incoming, ListenerOptions, OwnConnection, PeerAddress, Progress,
    Refusal, Role, TrustPolicy,
};
use truepeer_testkit::scripted::{ScriptedStream, Step};

const TAIL: &[u8] = b"EHLO client\r\n";

struct Case {
    id: String,
    bytes: Vec<u8>,
    json: Value,
}

/// Those that a stream can carry and that are decided: accepted ones, then refused ones.
fn cases(expect: &str) -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/vectors.json");
    let list: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let cases: Vec<Case> = list
        .into_iter()
        .filter(|json| json["transport"] == "stream" && json["expect"] == expect)
        .map(|json| Case {
            id: json["id"].as_str().unwrap().into(),
            bytes: hex(json["hex"].as_str().unwrap()),
            json,
        })
        .collect();
    assert!(cases.len() > 20, "{}", cases.len());
    cases
}

async fn identify(stream: ScriptedStream) -> Result<Connection<ScriptedStream>, Refusal> {
    let policy = TrustPolicy::from(common::trusted());
    let options = ListenerOptions::new().unsafe_accept_implausible_clients();
    let peer = PeerAddress::tcp(PROXY.parse().unwrap());
    Incoming::new(stream, peer, None, &policy, &options).unwrap().identify().await
}

/// The header is recognised, says what it should, and every byte after it comes out.
async fn check_accepted(case: &Case, cuts: &[usize]) {
    let consumed = usize::try_from(case.json["consumed"].as_u64().unwrap()).unwrap();
    let whole = [&case.bytes, TAIL].concat();
    let (stream, handle) = ScriptedStream::in_pieces(&whole, cuts);
    handle.push(Step::Eof);
    let context = format!("{} cut at {cuts:?}", case.id);
    let mut connection = identify(stream).await.unwrap_or_else(|error| panic!("{context}: {error}"));
    let (src, command) =
        (case.json["src"].as_str().unwrap_or_default(), case.json["command"].as_str().unwrap());
    match connection.caller().client() {
        Some(client) => {
            let port = client.endpoint().to_socket_addr(0).port();
            assert_eq!(command, "PROXY", "{context}");
            let told: std::net::SocketAddr = src.parse().unwrap();
            assert_eq!((client.ip(), port), (told.ip().to_canonical(), told.port()), "{context}");
        }
        None => assert!(
            command != "PROXY" || src.is_empty() || src.starts_with("unix:") || case.bytes[13] & 0xF == 2,
            "{context}: a client was lost"
        ),
    }
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, whole[consumed..], "{context}");
}

#[tokio::test(start_paused = true)]
async fn accepted_headers_at_every_split_with_a_tail() {
    for case in cases("accept") {
        check_accepted(&case, &[]).await;
        let len = case.bytes.len() + TAIL.len();
        // All splits of what is short enough, and a few hundred of the rest.
        for cut in (1..len).step_by(1 + len / 400) {
            check_accepted(&case, &[cut]).await;
        }
        let every: Vec<usize> = (1..len).collect();
        check_accepted(&case, &every).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refused_headers_are_refused_whole_and_byte_by_byte() {
    for case in cases("reject") {
        let every: Vec<usize> = (1..case.bytes.len()).collect();
        for cuts in [&[][..], &every] {
            let (stream, handle) = ScriptedStream::in_pieces(&case.bytes, cuts);
            handle.push(Step::Eof);
            let error = identify(stream).await.err().unwrap_or_else(|| panic!("{} was accepted", case.id));
            let Refusal::Header(error) = error else { panic!("{}: {error}", case.id) };
            assert!(
                !matches!(error.reason().code(), "header_empty" | "header_truncated" | "header_timeout"),
                "{}: {error}",
                case.id
            );
            assert!(handle.is_closed(), "{}", case.id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn incomplete_headers_end_at_the_end_and_at_the_deadline() {
    let truncated = cases("accept");
    for case in &truncated {
        for cut in [1, case.bytes.len() / 2] {
            let consumed = usize::try_from(case.json["consumed"].as_u64().unwrap()).unwrap();
            let part = case.bytes[..cut.min(consumed - 1)].to_vec();
            let (stream, _handle) = ScriptedStream::new([Step::Bytes(part.clone()), Step::Eof]);
            assert_eq!(identify(stream).await.unwrap_err().code(), "header_truncated", "{}", case.id);
            let (stream, _handle) = ScriptedStream::new([Step::Bytes(part)]);
            assert_eq!(identify(stream).await.unwrap_err().code(), "header_timeout", "{}", case.id);
        }
    }
}

/// The largest header that is accepted by default, in one piece and in many, leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_header_of_the_cap_is_read_and_one_byte_more_is_refused() {
    let header = |noop: usize| {
        let mut bytes = common::V2.to_vec();
        bytes.push(4);
        bytes.extend(u16::try_from(noop).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + noop, 0);
        let len = u16::try_from(bytes.len() - 16).unwrap();
        bytes[14..16].copy_from_slice(&len.to_be_bytes());
        bytes
    };
    let most = 4112 - 28 - 3;
    for cuts in [vec![], vec![16, 512, 1024, 4111], (1..4112).collect()] {
        let (stream, handle) = ScriptedStream::in_pieces(&[header(most), TAIL.to_vec()].concat(), &cuts);
        handle.push(Step::Eof);
        let mut connection = identify(stream).await.unwrap();
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, TAIL);
    }
    let (stream, handle) = ScriptedStream::in_pieces(&header(most + 1), &[16]);
    let error = identify(stream).await.unwrap_err();
    assert_eq!(error.code(), "header_too_long");
    assert!(handle.reads_polled() <= 3, "refused at its length field, not at its end");
}

/// Whatever else a header says: under LOCAL there is no client, no destination and no TLS.
#[test]
fn local_never_yields_an_address_or_a_tls_fact() {
    let peer = PeerAddress::tcp(PROXY.parse().unwrap());
    let reader = HeaderReader::new(HeaderRules::default(), peer, Instant::now());
    let mut accepted = 0;
    for case in cases("accept").iter().chain(&cases("reject")) {
        let mut bytes = case.bytes.clone();
        if !bytes.starts_with(b"\r\n\r\n") || bytes.len() < 16 {
            continue;
        }
        bytes[12] = 0x20;
        if let Ok(Progress::Done { identity, .. }) = reader.advance(&bytes) {
            accepted += 1;
            assert_eq!(identity.role(), Role::ProxyOwn(OwnConnection::Local), "{}", case.id);
            assert!(identity.client().is_none() && identity.destination().is_none(), "{}", case.id);
            assert!(identity.tls().is_none() && !identity.is_secure(), "{}", case.id);
            assert!(identity.authority().is_none() && identity.unique_id().is_none(), "{}", case.id);
        }
    }
    assert!(accepted > 30, "{accepted}");
}
