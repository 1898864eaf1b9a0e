use std::time::UNIX_EPOCH;

use truepeer::{Endpoint, HeaderReader, HeaderRules, Progress};

use super::*;
use crate::facts::protocol::Protocol;
use crate::rooms::limits::Rule;
use crate::rooms::record::{Entry, Times, TlsFacts};

/// A record in which every field has a value.
fn full(now: Instant) -> Record {
    let peer = PeerAddress::Unix { uid: Some(1000) };
    let entry = Entry::new("id-1".to_owned(), "smtp".into(), Protocol::Smtp, peer, UNIX_EPOCH);
    let mut record = Record::new(Arc::new(entry), now);
    let reader = HeaderReader::new(HeaderRules::default(), peer, now);
    let Ok(Progress::Done { identity, .. }) = reader.advance(b"PROXY TCP4 10.0.0.7 192.0.2.1 4711 25\r\n")
    else {
        panic!("a good header");
    };
    record.identified(&identity, now);
    record.hops.push(Endpoint::from(std::net::SocketAddr::from(([192, 0, 2, 20], 40_000))));
    record.own = Some("local");
    record.tls = Some(TlsFacts {
        version: "TLSv1.3".to_owned(),
        cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
        verified_name: Some("alice \"a\" \\x1b".to_owned()),
    });
    record.proxy_id = Some("p 1".to_owned());
    record.backend = Some(("postfix".into(), "127.0.0.1:10025".to_owned()));
    record.handoff = Some("proxy-v2");
    record.substituted = Some("destination");
    record.exit = Some(crate::facts::program::Exit::Signal(11));
    record.times =
        Times { identify: Some(Duration::ZERO), handoff: Some(Duration::ZERO), relay: Some(Duration::ZERO) };
    record.rule = Some("deny 10.0.0.0/8 (deny.txt, line 3)".into());
    record.would_refuse = Some(RefusedBy::Limit(Rule::RatePerClient));
    record.seen = Some("EHLO\\r\\n=".into());
    record.cause = Some("line one\nline two".to_owned());
    record.remedy = Some("none".to_owned());
    record
}

#[test]
fn a_record_has_the_documented_fields_in_their_order() {
    let now = Instant::now();
    let line = line(&full(now), Outcome::Done, LogFormat::Json, now, UNIX_EPOCH);
    let mut at = 0;
    for (field, ..) in FIELDS {
        let found = line[at..].find(&format!("\"{field}\":")).unwrap_or_else(|| panic!("{field} in {line}"));
        at += found;
    }
    let serde_json::Value::Object(fields) = line.parse().unwrap() else { panic!("{line}") };
    assert_eq!(fields.len(), FIELDS.len(), "{line}");
}

#[test]
fn the_line_at_the_start_has_the_fields_that_are_documented_for_it_and_is_no_record() {
    let line = start_line(&full(Instant::now()), LogFormat::Json, UNIX_EPOCH);
    let serde_json::Value::Object(fields) = line.parse().unwrap() else { panic!("{line}") };
    let documented = FIELDS.iter().filter(|(_, lines, _)| *lines == Both);
    let mut documented: Vec<_> = documented.map(|(field, ..)| *field).collect();
    let mut found: Vec<_> = fields.keys().map(String::as_str).collect();
    documented.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, documented);
    assert_eq!(fields["event"], "connected");
    assert!(!fields.contains_key("outcome"), "{line}");
}

#[test]
fn both_formats_say_the_same_and_stay_on_one_line() {
    let now = Instant::now();
    let record = full(now);
    let json = line(&record, Outcome::Done, LogFormat::Json, now, UNIX_EPOCH);
    let text = line(&record, Outcome::Done, LogFormat::Text, now, UNIX_EPOCH);
    assert!(!json.contains('\n') && !text.contains('\n'), "{text}");
    assert!(text.starts_with("time=1970-01-01T00:00:00.000Z level=info event=connection id=id-1 "), "{text}");
    assert!(text.contains(r#" proxy_id="p 1" "#), "{text}");
    assert!(text.contains(r#" cause="line one\nline two" "#), "{text}");
    let fields: serde_json::Value = json.parse().unwrap();
    assert_eq!(fields.get("cause").and_then(|cause| cause.as_str()), Some("line one\nline two"));
    assert_eq!(fields.get("peer_uid").and_then(serde_json::Value::as_u64), Some(1000));
}
