//! truepeer-proto, this project's codec.
use std::hint::black_box;

use truepeer_proto::{
    Addresses, Checksum, ClientFlags, Decode, Decoder, Encoder, Header, SslFacts, Tlv, TlvType, TlvValue,
    decode,
};

use super::{Peer, Verdict, use_bytes, use_item, use_source};
use crate::inputs::{self, pair4, pair6};

const UNVERIFIED: Decoder = Decoder::new().checksum(Checksum::Skip);

fn verdict(bytes: &[u8]) -> Verdict {
    match decode(bytes) {
        Ok(Decode::Complete { header, len }) => Verdict::Accept(Some(len), header.addresses().source()),
        Ok(Decode::Incomplete { .. }) => Verdict::Incomplete,
        Err(_) => Verdict::Reject,
    }
}

fn v1(bytes: &[u8]) -> u64 {
    let Ok(Decode::Complete { header, .. }) = decode(bytes) else { panic!() };
    use_source(header.addresses().source())
}

fn frame(bytes: &[u8]) -> u64 {
    let Ok(Decode::Complete { header, .. }) = Decoder::new().frame(bytes) else { panic!() };
    use_source(header.addresses().source())
}

fn checked(bytes: &[u8]) -> u64 {
    let Ok(Decode::Complete { header, .. }) = UNVERIFIED.decode(bytes) else { panic!() };
    use_source(header.addresses().source())
}

fn walk(header: &Header<'_>) -> u64 {
    let mut sum = use_source(header.addresses().source());
    for tlv in header.tlvs() {
        sum += use_item(tlv.kind.0, tlv.value);
        if tlv.kind == TlvType::SSL
            && let TlvValue::Ssl(ssl) = tlv.to_value()
        {
            for sub in ssl.sub_tlvs() {
                sum += use_item(sub.kind.0, sub.value);
            }
        }
    }
    sum
}

fn walked(bytes: &[u8]) -> u64 {
    let Ok(Decode::Complete { header, .. }) = UNVERIFIED.decode(bytes) else { panic!() };
    walk(&header)
}

fn walked_crc(bytes: &[u8]) -> u64 {
    let Ok(Decode::Complete { header, .. }) = decode(bytes) else { panic!() };
    walk(&header)
}

fn write_v1_tcp4() -> u64 {
    let (source, destination) = pair4();
    let mut out = [0; 107];
    let Ok(len) = Encoder::v1(Addresses::Inet { source, destination }).encode(&mut out) else { panic!() };
    black_box(&out);
    len as u64
}

fn write_v1_tcp6() -> u64 {
    let (source, destination) = pair6();
    let mut out = [0; 107];
    let Ok(len) = Encoder::v1(Addresses::Inet6 { source, destination }).encode(&mut out) else { panic!() };
    black_box(&out);
    len as u64
}

fn write_v2_tcp4() -> u64 {
    let (source, destination) = pair4();
    let mut out = [0; 28];
    let Ok(len) = Encoder::v2(Addresses::Inet { source, destination }).encode(&mut out) else { panic!() };
    use_bytes(&out[..len])
}

fn write_v2_tcp6() -> u64 {
    let (source, destination) = pair6();
    let mut out = [0; 52];
    let Ok(len) = Encoder::v2(Addresses::Inet6 { source, destination }).encode(&mut out) else { panic!() };
    use_bytes(&out[..len])
}

/// What the caller knows of the client's TLS.
static SUBS: [Tlv<'static>; 5] = {
    let [(a, v), (b, w), (c, x), (d, y), (e, z)] = inputs::SSL;
    [sub(a, v), sub(b, w), sub(c, x), sub(d, y), sub(e, z)]
};

const fn sub(kind: u8, text: &'static str) -> Tlv<'static> {
    Tlv { kind: TlvType(kind), value: text.as_bytes() }
}

fn write_full() -> u64 {
    let (source, destination) = pair4();
    let ssl = SslFacts {
        client: ClientFlags(inputs::SSL_CLIENT),
        verify: inputs::SSL_VERIFY,
        subs: black_box(&SUBS),
    };
    let tlvs = [
        Tlv { kind: TlvType::ALPN, value: inputs::ALPN },
        Tlv { kind: TlvType::AUTHORITY, value: inputs::AUTHORITY.as_bytes() },
        Tlv { kind: TlvType::UNIQUE_ID, value: inputs::UNIQUE_ID },
        Tlv { kind: TlvType::NETNS, value: inputs::NETNS.as_bytes() },
        Tlv { kind: TlvType::AWS, value: inputs::AWS },
    ];
    let header =
        Encoder::v2(Addresses::Inet { source, destination }).tlvs(black_box(&tlvs)).ssl(ssl).with_checksum();
    let mut out = [0; 256];
    let Ok(len) = header.encode(&mut out) else { panic!() };
    use_bytes(&out[..len])
}

/// The seven TLVs as a front door holds them that passes them on.
fn write_held() -> u64 {
    static SSL: &[u8] = b"\x07\0\0\0\0\
        \x21\0\x07TLSv1.3\
        \x22\0\x12client.example.com\
        \x23\0\x16TLS_AES_256_GCM_SHA384\
        \x24\0\x0aRSA-SHA256\
        \x25\0\x07RSA2048";
    static TLVS: [Tlv<'static>; 6] = [
        Tlv { kind: TlvType::ALPN, value: inputs::ALPN },
        sub(TlvType::AUTHORITY.0, inputs::AUTHORITY),
        Tlv { kind: TlvType::UNIQUE_ID, value: inputs::UNIQUE_ID },
        Tlv { kind: TlvType::SSL, value: SSL },
        sub(TlvType::NETNS.0, inputs::NETNS),
        Tlv { kind: TlvType::AWS, value: inputs::AWS },
    ];
    let (source, destination) = pair4();
    let header = Encoder::v2(Addresses::Inet { source, destination }).tlvs(black_box(&TLVS)).with_checksum();
    let mut out = [0; 256];
    let Ok(len) = header.encode(&mut out) else { panic!() };
    use_bytes(&out[..len])
}

pub const PEER: Peer = Peer {
    v1: Some(v1),
    v2: Some(frame),
    checked: Some(checked),
    checked_crc: Some(v1),
    walked: Some(walked),
    walked_crc: Some(walked_crc),
    write_v1_tcp4: Some(write_v1_tcp4),
    write_v1_tcp6: Some(write_v1_tcp6),
    write_v2_tcp4: Some(write_v2_tcp4),
    write_v2_tcp6: Some(write_v2_tcp6),
    write_full: Some(write_full),
    write_held: Some(write_held),
    ..Peer::named("truepeer-proto", verdict)
};
