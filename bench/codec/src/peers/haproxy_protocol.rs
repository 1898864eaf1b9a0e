//! haproxy-protocol 0.0.4.
use std::net::SocketAddr;

use ::haproxy_protocol::{Error, ProxyHdrV1, ProxyHdrV2, RemoteAddress};

use super::{Peer, Verdict, use_source};

fn source(address: &RemoteAddress) -> Option<SocketAddr> {
    match *address {
        RemoteAddress::TcpV4 { src, .. } | RemoteAddress::UdpV4 { src, .. } => Some(src.into()),
        RemoteAddress::TcpV6 { src, .. } | RemoteAddress::UdpV6 { src, .. } => Some(src.into()),
        _ => None,
    }
}

/// The caller chooses the version; the first byte tells it.
fn parse(bytes: &[u8]) -> Result<(usize, RemoteAddress), Error> {
    match bytes.first() {
        Some(b'P') => ProxyHdrV1::parse(bytes).map(|(len, header)| (len, header.to_remote_addr())),
        _ => ProxyHdrV2::parse(bytes).map(|(len, header)| (len, header.to_remote_addr())),
    }
}

fn verdict(bytes: &[u8]) -> Verdict {
    match parse(bytes) {
        Ok((len, address)) => Verdict::Accept(Some(len), source(&address)),
        Err(Error::Incomplete { .. }) => Verdict::Incomplete,
        Err(_) => Verdict::Reject,
    }
}

fn to_source(bytes: &[u8]) -> u64 {
    use_source(source(&parse(bytes).unwrap().1))
}

pub const PEER: Peer =
    Peer { v1: Some(to_source), v2: Some(to_source), ..Peer::named("haproxy-protocol", verdict) };
