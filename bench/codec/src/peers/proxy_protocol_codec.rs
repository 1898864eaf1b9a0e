//! proxy-protocol-codec 0.3. It wants exactly the header, so the caller cuts it first.
use std::net::SocketAddr;

use ::proxy_protocol_codec::{Version, v1 as one, v2 as two};

use super::{Peer, Verdict, use_bytes, use_item, use_source};
use crate::inputs;

fn source1(ends: one::AddressPair) -> Option<SocketAddr> {
    match ends {
        one::AddressPair::Inet { src_ip, src_port, .. } => Some((src_ip, src_port).into()),
        one::AddressPair::Inet6 { src_ip, src_port, .. } => Some((src_ip, src_port).into()),
        _ => None,
    }
}

fn source2(ends: &two::AddressPair) -> Option<SocketAddr> {
    match *ends {
        two::AddressPair::Inet { src_ip, src_port, .. } => Some((src_ip, src_port).into()),
        two::AddressPair::Inet6 { src_ip, src_port, .. } => Some((src_ip, src_port).into()),
        _ => None,
    }
}

fn verdict(bytes: &[u8]) -> Verdict {
    match Version::peek(bytes) {
        Err(()) => Verdict::Reject,
        Ok(None) => Verdict::Incomplete,
        Ok(Some(Version::V1)) => {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                return if bytes.len() < 107 { Verdict::Incomplete } else { Verdict::Reject };
            };
            match one::Header::decode(&bytes[..=end]) {
                Ok(one::Decoded::Some(header)) => {
                    Verdict::Accept(Some(end + 1), source1(header.address_pair()))
                }
                _ => Verdict::Reject,
            }
        }
        Ok(Some(Version::V2)) => {
            let end = match bytes {
                _ if bytes.len() >= 16 => 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]])),
                _ => bytes.len(),
            };
            match two::Header::decode(&bytes[..end.min(bytes.len())]) {
                Ok(two::Decoded::Some(decoded)) => {
                    let is_local = *decoded.header.command() == two::Command::Local;
                    let source = source2(decoded.header.address_pair());
                    // Decoding does not look at TLVs, their iterator does.
                    if !is_local && decoded.extensions.into_iter().any(|tlv| tlv.is_err()) {
                        return Verdict::Reject;
                    }
                    Verdict::Accept(Some(end), source)
                }
                Ok(two::Decoded::Partial(_)) => Verdict::Incomplete,
                _ => Verdict::Reject,
            }
        }
    }
}

fn v1(bytes: &[u8]) -> u64 {
    let Ok(one::Decoded::Some(header)) = one::Header::decode(bytes) else { panic!() };
    use_source(source1(header.address_pair()))
}

fn v2(bytes: &[u8]) -> u64 {
    let Ok(two::Decoded::Some(decoded)) = two::Header::decode(bytes) else { panic!() };
    use_source(source2(decoded.header.address_pair()))
}

/// It knows no sub-TLVs; they are cut out by hand here.
fn walked(bytes: &[u8]) -> u64 {
    let Ok(two::Decoded::Some(decoded)) = two::Header::decode(bytes) else { panic!() };
    let mut sum = use_source(source2(decoded.header.address_pair()));
    for tlv in decoded.extensions {
        let tlv = tlv.unwrap();
        let kind = tlv.typ().map_or_else(|other| other, |known| known as u8);
        sum += use_item(kind, tlv.payload());
        let mut rest = if kind == 0x20 { &tlv.payload()[5..] } else { &[] };
        while let [kind, high, low, after @ ..] = rest {
            let (value, next) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            sum += use_item(*kind, value);
            rest = next;
        }
    }
    sum
}

fn ends(ends: (SocketAddr, SocketAddr)) -> one::AddressPair {
    match ends {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => one::AddressPair::Inet {
            src_ip: *source.ip(),
            dst_ip: *destination.ip(),
            src_port: source.port(),
            dst_port: destination.port(),
        },
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => one::AddressPair::Inet6 {
            src_ip: *source.ip(),
            dst_ip: *destination.ip(),
            src_port: source.port(),
            dst_port: destination.port(),
        },
        _ => panic!(),
    }
}

fn header(pair: (SocketAddr, SocketAddr)) -> two::Header {
    two::Header::new_proxy(two::Protocol::Stream, two::AddressPair::from_v1(ends(pair)))
}

fn write_full() -> u64 {
    let ssl = inputs::ssl_value();
    let written = header(inputs::any4())
        .encode()
        .write_ext_alpn(inputs::ALPN)
        .unwrap()
        .write_ext_authority(inputs::AUTHORITY.as_bytes())
        .unwrap()
        .write_ext_unique_id(inputs::UNIQUE_ID)
        .unwrap()
        .write_ext_custom(two::ExtensionRef::new_custom(0x20, &ssl).unwrap())
        .write_ext_network_namespace(inputs::NETNS.as_bytes())
        .unwrap()
        .write_ext_custom(two::ExtensionRef::new_custom(0xEA, inputs::AWS).unwrap())
        .finish_with_crc32c();
    use_bytes(&written.unwrap())
}

pub const PEER: Peer = Peer {
    v1: Some(v1),
    v2: Some(v2),
    walked: Some(walked),
    write_v1_tcp4: Some(|| use_bytes(one::Header::new(ends(inputs::any4())).encode().as_bytes())),
    write_v1_tcp6: Some(|| use_bytes(one::Header::new(ends(inputs::any6())).encode().as_bytes())),
    write_v2_tcp4: Some(|| use_bytes(&header(inputs::any4()).encode().finish().unwrap())),
    write_v2_tcp6: Some(|| use_bytes(&header(inputs::any6()).encode().finish().unwrap())),
    write_full: Some(write_full),
    ..Peer::named("proxy-protocol-codec", verdict)
};
