//! proxyproto 0.2.
use ::proxyproto::{Command, tlv, v1 as one, v2 as two};

use super::{Peer, Verdict, use_bytes, use_item, use_source};
use crate::inputs;

fn verdict(bytes: &[u8]) -> Verdict {
    if bytes.first() != Some(&b'\r') {
        return match one::Header::try_from_bytes(bytes) {
            Ok((rest, header)) => Verdict::Accept(Some(bytes.len() - rest.len()), header.source_addr()),
            Err(error) if error.is_incomplete() => Verdict::Incomplete,
            Err(_) => Verdict::Reject,
        };
    }
    match two::Header::try_from_bytes(bytes) {
        Ok((rest, header)) => {
            let is_local = header.command() == Command::Local;
            if header.validate_crc32c_tlv() == Some(false) && !is_local {
                return Verdict::Reject;
            }
            Verdict::Accept(Some(bytes.len() - rest.len()), header.source_addr().filter(|_| !is_local))
        }
        // One opaque error; only its text tells short from wrong.
        Err(error) if error.to_string().contains("incomplete PROXY v2") => Verdict::Incomplete,
        Err(_) => Verdict::Reject,
    }
}

fn v1(bytes: &[u8]) -> u64 {
    use_source(one::Header::try_from_bytes(bytes).unwrap().1.source_addr())
}

fn v2(bytes: &[u8]) -> u64 {
    use_source(two::Header::try_from_bytes(bytes).unwrap().1.source_addr())
}

fn walk(header: &two::Header) -> u64 {
    let mut sum = use_source(header.source_addr());
    for (kind, value) in header.tlvs() {
        sum += use_item(kind, value);
    }
    if let Some(ssl) = header.typed_tlv::<tlv::Ssl>() {
        for sub in ssl.tlvs() {
            sum += match sub {
                tlv::SslSubTlv::Version(text)
                | tlv::SslSubTlv::CommonName(text)
                | tlv::SslSubTlv::Cipher(text)
                | tlv::SslSubTlv::SignatureAlgorithm(text)
                | tlv::SslSubTlv::KeyAlgorithm(text) => use_item(0, text.as_bytes()),
                tlv::SslSubTlv::Other(kind, value) => use_item(*kind, value),
            };
        }
    }
    sum
}

fn walked(bytes: &[u8]) -> u64 {
    walk(&two::Header::try_from_bytes(bytes).unwrap().1)
}

fn walked_crc(bytes: &[u8]) -> u64 {
    let header = two::Header::try_from_bytes(bytes).unwrap().1;
    assert_eq!(header.validate_crc32c_tlv(), Some(true));
    walk(&header)
}

fn write_v1(header: &one::Header) -> u64 {
    let mut out = Vec::with_capacity(107);
    header.write_to(&mut out).unwrap();
    use_bytes(&out)
}

fn write_v1_tcp4() -> u64 {
    let (source, destination) = inputs::any4();
    write_v1(&one::Header::new_inet(source, destination))
}

fn write_v1_tcp6() -> u64 {
    let (source, destination) = inputs::any6();
    write_v1(&one::Header::new_inet6(source, destination))
}

fn write_v2_tcp4() -> u64 {
    let (source, destination) = inputs::any4();
    use_bytes(&two::Header::new_tcp_ipv4_proxy(source, destination).to_vec())
}

fn write_v2_tcp6() -> u64 {
    let (source, destination) = inputs::any6();
    use_bytes(&two::Header::new_tcp_ipv6_proxy(source, destination).to_vec())
}

fn write_full() -> u64 {
    let (source, destination) = inputs::any4();
    let mut header = two::Header::new_tcp_ipv4_proxy(source, destination);
    header.add_typed_tlv(tlv::Alpn::new(inputs::ALPN));
    header.add_typed_tlv(tlv::Authority::new(inputs::AUTHORITY));
    header.add_typed_tlv(tlv::UniqueId::new(inputs::UNIQUE_ID));
    let flags = tlv::SslClientFlags::from_bits_truncate(inputs::SSL_CLIENT);
    let mut ssl = tlv::Ssl::new(flags, inputs::SSL_VERIFY);
    let [version, name, cipher, signature, key] = std::hint::black_box(inputs::SSL).map(|(_, text)| text);
    ssl.add_tlv(tlv::SslSubTlv::version(version));
    ssl.add_tlv(tlv::SslSubTlv::common_name(name));
    ssl.add_tlv(tlv::SslSubTlv::cipher(cipher));
    ssl.add_tlv(tlv::SslSubTlv::signature_algorithm(signature));
    ssl.add_tlv(tlv::SslSubTlv::key_algorithm(key));
    header.add_typed_tlv(ssl);
    header.add_typed_tlv(tlv::NetNamespace::new(inputs::NETNS));
    header.add_tlv(0xEA, inputs::AWS);
    header.add_crc32c_checksum();
    use_bytes(&header.to_vec())
}

pub const PEER: Peer = Peer {
    v1: Some(v1),
    v2: Some(v2),
    walked: Some(walked),
    walked_crc: Some(walked_crc),
    write_v1_tcp4: Some(write_v1_tcp4),
    write_v1_tcp6: Some(write_v1_tcp6),
    write_v2_tcp4: Some(write_v2_tcp4),
    write_v2_tcp6: Some(write_v2_tcp6),
    write_full: Some(write_full),
    ..Peer::named("proxyproto", verdict)
};
