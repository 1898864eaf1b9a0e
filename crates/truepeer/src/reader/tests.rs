#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::time::Duration;

use truepeer_proto::Versions;

use super::*;

const V1: &[u8] = b"PROXY TCP4 203.0.113.5 198.51.100.2 40000 25\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x05\xc6\x33\x64\x02\x9c\x40\0\x19";

fn reader(decoder: Decoder) -> HeaderReader {
    let peer = PeerAddress::tcp("192.0.2.10:1000".parse().unwrap());
    HeaderReader::new(HeaderRules::new().decoder(decoder), peer, Instant::now() + Duration::from_secs(5))
}

/// The code, the fault and the text for bytes that are refused.
fn refusal(bytes: &[u8]) -> (&'static str, Fault, String) {
    let error = reader(Decoder::new()).advance(bytes).unwrap_err();
    (error.reason().code(), error.fault(), error.to_string())
}

#[test]
fn done_tells_the_length_and_leaves_the_rest_alone() {
    for header in [V1, V2] {
        let bytes = [header, b"EHLO client\r\n"].concat();
        let Ok(Progress::Done { identity, header_len }) = reader(Decoder::new()).advance(&bytes) else {
            panic!()
        };
        assert_eq!(header_len, header.len());
        assert_eq!(identity.client().unwrap().to_string(), "203.0.113.5:40000");
    }
}

/// A reader that reads exactly what it is asked for ends exactly at the header's end.
#[test]
fn at_least_never_leads_beyond_the_header() {
    for header in [V1, V2] {
        let mut have = 0;
        loop {
            match reader(Decoder::new()).advance(&header[..have]).unwrap() {
                Progress::NeedMore { at_least } => {
                    assert!(at_least >= 1);
                    have += at_least;
                    assert!(have <= header.len(), "{have}");
                }
                Progress::Done { header_len, .. } => {
                    assert_eq!((header_len, have), (header.len(), header.len()));
                    break;
                }
            }
        }
    }
}

#[test]
fn every_refusal_names_what_was_seen_where_and_whose_fault() {
    let overrun = [V2[..14].to_vec(), vec![0, 16], V2[16..].to_vec(), vec![4, 0, 9, 0]].concat();
    let checksum = [V2[..14].to_vec(), vec![0, 19], V2[16..].to_vec(), vec![3, 0, 4, 1, 2, 3, 4]].concat();
    for (bytes, code, said) in [
        (&b"\x16\x03\x01\x00\xc8\x01"[..], "header_missing", "a TLS ClientHello (byte 0)"),
        (
            b"EHLO client\r\n",
            "header_missing",
            "\"EHLO client\\r\\n\", which looks like an SMTP command (byte 0)",
        ),
        (b"PROXY TCP4 203.0.113.256 198.51.100.2 40000 25\r\n", "header_malformed", "(byte 23)"),
        (&[V2[..12].to_vec(), vec![0x31]].concat(), "header_malformed", "(byte 12)"),
        (&overrun, "header_malformed", "(byte 29)"),
        (&checksum, "header_checksum", "(byte 31)"),
        (&[V2[..14].to_vec(), vec![0x10, 0x01]].concat(), "header_too_long", "(byte 14)"),
    ] {
        let (got, fault, text) = refusal(bytes);
        assert_eq!((got, fault), (code, Fault::Peer), "{text}");
        assert!(text.starts_with("192.0.2.10:1000 "), "{text}");
        assert!(text.contains(said), "{text}\n{said}");
    }
}

#[test]
fn versions_that_were_not_asked_for_are_refused() {
    for (versions, bytes) in [(Versions::V1Only, V2), (Versions::V2Only, V1)] {
        let error = reader(Decoder::new().versions(versions)).advance(bytes).unwrap_err();
        assert_eq!(error.reason().code(), "header_version", "{error}");
    }
}

#[test]
fn the_end_and_the_deadline_say_how_far_it_came() {
    let reader = reader(Decoder::new());
    for (error, code, fault, at, text) in [
        (reader.ended(b""), "header_empty", Fault::Nobody, 0, "a header and closed without sending a byte"),
        (
            reader.ended(b"PROX"),
            "header_truncated",
            Fault::Peer,
            4,
            "closed inside its header, of which \"PROX\" had come (byte 4)",
        ),
        (reader.expired(b""), "header_timeout", Fault::Peer, 0, "sent nothing before the deadline"),
        (reader.expired(b"\r\n"), "header_timeout", Fault::Peer, 2, "so far \"\\r\\n\" (byte 2)"),
    ] {
        assert_eq!((error.reason().code(), error.fault(), error.at()), (code, fault, at));
        assert!(error.to_string().ends_with(text), "{error}");
    }
}

#[test]
fn a_client_that_cannot_be_true_is_found_where_its_address_stands() {
    let v1 = b"PROXY TCP4 127.0.0.1 198.51.100.2 40000 25\r\n";
    let v2 = [&V2[..16], &[127, 0, 0, 1], &V2[20..]].concat();
    for (header, at) in [(&v1[..], 11), (&v2, 16)] {
        let error = reader(Decoder::new()).advance(header).unwrap_err();
        assert_eq!(
            (error.reason().code(), error.fault(), error.at()),
            ("client_implausible", Fault::Peer, at)
        );
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        assert!(error.to_string().ends_with(&format!("(byte {at})")), "{error}");
        // The named byte is the address.
        assert!(header[at..].starts_with(b"127.") || header[at..].starts_with(&[127, 0, 0, 1]));
    }
}

/// What is one's own is told to the rules, or the check is left to the caller: forgotten it cannot be.
#[test]
fn the_rules_say_whose_addresses_no_client_can_have() {
    let peer = PeerAddress::tcp("192.0.2.10:1000".parse().unwrap());
    let own: NetworkSet = ["203.0.113.0/24".parse().unwrap()].into_iter().collect();
    let loopback = b"PROXY TCP4 127.0.0.1 198.51.100.2 40000 25\r\n";
    let strict = HeaderRules::new().own_addresses(own.clone());
    let lax = HeaderRules::new().unsafe_accept_implausible_clients();
    for (rules, header, refused) in [
        (&strict, V1, true),
        (&strict, &loopback[..], true),
        (&HeaderRules::new(), V1, false),
        (&lax, &loopback[..], false),
    ] {
        let reader = HeaderReader::new(rules.clone(), peer, Instant::now());
        match reader.advance(header) {
            Err(error) => assert!(refused && error.reason().code() == "client_implausible", "{error}"),
            Ok(Progress::Done { identity, .. }) => {
                assert!(!refused);
                assert!(reader.check_plausible(&identity, &own).is_err(), "asked for afterwards");
            }
            Ok(more) => panic!("{more:?}"),
        }
    }
}

#[test]
fn small_enough_to_keep_for_every_pending_header() {
    assert!(size_of::<HeaderReader>() <= 100, "{}", size_of::<HeaderReader>());
}
