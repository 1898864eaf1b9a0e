//! Every registered TLV and the vendors' conventions, read as what they are; nothing lost on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
use truepeer_proto::{
    Addresses, ClientFlags, Decode, Encoder, Ssl, SslFacts, Tlv, TlvType, TlvValue, Tlvs, decode,
};

fn value(kind: TlvType, value: &[u8]) -> TlvValue<'_> {
    Tlv { kind, value }.to_value()
}

#[test]
fn registered_types_are_read_as_what_they_are() {
    assert_eq!(value(TlvType::ALPN, b"h2"), TlvValue::Alpn(b"h2"));
    assert_eq!(value(TlvType::AUTHORITY, b"a\0b\xff"), TlvValue::Authority(b"a\0b\xff"));
    assert_eq!(value(TlvType::CRC32C, &[1, 2, 3, 4]), TlvValue::Crc32c(0x0102_0304));
    assert_eq!(value(TlvType::NOOP, b"whatever"), TlvValue::Noop);
    assert_eq!(value(TlvType::UNIQUE_ID, &[0; 128]), TlvValue::UniqueId(&[0; 128]));
    assert_eq!(value(TlvType::NETNS, b"blue"), TlvValue::Netns(b"blue"));
    let TlvValue::Ssl(ssl) = value(TlvType::SSL, &[7, 0, 0, 0, 1]) else { panic!() };
    assert_eq!((ssl.client, ssl.verify), (ClientFlags(7), 1));
}

#[test]
fn vendor_ids_have_the_byte_order_of_their_vendor() {
    assert_eq!(value(TlvType::GCP_PSC, &[0, 0, 0, 0, 0, 0, 1, 2]), TlvValue::GcpConnectionId(0x0102));
    assert_eq!(value(TlvType::AZURE, &[1, 0x78, 0x56, 0x34, 0x12]), TlvValue::AzureLinkId(0x1234_5678));
    assert_eq!(value(TlvType::AWS, b"\x01vpce-08d2"), TlvValue::AwsVpcEndpointId(b"vpce-08d2"));
    assert_eq!(value(TlvType::ALIBABA, b"\x01vpc-1"), TlvValue::AlibabaVpcId(b"vpc-1"));
    assert_eq!(value(TlvType::ALIBABA, b"\x02ep-1"), TlvValue::AlibabaEndpointId(b"ep-1"));
    assert_eq!(value(TlvType::ALIBABA, b"\x03srv-1"), TlvValue::AlibabaServiceId(b"srv-1"));
}

#[test]
fn what_does_not_fit_its_type_is_kept_as_bytes() {
    for (kind, bytes) in [
        (TlvType::CRC32C, &[1, 2, 3][..]),
        (TlvType::UNIQUE_ID, &[0; 129]),
        (TlvType::SSL, &[1, 0, 0, 0]),
        (TlvType::GCP_PSC, &[0; 7]),
        (TlvType::ALIBABA, &[4, b'x']),
        (TlvType::AWS, &[2, b'x']),
        (TlvType::AWS, &[]),
        (TlvType::AZURE, &[1, 1, 2, 3, 4, 5]),
        (TlvType::AZURE, &[2, 1, 2, 3, 4]),
        (TlvType(0x00), b"x"),
        (TlvType(0xff), b""),
    ] {
        assert_eq!(value(kind, bytes), TlvValue::Other(Tlv { kind, value: bytes }));
    }
}

#[test]
fn ranges_are_those_of_the_registry() {
    for kind in (0..=255).map(TlvType) {
        assert_eq!(kind.is_application(), (0xe0..=0xef).contains(&kind.0));
        assert_eq!(kind.is_experiment(), (0xf0..=0xf7).contains(&kind.0));
        assert_eq!(kind.is_future(), (0xf8..=0xff).contains(&kind.0));
        let registered = matches!(kind.0, 1..=5 | 0x20..=0x28 | 0x30);
        assert_eq!(kind.name().is_some(), registered, "{kind}");
    }
    assert_eq!((TlvType::SSL_CN.to_string(), TlvType::AWS.to_string()), ("SSL_CN".into(), "0xea".into()));
}

#[test]
fn every_sub_tlv_of_ssl_has_its_reader() {
    let subs: Vec<Tlv<'_>> = [
        (TlvType::SSL_VERSION, &b"TLSv1.3"[..]),
        (TlvType::SSL_CN, "käthe".as_bytes()),
        (TlvType::SSL_CIPHER, b"TLS_AES_128_GCM_SHA256"),
        (TlvType::SSL_SIG_ALG, b"RSA-SHA256"),
        (TlvType::SSL_KEY_ALG, b"RSA2048"),
        (TlvType::SSL_GROUP, b"x25519"),
        (TlvType::SSL_SIG_SCHEME, b"ed25519"),
        (TlvType::SSL_CLIENT_CERT, &[0x30, 0x00]),
    ]
    .map(|(kind, value)| Tlv { kind, value })
    .to_vec();
    let facts = SslFacts::new(ClientFlags(0x07), 0, &subs);
    let addresses = Addresses::Inet {
        source: "192.0.2.1:1".parse().unwrap(),
        destination: "192.0.2.2:2".parse().unwrap(),
    };
    let mut out = vec![0; 512];
    let len = Encoder::v2(addresses).ssl(facts).encode(&mut out).unwrap();
    let Ok(Decode::Complete { header, .. }) = decode(&out[..len]) else { panic!() };
    let ssl = header.ssl().unwrap();
    assert_eq!((ssl.client, ssl.verify), (ClientFlags(0x07), 0));
    let found = [
        ssl.version(),
        ssl.common_name(),
        ssl.cipher(),
        ssl.signature_algorithm(),
        ssl.key_algorithm(),
        ssl.group(),
        ssl.signature_scheme(),
        ssl.client_certificate(),
    ];
    assert!(found.iter().zip(&subs).all(|(found, sub)| *found == Some(sub.value)));
    assert!(ssl.sub_tlvs().eq(subs.iter().copied()));
}

#[test]
fn verified_needs_tls_a_certificate_and_verify_zero() {
    for client in 0..=255u8 {
        for verify in [0u32, 1, 0x0100_0000, u32::MAX] {
            let [a, b, c, d] = verify.to_be_bytes();
            let bytes = [client, a, b, c, d];
            let ssl = Ssl::new(&bytes).unwrap();
            assert_eq!(ssl.is_tls(), client & 1 == 1);
            assert_eq!(ssl.has_certificate(), client & 6 != 0);
            assert_eq!(ssl.is_verified(), client & 1 == 1 && client & 6 != 0 && verify == 0);
            assert_eq!(ssl.client.contains(ClientFlags::CERT_SESS), client & 4 != 0);
        }
    }
}

#[test]
fn ssl_inside_ssl_is_opaque() {
    // The inner value would be malformed, were it read.
    let ssl = Ssl::new(&[1, 0, 0, 0, 0, 0x20, 0, 2, 9, 9]).unwrap();
    let inner = ssl.sub_tlvs().next().unwrap();
    assert_eq!((inner.kind, inner.value), (TlvType::SSL, &[9, 9][..]));
    assert_eq!(ssl.version(), None);
}

#[test]
fn duplicates_are_kept_and_the_first_is_found() {
    let tlvs = Tlvs::new(&[2, 0, 1, b'a', 0xf0, 0, 0, 2, 0, 1, b'b']);
    assert_eq!(tlvs.clone().map(|tlv| tlv.value).collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
    assert_eq!(tlvs.find(TlvType::AUTHORITY), Some(&b"a"[..]));
    assert_eq!(tlvs.find(TlvType::ALPN), None);
}

#[test]
fn an_unchecked_area_ends_at_its_first_malformed_item() {
    assert_eq!(Tlvs::new(&[1, 0, 1, b'x', 1, 0, 9]).count(), 1);
    assert_eq!(Tlvs::new(&[1, 0]).count(), 0);
    let mut ended = Tlvs::new(&[1, 0, 9]);
    assert_eq!((ended.next(), ended.next()), (None, None));
}

#[test]
fn forwarding_loses_nothing() {
    let tlvs: Vec<Tlv<'_>> = (0..=255)
        .map(TlvType)
        .filter(|kind| ![TlvType::CRC32C, TlvType::SSL].contains(kind))
        .map(|kind| Tlv { kind, value: b"\0\xffany" })
        .collect();
    let addresses = Addresses::Inet {
        source: "192.0.2.1:1".parse().unwrap(),
        destination: "192.0.2.2:2".parse().unwrap(),
    };
    let mut out = vec![0; 4096];
    let len = Encoder::v2(addresses).tlvs(&tlvs).encode(&mut out).unwrap();
    let Ok(Decode::Complete { header, .. }) = decode(&out[..len]) else { panic!() };
    assert!(header.tlvs().eq(tlvs.iter().copied()));
    assert_eq!(header.tlv_bytes(), &out[28..len]);
    assert!(Tlvs::new(header.tlv_bytes()).eq(header.tlvs()));
    assert_eq!(header.as_bytes(), &out[..len]);
}

/// Names, ids and certificates belong to people: logs get the kind and the number of octets.
#[test]
fn what_is_shown_of_items_has_their_length_and_not_a_byte_of_them() {
    let names = [
        (TlvType::ALPN, "Alpn"),
        (TlvType::AUTHORITY, "Authority"),
        (TlvType::UNIQUE_ID, "UniqueId"),
        (TlvType::NETNS, "Netns"),
    ];
    for (kind, name) in names {
        assert_eq!(format!("{:?}", value(kind, b"secret")), format!("{name}(6 bytes)"));
        assert_eq!(format!("{:?}", Tlv { kind, value: b"secret" }), format!("{kind}: 6 bytes"));
    }
    assert_eq!(format!("{:?}", value(TlvType::CRC32C, &[1, 2, 3, 4])), "Crc32c(0x01020304)");
    assert_eq!(format!("{:?}", value(TlvType::NOOP, &[0; 9])), "Noop");
    assert_eq!(TlvType(0xEF).to_string(), "0xef");
    let addresses = Addresses::Inet {
        source: "203.0.113.5:40000".parse().unwrap(),
        destination: "198.51.100.2:25".parse().unwrap(),
    };
    let facts = SslFacts::new(ClientFlags::SSL, 0, &[Tlv { kind: TlvType::SSL_CN, value: b"secret" }]);
    let items = [Tlv { kind: TlvType::AUTHORITY, value: b"secret" }];
    let mut buf = [0; 200];
    let len = Encoder::v2(addresses).tlvs(&items).ssl(facts).encode(&mut buf).unwrap();
    let Decode::Complete { header, .. } = decode(&buf[..len]).unwrap() else { panic!() };
    let shown = "Header { len: 54, version: V2, command: Proxy, transport: Stream, \
        addresses: Inet { source: 203.0.113.5:40000, destination: 198.51.100.2:25 }, \
        tlvs: [AUTHORITY: 6 bytes, SSL: 14 bytes] }";
    assert_eq!(format!("{header:?}"), shown);
    let shown = "Ssl { client: ClientFlags(1), verify: 0, subs: [SSL_CN: 6 bytes] }";
    assert_eq!(format!("{:?}", header.ssl().unwrap()), shown);
}
