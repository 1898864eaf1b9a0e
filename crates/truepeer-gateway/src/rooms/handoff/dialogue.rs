//! For tests. Dialogues as data: lines of the server (`S`) and ours (`C`), and how it ends. Each is told whole, and again
//! with every answer cut at every byte.

#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use truepeer::{ClientIdentity, HeaderReader, HeaderRules, PeerAddress, Progress};

use super::{
    Conversation, Counter, Handoff, Kind, LabelSettings, Names, OwnTlvs, Purpose, Step, Telling, TlvChoice,
    Untold, introduce,
};
use crate::facts::protocol::Protocol;

/// An IPv4 client behind its proxy.
pub(super) const V4: &str = "PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
/// An IPv6 client behind its proxy.
pub(super) const V6: &str = "PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\n";
/// How long each answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(9);

/// A conversation about the client that `header` names.
pub(super) fn conversation(
    handoff: Handoff,
    protocol: Protocol,
    header: &str,
    purpose: Purpose,
) -> Conversation {
    let peer = PeerAddress::tcp("192.0.2.10:50000".parse().unwrap());
    let reader = HeaderReader::new(HeaderRules::default(), peer, Instant::now());
    let identity: ClientIdentity = match reader.advance(header.as_bytes()).unwrap() {
        Progress::Done { identity, .. } => identity,
        Progress::NeedMore { at_least } => panic!("{at_least} bytes are missing"),
    };
    let (own_tlvs, label) = (OwnTlvs::default(), LabelSettings::default());
    let telling = Telling { kind: Kind::Other, handoff, tlvs: TlvChoice::Kind, own_tlvs, label: &label };
    let counter = Counter { protocol, hostname: "gate.example".into() };
    introduce(telling, &counter, &identity, None, Names { id: "id-1", listener: "door" })
        .unwrap()
        .begin(purpose, PATIENCE)
}

/// How a dialogue ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client hears this.
    Ready(&'static str),
    /// The backend takes nobody from us, and the reason contains this.
    Unfit(&'static str),
    /// It does not take this client.
    Misunderstood,
    /// The client hears this, and nothing else.
    TurnedAway(&'static str),
}

/// Plays `script` against a conversation; each answer of the server comes in pieces of `piece` bytes.
#[track_caller]
pub(super) fn play(mut conversation: Conversation, script: &str, piece: usize, end: &End) {
    let now = Instant::now();
    let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    let last = loop {
        let Some(line) = lines.next() else { break conversation.next(now) };
        let (who, text) = line.split_once(' ').unwrap();
        if who == "C" {
            let step = conversation.next(now);
            assert_eq!(step, Step::Say(format!("{text}\r\n").into_bytes()), "in {script}");
            continue;
        }
        let mut said = format!("{text}\r\n");
        while let Some(more) = lines.next_if(|line| line.starts_with("S ")) {
            said.push_str(&more[2..]);
            said.push_str("\r\n");
        }
        let mut pieces = said.as_bytes().chunks(piece).peekable();
        while let Some(piece) = pieces.next() {
            assert_eq!(conversation.next(now), Step::Hear(now + PATIENCE), "in {script}");
            conversation.heard(piece);
            if pieces.peek().is_none() {
                break;
            }
        }
    };
    match (last, end) {
        (Step::Ready(said), End::Ready(expected)) => assert_eq!(String::from_utf8(said).unwrap(), *expected),
        (Step::Failed(Untold::TurnedAway(said)), End::TurnedAway(expected)) => {
            assert_eq!(String::from_utf8(said).unwrap(), *expected);
        }
        (Step::Failed(why @ Untold::Unfit { .. }), End::Unfit(expected)) => {
            assert!(why.to_string().contains(expected), "{why}");
        }
        (Step::Failed(Untold::Misunderstood { .. }), End::Misunderstood) => {}
        (last, end) => panic!("{last:?}, not {end:?}, in {script}"),
    }
}

/// The same with every answer cut at every byte, and in other pieces.
#[track_caller]
pub(super) fn plays(conversation: impl Fn() -> Conversation, script: &str, end: &End) {
    for piece in [1, 2, 3, 7, 50, 4000] {
        play(conversation(), script, piece, end);
    }
}
