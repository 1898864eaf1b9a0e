//! What the wire tests share: the cases from `vectors/`, and one way to say what a header holds.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]
#![allow(clippy::arithmetic_side_effects, reason = "a test may fail")]
use std::path::{Path, PathBuf};

use serde_json::Value;
use truepeer_proto::{Addresses, Command, Header, Tlv, UnixAddress, Version};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// One case of `vectors/vectors.json`.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: String,
    pub(crate) reason: String,
    pub(crate) datagram: bool,
    pub(crate) json: Value,
}

pub(crate) fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(root().join("vectors/vectors.json")).unwrap();
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    let text = |json: &Value, key: &str| json[key].as_str().unwrap_or_default().to_owned();
    list.into_iter()
        .map(|json| Case {
            id: text(&json, "id"),
            bytes: hex(json["hex"].as_str().unwrap()),
            expect: text(&json, "expect"),
            reason: text(&json, "reason"),
            datagram: json["transport"] == "datagram",
            json,
        })
        .collect()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An address as the vectors write it.
fn unix(address: UnixAddress<'_>) -> String {
    let at = if address.is_abstract() { "@" } else { "" };
    format!("unix:{at}{}", String::from_utf8_lossy(address.name()))
}

/// Source and destination as the vectors write them.
pub(crate) fn ends(header: &Header<'_>) -> Option<(String, String)> {
    match header.addresses() {
        Addresses::Unspecified => None,
        Addresses::Unix { source, destination } => Some((unix(source), unix(destination))),
        other => Some((other.source()?.to_string(), other.destination()?.to_string())),
    }
}

/// Asserts that `header` says what the case says.
pub(crate) fn assert_says(header: &Header<'_>, case: &Case) {
    let id = &case.id;
    let version = if header.version() == Version::V1 { 1 } else { 2 };
    assert_eq!(case.json["version"], version, "{id}: version");
    let command = match (header.version(), header.command(), header.addresses()) {
        (_, Command::Local, _) => "LOCAL",
        (Version::V1, _, Addresses::Unspecified) => "UNKNOWN",
        _ => "PROXY",
    };
    assert_eq!(case.json["command"], command, "{id}: command");
    let (source, destination) = ends(header).unzip();
    assert_eq!(case.json["src"].as_str(), source.as_deref(), "{id}: source");
    assert_eq!(case.json["dst"].as_str(), destination.as_deref(), "{id}: destination");
    let expected: Vec<(u8, String)> = case.json["tlvs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tlv| (tlv["type"].as_u64().unwrap() as u8, tlv["value_hex"].as_str().unwrap().to_owned()))
        .collect();
    let found: Vec<(u8, String)> = header.tlvs().map(|Tlv { kind, value }| (kind.0, to_hex(value))).collect();
    assert_eq!(found, expected, "{id}: TLVs");
}
