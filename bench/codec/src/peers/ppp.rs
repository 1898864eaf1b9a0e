//! ppp 2.3.
use std::net::SocketAddr;

use ::ppp::{HeaderResult, PartialResult, v1 as one, v2 as two};

use super::{Peer, Verdict, use_bytes, use_item, use_source};
use crate::inputs;

fn source1(addresses: &one::Addresses) -> Option<SocketAddr> {
    match addresses {
        one::Addresses::Tcp4(ends) => Some((ends.source_address, ends.source_port).into()),
        one::Addresses::Tcp6(ends) => Some((ends.source_address, ends.source_port).into()),
        _ => None,
    }
}

fn source2(addresses: &two::Addresses) -> Option<SocketAddr> {
    match addresses {
        two::Addresses::IPv4(ends) => Some((ends.source_address, ends.source_port).into()),
        two::Addresses::IPv6(ends) => Some((ends.source_address, ends.source_port).into()),
        _ => None,
    }
}

fn verdict(bytes: &[u8]) -> Verdict {
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() {
        return Verdict::Incomplete;
    }
    match result {
        HeaderResult::V1(Ok(header)) => {
            Verdict::Accept(Some(header.header.len()), source1(&header.addresses))
        }
        HeaderResult::V2(Ok(header)) => {
            let is_local = header.command == two::Command::Local;
            // Parsing does not look at TLVs, their iterator does.
            if !is_local && header.tlvs().any(|tlv| tlv.is_err()) {
                return Verdict::Reject;
            }
            Verdict::Accept(Some(header.len()), source2(&header.addresses).filter(|_| !is_local))
        }
        _ => Verdict::Reject,
    }
}

fn v1(bytes: &[u8]) -> u64 {
    let HeaderResult::V1(Ok(header)) = HeaderResult::parse(bytes) else { panic!() };
    use_source(source1(&header.addresses))
}

fn v2(bytes: &[u8]) -> u64 {
    let HeaderResult::V2(Ok(header)) = HeaderResult::parse(bytes) else { panic!() };
    use_source(source2(&header.addresses))
}

fn walked(bytes: &[u8]) -> u64 {
    let HeaderResult::V2(Ok(header)) = HeaderResult::parse(bytes) else { panic!() };
    let mut sum = use_source(source2(&header.addresses));
    for tlv in header.tlvs() {
        let tlv = tlv.unwrap();
        sum += use_item(tlv.kind, &tlv.value);
        if tlv.kind == 0x20 {
            for sub in two::TypeLengthValues::from(&tlv.value[5..]) {
                let sub = sub.unwrap();
                sum += use_item(sub.kind, &sub.value);
            }
        }
    }
    sum
}

fn builder(ends: (SocketAddr, SocketAddr)) -> two::Builder {
    two::Builder::with_addresses(two::Version::Two | two::Command::Proxy, two::Protocol::Stream, ends)
}

fn write_full() -> u64 {
    let built = builder(inputs::any4())
        .write_tlv(1u8, inputs::ALPN)
        .and_then(|it| it.write_tlv(2u8, inputs::AUTHORITY.as_bytes()))
        .and_then(|it| it.write_tlv(5u8, inputs::UNIQUE_ID))
        .and_then(|it| it.write_tlv(0x20u8, &inputs::ssl_value()))
        .and_then(|it| it.write_tlv(0x30u8, inputs::NETNS.as_bytes()))
        .and_then(|it| it.write_tlv(0xEAu8, inputs::AWS))
        .and_then(two::Builder::build);
    use_bytes(&built.unwrap())
}

pub const PEER: Peer = Peer {
    v1: Some(v1),
    v2: Some(v2),
    walked: Some(walked),
    write_v1_tcp4: Some(|| use_bytes(one::Addresses::from(inputs::any4()).to_string().as_bytes())),
    write_v1_tcp6: Some(|| use_bytes(one::Addresses::from(inputs::any6()).to_string().as_bytes())),
    write_v2_tcp4: Some(|| use_bytes(&builder(inputs::any4()).build().unwrap())),
    write_v2_tcp6: Some(|| use_bytes(&builder(inputs::any6()).build().unwrap())),
    write_full: Some(write_full),
    lacks: "CRC32C",
    ..Peer::named("ppp", verdict)
};
