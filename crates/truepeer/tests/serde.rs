//! Identities out, networks in: what the feature `serde` writes and reads.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Instant;

use serde_json::{Value, json};
use truepeer::{
    Caller, Client, ClientIdentity, HeaderReader, HeaderRules, NetworkSet, OwnConnection, PeerAddress,
    Progress, ProxyOwn, TrustedNetworks,
};

const PROXY: &str = "192.0.2.10:1000";

fn identity(header: &[u8]) -> ClientIdentity {
    let reader =
        HeaderReader::new(HeaderRules::new(), PeerAddress::tcp(PROXY.parse().unwrap()), Instant::now());
    match reader.advance(header).unwrap() {
        Progress::Done { identity, .. } => identity,
        Progress::NeedMore { .. } => panic!("whole"),
    }
}

fn json(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// A version 2 header of 203.0.113.5:40000 for 198.51.100.2:25 with these TLVs.
fn v2(tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut area = vec![203, 0, 113, 5, 198, 51, 100, 2, 0x9C, 0x40, 0, 25];
    for (kind, value) in tlvs {
        area.push(*kind);
        area.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        area.extend_from_slice(value);
    }
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend_from_slice(&u16::try_from(area.len()).unwrap().to_be_bytes());
    header.extend_from_slice(&area);
    header
}

#[test]
fn an_identity_is_an_object_of_what_is_known() {
    let mut ssl = vec![0x01, 0, 0, 0, 0];
    ssl.extend_from_slice(b"\x21\0\x07TLSv1.3");
    let whole = v2(&[(0x01, b"h2"), (0x02, b"mx.example"), (0x05, &[0xAB, 0x00, 0xFF]), (0x20, &ssl)]);
    let expected = json!({
        "client": "203.0.113.5:40000", "peer": PROXY, "destination": "198.51.100.2:25", "source": "v2",
        "secure": true, "tls_version": "TLSv1.3", "authority": "mx.example", "alpn": "h2", "unique_id": "ab00ff",
    });
    assert_eq!(json(identity(&whole)), expected);
    let Caller::Client(client) = Caller::from(identity(&whole)) else { panic!("a client") };
    assert_eq!(json(&client), expected);
    assert_eq!(json(Caller::Client(client)), expected);
    let direct = Client::from_direct("[2001:db8::5]:40000".parse().unwrap());
    let expected = json!({ "client": "[2001:db8::5]:40000", "peer": "[2001:db8::5]:40000", "source": "direct", "secure": false });
    assert_eq!(json(direct), expected);
}

#[test]
fn a_client_chooses_no_keys_and_breaks_no_text() {
    let hostile = v2(&[(0x01, b"\"},{\"client\":\"1.2.3.4\x00\xFF")]);
    let text = serde_json::to_string(&identity(&hostile)).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value.get("client").unwrap(), "203.0.113.5:40000", "{text}");
    assert_eq!(value.get("alpn").unwrap(), "\"},{\"client\":\"1.2.3.4\0\u{FFFD}", "{text}");
}

#[test]
fn a_proxys_own_connection_has_no_client() {
    let expected = json!({ "own": "local", "peer": PROXY });
    let own = ProxyOwn::new(OwnConnection::Local, PeerAddress::tcp(PROXY.parse().unwrap()));
    assert_eq!(json(own), expected);
    assert_eq!(json(Caller::ProxyOwn(own)), expected);
    let local = identity(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0");
    assert_eq!(json(local), json!({ "own": "local", "peer": PROXY, "source": "v2", "secure": false }));
}

#[test]
fn networks_come_from_a_list_and_go_back_into_one() {
    let list = json!(["192.0.2.10/32", "2001:db8:7::/64"]);
    let trusted: TrustedNetworks = serde_json::from_value(json!(["192.0.2.10", "2001:db8:7::/64"])).unwrap();
    assert!(trusted.contains("2001:db8:7::9".parse().unwrap()));
    assert_eq!(json(&trusted), list);
    let set: NetworkSet = serde_json::from_value(list.clone()).unwrap();
    assert_eq!(json(&set), list);
    assert!(serde_json::from_value::<NetworkSet>(json!(["0.0.0.0/0"])).is_ok(), "a set trusts nobody");
}

#[test]
fn no_file_trusts_everybody_by_accident() {
    for (list, because) in [
        (json!(["0.0.0.0/0"]), "would let everybody speak for everybody"),
        (json!(["0.0.0.0/1", "128.0.0.0/1"]), "would let everybody speak for everybody"),
        (json!(["proxy.example"]), "\"proxy.example\" is no address such as 192.0.2.10"),
        (json!("192.0.2.10"), "a list of addresses"),
        (json!([3_221_225_994_u32]), "expected a string"),
    ] {
        let error = serde_json::from_value::<TrustedNetworks>(list.clone()).unwrap_err().to_string();
        assert!(error.contains(because), "{list}: {error}");
    }
}
