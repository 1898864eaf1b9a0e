//! What must hold when a schedule is over.
//!
//! 1. A backend was told exactly the client of the header, or got nothing.
//! 2. Bytes are in order and whole, or the beginning of what was sent where the connection broke.
//! 3. Each connection left exactly one record, with a right outcome.
//! 4. Every permit, socket, deadline and count is given back.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::expect::{self, Expectation};
use super::play::Play;
use super::scene::{Fate, Meeting, Scene, VARIANTS, named};
use super::visitor::{Says, Visitor};
use crate::facts::outcome::{Level, Outcome};

/// The fields of one record.
type Fields<'a> = BTreeMap<&'a str, &'a str>;

pub(super) fn judge(scene: &Scene, play: &Play, lines: &[String], lost: u64) {
    for meeting in scene.meetings.borrow().iter() {
        let is_somebody = play.visitors.iter().any(|visitor| Some(visitor.client()) == meeting.client);
        assert!(is_somebody, "a backend was told of {:?}, who has not come", meeting.client);
    }
    let records = records(lines);
    let mut shown = 0;
    let mut expected = Vec::new();
    for visitor in &play.visitors {
        let peer = visitor.peer.to_string();
        let mine: Vec<_> = records.iter().filter(|fields| fields["peer"] == peer).collect();
        assert!(mine.len() <= 1, "{peer} left {} records", mine.len());
        let Some(_) = visitor.accepted else {
            assert!(mine.is_empty(), "{peer} was never accepted and left a record");
            continue;
        };
        let Expectation { outcomes, may_meet } = expect::of(scene, play, visitor);
        told_the_truth(scene, visitor, may_meet);
        if let Some(record) = mine.first() {
            shown += 1;
            let outcome = record["outcome"];
            assert!(outcomes.contains(outcome), "{peer} ended as {outcome}, and not as one of {outcomes:?}");
            bytes_are_whole(scene, visitor, record);
            if matches!(outcome, "backend_refused" | "backend_timeout" | "backend_ports_exhausted") {
                // The other address comes next, unless it was found bad before, by this client or another.
                let meetings = scene.meetings.borrow();
                let bad =
                    meetings.iter().filter(|meeting| meeting.fate != Fate::Open || meeting.is_late).count();
                assert!(bad > 1, "{peer} was handed to one address only");
            }
        }
        expected.push((outcomes, mine.first().map(|record| record["outcome"])));
    }
    one_record_each(scene, play, &expected, shown, lost);
    everything_is_given_back(scene, play);
}

fn records(lines: &[String]) -> Vec<Fields<'_>> {
    let mut records = Vec::new();
    for line in lines.iter().filter(|line| line.contains(" event=connection ")) {
        let mut fields = Fields::new();
        for (key, value) in line.split(' ').filter_map(|field| field.split_once('=')) {
            fields.entry(key).or_insert(value);
        }
        records.push(fields);
    }
    records
}

/// 1.
fn told_the_truth(scene: &Scene, visitor: &Visitor, may_meet: bool) {
    let client = visitor.client();
    let meetings = scene.meetings.borrow();
    for meeting in meetings.iter().filter(|meeting| meeting.client == Some(client)) {
        assert!(may_meet, "a backend was told of {client}, who may not enter");
        let (told, len) = named(&meeting.opening).expect("a whole header in one write");
        assert_eq!(told, client, "a backend was told of somebody else");
        let begin = meeting.heard.len().min(len);
        assert_eq!(
            meeting.heard[..begin],
            meeting.opening[..begin],
            "a backend heard something else than our header"
        );
        let version =
            if VARIANTS[visitor.variant].handoff == "proxy-v1" { &b"PROXY "[..] } else { b"\r\n\r\n\0" };
        assert!(meeting.opening.starts_with(version), "{client} came through another door");
        // What the client said is in order, and nothing stands in between.
        let heard = &meeting.heard[begin..];
        assert!(visitor.body.starts_with(heard), "a backend heard bytes of {client} that it has not sent so");
        if visitor.is_caught() == Some(true) {
            assert!(
                heard.is_empty(),
                "a header in the bytes of {client} has reached a backend: {:?}",
                heard.escape_ascii().to_string()
            );
        }
    }
}

/// 2.
fn bytes_are_whole(scene: &Scene, visitor: &Visitor, record: &Fields<'_>) {
    let meetings = scene.meetings.borrow();
    let is_its = |meeting: &&Meeting| meeting.client == Some(visitor.client()) && meeting.fate == Fate::Open;
    let served = meetings.iter().rfind(is_its);
    let outcome = record["outcome"];
    let number = |key: &str| record[key].parse::<usize>().unwrap();
    let (bytes_in, bytes_out) = (number("bytes_in"), number("bytes_out"));
    if let (Says::Client(client), true) = (&visitor.says, record.contains_key("client")) {
        assert_eq!(record["client"], client.to_string(), "the record names somebody else");
    }
    let is_turned_away = outcome.starts_with("backend_") && outcome != "backend_failed"
        || matches!(outcome, "access_denied" | "limit_reached" | "descriptors_exhausted" | "handoff_failed");
    if is_turned_away {
        match VARIANTS[visitor.variant].protocol {
            "tcp" => assert!(visitor.heard.is_empty(), "{} heard {:?}", visitor.peer, visitor.heard),
            _ => assert!(
                matches!(visitor.heard.first(), None | Some(b'4' | b'5')),
                "{} heard no refusal",
                visitor.peer
            ),
        }
    }
    let is_relayed = matches!(outcome, "done" | "client_failed" | "backend_failed" | "idle_timeout");
    let Some(meeting) = served else {
        assert!(!is_relayed, "{} ended as {outcome} without a backend", visitor.peer);
        assert_eq!((bytes_in, bytes_out), (0, 0), "bytes went nowhere");
        return;
    };
    let header = named(&meeting.opening).map_or(0, |(_, len)| len);
    let heard = meeting.heard.len().saturating_sub(header);
    if outcome == "done" {
        assert_eq!(bytes_in, visitor.body_sent(), "{}: the record counts other bytes", visitor.peer);
        assert_eq!(bytes_out, meeting.sent, "{}: the record counts other bytes", visitor.peer);
        if !meeting.broke {
            assert_eq!(heard, visitor.body_sent(), "the backend of {} did not get everything", visitor.peer);
        }
        if visitor.broke.is_none() {
            assert_eq!(visitor.heard.len(), meeting.sent, "{} did not get everything", visitor.peer);
        }
    }
    assert!(bytes_in <= visitor.body_sent(), "{bytes_in} are counted");
    if is_relayed {
        assert!(heard <= bytes_in, "{heard} were heard, and {bytes_in} counted");
        assert!(visitor.heard.len() <= bytes_out && bytes_out <= meeting.sent, "{bytes_out}");
        assert!(meeting.body.starts_with(&visitor.heard), "{} heard something else", visitor.peer);
    }
}

/// 3.
fn one_record_each(
    scene: &Scene,
    play: &Play,
    expected: &[(expect::Outcomes, Option<&str>)],
    shown: u64,
    lost: u64,
) {
    let shard = scene.shard();
    let accepted = expected.len() as u64;
    assert_eq!(shard.accepted_so_far(), accepted, "accepted");
    let ended: u64 = Outcome::ALL.into_iter().map(|outcome| shard.ended_as(outcome)).sum();
    assert_eq!(ended, accepted, "each connection ends once");
    let is_quiet = |outcome: &Outcome| outcome.facts().level == Level::Debug;
    let quiet: u64 =
        Outcome::ALL.iter().filter(|outcome| is_quiet(outcome)).map(|o| scene.ended_as(*o)).sum();
    let missing = lost - play.fillers_lost;
    assert!(missing == 0 || play.fillers > 0, "{missing} lines are lost");
    assert_eq!(
        shown + quiet + missing,
        accepted,
        "each connection leaves a record, or ends too quietly for one"
    );
    for outcome in Outcome::ALL {
        let code = outcome.facts().code;
        let told = expected.iter().filter(|(_, shown)| *shown == Some(code)).count() as u64;
        let possible =
            expected.iter().filter(|(may, shown)| shown.is_none() && may.contains(code)).count() as u64;
        let counted = scene.ended_as(outcome);
        let range = told..=told + possible;
        assert!(range.contains(&counted), "{counted} are counted as {code}, and {range:?} may be");
    }
}

/// 4.
fn everything_is_given_back(scene: &Scene, play: &Play) {
    assert_eq!(scene.admission.open(), 0, "connections that are admitted");
    assert_eq!(scene.registry.list().len(), 0, "connections that are listed");
    assert_eq!(scene.limits.open(), 0, "permits of clients");
    assert_eq!(scene.pending.load(Ordering::Relaxed), 0, "unfinished headers");
    assert_eq!(scene.lingering.load(Ordering::Relaxed), 0, "connections that linger");
    let own = format!("{:?}", scene.own);
    assert!(own.contains("data: {}"), "permits of proxies: {own}");
    assert_eq!(scene.world.open() - scene.world.queued(), 0, "sockets");
    assert_eq!(play.held_by_loop, (0, 0), "sockets and deadlines in the loop");
    let drained = scene.ended_as(Outcome::Drained);
    assert_eq!(u64::from(scene.cut.load(Ordering::Relaxed)), drained, "those that the drain cut");
}
