//! proxy-protocol 0.5.
use std::net::SocketAddr;

use ::proxy_protocol::{ParseError, ProxyHeader, encode, parse, version1 as one, version2 as two};

use super::{Peer, Verdict, use_bytes, use_source};
use crate::inputs::{pair4, pair6};

fn source(header: &ProxyHeader) -> Option<SocketAddr> {
    match header {
        ProxyHeader::Version1 { addresses: one::ProxyAddresses::Ipv4 { source, .. } } => {
            Some((*source).into())
        }
        ProxyHeader::Version1 { addresses: one::ProxyAddresses::Ipv6 { source, .. } } => {
            Some((*source).into())
        }
        ProxyHeader::Version2 { addresses: two::ProxyAddresses::Ipv4 { source, .. }, .. } => {
            Some((*source).into())
        }
        ProxyHeader::Version2 { addresses: two::ProxyAddresses::Ipv6 { source, .. }, .. } => {
            Some((*source).into())
        }
        _ => None,
    }
}

fn verdict(bytes: &[u8]) -> Verdict {
    let mut rest = bytes;
    match parse(&mut rest) {
        Ok(header) => {
            let is_local = matches!(header, ProxyHeader::Version2 { command: two::ProxyCommand::Local, .. });
            Verdict::Accept(Some(bytes.len() - rest.len()), source(&header).filter(|_| !is_local))
        }
        Err(
            ParseError::Version1 { source: one::ParseError::UnexpectedEof }
            | ParseError::Version2 { source: two::ParseError::UnexpectedEof },
        ) => Verdict::Incomplete,
        Err(_) => Verdict::Reject,
    }
}

fn to_source(bytes: &[u8]) -> u64 {
    use_source(source(&parse(&mut { bytes }).unwrap()))
}

fn write_v1(addresses: one::ProxyAddresses) -> u64 {
    use_bytes(&encode(ProxyHeader::Version1 { addresses }).unwrap())
}

fn write_v2(addresses: two::ProxyAddresses) -> u64 {
    let header = ProxyHeader::Version2 {
        command: two::ProxyCommand::Proxy,
        transport_protocol: two::ProxyTransportProtocol::Stream,
        addresses,
    };
    use_bytes(&encode(header).unwrap())
}

fn write_v1_tcp4() -> u64 {
    let (source, destination) = pair4();
    write_v1(one::ProxyAddresses::Ipv4 { source, destination })
}

fn write_v1_tcp6() -> u64 {
    let (source, destination) = pair6();
    write_v1(one::ProxyAddresses::Ipv6 { source, destination })
}

fn write_v2_tcp4() -> u64 {
    let (source, destination) = pair4();
    write_v2(two::ProxyAddresses::Ipv4 { source, destination })
}

fn write_v2_tcp6() -> u64 {
    let (source, destination) = pair6();
    write_v2(two::ProxyAddresses::Ipv6 { source, destination })
}

pub const PEER: Peer = Peer {
    v1: Some(to_source),
    v2: Some(to_source),
    write_v1_tcp4: Some(write_v1_tcp4),
    write_v1_tcp6: Some(write_v1_tcp6),
    write_v2_tcp4: Some(write_v2_tcp4),
    write_v2_tcp6: Some(write_v2_tcp6),
    ..Peer::named("proxy-protocol", verdict)
};
