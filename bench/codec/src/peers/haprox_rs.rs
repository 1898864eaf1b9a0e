//! haprox-rs 0.3.
use std::net::SocketAddr;

use ::haprox_rs::{
    HdrV2Command, HdrV2OpProxy, PP2TlvClient, ProxyHdrV1, ProxyHdrV2, ProxyTransportFam, ProxyV1Parser,
    ProxyV2Addr, ProxyV2Parser, ProxyV2TlvSource, error::HaProxErrType,
};

use super::{Peer, Verdict, use_bytes, use_source};
use crate::inputs;

fn source(header: &ProxyV2Parser<'_>) -> Option<SocketAddr> {
    match header.get_address() {
        Ok(Some(ProxyV2Addr::Ip { src, .. })) => Some(src),
        _ => None,
    }
}

fn verdict(bytes: &[u8]) -> Verdict {
    if bytes.first() != Some(&b'\r') {
        // It wants exactly the line.
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").map_or(bytes.len(), |at| at + 2);
        return match ProxyV1Parser::try_from_slice(&bytes[..end], false) {
            Ok(header) => {
                let source = header.get_src_addr().zip(header.get_src_port());
                Verdict::Accept(Some(end), source.map(SocketAddr::from))
            }
            Err(error) if error.get_err_type() == HaProxErrType::ProtocolMsgIncomplete => Verdict::Incomplete,
            Err(_) => Verdict::Reject,
        };
    }
    match ProxyV2Parser::try_from_slice(bytes) {
        Ok(header) => {
            let is_local = matches!(header.get_proto_command(), HdrV2Command::LOCAL);
            if header.get_address().is_err() && !is_local {
                return Verdict::Reject;
            }
            if let Some(tlvs) = header.get_tlvs_iter() {
                for tlv in tlvs.take(70_000) {
                    if let ProxyV2TlvSource::Error(_) = tlv {
                        break;
                    }
                }
            }
            std::hint::black_box(header.check_crc().is_ok());
            let len = usize::from(header.get_full_len());
            Verdict::Accept(Some(len), source(&header).filter(|_| !is_local))
        }
        Err(error) if error.get_err_type() == HaProxErrType::ProtocolMsgIncomplete => Verdict::Incomplete,
        Err(_) => Verdict::Reject,
    }
}

fn v1(bytes: &[u8]) -> u64 {
    let header = ProxyV1Parser::try_from_slice(bytes, false).unwrap();
    use_source(header.get_src_addr().zip(header.get_src_port()).map(SocketAddr::from))
}

fn v2(bytes: &[u8]) -> u64 {
    use_source(source(&ProxyV2Parser::try_from_slice(bytes).unwrap()))
}

fn walked(bytes: &[u8]) -> u64 {
    let header = ProxyV2Parser::try_from_slice(bytes).unwrap();
    let mut sum = use_source(source(&header));
    for tlv in header.get_tlvs_iter().unwrap() {
        sum += match tlv {
            ProxyV2TlvSource::Internal(tlv) => u64::from(u8::from(&tlv)),
            _ => 1,
        };
    }
    sum
}

fn header(ends: (SocketAddr, SocketAddr)) -> ProxyHdrV2<HdrV2OpProxy> {
    ProxyHdrV2::<HdrV2OpProxy>::new(ProxyTransportFam::STREAM, ProxyV2Addr::try_from(ends).unwrap()).unwrap()
}

fn write_v1(ends: (SocketAddr, SocketAddr)) -> u64 {
    use_bytes(String::from(&ProxyHdrV1::new(ends.0, ends.1).unwrap()).as_bytes())
}

fn write_v2(header: ProxyHdrV2<HdrV2OpProxy>) -> u64 {
    let bytes: Vec<u8> = header.try_into().unwrap();
    use_bytes(&bytes)
}

fn write_full() -> u64 {
    let mut header = header(inputs::any4());
    let [version, name, cipher, signature, key] = std::hint::black_box(inputs::SSL).map(|(_, text)| text);
    let mut tlvs = header.set_plts();
    tlvs.add_alpn([inputs::ALPN].into_iter()).unwrap();
    tlvs.add_authority(inputs::AUTHORITY).unwrap();
    let mut ssl = tlvs.add_ssl(PP2TlvClient::all(), inputs::SSL_VERIFY).unwrap();
    ssl.add_ssl_sub_version_borrow(version).unwrap();
    ssl.add_ssl_sub_cn_borrow(name).unwrap();
    ssl.add_ssl_sub_cipher_borrow(cipher).unwrap();
    ssl.add_ssl_sub_sigalg_borrow(signature).unwrap();
    ssl.add_ssl_sub_keyalg_borrow(key).unwrap();
    let mut tlvs = ssl.done().unwrap();
    tlvs.add_netns_borrowed(inputs::NETNS).unwrap();
    tlvs.add_crc32().unwrap();
    drop(tlvs);
    write_v2(header)
}

pub const PEER: Peer = Peer {
    v1: Some(v1),
    v2: Some(v2),
    walked: Some(walked),
    write_v1_tcp4: Some(|| write_v1(inputs::any4())),
    write_v1_tcp6: Some(|| write_v1(inputs::any6())),
    write_v2_tcp4: Some(|| write_v2(header(inputs::any4()))),
    write_v2_tcp6: Some(|| write_v2(header(inputs::any6()))),
    write_full: Some(write_full),
    lacks: "UNIQUE_ID and 0xEA; its checksum is CRC-32",
    ..Peer::named("haprox-rs", verdict)
};
