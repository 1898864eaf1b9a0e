//! The codec and the reference decoder agree on generated and damaged headers:
//! verdict, reason, byte, bytes missing, addresses, TLVs, length.
//!
//! `TRUEPEER_ORACLE_INPUTS` sets how many inputs, `TRUEPEER_ORACLE_SEED` where they begin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#![allow(clippy::print_stdout, reason = "the seed is printed")]
mod common;

use truepeer_proto::{
    Addresses, Command, Decode, DecodeError, Decoder, Header, MixedFamilies, Transport, Version,
};
use truepeer_testkit::reference::{
    Accepted, Profile, Verdict,
    generate::{Random, input},
    judge,
};

const INPUTS: u64 = 300_000;

#[test]
fn codec_and_reference_agree() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let inputs = number("TRUEPEER_ORACLE_INPUTS", INPUTS);
    let seed = number("TRUEPEER_ORACLE_SEED", 1);
    println!("{inputs} inputs from seed {seed}");
    let mut random = Random::new(seed);
    let mut ends = [0u64; 3];
    for nth in 0..inputs {
        let bytes = input(&mut random);
        let mixed_families = nth % 4 == 3;
        let families = if mixed_families { MixedFamilies::Accept } else { MixedFamilies::Refuse };
        let decoder = Decoder::new().mixed_families(families);
        let found = in_reference_words(decoder.decode(&bytes));
        let expected = judge(&bytes, Profile { mixed_families, ..Profile::default() });
        assert_eq!(found, expected, "input {nth} of seed {seed}: {}", bytes.escape_ascii());
        ends[match expected {
            Verdict::Accept(_) => 0,
            Verdict::NeedMore(_) => 1,
            Verdict::Reject(..) => 2,
        }] += 1;
    }
    println!("accepted, incomplete, refused: {ends:?}");
    assert!(ends.iter().all(|end| *end > inputs / 20), "the generator has lost its balance: {ends:?}");
}

#[test]
fn vectors_are_what_the_reference_says() {
    for case in common::cases().iter().filter(|case| !case.datagram) {
        match (case.expect.as_str(), judge(&case.bytes, Profile::default())) {
            ("accept", Verdict::Accept(header)) => {
                assert_eq!(case.json["consumed"], header.consumed, "{}", case.id);
                assert_eq!(case.json["command"], header.command, "{}", case.id);
            }
            ("incomplete", Verdict::NeedMore(_)) => {}
            ("reject", Verdict::Reject(reason, _)) => assert_eq!(reason, case.reason, "{}", case.id),
            (expect, found) => panic!("{}: expected {expect}, found {found:?}", case.id),
        }
    }
}

fn in_reference_words(result: Result<Decode<'_>, DecodeError>) -> Verdict {
    match result {
        Ok(Decode::Complete { header, len }) => {
            let accepted = accepted(&header);
            assert_eq!(accepted.consumed, len);
            Verdict::Accept(Box::new(accepted))
        }
        Ok(Decode::Incomplete { at_least }) => Verdict::NeedMore(at_least),
        Err(error) => Verdict::Reject(error.kind().code(), error.at()),
    }
}

fn accepted(header: &Header<'_>) -> Accepted {
    let addresses = header.addresses();
    let ends = match addresses {
        Addresses::Unspecified => None,
        Addresses::Unix { source, destination } => {
            Some((common::to_hex(source.as_bytes()), common::to_hex(destination.as_bytes())))
        }
        _ => Some((addresses.source().unwrap().to_string(), addresses.destination().unwrap().to_string())),
    };
    Accepted {
        consumed: header.as_bytes().len(),
        version: if header.version() == Version::V1 { 1 } else { 2 },
        command: match (header.version(), header.command(), &ends) {
            (_, Command::Local, _) => "LOCAL",
            (Version::V1, _, None) => "UNKNOWN",
            _ => "PROXY",
        },
        transport: match header.transport() {
            Transport::Unspecified => 0,
            Transport::Stream => 1,
            Transport::Datagram => 2,
        },
        ends,
        tlvs: header.tlvs().map(|tlv| (tlv.kind.0, tlv.value.to_vec())).collect(),
    }
}
