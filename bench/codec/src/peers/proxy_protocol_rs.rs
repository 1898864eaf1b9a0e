//! proxy-protocol-rs 0.8. Every parse keeps all TLVs and verifies the checksum.
use ::proxy_protocol_rs::{HeaderBuilder, ParseError, ProxyInfo, SslClientFlags, SslInfo, parse};

use super::{Peer, Verdict, use_bytes, use_item, use_source};
use crate::inputs;

fn verdict(bytes: &[u8]) -> Verdict {
    match parse(bytes) {
        Ok((info, len)) => Verdict::Accept(Some(len), info.source_inet()),
        Err(ParseError::Incomplete) => Verdict::Incomplete,
        Err(_) => Verdict::Reject,
    }
}

fn to_source(bytes: &[u8]) -> u64 {
    use_source(parse(bytes).unwrap().0.source_inet())
}

fn walk(info: &ProxyInfo) -> u64 {
    let mut sum = use_source(info.source_inet());
    for (kind, value) in &info.tlvs.raw {
        sum += use_item(*kind, value);
    }
    if let Some(ssl) = &info.tlvs.ssl {
        for text in [&ssl.version, &ssl.cn, &ssl.cipher, &ssl.sig_alg, &ssl.key_alg].into_iter().flatten() {
            sum += use_item(0, text.as_bytes());
        }
    }
    sum
}

fn walked(bytes: &[u8]) -> u64 {
    walk(&parse(bytes).unwrap().0)
}

fn write_v1(ends: (std::net::SocketAddr, std::net::SocketAddr)) -> u64 {
    use_bytes(&HeaderBuilder::v1_proxy(ends.0, ends.1).build())
}

fn write_v2(ends: (std::net::SocketAddr, std::net::SocketAddr)) -> u64 {
    use_bytes(&HeaderBuilder::v2_proxy(ends.0, ends.1).build())
}

fn write_full() -> u64 {
    let (source, destination) = inputs::any4();
    let [version, name, cipher, signature, key] =
        std::hint::black_box(inputs::SSL).map(|(_, text)| Some(text.into()));
    let ssl = SslInfo {
        client_flags: SslClientFlags::from_bits_truncate(inputs::SSL_CLIENT),
        verified: true,
        version,
        cn: name,
        cipher,
        sig_alg: signature,
        key_alg: key,
        ..Default::default()
    };
    let header = HeaderBuilder::v2_proxy(source, destination)
        .with_alpn(inputs::ALPN)
        .with_authority(inputs::AUTHORITY)
        .with_unique_id(inputs::UNIQUE_ID)
        .with_ssl(ssl)
        .with_netns(inputs::NETNS)
        .with_raw_tlv(0xEA, inputs::AWS)
        .with_crc32c();
    use_bytes(&header.build())
}

pub const PEER: Peer = Peer {
    v1: Some(to_source),
    v2: Some(to_source),
    checked_crc: Some(to_source),
    walked_crc: Some(walked),
    write_v1_tcp4: Some(|| write_v1(inputs::any4())),
    write_v1_tcp6: Some(|| write_v1(inputs::any6())),
    write_v2_tcp4: Some(|| write_v2(inputs::any4())),
    write_v2_tcp6: Some(|| write_v2(inputs::any6())),
    write_full: Some(write_full),
    ..Peer::named("proxy-protocol-rs", verdict)
};
