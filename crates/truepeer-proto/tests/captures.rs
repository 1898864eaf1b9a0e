//! What real proxies sent, byte for byte, decodes to what the recording says of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#![allow(clippy::arithmetic_side_effects, reason = "a test may fail")]
mod common;

use serde_json::{Value, json};
use truepeer_proto::{
    Addresses, Command, Decode, DecodeErrorKind, Decoder, Header, MixedFamilies, Tlv, TlvType, Transport,
    Version, decode,
};

/// Every recording: its entry in the index and its bytes.
fn captures() -> Vec<(Value, Vec<u8>)> {
    let folder = common::root().join("vectors/captures");
    let index: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("index.json")).unwrap()).unwrap();
    assert!(index.len() > 150);
    index
        .into_iter()
        .map(|entry| {
            let bytes = std::fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap();
            (entry, bytes)
        })
        .collect()
}

/// The family name and the literals disagree, as nginx writes them after `realip`.
fn is_mixed(decoded: &Value) -> bool {
    let ends = [&decoded["src"], &decoded["dst"]];
    match decoded["proto"].as_str() {
        Some("TCP4") => ends.iter().any(|end| end.as_str().unwrap().contains(':')),
        Some("TCP6") => ends.iter().any(|end| !end.as_str().unwrap().contains(':')),
        _ => false,
    }
}

#[test]
fn every_capture_decodes_to_its_index_entry() {
    let mut seen = (0, 0);
    for (entry, bytes) in captures() {
        let (file, expected) = (entry["file"].as_str().unwrap(), &entry["decoded"]);
        let header_len = entry["header_len"].as_u64().unwrap() as usize;
        if expected.is_null() {
            // No header was sent: nothing, or bytes that are no header.
            assert!(!matches!(decode(&bytes), Ok(Decode::Complete { .. })), "{file}");
            continue;
        }
        let mixed = is_mixed(expected);
        if mixed {
            let error = decode(&bytes).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::V1Address, "{file}: only the switch lets it in");
            seen.1 += 1;
        }
        let families = if mixed { MixedFamilies::Accept } else { MixedFamilies::Refuse };
        let decoder = Decoder::new().mixed_families(families);
        let Ok(Decode::Complete { header, len }) = decoder.decode(&bytes) else {
            panic!("{file}: {:?}", decoder.decode(&bytes));
        };
        assert_eq!(len, header_len, "{file}");
        assert_eq!(bytes.len() - len, entry["app_bytes_after_header"].as_u64().unwrap() as usize, "{file}");
        assert_eq!(describe(&header), without_mapping(expected), "{file}");
        for cut in 0..len {
            let Ok(Decode::Incomplete { at_least }) = decoder.decode(&bytes[..cut]) else {
                panic!("{file} cut at {cut}");
            };
            assert!(at_least <= len - cut, "{file} cut at {cut}");
        }
        seen.0 += 1;
    }
    assert!(seen.0 > 150 && seen.1 >= 3, "{seen:?}");
}

/// The entry with what only the recording knows taken out, and IPv4 in a mixed line v4-mapped.
fn without_mapping(decoded: &Value) -> Value {
    let mut decoded = decoded.clone();
    let mixed = is_mixed(&decoded);
    for end in ["src", "dst"] {
        let Some(text) = decoded[end].as_str() else { continue };
        if mixed && !text.contains(':') {
            decoded[end] = json!(format!("::ffff:{text}"));
        }
    }
    if mixed {
        decoded["proto"] = json!("TCP6");
    }
    decoded
}

/// A header in the words of the index.
fn describe(header: &Header<'_>) -> Value {
    let mut out = json!({ "length": header.as_bytes().len() });
    let addresses = header.addresses();
    let family = match addresses {
        Addresses::Unspecified => "UNSPEC",
        Addresses::Inet { .. } => "INET",
        Addresses::Inet6 { .. } => "INET6",
        Addresses::Unix { .. } => "UNIX",
    };
    match header.version() {
        Version::V1 => {
            out["version"] = json!(1);
            out["proto"] = json!(match family {
                "INET" => "TCP4",
                "INET6" => "TCP6",
                _ => "UNKNOWN",
            });
        }
        Version::V2 => {
            out["version"] = json!(2);
            out["command"] = json!(if header.command() == Command::Local { "LOCAL" } else { "PROXY" });
            out["family"] = json!(family);
            out["transport"] = json!(match header.transport() {
                Transport::Stream => "STREAM",
                Transport::Datagram => "DGRAM",
                Transport::Unspecified => "UNSPEC",
            });
        }
    }
    if let (Some(source), Some(destination)) = (addresses.source(), addresses.destination()) {
        out["src"] = json!(source.ip().to_string());
        out["dst"] = json!(destination.ip().to_string());
        out["src_port"] = json!(source.port());
        out["dst_port"] = json!(destination.port());
    }
    let tlvs: Vec<Value> = header.tlvs().map(|tlv| describe_tlv(header, tlv)).collect();
    if !tlvs.is_empty() {
        out["tlvs"] = json!(tlvs);
    }
    out
}

fn describe_tlv(header: &Header<'_>, tlv: Tlv<'_>) -> Value {
    let text = String::from_utf8_lossy(tlv.value).into_owned();
    let name = match tlv.kind {
        TlvType::AZURE => "AZURE".to_owned(),
        kind => kind.to_string(),
    };
    match tlv.kind {
        // A wrong one would have been refused.
        TlvType::CRC32C => json!({ "type": name, "value": common::to_hex(tlv.value), "valid": true }),
        TlvType::SSL => {
            let ssl = header.ssl().unwrap();
            let bits: Vec<&str> = [(1, "SSL"), (2, "CERT_CONN"), (4, "CERT_SESS")]
                .into_iter()
                .filter(|(bit, _)| ssl.client.0 & bit != 0)
                .map(|(_, name)| name)
                .collect();
            let subs: Vec<Value> = ssl
                .sub_tlvs()
                .map(|sub| {
                    let name = sub.kind.to_string();
                    json!({ "type": name.strip_prefix("SSL_").unwrap(),
                            "value": String::from_utf8_lossy(sub.value) })
                })
                .collect();
            json!({ "type": name, "client": ssl.client.0, "client_bits": bits, "verify": ssl.verify, "sub": subs })
        }
        _ => json!({ "type": name, "value": text }),
    }
}
