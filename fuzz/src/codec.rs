//! What the codec promises for any bytes at all.
use truepeer_proto::{
    Addresses, Checksum, Command, Decode, Decoder, Encoder, Header, MixedFamilies, Tlv, TlvType, TlvValue,
    Tlvs, Transport, V1_MAX_LEN, Version, Versions, decode, spp::SimpleHeader,
};

/// Every switch in both positions.
fn decoders() -> impl Iterator<Item = Decoder> {
    let strict = Decoder::new();
    [
        strict,
        strict.mixed_families(MixedFamilies::Accept),
        strict.checksum(Checksum::Skip),
        strict.versions(Versions::V1Only),
        strict.versions(Versions::V2Only),
        strict.max_len(64),
        strict.max_len(usize::MAX),
    ]
    .into_iter()
}

/// A header ends within the input, holds its own bytes, and keeps to its version's limit.
pub fn never_reads_past_what_it_consumes(bytes: &[u8]) {
    for decoder in decoders() {
        let Ok(Decode::Complete { header, len }) = decoder.decode(bytes) else { continue };
        assert!(len <= bytes.len());
        assert_eq!(header.as_bytes(), &bytes[..len]);
        match header.version() {
            Version::V1 => assert!(len <= V1_MAX_LEN && bytes[..len].ends_with(b"\r\n")),
            Version::V2 => assert_eq!(len, 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]))),
        }
    }
}

/// Whatever comes first, a header or a refusal, comes the same from the shortest prefix and from all.
pub fn split_is_whole(bytes: &[u8]) {
    for decoder in decoders() {
        let whole = decoder.decode(bytes);
        let mut decided = false;
        for cut in (0..=bytes.len()).take(600) {
            match decoder.decode(&bytes[..cut]) {
                Ok(Decode::Incomplete { .. }) => assert!(!decided, "undecided again at {cut}"),
                decision => {
                    decided = true;
                    match (decision, whole) {
                        (Ok(decision), Ok(whole)) => assert_eq!(decision, whole, "cut at {cut}"),
                        (Err(decision), Err(whole)) => assert_eq!(decision, whole, "cut at {cut}"),
                        (decision, whole) => panic!("{decision:?} at {cut}, but {whole:?}"),
                    }
                }
            }
        }
    }
}

/// Reading as many bytes as are asked for never reads one of the payload.
pub fn what_is_asked_for_is_never_too_much(bytes: &[u8]) {
    for decoder in decoders() {
        let Ok(Decode::Complete { len, .. }) = decoder.decode(bytes) else { continue };
        let mut have = 0;
        while let Ok(Decode::Incomplete { at_least }) = decoder.decode(&bytes[..have]) {
            assert!(at_least > 0);
            have += at_least;
            assert!(have <= len, "asked for {have} of {len}");
        }
        assert_eq!(have, len);
    }
}

/// What stands behind a header changes nothing about it.
pub fn tail_is_untouched(bytes: &[u8]) {
    let Ok(Decode::Complete { header, len }) = decode(bytes) else { return };
    for tail in
        [&b""[..], b"\n", b"\r\n", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b"\x03\0\x04"]
    {
        let mut longer = bytes[..len].to_vec();
        longer.extend_from_slice(tail);
        assert_eq!(decode(&longer), Ok(Decode::Complete { header, len }));
    }
}

/// A header written anew says the same, is as long as it said, and nothing is written in part.
pub fn encode_then_decode_is_identity(bytes: &[u8]) {
    let Ok(Decode::Complete { header, .. }) = Decoder::new().max_len(usize::MAX).decode(bytes) else {
        return;
    };
    let kept: Vec<Tlv<'_>> = header.tlvs().filter(|tlv| tlv.kind != TlvType::CRC32C).collect();
    let encoder = match (header.version(), header.command()) {
        (Version::V1, _) => Encoder::v1(header.addresses()),
        (Version::V2, Command::Local) => Encoder::local(),
        (Version::V2, Command::Proxy) => Encoder::v2(header.addresses()).transport(header.transport()),
    };
    let encoder = encoder.tlvs(&kept);
    let encoder = if kept.len() < header.tlvs().count() { encoder.with_checksum() } else { encoder };
    let Ok(len) = encoder.encoded_len() else {
        // The encoder is stricter than the decoder in three things only.
        let unspecified = header.addresses() == Addresses::Unspecified && header.command() == Command::Proxy;
        let informational = header.command() == Command::Local && !kept.is_empty();
        assert!(unspecified || informational, "cannot write {header:?}");
        return;
    };
    let mut out = vec![0xaa; len + 3];
    assert!(encoder.encode(&mut out[..len - 1]).is_err());
    assert!(out.iter().all(|byte| *byte == 0xaa), "written in part");
    assert_eq!(encoder.encode(&mut out), Ok(len));
    assert_eq!(&out[len..], [0xaa; 3]);
    let Ok(Decode::Complete { header: again, len: read }) = Decoder::new().max_len(usize::MAX).decode(&out)
    else {
        panic!("refused what was written: {}", out.escape_ascii());
    };
    assert_eq!(read, len);
    assert_eq!(
        (again.version(), again.command(), again.transport(), again.addresses()),
        (header.version(), header.command(), header.transport(), header.addresses())
    );
    let same = again.tlvs().filter(|tlv| tlv.kind != TlvType::CRC32C).eq(kept.iter().copied());
    assert!(same, "TLVs differ");
}

/// The proxy's own connections name nobody and prove nothing.
pub fn local_never_yields_an_address(bytes: &[u8]) {
    for decoder in decoders() {
        for result in [decoder.decode(bytes), decoder.frame(bytes)] {
            let Ok(Decode::Complete { header, .. }) = result else { continue };
            if header.command() == Command::Local {
                assert_eq!(header.addresses(), Addresses::Unspecified);
                assert_eq!(header.transport(), Transport::Unspecified);
                assert_eq!(header.ssl(), None);
            }
        }
    }
}

/// What a frame and a checked header have in common.
fn essence(header: Header<'_>) -> (Command, Transport, Addresses<'_>) {
    (header.command(), header.transport(), header.addresses())
}

/// The frame says the same of everything but TLVs.
pub fn frame_agrees_with_decode(bytes: &[u8]) {
    for decoder in decoders() {
        match (decoder.frame(bytes), decoder.decode(bytes)) {
            (Ok(Decode::Complete { header: frame, len }), Ok(Decode::Complete { header, len: full })) => {
                assert_eq!((essence(frame), len), (essence(header), full));
            }
            // Only TLVs can still be wrong.
            (Ok(Decode::Complete { .. }), Err(error)) => assert!(error.kind().code().starts_with("tlv_")),
            (frame, decoded) => assert_eq!(frame, decoded),
        }
    }
}

/// A datagram is judged as the stream would be, but nothing more can come.
pub fn datagram_agrees_with_stream(bytes: &[u8]) {
    let _ = SimpleHeader::decode(bytes).map(|header| assert_eq!(header.encode(), bytes[..38]));
    let stream = Decoder::new().versions(Versions::V2Only).decode(bytes);
    match (Decoder::new().decode_datagram(bytes), stream) {
        (Ok((header, len)), Ok(stream)) => assert_eq!(Decode::Complete { header, len }, stream),
        (Err(error), Ok(Decode::Incomplete { .. })) => assert_eq!(error.kind().code(), "truncated"),
        // A stream could be set to read a line; a datagram never can.
        (Err(error), Err(stream)) if stream.kind().code() == "version_not_accepted" => {
            assert_eq!((error.kind().code(), error.at()), ("v1_datagram", 0));
        }
        (Err(error), stream) => assert_eq!(Err(error), stream),
        (found, stream) => panic!("{found:?}, but {stream:?}"),
    }
}

/// A checked area is its items and nothing else, and every view of an item holds.
pub fn tlvs_account_for_every_byte(bytes: &[u8]) {
    if let Ok(Decode::Complete { header, .. }) = decode(bytes) {
        let items: usize = header.tlvs().map(|tlv| tlv.value.len() + 3).sum();
        assert_eq!(items, header.tlv_bytes().len());
        let ssl = header.tlvs().find(TlvType::SSL);
        assert_eq!(header.ssl().is_some(), ssl.is_some() && header.command() == Command::Proxy);
    }
    // Any bytes as an area: ends, and never past its end.
    assert!(Tlvs::new(bytes).map(|tlv| tlv.value.len() + 3).sum::<usize>() <= bytes.len());
    for tlv in Tlvs::new(bytes) {
        if let TlvValue::Ssl(ssl) = tlv.to_value() {
            assert!(!ssl.is_verified() || (ssl.is_tls() && ssl.has_certificate()));
            let items: usize = ssl.sub_tlvs().map(|sub| sub.value.len() + 3).sum();
            assert_eq!(items + 5, tlv.value.len());
        }
    }
}

/// An error names a byte that is there, and its text can be printed on one line.
pub fn errors_point_into_the_input(bytes: &[u8]) {
    for decoder in decoders() {
        let Err(error) = decoder.decode(bytes) else { continue };
        assert!(error.at() < bytes.len(), "{error}");
        let text = error.to_string();
        assert!(
            text.ends_with(&format!("(byte {})", error.at())) && !text.contains(['\r', '\n', '\0']),
            "{text}"
        );
    }
}
