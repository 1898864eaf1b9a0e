//! Every error of the library in a function that returns `std::io::Result`, by `?`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::io::{self, ErrorKind};
use std::time::Instant;

use truepeer::{HeaderReader, HeaderRules, Nat64Prefix, PeerAddress, TrustedNetworks};

fn peer() -> PeerAddress {
    PeerAddress::tcp("192.0.2.10:1000".parse().unwrap())
}

fn reader() -> HeaderReader {
    HeaderReader::new(HeaderRules::new(), peer(), Instant::now())
}

#[test]
fn every_error_is_an_io_error_where_one_is_wanted() {
    let header = |bytes: &'static [u8]| -> io::Result<()> { Ok(reader().advance(bytes).map(drop)?) };
    let ended = |bytes: &'static [u8]| -> io::Result<()> { Err(reader().ended(bytes).into()) };
    let late = || -> io::Result<()> { Err(reader().expired(b"PRO").into()) };
    let network = || -> io::Result<()> { Ok(TrustedNetworks::parse(["x"]).map(drop)?) };
    let prefix = || -> io::Result<()> { Ok("64:ff9b::/97".parse::<Nat64Prefix>().map(drop)?) };
    for (result, kind, says) in [
        (header(b"GET / HTTP/1.1"), ErrorKind::InvalidData, "looks like an HTTP request"),
        (header(b"PROXY TCP4 127.0.0.1 198.51.100.2 1 25\r\n"), ErrorKind::InvalidData, "loopback"),
        (ended(b""), ErrorKind::UnexpectedEof, "without sending a byte"),
        (ended(b"PRO"), ErrorKind::UnexpectedEof, "closed inside its header"),
        (late(), ErrorKind::TimedOut, "before the deadline"),
        (network(), ErrorKind::InvalidInput, "no address such as 192.0.2.10"),
        (prefix(), ErrorKind::InvalidInput, "length 97 is not defined"),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        // What it was is still there.
        assert!(error.get_ref().is_some(), "{error}");
    }
    // The types themselves come back out.
    let error = header(b"GET / HTTP/1.1").unwrap_err();
    let error = error.downcast::<truepeer::IdentifyError>().unwrap();
    assert_eq!(error.reason().code(), "header_missing");
}

#[cfg(feature = "tokio")]
#[test]
fn refusals_are_io_errors_as_well() {
    use truepeer::Refusal;

    for (refusal, kind) in [
        (Refusal::Unlisted(peer()), ErrorKind::PermissionDenied),
        (Refusal::Denied(peer()), ErrorKind::PermissionDenied),
        (Refusal::Evicted(peer()), ErrorKind::ConnectionAborted),
        (Refusal::Undecided(peer()), ErrorKind::TimedOut),
        (Refusal::Broken { peer: peer(), kind: ErrorKind::ConnectionReset }, ErrorKind::ConnectionReset),
        (Refusal::Header(reader().expired(b"")), ErrorKind::TimedOut),
        (Refusal::Rejected { peer: peer(), client: None, because: "no" }, ErrorKind::PermissionDenied),
    ] {
        let text = refusal.to_string();
        let error = io::Error::from(refusal);
        assert_eq!((error.kind(), error.to_string()), (kind, text));
    }
}

/// What a handler's test needs: somebody who is calling.
#[test]
fn a_caller_can_be_made_for_tests() {
    use truepeer::{Client, IdentitySource, OwnConnection, ProxyOwn, proto::Version};

    let client =
        Client::through_proxy("203.0.113.5:40000".parse().unwrap(), "192.0.2.10:1000".parse().unwrap());
    assert_eq!((client.to_string(), client.identity().peer()), ("203.0.113.5:40000".to_owned(), peer()));
    assert_eq!(client.identity().source(), IdentitySource::Header(Version::V2));
    let direct = Client::from_direct("203.0.113.5:40000".parse().unwrap());
    assert_eq!(direct.identity().source(), IdentitySource::Direct);
    assert_eq!(direct.identity().peer().to_string(), "203.0.113.5:40000");
    let own = ProxyOwn::new(OwnConnection::Local, peer());
    assert_eq!(own.to_string(), "proxy 192.0.2.10:1000 itself (local)");
}
