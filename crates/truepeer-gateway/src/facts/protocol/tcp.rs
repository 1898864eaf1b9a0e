//! Anything else on TCP: a language that we do not know.
//!
//! A client that is turned away hears a close without a byte: any text could be taken for the backend's data.

use super::language::{Checks, FirstSpeaker, Language, MINUTE, Unanswered};
use super::script::Then;
use crate::facts::lines::ConnectionLines;

/// Bytes without lines or answers.
pub(super) const TCP: Language = Language {
    name: "tcp",
    first_speaker: FirstSpeaker::Unknown,
    is_mail: false,
    idle_timeout: 60 * MINUTE,
    lines: ConnectionLines::End,
    at_once: None,
    question: b"",
    manners: None,
    refuse: |_| None,
    checks: Checks {
        greeting: |_| None,
        answer: |_: &mut Unanswered, _, _| (String::new(), Then::GoOn),
        is_clients: |_| false,
        give_up: |_, _| String::new(),
    },
};
