//! What the encoder writes, byte for byte, and what it refuses to write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#![allow(clippy::arithmetic_side_effects, reason = "a test may fail")]
mod common;

use common::hex;
use truepeer_proto::{
    Addresses, ClientFlags, Decode, EncodeError, Encoder, SslFacts, Tlv, TlvType, Transport, UnixAddress,
    decode,
};
use truepeer_testkit::reference::crc32c_of;

fn inet() -> Addresses<'static> {
    Addresses::Inet {
        source: "192.0.2.1:56324".parse().unwrap(),
        destination: "198.51.100.2:25".parse().unwrap(),
    }
}

fn inet6(source: &str, destination: &str) -> Addresses<'static> {
    Addresses::Inet6 { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// The bytes, having checked that the length was known and the slice untouched where it was too short.
fn encoded(header: Encoder<'_>) -> Vec<u8> {
    let len = header.encoded_len().unwrap();
    let mut out = vec![0xee; len + 5];
    for short in 0..len {
        assert_eq!(header.encode(&mut out[..short]), Err(EncodeError::BufferTooSmall { needed: len }));
        assert!(out.iter().all(|byte| *byte == 0xee), "written in part");
    }
    assert_eq!(header.encode(&mut out), Ok(len));
    assert_eq!(out[len..], [0xee; 5]);
    out.truncate(len);
    out
}

#[test]
fn v1_lines_are_canonical() {
    for (addresses, line) in [
        (Addresses::Unspecified, "PROXY UNKNOWN\r\n"),
        (inet(), "PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n"),
        (inet6("[2001:db8::1]:56324", "[::]:0"), "PROXY TCP6 2001:db8::1 :: 56324 0\r\n"),
        (inet6("[1:0:0:2::3]:9", "[::1]:10"), "PROXY TCP6 1:0:0:2::3 ::1 9 10\r\n"),
        (inet6("[1:2:3:4:5:6:7:8]:99", "[1::]:100"), "PROXY TCP6 1:2:3:4:5:6:7:8 1:: 99 100\r\n"),
        (
            inet6("[0:1::2:0]:999", "[1:0:2:3:4:5:6:0]:1000"),
            "PROXY TCP6 0:1::2:0 1:0:2:3:4:5:6:0 999 1000\r\n",
        ),
        (
            inet6("[::ffff:192.0.2.1]:9999", "[10:100::]:10000"),
            "PROXY TCP6 ::ffff:c000:201 10:100:: 9999 10000\r\n",
        ),
        (
            inet6("[0:0:1::]:1", "[abcd:ef01:2345:6789:abcd:ef01:2345:6789]:65535"),
            "PROXY TCP6 0:0:1:: abcd:ef01:2345:6789:abcd:ef01:2345:6789 1 65535\r\n",
        ),
    ] {
        assert_eq!(String::from_utf8(encoded(Encoder::v1(addresses))).unwrap(), line);
    }
    let all = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    assert_eq!(encoded(Encoder::v1(inet6(all, all))).len(), 104);
}

#[test]
fn every_octet_and_every_port_is_written_in_plain_decimal() {
    for number in 0..=u16::MAX {
        let [_, octet] = number.to_be_bytes();
        let source = std::net::SocketAddrV4::new([octet, 1, octet, 255].into(), number);
        let mut out = [0; 64];
        let len = Encoder::v1(Addresses::Inet { source, destination: source }).encode(&mut out).unwrap();
        let expected = format!("PROXY TCP4 {0} {0} {1} {1}\r\n", source.ip(), source.port());
        assert_eq!(out[..len], *expected.as_bytes());
        let source =
            std::net::SocketAddrV6::new([number, 0, 1, number, 0, 0, 0, number].into(), number, 7, 7);
        let mut out = [0; 128];
        let len = Encoder::v1(Addresses::Inet6 { source, destination: source }).encode(&mut out).unwrap();
        let expected = format!("PROXY TCP6 {0} {0} {1} {1}\r\n", source.ip(), source.port());
        assert_eq!(out[..len], *expected.as_bytes());
    }
}

#[test]
fn every_pattern_of_zero_groups_is_written_as_the_standard_library_does() {
    let groups = [0x1u16, 0xa2, 0xb03, 0xcd04, 0x90ef, 0x600, 0x70, 0x8];
    for pattern in 0..=u8::MAX {
        let groups = std::array::from_fn(|at| if pattern >> at & 1 == 1 { 0 } else { groups[at] });
        let address = std::net::Ipv6Addr::from(groups);
        let reversed = std::net::Ipv6Addr::from_bits(address.to_bits().reverse_bits());
        let [source, destination] = [address, reversed].map(|ip| std::net::SocketAddrV6::new(ip, 1, 0, 0));
        let expected = format!("PROXY TCP6 {address} {reversed} 1 1\r\n");
        let line = encoded(Encoder::v1(Addresses::Inet6 { source, destination }));
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}

#[test]
fn v2_headers_are_the_bytes_of_the_specification() {
    let plain = "0d0a0d0a000d0a515549540a2111000cc0000201c6336402dc040019";
    assert_eq!(encoded(Encoder::v2(inet())), hex(plain));
    let datagram = encoded(Encoder::v2(inet()).transport(Transport::Datagram));
    assert_eq!(datagram, hex(&plain.replace("2111000c", "2112000c")));
    assert_eq!(encoded(Encoder::local()), hex("0d0a0d0a000d0a515549540a20000000"));
    let v6 = encoded(Encoder::v2(inet6("[2001:db8::1]:1", "[2001:db8::2]:2")));
    let block = "20010db800000000000000000000000120010db800000000000000000000000200010002";
    assert_eq!(v6, hex(&format!("0d0a0d0a000d0a515549540a21210024{block}")));
    let (source, destination) = ([b'a'; 108], [0; 108]);
    let unix =
        Addresses::Unix { source: UnixAddress::new(&source), destination: UnixAddress::new(&destination) };
    let bytes = encoded(Encoder::v2(unix).transport(Transport::Datagram));
    assert_eq!(bytes[12..16], [0x21, 0x32, 0, 216]);
    assert_eq!((&bytes[16..124], &bytes[124..]), (&source[..], &destination[..]));
}

#[test]
fn checksum_is_last_and_right() {
    let tlvs =
        [Tlv { kind: TlvType::AUTHORITY, value: b"mail.example" }, Tlv { kind: TlvType::NOOP, value: b"" }];
    for header in [Encoder::v2(inet()).tlvs(&tlvs), Encoder::v2(inet()), Encoder::local().tlvs(&tlvs)] {
        let mut bytes = encoded(header.with_checksum());
        let Ok(Decode::Complete { len, .. }) = decode(&bytes) else { panic!() };
        let at = len - 4;
        assert_eq!(bytes[at - 3..at], [3, 0, 4]);
        let value = bytes[at..].to_vec();
        bytes[at..].fill(0);
        assert_eq!(value, crc32c_of(&bytes).to_be_bytes());
    }
}

#[test]
fn the_largest_header_is_written_and_one_byte_more_is_not() {
    let value = vec![0; 65_535 - 12 - 3];
    let fits = [Tlv { kind: TlvType::NOOP, value: &value }];
    let mut out = vec![0; truepeer_proto::V2_MAX_LEN];
    assert_eq!(Encoder::v2(inet()).tlvs(&fits).encode(&mut out), Ok(truepeer_proto::V2_MAX_LEN));
    assert_eq!(out[14..16], [0xff, 0xff]);
    let more = [fits[0], Tlv { kind: TlvType::NOOP, value: b"" }];
    assert_eq!(Encoder::v2(inet()).tlvs(&more).encoded_len(), Err(EncodeError::TooLong));
    assert_eq!(Encoder::v2(inet()).tlvs(&fits).with_checksum().encoded_len(), Err(EncodeError::TooLong));
    let long = vec![0; 65_536];
    let too_long = [Tlv { kind: TlvType::NOOP, value: &long }];
    assert_eq!(Encoder::v2(inet()).tlvs(&too_long).encoded_len(), Err(EncodeError::ValueTooLong));
}

#[test]
fn what_receivers_would_refuse_is_not_written() {
    let tlv = |kind, value| [Tlv { kind, value }];
    let (id, ssl, crc) = (
        tlv(TlvType::UNIQUE_ID, &[0; 129]),
        tlv(TlvType::SSL, &[1, 0, 0, 0, 0, 0x21]),
        tlv(TlvType::CRC32C, &[0; 4]),
    );
    let noop = tlv(TlvType::NOOP, b"");
    let facts = SslFacts::new(ClientFlags::SSL, 0, &[]);
    let zero = [0; 108];
    let unix = Addresses::Unix { source: UnixAddress::new(&zero), destination: UnixAddress::new(&zero) };
    for (header, error) in [
        (Encoder::v2(Addresses::Unspecified), EncodeError::MissingAddresses),
        (Encoder::v2(inet()).transport(Transport::Unspecified), EncodeError::MissingTransport),
        (Encoder::v2(inet()).tlvs(&id), EncodeError::ValueTooLong),
        (Encoder::v2(inet()).tlvs(&ssl), EncodeError::MalformedSsl),
        (Encoder::v2(inet()).tlvs(&crc), EncodeError::ReservedType),
        (Encoder::v1(unix), EncodeError::NotInV1),
        (Encoder::v1(inet()).tlvs(&noop), EncodeError::NotInV1),
        (Encoder::v1(inet()).with_checksum(), EncodeError::NotInV1),
        (Encoder::v1(inet()).ssl(facts), EncodeError::NotInV1),
        (Encoder::v1(inet()).transport(Transport::Datagram), EncodeError::NotInV1),
    ] {
        let mut out = [0xee; 300];
        assert_eq!((header.encoded_len(), header.encode(&mut out)), (Err(error), Err(error)));
        assert_eq!(out, [0xee; 300], "written in part");
        let said = error.to_string();
        assert!(said.len() > 20 && !said.contains('\n'), "{said}");
    }
    // The most and the least that they would read.
    for tlvs in [tlv(TlvType::UNIQUE_ID, &[0; 128]), tlv(TlvType::SSL, &[1, 0, 0, 0, 0])] {
        assert!(decode(&encoded(Encoder::v2(inet()).tlvs(&tlvs))).is_ok(), "{tlvs:?}");
    }
}

#[test]
fn an_ssl_tlv_is_made_from_facts() {
    let subs =
        [Tlv { kind: TlvType::SSL_VERSION, value: b"TLSv1.3" }, Tlv { kind: TlvType::SSL_CN, value: b"" }];
    let facts = SslFacts::new(ClientFlags(1), 0x0102_0304, &subs);
    let tlvs = [Tlv { kind: TlvType::ALPN, value: b"h2" }];
    let bytes = encoded(Encoder::v2(inet()).tlvs(&tlvs).ssl(facts).with_checksum());
    let ssl = b"\x20\x00\x12\x01\x01\x02\x03\x04\x21\x00\x07TLSv1.3\x22\x00\x00";
    let expected = [&b"\x01\x00\x02h2"[..], ssl, b"\x03\x00\x04"].concat();
    assert_eq!(bytes[28..bytes.len() - 4], expected);
    assert!(decode(&bytes).is_ok());
    let bare = SslFacts::new(ClientFlags(0), 0, &[]);
    assert_eq!(encoded(Encoder::v2(inet()).ssl(bare))[28..], *b"\x20\x00\x05\x00\x00\x00\x00\x00");
    let value = vec![0; 65_535 - 12 - 3 - 5 - 3];
    let fits = [Tlv { kind: TlvType::SSL_CLIENT_CERT, value: &value }];
    let header = Encoder::v2(inet()).ssl(SslFacts::new(bare.client, bare.verify, &fits));
    assert_eq!(header.encoded_len(), Ok(truepeer_proto::V2_MAX_LEN));
    assert_eq!(header.with_checksum().encoded_len(), Err(EncodeError::TooLong));
    let long = vec![0; 65_536];
    let too_long = [Tlv { kind: TlvType::SSL_CLIENT_CERT, value: &long }];
    let header = Encoder::v2(inet()).ssl(SslFacts::new(bare.client, bare.verify, &too_long));
    assert_eq!(header.encoded_len(), Err(EncodeError::ValueTooLong));
}
