use std::time::{Instant, UNIX_EPOCH};

use truepeer::{Endpoint, HeaderReader, HeaderRules, Progress};

use super::*;
use crate::rooms::backend::Reached;
use crate::rooms::handoff::{Handoff, Substituted};
use crate::rooms::limits::LimitRule;
use crate::rooms::record::{Entry, Explanation, Times};

/// What a trusted peer over a UNIX socket sent: a client with TLS, or a connection of the proxy's own.
const CLIENT: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x4c\x0a\0\0\x07\xc0\0\x02\x01\x12\x67\0\x19\
    \x05\0\x03p 1\
    \x20\0\x37\x07\0\0\0\0\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_128_GCM_SHA256\x22\0\x0calice \"a\" \x1b\n";
const OWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A record in which every field has a value that can have one beside what `header` says.
fn full(now: CompactInstant, header: &[u8]) -> Record {
    let peer = PeerAddress::Unix { uid: Some(1000) };
    let mut record = Record::new(Entry::sample("smtp", 1, peer), now);
    let reader = HeaderReader::new(HeaderRules::default(), peer, now.into());
    let Ok(Progress::Done { identity, .. }) = reader.advance(header) else { panic!("a good header") };
    record.identified(identity, now);
    record.came_by(vec![Endpoint::from(std::net::SocketAddr::from(([192, 0, 2, 20], 40_000)))]);
    record.entry.reached(Reached::new(&"postfix".into(), "127.0.0.1:10025"));
    record.handoff = Some(Handoff::ProxyV2);
    record.substituted = Substituted::DESTINATION;
    record.exited(crate::facts::program::Exit::Signal(11));
    let took = Some(Duration::ZERO.into());
    record.times = Times { identify: took, handoff: took, relay: took };
    record.explained(Explanation {
        rule: Some("deny 10.0.0.0/8 (deny.txt, line 3)".into()),
        would_refuse: Some(RefusedBy::Limit(LimitRule::RatePerClient)),
        seen: Some("EHLO\\r\\n=".into()),
        ..Explanation::new("line one\nline two", "none")
    });
    record
}

fn ended(record: &Record, format: LogFormat, now: CompactInstant) -> String {
    let mut text = String::new();
    line(record, Outcome::Done, format, now, UNIX_EPOCH, &mut text);
    text
}

/// The fields of a line, each of which has its place behind that before it.
fn fields(line: &str) -> Vec<String> {
    let mut rest = line;
    let mut fields = Vec::new();
    for (field, ..) in FIELDS {
        if let Some((_, behind)) = rest.split_once(&format!("\"{field}\":")) {
            rest = behind;
            fields.push((*field).to_owned());
        }
    }
    let serde_json::Value::Object(all) = line.parse().unwrap() else { panic!("{line}") };
    assert_eq!(fields.len(), all.len(), "documented, and in order: {line}");
    fields
}

#[test]
fn a_record_has_the_documented_fields_in_their_order() {
    let now = CompactInstant::from(Instant::now());
    let of = |header| fields(&ended(&full(now, header), LogFormat::Json, now));
    let (client, own) = (of(CLIENT), of(OWN));
    let missing = FIELDS.iter().filter(|(field, ..)| !client.iter().chain(&own).any(|found| found == field));
    assert_eq!(missing.count(), 0, "{client:?} {own:?}");
    assert!(own.contains(&"own".to_owned()) && !own.contains(&"client".to_owned()), "{own:?}");
    assert!(client.contains(&"client".to_owned()) && !client.contains(&"own".to_owned()), "{client:?}");
}

#[test]
fn the_line_at_the_start_has_the_fields_that_are_documented_for_it_and_is_no_record() {
    let at_start = |header| {
        let mut line = String::new();
        start_line(&full(Instant::now().into(), header), LogFormat::Json, UNIX_EPOCH, &mut line);
        line
    };
    let (client, own) = (at_start(CLIENT), at_start(OWN));
    let found = [fields(&client), fields(&own)].concat();
    let documented: Vec<_> = FIELDS.iter().filter(|(_, lines, _)| *lines == Both).collect();
    assert!(documented.iter().all(|(field, ..)| found.iter().any(|found| found == field)), "{found:?}");
    assert!(found.iter().all(|found| documented.iter().any(|(field, ..)| found == field)), "{found:?}");
    assert!(client.contains(r#""event":"connected""#) && !client.contains("outcome"), "{client}");
}

#[test]
fn both_formats_say_the_same_and_stay_on_one_line() {
    let now = CompactInstant::from(Instant::now());
    let record = full(now, CLIENT);
    let json = ended(&record, LogFormat::Json, now);
    let text = ended(&record, LogFormat::Text, now);
    assert!(!json.contains('\n') && !text.contains('\n'), "{text}");
    assert!(text.starts_with("time=1970-01-01T00:00:00.000Z level=info event=connection id=id-1 "), "{text}");
    assert!(text.contains(r#" proxy_id="p 1" "#), "{text}");
    assert!(text.contains(r#" cause="line one\nline two" "#), "{text}");
    let fields: serde_json::Value = json.parse().unwrap();
    assert_eq!(fields.get("cause").and_then(|cause| cause.as_str()), Some("line one\nline two"));
    assert_eq!(fields.get("peer_uid").and_then(serde_json::Value::as_u64), Some(1000));
}
