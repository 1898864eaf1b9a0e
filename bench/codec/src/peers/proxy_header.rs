//! proxy-header 0.1.
use std::net::SocketAddr;

use ::proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use super::{Peer, Verdict, use_bytes, use_item, use_source};
use crate::inputs;

fn parse(bytes: &[u8]) -> (ProxyHeader<'_>, usize) {
    ProxyHeader::parse(bytes, ParseConfig::default()).unwrap()
}

fn source(header: &ProxyHeader<'_>) -> Option<SocketAddr> {
    header.proxied_address().map(|ends| ends.source)
}

fn verdict(bytes: &[u8]) -> Verdict {
    match ProxyHeader::parse(bytes, ParseConfig::default()) {
        // Parsing does not look at TLVs, their iterator does.
        Ok((header, _)) if header.proxied_address().is_some() && header.tlvs().any(|tlv| tlv.is_err()) => {
            Verdict::Reject
        }
        Ok((header, len)) => Verdict::Accept(Some(len), source(&header)),
        Err(Error::BufferTooShort) => Verdict::Incomplete,
        Err(_) => Verdict::Reject,
    }
}

fn v1(bytes: &[u8]) -> u64 {
    use_source(source(&parse(bytes).0))
}

fn use_tlv(tlv: &Tlv<'_>) -> u64 {
    match tlv {
        Tlv::Alpn(value) | Tlv::UniqueId(value) | Tlv::Custom(_, value) => use_item(tlv.kind(), value),
        Tlv::Authority(text)
        | Tlv::Netns(text)
        | Tlv::SslVersion(text)
        | Tlv::SslCn(text)
        | Tlv::SslCipher(text)
        | Tlv::SslSigAlg(text)
        | Tlv::SslKeyAlg(text) => use_item(tlv.kind(), text.as_bytes()),
        _ => u64::from(tlv.kind()),
    }
}

fn walked(bytes: &[u8]) -> u64 {
    let header = parse(bytes).0;
    let mut sum = use_source(source(&header));
    for tlv in header.tlvs() {
        let tlv = tlv.unwrap();
        sum += use_tlv(&tlv);
        if let Tlv::Ssl(ssl) = &tlv {
            sum += ssl.tlvs().map(|sub| use_tlv(&sub.unwrap())).sum::<u64>();
        }
    }
    sum
}

fn header(ends: (SocketAddr, SocketAddr)) -> ProxyHeader<'static> {
    ProxyHeader::with_address(ProxiedAddress::stream(ends.0, ends.1))
}

fn write_v1(ends: (SocketAddr, SocketAddr)) -> u64 {
    let mut out = Vec::with_capacity(107);
    header(ends).encode_v1(&mut out).unwrap();
    use_bytes(&out)
}

fn write_v2(header: &ProxyHeader<'_>, len: usize) -> u64 {
    let mut out = Vec::with_capacity(len);
    header.encode_v2(&mut out).unwrap();
    use_bytes(&out)
}

fn write_full() -> u64 {
    let mut header = header(inputs::any4());
    header.append_tlv(Tlv::Alpn(inputs::ALPN.into()));
    header.append_tlv(Tlv::Authority(inputs::AUTHORITY.into()));
    header.append_tlv(Tlv::UniqueId(inputs::UNIQUE_ID.into()));
    let mut ssl = SslInfo::new(true, true, true, inputs::SSL_VERIFY);
    for (kind, text) in std::hint::black_box(&inputs::SSL) {
        ssl.append_tlv(Tlv::decode(*kind, text.as_bytes()).unwrap());
    }
    header.append_tlv(Tlv::Ssl(ssl));
    header.append_tlv(Tlv::Netns(inputs::NETNS.into()));
    header.append_tlv(Tlv::Custom(0xEA, inputs::AWS.into()));
    write_v2(&header, 512)
}

pub const PEER: Peer = Peer {
    v1: Some(v1),
    v2: Some(v1),
    walked: Some(walked),
    write_v1_tcp4: Some(|| write_v1(inputs::any4())),
    write_v1_tcp6: Some(|| write_v1(inputs::any6())),
    write_v2_tcp4: Some(|| write_v2(&header(inputs::any4()), 28)),
    write_v2_tcp6: Some(|| write_v2(&header(inputs::any6()), 52)),
    write_full: Some(write_full),
    lacks: "CRC32C",
    ..Peer::named("proxy-header", verdict)
};
