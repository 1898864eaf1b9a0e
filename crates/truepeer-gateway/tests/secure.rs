//! `require-secure` and `backend-when-secure` end to end: TLS counts only where the proxy's header says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use crate::support::fake::Nobody;
use crate::support::{HeaderMailServer, House, Record, expect, read_to_end};
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::Readiness;

const GREETING: &[u8] = b"220 backend ready\r\n";
const OWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// SSL TLVs, byte for byte: type, length, client flags, verify result.
const TLS: &[u8] = b"\x20\0\x05\x01\0\0\0\0";
const NO_TLS: &[u8] = b"\x20\0\x05\0\0\0\0\0";

/// A v2 header for 203.0.113.LAST with these TLVs.
fn v2(last: u8, tlvs: &[u8]) -> Vec<u8> {
    let len = u8::try_from(tlvs.len()).unwrap().checked_add(12).unwrap();
    let fixed = [0xcb, 0, 0x71, last, 198, 51, 100, 25, 0x12, 0x67, 0, 25];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", &[len][..], &fixed, tlvs].concat()
}

fn sends(house: &House, header: &[u8]) -> TcpStream {
    let mut stream = house.connect();
    stream.write_all(header).unwrap();
    stream
}

fn refused(house: &House, header: &[u8]) -> (String, Record) {
    let stream = sends(house, header);
    let heard = String::from_utf8(read_to_end(&stream)).unwrap();
    drop(stream);
    (heard, house.record())
}

fn elsewhere(backend: SocketAddr) -> String {
    format!(
        "backend-when-secure = \"auth\"\n[backend.auth]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n"
    )
}

#[test]
fn one_client_is_refused_without_tls_another_behind_the_same_proxy_is_served_and_so_is_the_proxy() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Submission, backend.address, "require-secure = true\n");
    let said = "554 5.7.0 mx.example this service takes TLS connections only\r\n";
    for (header, cause) in [
        (v2(7, b""), "the header does not say that the client used TLS"),
        (v2(7, NO_TLS), "the header does not say that the client used TLS"),
        (
            b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n".to_vec(),
            "a version 1 header says nothing of TLS",
        ),
    ] {
        let (heard, record) = refused(&house, &header);
        assert_eq!(heard, said);
        record.assert(&[
            ("outcome", "secure_required"),
            ("rule", "require_secure"),
            ("cause", cause),
            ("client", "203.0.113.7:4711"),
            ("bytes_in", "0"),
        ]);
        assert!(record.get("remedy").unwrap().contains("send-proxy-v2-ssl"), "{}", record.0);
        assert_eq!(record.get("backend"), None, "{}", record.0);
    }
    expect(&sends(&house, &v2(8, TLS)), GREETING);
    house.record().assert(&[("outcome", "done"), ("client", "203.0.113.8:4711")]);
    expect(&sends(&house, OWN), b"220 ");
}

#[test]
fn a_client_without_a_proxy_has_no_tls_that_we_know_of() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Submission, backend.address, "require-secure = true\n");
    let stream = house.connect_from([127, 0, 0, 9].into());
    assert_eq!(read_to_end(&stream), b"554 5.7.0 mx.example this service takes TLS connections only\r\n");
    drop(stream);
    let record = house.record();
    record.assert(&[("outcome", "secure_required"), ("source", "direct")]);
    assert_eq!(record.get("remedy"), None, "{}", record.0);
}

#[test]
fn the_refusal_is_in_the_listeners_language() {
    for (protocol, more, said) in [
        (Protocol::Imap, "", "* BYE [PRIVACYREQUIRED] this service takes TLS connections only\r\n"),
        (Protocol::Pop3, "", "-ERR [SYS/PERM] this service takes TLS connections only\r\n"),
        (Protocol::ManageSieve, "", "BYE \"this service takes TLS connections only\"\r\n"),
        (Protocol::Imap, "tls.implicit = true\n", ""),
    ] {
        let backend = HeaderMailServer::start();
        let house = House::written(protocol, backend.address, &format!("{more}require-secure = true\n"));
        let (heard, record) = refused(&house, &v2(7, b""));
        assert_eq!(heard, said, "{protocol}");
        record.assert(&[("outcome", "secure_required")]);
    }
}

#[test]
fn a_denied_client_hears_that_first_and_a_refused_one_uses_up_no_limit() {
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Submission,
        backend.address,
        "require-secure = true\naccess.deny = [\"203.0.113.9\"]\nlimits.rate-per-client = \"1/1h\"\n",
    );
    refused(&house, &v2(9, b"")).1.assert(&[("outcome", "access_denied")]);
    for _ in 0..3 {
        refused(&house, &v2(7, b"")).1.assert(&[("outcome", "secure_required")]);
    }
    expect(&sends(&house, &v2(7, TLS)), GREETING);
}

#[test]
fn clients_over_tls_go_to_their_own_backend_which_is_proved_too() {
    let (plain, auth) = (HeaderMailServer::start(), HeaderMailServer::start());
    let house = House::written(Protocol::Submission, plain.address, &elsewhere(auth.address));
    let pools = house.server.pools();
    assert_eq!(pools.len(), 2);
    for pool in &pools {
        assert!(pool.is_ready(), "{}", pool.backend.id);
        assert!(pool.targets().iter().all(|target| *target.readiness() == Readiness::Proved));
    }
    for (header, id, backend) in
        [(v2(7, TLS), "auth", &auth), (v2(8, b""), "b", &plain), (v2(9, NO_TLS), "b", &plain)]
    {
        let mut stream = sends(&house, &header);
        expect(&stream, GREETING);
        stream.write_all(b"NOOP\r\n").unwrap();
        expect(&stream, b"250 ok\r\n");
        drop(stream);
        house.record().assert(&[("outcome", "done"), ("backend", id)]);
        let (told, heard) = backend.heard();
        assert!(told.starts_with("PROXY TCP4 203.0.113."), "{told}");
        assert_eq!(heard, b"NOOP\r\n");
    }
    // The proxy's own connections have no TLS to speak of, and reach neither.
    expect(&sends(&house, OWN), b"220 ");
}

#[test]
fn a_secure_client_never_falls_back_to_the_other_backend() {
    let plain = HeaderMailServer::start();
    // Nobody listens there any more.
    let nobody = Nobody::new();
    let gone = nobody.address();
    let house = House::written(Protocol::Submission, plain.address, &elsewhere(gone));
    let (heard, record) = refused(&house, &v2(7, TLS));
    assert_eq!(heard, "421 4.3.2 mx.example no server is ready for you now, try again later\r\n");
    record.assert(&[("outcome", "backend_unready")]);
    expect(&sends(&house, &v2(8, b"")), GREETING);
}
