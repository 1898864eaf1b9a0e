//! Dialogues of ID; `dialogue.rs` says how they are written.

use std::time::Instant;

use super::super::dialogue::{End, V4, V6, conversation, play, plays};
use super::super::{Handoff, Purpose, Step, Untold};
use crate::facts::protocol::Protocol;

const GREETING: &str =
    "* OK [CAPABILITY IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot ready.";
const TOLD: &str = "C tp0 ID (\"x-originating-ip\" \"203.0.113.7\" \"x-originating-port\" \"4711\" \
                    \"x-connected-ip\" \"198.51.100.25\" \"x-connected-port\" \"25\" \"x-session-id\" \"id-1\")";

#[track_caller]
fn told(handoff: Handoff, header: &str, purpose: Purpose, script: &str, end: &End) {
    plays(|| conversation(handoff, Protocol::Imap, header, purpose), script, end);
}

fn greeted() -> End {
    End::Ready(format!("{GREETING}\r\n").leak())
}

#[test]
fn a_dovecot_that_believes_us_has_its_greeting_kept_for_the_client() {
    let script =
        format!("S {GREETING}\n{TOLD}\nS * ID (\"name\" \"Dovecot\")\nS tp0 OK Trusted ID completed.");
    told(Handoff::ImapId, V4, Purpose::Client, &script, &greeted());
    told(Handoff::ImapIdUnconfirmed, V4, Purpose::Client, &script, &greeted());
}

#[test]
fn an_ipv6_client_has_no_prefix_here() {
    let command = "C tp0 ID (\"x-originating-ip\" \"2001:db8::7\" \"x-originating-port\" \"4711\" \
                   \"x-connected-ip\" \"2001:db8::25\" \"x-connected-port\" \"25\" \"x-session-id\" \"id-1\")";
    let script = format!("S {GREETING}\n{command}\nS * ID NIL\nS tp0 OK Trusted ID completed.");
    told(Handoff::ImapId, V6, Purpose::Client, &script, &greeted());
}

#[test]
fn an_answer_that_does_not_say_so_is_taken_only_where_that_was_understood() {
    let script = format!("S {GREETING}\n{TOLD}\nS * ID NIL\nS tp0 OK ID completed.");
    told(Handoff::ImapId, V4, Purpose::Client, &script, &End::Unfit("does not say that it believes us"));
    told(Handoff::ImapIdUnconfirmed, V4, Purpose::Client, &script, &greeted());
}

#[test]
fn a_proof_goes_on_to_see_that_a_clients_own_id_changes_nothing() {
    let script = format!(
        "S {GREETING}\n{TOLD}\nS * ID NIL\nS tp0 OK Trusted ID completed.\nC tp0 ID (\"x-proxy-ttl\" \"0\")\n"
    );
    let ignored = format!("{script}S * ID NIL\nS tp0 OK Trusted ID completed.");
    told(Handoff::ImapId, V4, Purpose::Proof, &ignored, &greeted());
    let taken = format!("{script}S tp0 BAD Invalid ID parameters");
    told(Handoff::ImapId, V4, Purpose::Proof, &taken, &End::Unfit("would let a client say who it is"));
}

#[test]
fn whoever_does_not_greet_or_answer_is_unfit_and_a_refused_id_is_this_clients_alone() {
    for (script, end) in [
        ("S * BYE [UNAVAILABLE] later".to_owned(), End::Unfit("does not greet us")),
        // A session of somebody already.
        ("S * PREAUTH welcome".to_owned(), End::Unfit("does not greet us")),
        ("S 220 mx.example ESMTP".to_owned(), End::Unfit("does not greet us")),
        (format!("S {GREETING}\n{TOLD}\nS * BYE too many"), End::Unfit("does not answer our ID")),
        (format!("S {GREETING}\n{TOLD}\nS tp0 BAD Invalid ID parameters"), End::Misunderstood),
        (format!("S {GREETING}\n{TOLD}\nS tp0 NO [SERVERBUG] Failed"), End::Misunderstood),
    ] {
        told(Handoff::ImapId, V4, Purpose::Client, &script, &end);
    }
}

#[test]
fn what_comes_before_it_was_asked_for_is_taken_for_no_answer() {
    let script = format!("S {GREETING}\nS tp0 OK Trusted ID completed.");
    let told = conversation(Handoff::ImapId, Protocol::Imap, V4, Purpose::Client);
    play(told, &script, 4000, &End::Unfit("speaks before it is asked"));
}

#[test]
fn a_server_that_closes_is_gone_with_what_was_awaited() {
    let mut told = conversation(Handoff::ImapId, Protocol::Imap, V4, Purpose::Client);
    told.heard(format!("{GREETING}\r\n").as_bytes());
    assert!(matches!(told.next(Instant::now()), Step::Say(_)));
    told.heard(b"* ID NIL\r\ntp0 OK Trusted");
    told.ended();
    assert_eq!(told.next(Instant::now()), Step::Failed(Untold::Gone("answer to our ID")));
}
