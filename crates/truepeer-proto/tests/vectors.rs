//! Every case of `vectors/`: whole, at every split, byte by byte, as asked for, and with a tail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#![allow(clippy::arithmetic_side_effects, reason = "a test may fail")]
mod common;

use common::{Case, assert_says, cases};
use truepeer_proto::{Decode, DecodeError, Decoder, decode, spp::SimpleHeader};

/// Length of the header that a case must give.
fn consumed(case: &Case) -> usize {
    case.json["consumed"].as_u64().unwrap() as usize
}

fn streams(expect: &str) -> Vec<Case> {
    let chosen: Vec<Case> =
        cases().into_iter().filter(|case| !case.datagram && case.expect == expect).collect();
    assert!(!chosen.is_empty());
    chosen
}

#[test]
fn every_case_gives_its_verdict() {
    for case in cases().iter().filter(|case| !case.datagram) {
        match (case.expect.as_str(), decode(&case.bytes)) {
            ("accept", Ok(Decode::Complete { header, len })) => {
                assert_eq!(len, consumed(case), "{}", case.id);
                assert_eq!(header.as_bytes(), &case.bytes[..len], "{}", case.id);
                assert_says(&header, case);
            }
            ("incomplete", Ok(Decode::Incomplete { at_least })) => assert!(at_least > 0, "{}", case.id),
            ("reject", Err(error)) => {
                assert_eq!(error.kind().code(), case.reason, "{}: {error}", case.id);
                assert!(error.at() < case.bytes.len(), "{}: {error}", case.id);
            }
            (expect, found) => panic!("{}: expected {expect} {}, found {found:?}", case.id, case.reason),
        }
    }
}

#[test]
fn every_datagram_case_gives_its_verdict() {
    for case in cases().iter().filter(|case| case.datagram) {
        if case.json["version"] == "spp" {
            match (case.expect.as_str(), SimpleHeader::decode(&case.bytes)) {
                ("accept", Ok(header)) => {
                    assert_eq!(case.json["src"], header.client.to_string());
                    assert_eq!(case.json["dst"], header.proxy.to_string());
                    assert_eq!(header.encode(), case.bytes[..consumed(case)]);
                }
                ("reject", Err(error)) => assert_eq!(error.kind().code(), case.reason, "{}", case.id),
                (expect, found) => panic!("{}: expected {expect}, found {found:?}", case.id),
            }
            continue;
        }
        match (case.expect.as_str(), Decoder::new().decode_datagram(&case.bytes)) {
            ("accept", Ok((header, len))) => {
                assert_eq!(len, consumed(case), "{}", case.id);
                assert_says(&header, case);
            }
            ("reject", Err(error)) => assert_eq!(error.kind().code(), case.reason, "{}", case.id),
            (expect, found) => panic!("{}: expected {expect}, found {found:?}", case.id),
        }
    }
}

#[test]
fn every_proper_prefix_of_a_valid_header_is_incomplete() {
    for case in streams("accept") {
        let len = consumed(&case);
        for cut in 0..len {
            let Ok(Decode::Incomplete { at_least }) = decode(&case.bytes[..cut]) else {
                panic!("{} cut at {cut}: {:?}", case.id, decode(&case.bytes[..cut]));
            };
            assert!((1..=len - cut).contains(&at_least), "{} cut at {cut}: asks for {at_least}", case.id);
            if case.bytes[0] == b'\r' && cut >= 16 {
                assert_eq!(at_least, len - cut, "{} cut at {cut}: v2 knows its length", case.id);
            }
        }
    }
}

#[test]
fn reading_what_is_asked_for_ends_at_the_last_byte_of_the_header() {
    for case in streams("accept") {
        let mut have = 0;
        let len = loop {
            match decode(&case.bytes[..have]).unwrap() {
                Decode::Incomplete { at_least } => have += at_least,
                Decode::Complete { len, .. } => break len,
            }
        };
        assert_eq!((have, len), (consumed(&case), consumed(&case)), "{}", case.id);
    }
}

#[test]
fn bytes_behind_the_header_change_nothing() {
    for case in streams("accept") {
        let len = consumed(&case);
        let Ok(Decode::Complete { header: alone, .. }) = decode(&case.bytes[..len]) else {
            panic!("{}: the header alone is refused", case.id);
        };
        for tail in
            [&b"EHLO client.example\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n", b"PROXY UNKNOWN\r\n", b"\n", b"\0"]
        {
            let mut bytes = case.bytes[..len].to_vec();
            bytes.extend_from_slice(tail);
            let Ok(Decode::Complete { header, len: found }) = decode(&bytes) else {
                panic!("{}: refused with a tail", case.id);
            };
            assert_eq!((header, found), (alone, len), "{}", case.id);
            assert_eq!(&bytes[found..], tail, "{}", case.id);
        }
    }
}

#[test]
fn a_refusal_is_the_same_in_one_piece_and_byte_by_byte() {
    for case in streams("reject") {
        let whole = decode(&case.bytes).unwrap_err();
        let (cut, first) = first_refusal(&case.bytes).unwrap();
        assert_eq!(first.kind(), whole.kind(), "{} at {cut}", case.id);
        assert_eq!(first.at(), whole.at(), "{} at {cut}", case.id);
        for longer in cut..case.bytes.len() {
            assert_eq!(decode(&case.bytes[..longer]).unwrap_err().kind(), whole.kind(), "{}", case.id);
        }
    }
}

#[test]
fn an_undecided_case_is_undecided_at_every_length() {
    for case in streams("incomplete") {
        assert_eq!(first_refusal(&case.bytes), None, "{}", case.id);
    }
}

/// The shortest prefix that is refused, and why.
fn first_refusal(bytes: &[u8]) -> Option<(usize, DecodeError)> {
    (0..=bytes.len()).find_map(|cut| decode(&bytes[..cut]).err().map(|error| (cut, error)))
}
