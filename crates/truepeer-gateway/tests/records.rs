//! The record: exactly one for each connection, in both formats, with nothing of the wire left unescaped.
//!
//! Where each outcome is reached (the last test here holds this table to the code):
//!
//! | outcome | file | test |
//! |---|---|---|
//! | done | journey | a_proxied_client_reaches_the_backend_as_itself |
//! | drained | drain | a_drain_cuts_what_has_not_ended_in_time |
//! | cut | records | a_connection_that_an_operator_cuts_says_so |
//! | idle_timeout | relay | silence_ends_at_the_idle_limit_on_both_sides |
//! | client_failed | relay | a_client_that_resets_is_a_failed_client_and_the_backend_sees_the_end |
//! | backend_failed | failover | once_our_header_was_written_nothing_is_tried_again |
//! | own_answered | records | what_is_only_noise_leaves_no_line |
//! | own_no_check | proxy_own | mail_or_a_login_over_them_is_put_off_and_said_with_its_cause |
//! | own_refused | refusals | the_proxys_own_connections_may_be_refused |
//! | own_limit | records | a_proxy_may_have_only_so_many_connections_of_its_own |
//! | unlisted_peer | refusals | an_unlisted_peer_is_refused_where_only_proxies_may_come |
//! | untrusted_header | first_bytes | a_strangers_header_is_not_passed_on_wherever_it_is_split |
//! | header_redundant | refusals | a_header_that_names_its_own_sender_is_redundant |
//! | header_repeated | first_bytes | a_second_header_is_refused_in_every_mix_of_versions |
//! | header_held_back | first_bytes | without_our_header_a_prefix_is_never_passed_on_and_the_banner_flows_meanwhile |
//! | header_empty | records | what_is_only_noise_leaves_no_line |
//! | header_truncated | records | each_way_a_header_can_be_wrong_has_its_code |
//! | header_timeout | refusals | a_silent_trusted_peer_ends_at_the_deadline_and_delays_nobody |
//! | header_missing | records | each_way_a_header_can_be_wrong_has_its_code |
//! | header_version | records | each_way_a_header_can_be_wrong_has_its_code |
//! | header_too_long | records | each_way_a_header_can_be_wrong_has_its_code |
//! | header_checksum | records | each_way_a_header_can_be_wrong_has_its_code |
//! | header_malformed | records | each_way_a_header_can_be_wrong_has_its_code |
//! | header_evicted | refusals | the_oldest_unfinished_header_makes_room |
//! | client_implausible | records | each_way_a_header_can_be_wrong_has_its_code |
//! | access_denied | access | one_client_is_denied_its_neighbour_behind_the_same_proxy_and_the_proxy_are_not |
//! | secure_required | secure | one_client_is_refused_without_tls_another_behind_the_same_proxy_is_served_and_so_is_the_proxy |
//! | limit_reached | limits | one_client_is_limited_its_neighbour_behind_the_same_proxy_and_the_proxy_are_not |
//! | backend_unready | failover | when_all_are_dead_clients_hear_a_temporary_no_and_the_record_names_the_address |
//! | backend_refused | failover | when_all_are_dead_clients_hear_a_temporary_no_and_the_record_names_the_address |
//! | backend_timeout | failover | a_backend_that_hangs_on_connect_ends_as_a_timeout |
//! | backend_full | exec_bounds | so_many_run_at_once_and_the_next_hears_to_come_back |
//! | backend_ports_exhausted | ports | when_every_source_port_is_in_use_clients_hear_a_temporary_no_until_one_is_free |
//! | descriptors_exhausted | descriptors | without_a_descriptor_for_the_backend_clients_hear_a_temporary_no_and_the_backend_is_not_blamed |
//! | handoff_failed | failover | a_backend_that_takes_no_more_of_our_header_is_a_failed_handoff_and_nothing_else_is_tried |
//! | handoff_refused | handoff_words | a_backend_that_takes_no_word_of_one_client_refuses_that_client_only |
//! | backend_turns_away | handoff_words | a_client_that_the_backend_turns_away_hears_the_backends_own_words |
//! | internal | - | needs a mistake of ours: `a_mistake_of_ours_ends_one_connection_and_leaves_its_record_too` |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::net::{IpAddr, Shutdown, TcpStream};

use crate::support::fake::{Fake, smtp_behind_v1};
use crate::support::{House, Plan, expect, read_to_end};
use serde_json::Value;
use truepeer::HeaderRules;
use truepeer::proto::{Decoder, Versions};
use truepeer_gateway::door::OwnCount;
use truepeer_gateway::facts::lines::LogFormat;
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::observe::folding::Folding;
use truepeer_gateway::rooms::handoff::Handoff;
use truepeer_gateway::rooms::record::Entry;

const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 9];
const GREETING: &str = "220 backend ready\r\n";
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A v2 header of 203.0.113.7:4711 to 198.51.100.25:25 with these TLVs.
fn v2(tlvs: &[u8]) -> Vec<u8> {
    let len = u16::try_from(12 + tlvs.len()).unwrap().to_be_bytes();
    let addresses = b"\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19";
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &len[..], addresses, tlvs].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

fn start(format: LogFormat) -> House {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.format = format;
    plan.start()
}

/// Every field of a line, whatever the format.
#[track_caller]
fn fields(format: LogFormat, line: &str) -> BTreeMap<String, Value> {
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line.escape_debug());
    if format == LogFormat::Json {
        return serde_json::from_str(line).unwrap();
    }
    let mut found = BTreeMap::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap();
        let len = if after.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
            let value = values.next().unwrap().unwrap();
            assert!(found.insert(key.to_owned(), value).is_none(), "{key} twice in {line}");
            values.byte_offset()
        } else {
            let len = after.find(' ').unwrap_or(after.len());
            let value = &after[..len];
            assert!(!value.contains(['"', '=', '\\']), "{key} in {line}");
            assert!(found.insert(key.to_owned(), value.into()).is_none(), "{key} twice in {line}");
            len
        };
        rest = after[len..].strip_prefix(' ').unwrap_or_else(|| {
            assert_eq!(&after[len..], "", "{line}");
            ""
        });
    }
    found
}

fn text<'a>(fields: &'a BTreeMap<String, Value>, key: &str) -> &'a str {
    fields.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key} in {fields:?}"))
}

/// Sends `bytes` and the end of the stream, and waits for the end of the other.
fn send(house: &House, from: impl Into<IpAddr>, bytes: &[u8]) {
    let mut client = house.connect_from(from.into());
    // A refusal may come before the last byte has left.
    let _ = client.write_all(bytes);
    let _ = client.shutdown(Shutdown::Write);
    read_to_end(&client);
}

#[test]
fn every_connection_leaves_exactly_one_record_in_either_format() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let house = start(format);
        let kinds: [(_, Vec<u8>, _); 7] = [
            (PROXY, [V1, b"QUIT\r\n"].concat(), Outcome::Done),
            (PROXY, v2(&tlv(4, b"padding")), Outcome::Done),
            (STRANGER, b"QUIT\r\n".to_vec(), Outcome::Done),
            (STRANGER, V1.to_vec(), Outcome::UntrustedHeader),
            (PROXY, [V1, V1].concat(), Outcome::HeaderRepeated),
            (PROXY, b"EHLO x\r\n".to_vec(), Outcome::HeaderMissing),
            (PROXY, b"PROXY TCP4".to_vec(), Outcome::HeaderTruncated),
        ];
        const EACH: usize = 8;
        std::thread::scope(|scope| {
            for (from, bytes, _) in &kinds {
                for _ in 0..EACH {
                    let house = &house.server;
                    let address = house.address("door").unwrap();
                    scope.spawn(move || {
                        let mut client = connect(*from, address);
                        let _ = client.write_all(bytes);
                        let _ = client.shutdown(Shutdown::Write);
                        read_to_end(&client);
                    });
                }
            }
        });
        house.wait_for_open(0);
        let lines: Vec<_> = house.finish().into_iter().map(|record| fields(format, &record.0)).collect();
        let ids: HashSet<_> = lines.iter().map(|line| text(line, "id")).collect();
        assert_eq!((ids.len(), lines.len()), (kinds.len() * EACH, kinds.len() * EACH));
        for (_, _, outcome) in kinds {
            let code = outcome.facts().code;
            let expected = kinds_with(outcome) * EACH;
            assert_eq!(lines.iter().filter(|line| text(line, "outcome") == code).count(), expected, "{code}");
        }
        for line in &lines {
            assert_eq!(text(line, "event"), "connection");
            assert_eq!((text(line, "listener"), text(line, "protocol")), ("door", "smtp"));
            assert!(text(line, "time").ends_with('Z') && text(line, "level") == "info", "{line:?}");
            assert!(text(line, "peer").starts_with("127.0.0."), "{line:?}");
            for number in ["bytes_in", "bytes_out", "duration_ms"] {
                let value = &line[number];
                assert!(
                    value.is_u64() || value.as_str().is_some_and(|n| n.parse::<u64>().is_ok()),
                    "{line:?}"
                );
                assert_eq!(value.is_u64(), format == LogFormat::Json, "{line:?}");
            }
        }
    }
}

/// How many of the kinds above end so.
fn kinds_with(outcome: Outcome) -> usize {
    if outcome == Outcome::Done { 3 } else { 1 }
}

fn connect(from: [u8; 4], to: std::net::SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), support::PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream
}

#[test]
fn each_way_a_header_can_be_wrong_has_its_code() {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let v1_only = HeaderRules::new().decoder(Decoder::new().versions(Versions::V1Only));
    let both = HeaderRules::default();
    let no_end = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
    let mut unknown_family = v2(b"");
    unknown_family[13] = 0x41;
    for (rules, bytes, outcome, says) in [
        (v1_only, v2(b""), Outcome::HeaderVersion, "bad header"),
        (
            both.clone(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
            Outcome::HeaderTooLong,
            "bad header",
        ),
        (both.clone(), no_end, Outcome::HeaderMalformed, "bad header"),
        (both.clone(), v2(&tlv(3, b"\xde\xad\xbe\xef")), Outcome::HeaderChecksum, "bad header"),
        (both.clone(), v2(b"\x05\0\x09short"), Outcome::HeaderMalformed, "bad header"),
        (both.clone(), unknown_family, Outcome::HeaderMalformed, "bad header"),
        (both.clone(), v2(b"")[..20].to_vec(), Outcome::HeaderTruncated, "closed inside its header"),
        (both.clone(), b"EHLO x\r\n".to_vec(), Outcome::HeaderMissing, "an SMTP command"),
        (
            both,
            b"PROXY TCP4 224.0.0.1 198.51.100.25 1 25\r\n".to_vec(),
            Outcome::ClientImplausible,
            "multicast",
        ),
    ] {
        let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
        plan.header = rules;
        let house = plan.start();
        send(&house, PROXY, &bytes);
        let record = house.record();
        record.assert_outcome(outcome);
        let line = fields(LogFormat::Text, &record.0);
        assert!(text(&line, "cause").contains(says), "{}", record.0);
        assert!(outcome == Outcome::HeaderTruncated || line.contains_key("remedy"), "{}", record.0);
        assert!(!line.contains_key("client") && !line.contains_key("backend"), "{}", record.0);
        assert!(house.finish().is_empty());
    }
}

#[test]
fn refusals_of_one_cause_are_folded_and_none_is_lost() {
    const SENT: u64 = 40;
    for format in [LogFormat::Text, LogFormat::Json] {
        let house = start(format);
        for _ in 0..SENT {
            send(&house, STRANGER, V1);
        }
        // Another cause, and a connection that was served, are shown all the same.
        send(&house, PROXY, b"EHLO x\r\n");
        send(&house, PROXY, &[V1, b"QUIT\r\n"].concat());
        house.wait_for_open(0);
        let lines: Vec<_> = house.finish().into_iter().map(|record| fields(format, &record.0)).collect();
        let (folded, shown): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| text(line, "event") == "connections_folded");
        let count = |code: &str| shown.iter().filter(|line| text(line, "outcome") == code).count() as u64;
        assert_eq!(count("untrusted_header"), u64::from(Folding::SHOWN_PER_MINUTE));
        assert_eq!((count("header_missing"), count("done")), (1, 1));
        let [summary] = &folded[..] else { panic!("{folded:?}") };
        assert_eq!((text(summary, "outcome"), text(summary, "listener")), ("untrusted_header", "door"));
        let rest = SENT - u64::from(Folding::SHOWN_PER_MINUTE);
        assert_eq!(summary["count"].to_string().trim_matches('"'), rest.to_string());
        assert!(text(summary, "first_peer").starts_with("127.0.0.9:"), "{summary:?}");
        assert!(text(summary, "last_peer").starts_with("127.0.0.9:"), "{summary:?}");
    }
}

#[test]
fn where_it_is_wanted_a_line_tells_the_start_and_the_record_has_the_same_id() {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let house =
        House::written(Protocol::Smtp, backend.address, "[log]\nformat = \"json\"\nconnections = \"both\"\n");
    let mut client = house.connect();
    client.write_all(V1).unwrap();
    expect(&client, GREETING.as_bytes());
    // It is there while the session is open.
    let begun = fields(LogFormat::Json, &house.line());
    assert_eq!(text(&begun, "event"), "connected");
    for (key, value) in
        [("client", "203.0.113.7:4711"), ("backend", "b"), ("handoff", "proxy-v1"), ("source", "v1")]
    {
        assert_eq!(text(&begun, key), value, "{begun:?}");
    }
    assert!(!begun.contains_key("outcome") && !begun.contains_key("duration_ms"), "{begun:?}");
    client.write_all(b"QUIT\r\n").unwrap();
    read_to_end(&client);
    drop(client);
    let ended = fields(LogFormat::Json, &house.record().0);
    assert_eq!((text(&ended, "event"), text(&ended, "outcome")), ("connection", "done"));
    assert_eq!(text(&ended, "id"), text(&begun, "id"));
    // Who is turned away never began a session.
    send(&house, PROXY, b"EHLO x\r\n");
    assert_eq!(text(&fields(LogFormat::Json, &house.record().0), "outcome"), "header_missing");
    assert!(house.finish().is_empty());
}

#[test]
fn a_connection_that_an_operator_cuts_says_so() {
    let house = start(LogFormat::Text);
    let mut clients: Vec<_> = (1..=2)
        .map(|number| {
            let mut client = house.connect();
            let header = format!("PROXY TCP4 203.0.113.{number} 198.51.100.25 4711 25\r\n");
            client.write_all(header.as_bytes()).unwrap();
            expect(&client, GREETING.as_bytes());
            client
        })
        .collect();
    let second = |entry: &Entry| entry.client().is_some_and(|client| client.to_string().contains(".2:"));
    assert_eq!(house.server.registry().cut(second), 1);
    assert_eq!(read_to_end(&clients[1]), b"");
    let record = house.record();
    record.assert_outcome(Outcome::Cut);
    record.assert(&[("client", "203.0.113.2:4711"), ("bytes_out", "19")]);
    // The other one goes on.
    clients[0].write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&clients[0]), b"221 bye\r\n");
    drop(clients);
    house.record().assert(&[("outcome", "done"), ("client", "203.0.113.1:4711")]);
    assert!(house.finish().is_empty());
}

#[test]
fn what_is_only_noise_leaves_no_line() {
    let house = start(LogFormat::Text);
    let probe = house.connect();
    house.wait_for_open(1);
    drop(probe);
    house.wait_for_open(0);
    let mut check = house.connect();
    check.write_all(V2_LOCAL).unwrap();
    check.write_all(b"QUIT\r\n").unwrap();
    assert!(read_to_end(&check).starts_with(b"220 "));
    drop(check);
    house.wait_for_open(0);
    // One that counts comes behind them, and is alone.
    send(&house, PROXY, &[V1, b"QUIT\r\n"].concat());
    house.record().assert_outcome(Outcome::Done);
    let rest = house.finish();
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_proxy_may_have_only_so_many_connections_of_its_own() {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.trusted.push("127.0.0.9/32");
    let house = plan.start();
    let own = |from: [u8; 4]| {
        let mut check = house.connect_from(from.into());
        check.write_all(V2_LOCAL).unwrap();
        check
    };
    let mut open: Vec<_> = (0..OwnCount::MAX)
        .map(|_| {
            let check = own(PROXY);
            expect(&check, b"220 mx.example ");
            check
        })
        .collect();
    assert_eq!(read_to_end(&own(PROXY)), b"");
    let record = house.record();
    record.assert_outcome(Outcome::OwnLimit);
    record.assert(&[("own", "local")]);
    // Clients of the same proxy, and another proxy, are none of this.
    send(&house, PROXY, &[V1, b"QUIT\r\n"].concat());
    house.record().assert_outcome(Outcome::Done);
    let other = own(STRANGER);
    expect(&other, b"220 mx.example ");
    drop(other);
    // One that ends makes room for one.
    house.wait_for_open(OwnCount::MAX);
    drop(open.pop());
    house.wait_for_open(OwnCount::MAX - 1);
    expect(&own(PROXY), b"220 mx.example ");
}

#[test]
fn text_from_the_wire_is_escaped_and_cut() {
    const NASTY: &[u8] = b"\x1b]0;pwned\x07\" client=\"10.0.0.1\" \\ \n\xc2\x9b31m\xff\0";
    for format in [LogFormat::Text, LogFormat::Json] {
        let house = start(format);
        // Where a header was due.
        send(&house, PROXY, &[NASTY, &[b'x'; 64]].concat());
        let line = fields(format, &house.record().0);
        assert_eq!(text(&line, "outcome"), "header_missing");
        assert_eq!(text(&line, "seen"), NASTY[..32].escape_ascii().to_string());
        assert!(!line.contains_key("client"), "{line:?}");
        // In what a header adds.
        let ssl = [
            &b"\x07\0\0\0\0"[..],
            &tlv(0x21, b"TLSv1.3\x1b[2J"),
            &tlv(0x22, b"CN \"quoted\"\r\nlevel=error"),
            &tlv(0x23, b"\x1b[31mTLS_AES\x07"),
        ]
        .concat();
        let tlvs = [tlv(0x20, &ssl), tlv(5, NASTY)].concat();
        send(&house, PROXY, &[&v2(&tlvs)[..], b"QUIT\r\n"].concat());
        let line = fields(format, &house.record().0);
        assert_eq!(text(&line, "outcome"), "done", "{line:?}");
        assert_eq!(text(&line, "client"), "203.0.113.7:4711");
        assert_eq!(text(&line, "proxy_id"), NASTY.escape_ascii().to_string());
        assert_eq!(text(&line, "tls"), "TLSv1.3\\x1b[2J");
        assert_eq!(text(&line, "tls_cipher"), "\\x1b[31mTLS_AES\\x07");
        assert_eq!(text(&line, "tls_client"), "CN \\\"quoted\\\"\\r\\nlevel=error");
        assert!(!line.contains_key("seen"), "{line:?}");
    }
}

#[test]
fn what_a_backend_says_is_escaped_as_well() {
    let backend = Fake::start(|mut stream: TcpStream| {
        let _ = stream.write_all(b"220 \x1b[31m\"x\" outcome=done \xff\r\n");
        support::fake::answer_lines(stream, |_| "500 \x1b[2J\"no\"\r\n")
    });
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    send(&house, PROXY, V1);
    let line = fields(LogFormat::Text, &house.record().0);
    assert_eq!(text(&line, "outcome"), "backend_unready");
    assert!(text(&line, "cause").contains("500 \\x1b[2J"), "{line:?}");
}

#[test]
fn nothing_of_what_a_client_says_is_in_its_record() {
    let house = start(LogFormat::Json);
    send(&house, PROXY, &[V1, b"AUTH PLAIN secretsecret\r\nQUIT\r\n"].concat());
    let record = house.record();
    assert!(!record.0.contains("secret"), "{}", record.0);
    // Not even of one whose header came in one piece with it.
    send(&house, PROXY, &[V1, V1, b"AUTH PLAIN secretsecret\r\n"].concat());
    let record = house.record();
    assert!(record.0.contains("header_repeated") && !record.0.contains("secret"), "{}", record.0);
    send(&house, STRANGER, &[V1, b"AUTH PLAIN secretsecret\r\n"].concat());
    let record = house.record();
    assert!(record.0.contains("untrusted_header") && !record.0.contains("secret"), "{}", record.0);
}

#[test]
fn every_outcome_is_reached_by_a_test_or_named_as_unreachable() {
    let files = [
        ("journey", include_str!("journey.rs")),
        ("refusals", include_str!("refusals.rs")),
        ("failover", include_str!("failover.rs")),
        ("drain", include_str!("drain.rs")),
        ("relay", include_str!("relay.rs")),
        ("first_bytes", include_str!("first_bytes.rs")),
        ("records", include_str!("records.rs")),
        ("access", include_str!("access.rs")),
        ("secure", include_str!("secure.rs")),
        ("limits", include_str!("limits.rs")),
        ("descriptors", include_str!("descriptors.rs")),
        ("ports", include_str!("ports.rs")),
        ("proxy_own", include_str!("proxy_own.rs")),
        ("handoff_words", include_str!("handoff_words.rs")),
        ("exec_bounds", include_str!("exec_bounds.rs")),
    ];
    let rows: Vec<Vec<_>> = include_str!("records.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .skip(1)
        .map(|row| row.trim_end_matches(" |").split(" | ").collect())
        .collect();
    let codes: Vec<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(codes, Outcome::ALL.map(|outcome| outcome.facts().code));
    for row in rows {
        let (file, test) = (row[1], row[2]);
        if file != "-" {
            let (_, source) = files.iter().find(|(name, _)| *name == file).unwrap();
            assert!(source.contains(&format!("\nfn {test}() {{")), "{row:?}");
        }
    }
}
