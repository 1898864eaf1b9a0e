//! Judges a backend's first lines: does one that greets answer our header as if the client had said it?
//!
//! A server that reads headers greets, and then waits for the client. One that ignores them has ours before it as the
//! client's first command, and says at once what it thinks of it. Called by the relay, as long as none of the client's
//! bytes went on; nothing is asked of the socket for it.

use std::time::Duration;

use crate::facts::manners::{Part, ends, is_complaint};
use crate::facts::protocol::Protocol;

/// How long behind the greeting an error answers our header: it was there before the greeting. What comes later is a
/// server that has waited too long for its client.
const PROMPT: Duration = Duration::from_secs(3);
/// The most that is held back of a line that does not end.
const LINE_MAX: usize = 2048;

/// So many bytes of a line say whether it is the greeting's last; fewer are held back until there are more.
const TELLING: usize = 4;

/// A backend's lines up to the client's first byte. The greeting goes on as it comes; what follows it is held until its
/// line ends, and no longer.
#[derive(Debug)]
pub struct FirstLines {
    protocol: Protocol,
    stage: Stage,
    holds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A line of the greeting begins.
    Greeting,
    /// Inside such a line; whether it is the last one.
    InLine { last: bool },
    /// The greeting was passed on.
    Behind,
    /// Nothing can be told from what follows.
    Over,
}

/// What to do with what the backend said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// Pass it on.
    Pass,
    /// Wait for the rest of the line.
    Hold,
    /// It answers our header.
    AnswersHeader,
}

impl FirstLines {
    /// Of a server of `protocol`, which greets, and was sent a header.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, stage: Stage::Greeting, holds: false }
    }

    /// Judges what the backend has `said` since something was passed on, so long ago.
    pub(super) fn inspect(&mut self, said: &[u8], ago: Duration) -> Judged {
        let judged = self.judge(said, ago);
        self.holds = judged == Judged::Hold;
        judged
    }

    /// Whether what was said is not to be passed on yet.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// Whether nothing that follows is to be judged.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    fn judge(&mut self, said: &[u8], ago: Duration) -> Judged {
        let (mut stage, mut rest) = (self.stage, said);
        while let Stage::Greeting | Stage::InLine { .. } = stage {
            let end = rest.iter().position(|byte| *byte == b'\n').map(|at| at.saturating_add(1));
            let last = match stage {
                Stage::InLine { last } => last,
                // What is held is judged again from its beginning, so nothing is noted of it.
                _ if end.is_none() && !rest.is_empty() && rest.len() < TELLING => return Judged::Hold,
                _ => ends(
                    self.protocol,
                    Part::Greeting,
                    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default(),
                ),
            };
            let Some(end) = end else {
                self.stage = if rest.is_empty() { stage } else { Stage::InLine { last } };
                return Judged::Pass;
            };
            rest = rest.get(end..).unwrap_or_default();
            stage = if last { Stage::Behind } else { Stage::Greeting };
        }
        if stage == Stage::Over || rest.is_empty() {
            self.stage = stage;
            return Judged::Pass;
        }
        let is_whole = rest.contains(&b'\n');
        if !is_whole && rest.len() <= LINE_MAX {
            return Judged::Hold;
        }
        // What came in one piece with the greeting's end is prompt.
        let is_prompt = self.stage != Stage::Behind || ago <= PROMPT;
        if is_whole && is_prompt && is_complaint(self.protocol, rest) {
            return Judged::AnswersHeader;
        }
        self.stage = Stage::Over;
        Judged::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMTP: &[u8] = b"220-mx.example\r\n220 ready\r\n";

    /// What becomes of these, one after the other, each so many milliseconds after the one before it.
    fn judged(protocol: Protocol, said: &[(u64, &[u8])]) -> Vec<Judged> {
        let mut lines = FirstLines::new(protocol);
        let mut held = Vec::new();
        said.iter()
            .map(|(ago, bytes)| {
                held.extend_from_slice(bytes);
                let judged = lines.inspect(&held, Duration::from_millis(*ago));
                if judged == Judged::Pass {
                    held.clear();
                }
                judged
            })
            .collect()
    }

    #[test]
    fn an_error_behind_the_greeting_answers_the_header_however_it_is_cut() {
        use Protocol::{Imap, Lmtp, ManageSieve, Pop3, Smtp, Submission};
        let cases: [(Protocol, &[u8], &[u8]); 7] = [
            (Smtp, SMTP, b"502 5.5.2 Error: command not recognized\r\n"),
            (Submission, SMTP, b"500-5.5.1 Invalid command\r\n500 and more\r\n"),
            (Lmtp, b"220 lmtp\r\n", b"500 5.5.1 Unknown command\r\n"),
            (Imap, b"* OK ready\r\n", b"PROXY BAD Error in IMAP command received by server.\r\n"),
            (Imap, b"* OK ready\r\n", b"* BAD Error in IMAP command received by server.\r\n"),
            (Pop3, b"+OK ready\r\n", b"-ERR Unknown command.\r\n"),
            (
                ManageSieve,
                b"\"IMPLEMENTATION\" \"x\"\r\nOK \"ready\"\r\n",
                b"NO \"Error in MANAGESIEVE command received by server.\"\r\n",
            ),
        ];
        for (protocol, greeting, answer) in cases {
            let whole = [greeting, answer].concat();
            assert_eq!(judged(protocol, &[(0, &whole)]), [Judged::AnswersHeader], "{protocol}");
            for cut in 1..whole.len() {
                let (first, rest) = whole.split_at(cut);
                let judged = judged(protocol, &[(0, first), (5, rest)]);
                let line = answer.iter().position(|byte| *byte == b'\n').unwrap_or_default();
                let known = cut > greeting.len().saturating_add(line);
                assert!(judged.contains(&Judged::AnswersHeader), "{protocol} cut at {cut}");
                assert_eq!(judged.first() == Some(&Judged::AnswersHeader), known, "{protocol} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_servers_say_that_wait_for_their_client_goes_on() {
        use Judged::{Hold, Pass};
        use Protocol::{Imap, Pop3, Smtp};
        type Said = &'static [(u64, &'static [u8])];
        let cases: [(Protocol, Said, &[Judged]); 13] = [
            // It is full, or going, or does not want this client: no word of a command that was not understood.
            (Pop3, &[(0, b"+OK ready\r\n-ERR Connection queue full\r\n")], &[Pass]),
            (Pop3, &[(0, b"+OK ready\r\n"), (9, b"-ERR [IN-USE] later\r\n")], &[Pass, Pass]),
            (Smtp, &[(0, SMTP), (9, b"554 5.7.1 not from you\r\n")], &[Pass, Pass]),
            (Smtp, &[(0, SMTP), (9, b"550 listed\r\n")], &[Pass, Pass]),
            (Smtp, &[(0, SMTP)], &[Pass]),
            // A teaser, and the rest later.
            (Smtp, &[(0, b"220-mx.example\r\n"), (6_000, b"220 ready\r\n")], &[Pass, Pass]),
            // The greeting goes on as it comes, once it shows whether there is more of it.
            (Smtp, &[(0, b"220 re"), (5, b"ady\r\n")], &[Pass, Pass]),
            (Smtp, &[(0, b"22"), (1, b"0-re"), (1, b"ady\r\n220 x\r\n")], &[Hold, Pass, Pass]),
            // It turns the client away, or goes.
            (Smtp, &[(0, b"554 5.7.1 no\r\n")], &[Pass]),
            (Smtp, &[(0, SMTP), (100, b"421 4.3.2 shutting down\r\n")], &[Pass, Pass]),
            (Imap, &[(0, b"* OK ready\r\n"), (100, b"* BYE shutting down\r\n")], &[Pass, Pass]),
            // It has waited long enough.
            (Pop3, &[(0, b"+OK\r\n"), (180_000, b"-ERR Disconnected for inactivity.\r\n")], &[Pass, Pass]),
            // What follows is not judged.
            (Pop3, &[(0, b"+OK\r\n"), (1, b"+OK\r\n"), (2, b"-ERR\r\n"), (3, b"-E")], &[Pass; 4]),
        ];
        for (protocol, said, expected) in cases {
            assert_eq!(judged(protocol, said), expected, "{protocol} {said:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever() {
        let endless = vec![b'x'; LINE_MAX + 1];
        let said: [(u64, &[u8]); 3] = [(0, b"220 x\r\n"), (1, b"50"), (1, &endless)];
        assert_eq!(judged(Protocol::Smtp, &said), [Judged::Pass, Judged::Hold, Judged::Pass]);
    }
}
