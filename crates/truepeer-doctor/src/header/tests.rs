use truepeer_proto::V2_SIGNATURE;

use super::*;
use crate::{Class, Product};

fn header(bytes: &[u8]) -> HeaderNote {
    match explain(bytes) {
        Explained::Header(note) => *note,
        Explained::Broken(broken) => panic!("{broken:?}"),
    }
}

fn broken(bytes: &[u8]) -> BrokenHeader {
    match explain(bytes) {
        Explained::Broken(broken) => *broken,
        Explained::Header(note) => panic!("{note:?}"),
    }
}

fn v2(rest: &[u8]) -> Vec<u8> {
    [&V2_SIGNATURE[..], rest].concat()
}

#[test]
fn each_field_of_a_line_has_its_place() {
    let note = header(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nEHLO x\r\n");
    let fields: Vec<_> =
        note.fields.iter().map(|field| (field.offset, field.name, field.value.as_str())).collect();
    assert_eq!(
        fields,
        [
            (0, "signature", "PROXY"),
            (6, "family", "TCP4"),
            (11, "source address", "203.0.113.7"),
            (23, "destination address", "198.51.100.25"),
            (37, "source port", "4711"),
            (42, "destination port", "25"),
            (44, "line end", "\\r\\n"),
        ]
    );
    assert_eq!((note.version, note.command, note.verdict, note.length), (1, "PROXY", "accepted", 46));
    assert_eq!(note.behind, Some("an SMTP command"));
    assert_eq!(note.source.as_deref(), Some("203.0.113.7:4711"));
}

#[test]
fn each_field_and_tlv_of_a_block_has_its_place() {
    let ssl = [&[0x20, 0, 15, 1, 0, 0, 0, 0, 0x21, 0, 7][..], b"TLSv1.3"].concat();
    let tlvs = [&[0x02, 0, 4][..], b"mx.x", &ssl, &[0xea, 0, 3, 1], b"vp"].concat();
    let len = u8::try_from(12 + tlvs.len()).unwrap();
    let bytes =
        v2(&[&[0x21, 0x11, 0, len, 203, 0, 113, 7, 198, 51, 100, 25, 0x12, 0x67, 0, 25][..], &tlvs].concat());
    let note = header(&bytes);
    let fields: Vec<_> =
        note.fields.iter().map(|field| (field.offset, field.value.as_str(), field.clause)).collect();
    assert_eq!(fields[1], (12, "21: version 2, PROXY", "2.2, byte 12"));
    assert_eq!(fields[2], (13, "11: INET, STREAM", "2.2, byte 13"));
    assert_eq!(fields[4], (16, "203.0.113.7", "2.2"));
    assert_eq!(fields[7], (26, "25", "2.2"));
    let tlvs: Vec<_> = note.tlvs.iter().map(|tlv| (tlv.offset, tlv.kind.as_str(), tlv.name)).collect();
    assert_eq!(tlvs, [(28, "0x02", "AUTHORITY"), (35, "0x20", "SSL"), (53, "0xea", "AWS VPC endpoint")]);
    let TlvText::Tls(tls) = &note.tlvs[1].value else { panic!("{:?}", note.tlvs[1]) };
    assert!(tls.tls && !tls.certificate && !tls.verified);
    assert_eq!((tls.items[0].offset, tls.items[0].name), (43, "SSL_VERSION"));
    assert_eq!(tls.items[0].value, TlvText::Text("TLSv1.3".to_owned()));
    assert!(note.notes.iter().any(|note| note.contains("no verified client")), "{:?}", note.notes);
}

#[test]
fn a_header_without_a_client_is_the_proxys_own() {
    for (bytes, own) in [
        (b"PROXY UNKNOWN\r\n".to_vec(), "unknown"),
        (v2(&[0x20, 0, 0, 0]), "local"),
        (v2(&[0x21, 0, 0, 0]), "unspecified"),
    ] {
        let note = header(&bytes);
        assert_eq!((note.verdict, note.own, note.source), ("accepted-own", Some(own), None));
    }
}

#[test]
fn a_second_header_is_remarked() {
    let note =
        header(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nPROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    assert!(note.notes.iter().any(|note| note.contains("a second one begins")), "{:?}", note.notes);
    let classes: Vec<_> = note.findings.iter().map(|finding| finding.class).collect();
    assert_eq!(classes, [Class::Forge]);
}

#[test]
fn forms_that_some_receivers_take_otherwise_are_findings() {
    let note = header(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 4711 25\r\n");
    assert_eq!((note.findings.len(), note.findings[0].class), (1, Class::Fam));
    let note = header(b"PROXY TCP4 203.0.113.7 0.0.0.0 0 0\r\n");
    assert_eq!((note.findings.len(), note.findings[0].class), (1, Class::Port));
    assert!(header(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").findings.is_empty());
}

#[test]
fn a_broken_header_says_where_and_what_was_expected() {
    let wrong = broken(b"PROXY TCP4 203.0.113.999 198.51.100.25 4711 25\r\n");
    assert_eq!((wrong.error, wrong.offset, wrong.verdict), ("v1_address", 23, "refused"));
    assert!(wrong.message.contains("(byte 23)") && wrong.expected.contains("0-255"));
    let other = broken(b"GET / HTTP/1.1\r\n");
    assert_eq!((other.error, other.offset, other.opening), ("bad_signature", 0, "an HTTP request"));
    let short = broken(b"PROXY TCP4 203.");
    assert_eq!((short.error, short.offset, short.verdict), ("incomplete", 15, "incomplete"));
    let mixed = broken(b"PROXY TCP6 2001:db8::7 127.0.0.1 4711 25\r\n");
    let does = |name: &str| mixed.receivers.iter().find(|one| one.receiver.starts_with(name)).unwrap().does;
    assert_eq!((does("Postfix"), does("Exim")), (Taken::Refused, Taken::Accepted));
}

#[test]
fn a_large_header_is_too_large_for_some() {
    let mut bytes = v2(&[0x21, 0x11, 0, 225, 203, 0, 113, 7, 198, 51, 100, 25, 0x12, 0x67, 0, 25, 4, 0, 210]);
    bytes.resize(16 + 225, 0);
    let note = header(&bytes);
    let exim = note.receivers.iter().find(|one| one.receiver == "Exim").unwrap();
    assert_eq!((exim.does, exim.reason.as_str()), (Taken::Refused, "too large, 241 > 232"));
    let postfix = note.receivers.iter().find(|one| one.product == Product::Postfix).unwrap();
    assert_eq!(postfix.does, Taken::Accepted);
}

fn cases() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("../../../../vectors/vectors.json")).unwrap()
}

fn bytes_of(case: &serde_json::Value) -> Vec<u8> {
    let hex = case["hex"].as_str().unwrap();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn every_wire_case_is_explained_as_it_is() {
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case["transport"] == "stream") {
        let id = case["id"].as_str().unwrap();
        let text = |key: &str| case[key].as_str();
        let agrees = match explain(&bytes_of(case)) {
            Explained::Header(note) => {
                let kinds: Vec<u64> = case["tlvs"].as_array().map_or_else(Vec::new, |tlvs| {
                    tlvs.iter().map(|tlv| tlv["type"].as_u64().unwrap()).collect()
                });
                let found: Vec<u64> = note
                    .tlvs
                    .iter()
                    .map(|tlv| u64::from_str_radix(tlv.kind.trim_start_matches("0x"), 16).unwrap())
                    .collect();
                text("expect") == Some("accept")
                    && case["consumed"] == note.length
                    && case["version"] == note.version
                    && text("command") == Some(note.command)
                    && text("src") == note.source.as_deref()
                    && text("dst") == note.destination.as_deref()
                    && kinds == found
            }
            Explained::Broken(broken) if broken.error == "incomplete" => text("expect") == Some("incomplete"),
            Explained::Broken(broken) => {
                text("expect") == Some("reject") && text("reason") == Some(broken.error)
            }
        };
        if !agrees {
            wrong.push(format!("{id}: {:?}", explain(&bytes_of(case))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The receivers' rows against what real receivers did with the wire cases of this project.
#[test]
fn rows_of_receivers_agree_with_what_was_observed() {
    let columns = [
        ("postfix-3.12", "Postfix smtpd and postscreen"),
        ("dovecot-HEAD(shim)", "Dovecot 2.3"),
        ("exim-HEAD(shim)", "Exim"),
        ("nginx-HEAD", "nginx http"),
        ("haproxy-2.6.12", "HAProxy 2.6"),
        ("go-proxyproto-HEAD", "Traefik 3"),
    ];
    // The library takes UNIX and datagram families; Traefik, which is built on it, refused UNIX in the laboratory.
    let exceptions = [
        ("Traefik 3", "v2-udp4"),
        ("Traefik 3", "v2-unix-full108"),
        ("Traefik 3", "v2-unix-abstract"),
        ("Traefik 3", "v2-local-badfam"),
    ];
    let (mut compared, mut wrong) = (0, Vec::new());
    for case in cases() {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let receptions = match explain(&bytes_of(&case)) {
            Explained::Header(note) => note.receivers,
            Explained::Broken(broken) => broken.receivers,
        };
        for (column, name) in columns {
            let Some(observed) = case["observed"][column].as_str() else { continue };
            let Some(reception) = receptions.iter().find(|one| one.receiver == name) else { continue };
            if !["accept", "reject"].contains(&observed) {
                continue;
            }
            compared += 1;
            let accepts = !matches!(reception.does, Taken::Refused | Taken::Hangs);
            let agrees = accepts == (observed == "accept");
            if agrees == exceptions.contains(&(name, text("id"))) {
                wrong.push(format!(
                    "{name}, {}: observed {observed}, said {:?} ({})",
                    text("id"),
                    reception.does,
                    reception.reason
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared > 350, "only {compared} compared");
}
