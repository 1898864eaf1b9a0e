//! The profile's choices and switches, rule by rule, where a case of `vectors/` does not say enough.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#![allow(clippy::arithmetic_side_effects, reason = "a test may fail")]
use truepeer_proto::{
    Addresses, Checksum, Command, Decode, DecodeErrorKind as Kind, Decoder, Header, MixedFamilies, Transport,
    V2_SIGNATURE, Versions, decode,
};

/// A v2 header of these octets 12 and 13 with this body.
fn v2(octets: [u8; 2], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&V2_SIGNATURE[..], &octets, &length, body].concat()
}

/// 192.0.2.1:56324 to 198.51.100.2:25, and what follows.
fn inet(tlvs: &[u8]) -> Vec<u8> {
    let block = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0, 25];
    v2([0x21, 0x11], &[&block[..], tlvs].concat())
}

fn complete<'a>(decoder: Decoder, bytes: &'a [u8]) -> Header<'a> {
    match decoder.decode(bytes) {
        Ok(Decode::Complete { header, len }) => {
            assert_eq!(len, bytes.len());
            header
        }
        other => panic!("{other:?} for {}", bytes.escape_ascii()),
    }
}

/// Asserts kind and byte of the refusal, the same whether the bytes come at once or one by one.
fn refused(bytes: &[u8], kind: Kind, at: usize) {
    let error = decode(bytes).expect_err(&bytes.escape_ascii().to_string());
    assert_eq!((error.kind(), error.at()), (kind, at), "{} for {}", error, bytes.escape_ascii());
    let first = (0..=bytes.len()).find_map(|cut| decode(&bytes[..cut]).err()).unwrap();
    assert_eq!(first, error, "byte by byte, {}", bytes.escape_ascii());
}

#[test]
fn v1_refusals_name_the_first_wrong_byte() {
    for (line, kind, at) in [
        ("GET / HTTP/1.1\r\n", Kind::BadSignature, 0),
        ("PROXX TCP4", Kind::BadSignature, 4),
        ("PROXY\tTCP4", Kind::BadSignature, 5),
        ("PROXY tcp4", Kind::V1Family, 6),
        ("PROXY TCP5 ", Kind::V1Family, 9),
        ("PROXY TCP44 ", Kind::V1Family, 10),
        ("PROXY UNKNOWNS\r\n", Kind::V1Family, 13),
        ("PROXY \r\n", Kind::V1Family, 6),
        ("PROXY TCP4\r\n", Kind::V1Fields, 10),
        ("PROXY TCP4  192.0.2.1", Kind::V1Fields, 11),
        ("PROXY TCP4 192.0.2.1\r\n", Kind::V1Fields, 20),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", Kind::V1Fields, 35),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", Kind::V1Fields, 37),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n", Kind::V1Fields, 37),
        ("PROXY TCP4 192.0.2.256 ", Kind::V1Address, 21),
        ("PROXY TCP4 192.0.02.1 ", Kind::V1Address, 18),
        ("PROXY TCP4 192.0.2 ", Kind::V1Address, 18),
        ("PROXY TCP4 192.0.2.1.1 ", Kind::V1Address, 20),
        ("PROXY TCP4 ::1 ", Kind::V1Address, 11),
        ("PROXY TCP6 192.0.2.1 ", Kind::V1Address, 14),
        ("PROXY TCP6 [::1] ", Kind::V1Address, 11),
        ("PROXY TCP6 fe80::1%1 ", Kind::V1Address, 18),
        ("PROXY TCP6 1::2::3 ", Kind::V1Address, 16),
        ("PROXY TCP6 12345::1 ", Kind::V1Address, 15),
        ("PROXY TCP6 1:2:3:4:5:6:7 ", Kind::V1Address, 24),
        ("PROXY TCP6 1:2:3:4:5:6:7:8:9 ", Kind::V1Address, 26),
        ("PROXY TCP6 1:2:3:4:5:6:7::8 ", Kind::V1Address, 26),
        ("PROXY TCP6 ::256.0.0.1 ", Kind::V1Address, 16),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n", Kind::V1Port, 38),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 025 25\r\n", Kind::V1Port, 35),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 +25 25\r\n", Kind::V1Port, 34),
        ("PROXY TCP4 192.0.2.1 198.51.100.2  25\r\n", Kind::V1Port, 34),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n", Kind::V1Port, 36),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n", Kind::V1Eol, 37),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\rX", Kind::V1Eol, 38),
        ("PROXY UNKNOWN a\rb\r\n", Kind::V1Eol, 16),
        ("PROXY UNKNOWN\n", Kind::V1Eol, 13),
    ] {
        refused(line.as_bytes(), kind, at);
    }
}

#[test]
fn a_v1_line_ends_within_107_bytes() {
    let line = |junk: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(junk)).into_bytes();
    assert_eq!(complete(Decoder::new(), &line(91)).as_bytes().len(), 107);
    // Byte 105 must be the CR: nothing later could be.
    refused(&line(92), Kind::V1TooLong, 105);
    refused(&line(92)[..106], Kind::V1TooLong, 105);
    assert!(matches!(decode(&line(92)[..105]), Ok(Decode::Incomplete { .. })));
    // Two dotted tails make 116 bytes, each field valid; the second address has no room to end.
    let dotted = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
    refused(format!("PROXY TCP6 {dotted} {dotted} 1 2\r\n").as_bytes(), Kind::V1TooLong, 101);
    let shorter = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.25";
    let line = format!("PROXY TCP6 {dotted} {shorter} 0 0\r\n");
    assert_eq!(line.len(), 107);
    assert_eq!(complete(Decoder::new(), line.as_bytes()).transport(), Transport::Stream);
}

#[test]
fn any_byte_but_cr_and_lf_is_skipped_after_unknown() {
    for byte in (0..=255).filter(|byte| !b"\r\n".contains(byte)) {
        let line = [b"PROXY UNKNOWN ", &[byte, byte][..], b"\r\n"].concat();
        let header = complete(Decoder::new(), &line);
        assert_eq!((header.command(), header.addresses()), (Command::Proxy, Addresses::Unspecified));
    }
}

#[test]
fn mixed_families_are_read_only_when_asked_for() {
    let lenient = Decoder::new().mixed_families(MixedFamilies::Accept);
    for (line, at, source, destination) in [
        (
            "PROXY TCP6 2001:db8::7 127.0.0.1 4711 21500\r\n",
            26,
            "[2001:db8::7]:4711",
            "[::ffff:127.0.0.1]:21500",
        ),
        ("PROXY TCP4 203.0.113.7 ::1 4711 25\r\n", 23, "[::ffff:203.0.113.7]:4711", "[::1]:25"),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", 14, "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2"),
    ] {
        refused(line.as_bytes(), Kind::V1Address, at);
        let addresses = complete(lenient, line.as_bytes()).addresses();
        assert_eq!(addresses.source().unwrap().to_string(), source);
        assert_eq!(addresses.destination().unwrap().to_string(), destination);
    }
    for line in ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY TCP6 ::1 ::2 1 2\r\n", "PROXY UNKNOWN\r\n"]
    {
        assert_eq!(lenient.decode(line.as_bytes()), decode(line.as_bytes()), "a right line is not read anew");
    }
}

#[test]
fn v2_refusals_name_the_first_wrong_byte() {
    let mut signature = inet(&[]);
    signature[11] = b'\r';
    refused(&signature, Kind::BadSignature, 11);
    for version in (0..16).filter(|version| *version != 2) {
        refused(&v2([version << 4 | 1, 0x11], &[0; 12]), Kind::V2Version, 12);
    }
    for command in 2..16 {
        refused(&v2([0x20 | command, 0x11], &[0; 12]), Kind::V2Command, 12);
    }
    for octet in 0..=255u8 {
        let header = v2([0x21, octet], &[0; 216]);
        match (octet >> 4, octet & 15) {
            (4.., _) => refused(&header, Kind::V2Family, 13),
            (_, 3..) => refused(&header, Kind::V2Protocol, 13),
            (0, 1..) | (1.., 0) => refused(&header, Kind::V2Combination, 13),
            _ => assert!(decode(&header).is_ok(), "{octet:#x}"),
        }
    }
    for (octet, enough) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
        for short in 0..enough {
            refused(&v2([0x21, octet], &vec![0; short]), Kind::V2Length, 14);
        }
        complete(Decoder::new(), &v2([0x21, octet], &vec![0; enough]));
    }
}

#[test]
fn every_family_and_transport_is_read() {
    let udp = v2(
        [0x21, 0x22],
        &[[0x20; 16], [0x21; 16]].concat().into_iter().chain([0, 1, 0, 2]).collect::<Vec<_>>(),
    );
    let header = complete(Decoder::new(), &udp);
    assert_eq!(header.transport(), Transport::Datagram);
    assert_eq!(header.addresses().source().unwrap().port(), 1);
    assert_eq!(header.addresses().destination().unwrap().port(), 2);
    let mut block = [0; 216];
    block[..9].copy_from_slice(b"/run/a\0\0\0");
    block[108..112].copy_from_slice(b"\0srv");
    let unix = v2([0x21, 0x32], &block);
    let Addresses::Unix { source, destination } = complete(Decoder::new(), &unix).addresses() else {
        panic!()
    };
    assert_eq!((source.name(), source.is_abstract()), (&b"/run/a"[..], false));
    assert_eq!((destination.name(), destination.is_abstract()), (&b"srv"[..], true));
    assert_eq!(source.as_bytes()[..], block[..108]);
    assert_eq!(format!("{destination:?}"), "unix:@srv");
}

#[test]
fn local_ignores_family_and_block() {
    let ssl = [0x20, 0, 5, 7, 0, 0, 0, 0];
    for octet in 0..=255u8 {
        for body in [&[][..], &[0xff; 5], &[0; 36], &ssl] {
            let bytes = v2([0x20, octet], body);
            let header = complete(Decoder::new(), &bytes);
            assert_eq!((header.command(), header.transport()), (Command::Local, Transport::Unspecified));
            assert_eq!((header.addresses(), header.ssl()), (Addresses::Unspecified, None));
            assert_eq!(header.tlvs().count() > 0, octet == 0 && body != [0xff; 5] && !body.is_empty());
        }
    }
}

#[test]
fn local_tlvs_are_informational_but_for_the_checksum() {
    let long_id = [&[5, 0, 129][..], &[0; 129]].concat();
    complete(Decoder::new(), &v2([0x20, 0], &long_id));
    complete(Decoder::new(), &v2([0x20, 0], &[0x20, 0, 1, 0]));
    refused(&v2([0x20, 0], &[3, 0, 4, 1, 2, 3, 4]), Kind::TlvChecksum, 19);
    refused(&v2([0x20, 0], &[3, 0, 1, 1]), Kind::TlvChecksum, 17);
    refused(&v2([0x20, 0], &[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0]), Kind::TlvDuplicateChecksum, 23);
    // One stray byte behind a wrong checksum: then it is no TLV area at all.
    let opaque = v2([0x20, 0], &[3, 0, 4, 1, 2, 3, 4, 0]);
    assert_eq!(complete(Decoder::new(), &opaque).tlv_bytes(), b"");
}

#[test]
fn unspec_under_proxy_is_read_without_addresses() {
    let bytes = v2([0x21, 0x00], &[2, 0, 1, b'x']);
    let header = complete(Decoder::new(), &bytes);
    assert_eq!((header.command(), header.addresses()), (Command::Proxy, Addresses::Unspecified));
    assert_eq!(header.tlvs().count(), 1);
    refused(&v2([0x21, 0x00], &[2, 0, 9]), Kind::TlvTruncated, 17);
}

#[test]
fn tlv_refusals_name_the_first_wrong_byte() {
    refused(&inet(&[1]), Kind::TlvTruncated, 28);
    refused(&inet(&[4, 0, 0, 1, 0]), Kind::TlvTruncated, 31);
    refused(&inet(&[4, 0, 0, 1, 0, 2, 0]), Kind::TlvTruncated, 32);
    refused(&inet(&[3, 0, 5, 0, 0, 0, 0, 0]), Kind::TlvChecksum, 29);
    refused(&inet(&[3, 0, 4, 0, 0, 0, 0]), Kind::TlvChecksum, 31);
    refused(&inet(&[&[5, 0, 129][..], &[0; 129]].concat()), Kind::TlvUniqueId, 29);
    refused(&inet(&[0x20, 0, 4, 0, 0, 0, 0]), Kind::TlvSsl, 29);
    refused(&inet(&[0x20, 0, 8, 7, 0, 0, 0, 0, 0x21, 0, 1]), Kind::TlvSsl, 36);
    refused(&inet(&[0x20, 0, 6, 7, 0, 0, 0, 0, 0x21]), Kind::TlvSsl, 36);
}

#[test]
fn checksum_is_skipped_only_when_asked_for() {
    let bytes = inet(&[3, 0, 4, 1, 2, 3, 4]);
    refused(&bytes, Kind::TlvChecksum, 31);
    let skipping = Decoder::new().checksum(Checksum::Skip);
    assert_eq!(complete(skipping, &bytes).tlvs().count(), 1);
    let twice = inet(&[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0]);
    assert_eq!(skipping.decode(&twice).unwrap_err().kind(), Kind::TlvDuplicateChecksum);
}

#[test]
fn one_version_can_be_asked_for() {
    let (v1, v2) = (&b"PROXY UNKNOWN\r\n"[..], inet(&[]));
    for (versions, accepted, refused) in [(Versions::V1Only, v1, &v2[..]), (Versions::V2Only, &v2, v1)] {
        let decoder = Decoder::new().versions(versions);
        complete(decoder, accepted);
        let error = decoder.decode(refused).unwrap_err();
        assert_eq!((error.kind(), error.at()), (Kind::VersionNotAccepted, 0));
        // Only a whole signature tells the other version from noise.
        let signature = if versions == Versions::V1Only { 12 } else { 6 };
        assert_eq!(decoder.decode(&refused[..2]), Ok(Decode::Incomplete { at_least: signature - 2 }));
        let error = decoder.decode(&refused[..signature]).unwrap_err();
        assert_eq!(error.kind(), Kind::VersionNotAccepted, "the signature is all that it takes");
        let mut noise = refused[..4].to_vec();
        noise[3] = b'x';
        assert_eq!(decoder.decode(&noise).unwrap_err().kind(), Kind::BadSignature);
    }
}

#[test]
fn the_cap_counts_the_announced_length() {
    let body = [&[0; 12][..], &[4, 0x0f, 0xf1], &[0; 0x0ff1]].concat();
    assert_eq!(complete(Decoder::new(), &v2([0x21, 0x11], &body)).as_bytes().len(), Decoder::DEFAULT_MAX_LEN);
    let mut longer = v2([0x21, 0x11], &[body, vec![0]].concat());
    refused(&longer, Kind::TooLong, 14);
    longer.truncate(16);
    assert_eq!(decode(&longer).unwrap_err().kind(), Kind::TooLong, "decided before the body comes");
    let local = v2([0x20, 0x00], &[0xff; 4097]);
    refused(&local, Kind::TooLong, 14);
    assert!(Decoder::new().max_len(28).decode(&inet(&[])).is_ok());
    assert_eq!(Decoder::new().max_len(27).decode(&inet(&[])).unwrap_err().kind(), Kind::TooLong);
}

#[test]
fn frame_leaves_tlvs_unread() {
    let bytes = inet(&[3, 0, 4, 1, 2, 3, 4, 1, 0xff]);
    refused(&bytes, Kind::TlvTruncated, 35);
    let Ok(Decode::Complete { header, len }) = Decoder::new().frame(&bytes) else { panic!() };
    assert_eq!((len, header.tlv_bytes().len(), header.tlvs().count()), (37, 9, 1));
    // A line has none.
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n";
    assert_eq!(Decoder::new().frame(line), decode(line));
    assert!(decode(line).is_ok());
}

#[test]
fn a_datagram_is_whole_or_refused() {
    let decoder = Decoder::new();
    let bytes = [inet(&[]), b"payload".to_vec()].concat();
    let (header, len) = decoder.decode_datagram(&bytes).unwrap();
    assert_eq!((header.as_bytes().len(), &bytes[len..]), (28, &b"payload"[..]));
    for cut in 0..28 {
        let error = decoder.decode_datagram(&bytes[..cut]).unwrap_err();
        assert_eq!((error.kind(), error.at()), (Kind::Truncated, cut));
    }
    // What is said of a line has nothing to do with which versions a receiver was set to.
    let said = "v1 header: a line of text has no form for datagrams; allowed: version 2 (byte 0)";
    for versions in [Versions::Both, Versions::V1Only, Versions::V2Only] {
        let error = decoder.versions(versions).decode_datagram(b"PROXY UNKNOWN\r\n").unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::V1Datagram, said));
        let error = decoder.versions(versions).decode_datagram(b"GET / HTTP/1.1").unwrap_err();
        assert_eq!((error.kind(), error.at()), (Kind::BadSignature, 0));
        let error = decoder.versions(versions).decode_datagram(b"PRO").unwrap_err();
        assert_eq!((error.kind(), error.at()), (Kind::Truncated, 3));
    }
    let error = decoder.versions(Versions::V1Only).decode_datagram(&bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::VersionNotAccepted);
    assert!(error.to_string().starts_with("v2 header: "), "{error}");
}

#[test]
fn the_first_byte_tells_noise_from_a_header() {
    for byte in (0..=255).filter(|byte| !b"P\r".contains(byte)) {
        refused(&[byte], Kind::BadSignature, 0);
    }
    assert_eq!(decode(b""), Ok(Decode::Incomplete { at_least: 15 }));
    assert_eq!(decode(b"P"), Ok(Decode::Incomplete { at_least: 14 }));
    assert_eq!(decode(b"\r"), Ok(Decode::Incomplete { at_least: 15 }));
    assert_eq!(decode(b"PROXY TCP4"), Ok(Decode::Incomplete { at_least: 22 }));
    assert_eq!(decode(b"PROXY TCP6"), Ok(Decode::Incomplete { at_least: 12 }));
}

#[test]
fn errors_say_what_was_seen_what_is_allowed_and_where() {
    for (bytes, text) in [
        (
            v2([0x21, 0x41], &[]),
            "v2 header: address family 0x4 is not defined; \
             allowed: 0x0 (UNSPEC), 0x1 (INET), 0x2 (INET6), 0x3 (UNIX) (byte 13)",
        ),
        (v2([0x31, 0x11], &[0; 12]), "v2 header: version 0x3 is not defined; allowed: 0x2 (byte 12)"),
        (
            v2([0x21, 0x11], &[0; 4]),
            "v2 header: length 4 has no room for the addresses; \
             allowed: at least 12 (INET), 36 (INET6), 216 (UNIX) (byte 14)",
        ),
        (
            b"PROXY UNKNOWN\n".to_vec(),
            "v1 header: LF is half a line end; allowed: CR LF, and only at the end (byte 13)",
        ),
        (
            b"EHLO".to_vec(),
            "no PROXY header: 'E' belongs to no signature; \
             allowed: \"PROXY \" (v1) or 0d0a0d0a000d0a515549540a (v2) (byte 0)",
        ),
    ] {
        assert_eq!(decode(&bytes).unwrap_err().to_string(), text);
    }
    let error = decode(&v2([0x21, 0x11], &[0; 4])).unwrap_err();
    assert_eq!(error.seen(), Some(4));
}

/// What was seen, in words that stand in one line of a log.
#[test]
fn every_refusal_says_what_it_saw() {
    let checksum = [3, 0, 4, 0, 0, 0, 0];
    for (bytes, says) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), "no PROXY header: 'G' belongs to no signature"),
        (b"PROXY\tTCP4".to_vec(), "no PROXY header: 0x09 belongs to no signature"),
        (b"PROXY \r\n".to_vec(), "v1 header: CR belongs to no family name"),
        (b"PROXY TCP4  192.0.2.1".to_vec(), "v1 header: a space where another field belongs"),
        (b"PROXY TCP4 192.0.2.1\r\n".to_vec(), "v1 header: CR where another field belongs"),
        (b"PROXY TCP4 192.0.2.1\n".to_vec(), "v1 header: LF is half a line end"),
        (b"PROXY TCP4 192.0.2.x".to_vec(), "v1 header: 'x' makes this no address of the family"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 x".to_vec(), "v1 header: 'x' makes this no port"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\rx".to_vec(), "v1 header: 'x' is half a line end"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n".to_vec(), "v1 header: LF is half a line end"),
        ([&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(), "v1 header: no line end in time, 'x' instead"),
        (v2([0x31, 0x11], &[0; 12]), "v2 header: version 0x3 is not defined"),
        (v2([0x2A, 0x11], &[0; 12]), "v2 header: command 0xa is not defined"),
        (v2([0x21, 0x71], &[0; 12]), "v2 header: address family 0x7 is not defined"),
        (v2([0x21, 0x19], &[0; 12]), "v2 header: transport 0x9 is not defined"),
        (v2([0x21, 0x01], &[0; 12]), "v2 header: family and transport 0x01 are no pair"),
        (v2([0x21, 0x02], &[0; 12]), "v2 header: family and transport 0x02 are no pair"),
        (v2([0x21, 0x11], &[0; 11]), "v2 header: length 11 has no room for the addresses"),
        (inet(&[4, 0, 9, 0]), "v2 header: a TLV does not fit"),
        (inet(&checksum), "v2 header: CRC32C is wrong"),
        (inet(&[checksum, checksum].concat()), "v2 header: CRC32C stands twice"),
        (inet(&[&[5, 0, 129][..], &[0; 129]].concat()), "v2 header: UNIQUE_ID of 129 bytes"),
        (inet(&[0x20, 0, 1, 0]), "v2 header: SSL value is malformed"),
    ] {
        let error = decode(&bytes).expect_err(&bytes.escape_ascii().to_string());
        let said = error.to_string();
        let (seen, rest) = said.split_once("; allowed: ").unwrap();
        assert_eq!(seen, says, "{}", bytes.escape_ascii());
        assert!(rest.ends_with(&format!(" (byte {})", error.at())) && rest.len() > 12, "{said}");
    }
}

/// A reader that wants no byte of the client asks for no more than the shortest line still has, wherever it was cut.
#[test]
fn no_more_is_asked_for_than_the_shortest_line_has() {
    for line in [
        "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
        "PROXY TCP6 :: :: 0 0\r\n",
        "PROXY TCP6 1:: 1:: 0 0\r\n",
        "PROXY TCP6 1:2:: 1:2:: 0 0\r\n",
        "PROXY TCP6 ::1 ::0.0.0.0 0 0\r\n",
        "PROXY TCP6 1:2:3:4:5:6:7:8 1:2:3:4:5:6:0.0.0.0 0 0\r\n",
        "PROXY UNKNOWN\r\n",
    ] {
        for cut in 0..line.len() {
            let Ok(Decode::Incomplete { at_least }) = decode(&line.as_bytes()[..cut]) else {
                panic!("{line} at {cut}")
            };
            let rest = line.len() - cut;
            assert!((1..=rest).contains(&at_least), "{at_least} of {rest} for {:?}", &line[..cut]);
        }
    }
    // Not only a bound: what the shortest one has from here on is what is asked for.
    for (begun, rest) in [("PROXY TCP6 ", ":: :: 0 0\r\n"), ("PROXY TCP6 1", ":: :: 0 0\r\n")] {
        assert_eq!(decode(begun.as_bytes()), Ok(Decode::Incomplete { at_least: rest.len() }), "{begun:?}");
    }
}
