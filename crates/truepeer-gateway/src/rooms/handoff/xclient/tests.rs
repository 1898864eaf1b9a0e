//! Dialogues of XCLIENT; `dialogue.rs` says how they are written.

#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use super::super::dialogue::{self, End, PATIENCE, V4, V6, play};
use super::super::{Conversation, Handoff, Purpose, Step, Untold};
use crate::facts::protocol::Protocol;

const POSTFIX: &str = "250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT";

fn conversation(protocol: Protocol, header: &str, purpose: Purpose) -> Conversation {
    dialogue::conversation(Handoff::Xclient, protocol, header, purpose)
}

#[track_caller]
fn plays(protocol: Protocol, header: &str, purpose: Purpose, script: &str, end: &End) {
    dialogue::plays(|| conversation(protocol, header, purpose), script, end);
}

/// Up to the answer to EHLO, from a Postfix.
fn behind_ehlo(rest: &str) -> String {
    format!(
        "S 220 mx.example ESMTP Postfix\nC EHLO gate.example\nS 250-mx.example\nS {POSTFIX}\nS 250 CHUNKING\n{rest}"
    )
}

#[test]
fn postfix_is_told_everything_that_it_announced_and_we_know_with_the_address_last() {
    let command = "C XCLIENT PORT=4711 DESTADDR=198.51.100.25 DESTPORT=25 REVERSE_NAME=[UNAVAILABLE] \
                   NAME=[UNAVAILABLE] ADDR=203.0.113.7";
    let script = behind_ehlo(&format!("{command}\nS 220 mx.example ESMTP Postfix"));
    plays(Protocol::Smtp, V4, Purpose::Client, &script, &End::Ready("220 mx.example ESMTP Postfix\r\n"));
}

#[test]
fn an_ipv6_client_is_told_with_the_prefix_of_smtp() {
    let command = "C XCLIENT PORT=4711 DESTADDR=IPV6:2001:db8::25 DESTPORT=25 REVERSE_NAME=[UNAVAILABLE] \
                   NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7";
    let script = behind_ehlo(&format!("{command}\nS 220-mx.example\nS 220 welcome"));
    let end = End::Ready("220-mx.example\r\n220 welcome\r\n");
    plays(Protocol::Submission, V6, Purpose::Client, &script, &end);
}

#[test]
fn only_what_was_announced_is_said() {
    // Haraka's list, in a server that is spoken to in LMTP.
    let script = "S 220 mx.example ready\nC LHLO gate.example\nS 250-mx.example\n\
                  S 250-xclient name addr proto helo login\nS 250 8BITMIME\n\
                  C XCLIENT NAME=[UNAVAILABLE] ADDR=203.0.113.7\nS 220 mx.example ready";
    plays(Protocol::Lmtp, V4, Purpose::Client, script, &End::Ready("220 mx.example ready\r\n"));
    let script = "S 220 mx.example ready\nC EHLO gate.example\nS 250-mx.example\n\
                  S 250 XCLIENT ADDR PORT SESSION\nC XCLIENT PORT=4711 SESSION=id-1 ADDR=203.0.113.7\nS 220 hello";
    plays(Protocol::Submission, V4, Purpose::Client, script, &End::Ready("220 hello\r\n"));
}

#[test]
fn a_backend_that_does_not_offer_it_takes_an_address_or_let_us_is_unfit() {
    let greeting = "S 220 mx.example ESMTP\nC EHLO gate.example\n";
    let told = "C XCLIENT PORT=4711 DESTADDR=198.51.100.25 DESTPORT=25 REVERSE_NAME=[UNAVAILABLE] \
                NAME=[UNAVAILABLE] ADDR=203.0.113.7\n";
    for (script, reason) in [
        (format!("{greeting}S 250-mx.example\nS 250-PIPELINING\nS 250 8BITMIME"), "does not offer XCLIENT"),
        // The name of a server is no offer.
        (format!("{greeting}S 250 XCLIENT ADDR"), "does not offer XCLIENT"),
        (format!("{greeting}S 250-mx.example\nS 250 XCLIENT NAME HELO"), "takes no address"),
        (format!("{greeting}S 502 5.5.2 what"), "does not offer XCLIENT"),
        ("S 554 5.7.1 go away".to_owned(), "does not greet us"),
        ("S 421 4.3.2 later".to_owned(), "does not greet us"),
        ("S SSH-2.0-OpenSSH_9.2".to_owned(), "does not speak SMTP"),
        (behind_ehlo(&format!("{told}S 550 5.7.0 Error: insufficient authorization")), "does not let us"),
        (behind_ehlo(&format!("{told}S 550 5.7.14 You are not from trusted IP")), "does not let us"),
        (behind_ehlo(&format!("{told}S 250 2.0.0 Ok")), "does not greet the client"),
    ] {
        plays(Protocol::Smtp, V4, Purpose::Client, &script, &End::Unfit(reason));
    }
}

#[test]
fn what_comes_before_it_was_asked_for_is_taken_for_no_answer() {
    let end = End::Unfit("speaks before it is asked");
    play(
        conversation(Protocol::Smtp, V4, Purpose::Client),
        "S 220 mx.example\nS 250 XCLIENT ADDR",
        4000,
        &end,
    );
}

#[test]
fn a_command_that_is_not_understood_is_this_clients_alone_and_other_words_are_for_the_client() {
    let told = "C XCLIENT PORT=4711 DESTADDR=198.51.100.25 DESTPORT=25 REVERSE_NAME=[UNAVAILABLE] \
                NAME=[UNAVAILABLE] ADDR=203.0.113.7\n";
    let script = behind_ehlo(&format!("{told}S 501 5.5.4 Error: Bad ADDR syntax"));
    plays(Protocol::Smtp, V4, Purpose::Client, &script, &End::Misunderstood);
    for words in ["421 4.7.0 too many connections", "554 5.7.1 Client host rejected", "521 go away"] {
        let script = behind_ehlo(&format!("{told}S {words}"));
        let end = format!("{words}\r\n");
        plays(Protocol::Smtp, V4, Purpose::Client, &script, &End::TurnedAway(end.leak()));
    }
}

#[test]
fn a_proof_goes_on_to_see_that_no_client_could_say_it_itself() {
    let told = "C XCLIENT PORT=4711 DESTADDR=198.51.100.25 DESTPORT=25 REVERSE_NAME=[UNAVAILABLE] \
                NAME=[UNAVAILABLE] ADDR=203.0.113.7\nS 220 mx.example\nC EHLO gate.example\nS 250-mx.example\n";
    let script = behind_ehlo(&format!("{told}S 250 8BITMIME"));
    plays(Protocol::Smtp, V4, Purpose::Proof, &script, &End::Ready("220 mx.example\r\n"));
    let script = behind_ehlo(&format!("{told}S 250 XCLIENT ADDR"));
    plays(
        Protocol::Smtp,
        V4,
        Purpose::Proof,
        &script,
        &End::Unfit("let a client of no account say who it is"),
    );
}

#[test]
fn what_is_awaited_when_it_ends_or_is_late_is_named() {
    let now = Instant::now();
    let mut late = conversation(Protocol::Smtp, V4, Purpose::Client);
    assert_eq!(late.next(now), Step::Hear(now + PATIENCE));
    // An answer that comes in drops has no more time than one that comes whole.
    late.heard(b"220-mx\r\n");
    assert_eq!(late.next(now + Duration::from_secs(5)), Step::Hear(now + PATIENCE));
    assert_eq!(late.next(now + PATIENCE), Step::Failed(Untold::Late("greeting")));

    let mut gone = conversation(Protocol::Smtp, V4, Purpose::Client);
    gone.heard(b"220 mx.example\r\n");
    assert!(matches!(gone.next(now), Step::Say(_)));
    gone.heard(b"250-mx.example\r\n");
    gone.ended();
    assert_eq!(gone.next(now), Step::Failed(Untold::Gone("answer to our EHLO")));
}

#[test]
fn an_answer_without_end_is_not_gathered() {
    let now = Instant::now();
    let mut conversation = conversation(Protocol::Smtp, V4, Purpose::Client);
    conversation.heard(&b"220-more\r\n".repeat(410));
    assert!(matches!(conversation.next(now), Step::Failed(Untold::Unfit { .. })));
}

#[test]
fn xtext_keeps_what_it_may_and_writes_the_rest_in_digits() {
    let mut line = Vec::new();
    super::xtext("a+b=c d\u{e9}\r\n[UNAVAILABLE]", &mut line);
    assert_eq!(line, b"a+2Bb+3Dc+20d+C3+A9+0D+0A[UNAVAILABLE]");
}
