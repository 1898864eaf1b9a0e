//! One dialogue, whatever the language: greet, take lines, answer each, and end in time.
//!
//! Used by [`Answer`](super::Answer) and by the built-in backend. Knows the bounds; what a line means is known by the
//! file of its protocol in `facts/protocol/`.

use super::Reply;
use super::lines::{Lines, Next};
use crate::facts::protocol::{Protocol, Script, Then, Unanswered};

/// A dialogue as it stands.
#[derive(Debug)]
pub(crate) struct Dialogue {
    protocol: Protocol,
    pending: Unanswered,
    script: Script,
    lines: Lines,
    commands: u32,
    bytes: usize,
    then: Then,
    clients_words: bool,
}

impl Dialogue {
    /// The longest line that is read, its end included.
    pub(crate) const MAX_LINE: usize = Lines::MAX;
    /// How many lines are answered.
    pub(crate) const MAX_COMMANDS: u32 = 64;
    /// How many bytes are read in all.
    pub(crate) const MAX_BYTES: usize = 16 * 1024;

    pub(crate) fn new(protocol: Protocol, script: Script) -> Self {
        Self {
            protocol,
            pending: Unanswered::default(),
            script,
            lines: Lines::default(),
            commands: 0,
            bytes: 0,
            then: Then::GoOn,
            clients_words: false,
        }
    }

    /// Answers every whole line of what was received so far; the split of the bytes changes nothing.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Reply {
        let mut out = Vec::new();
        if !self.protocol.has_words() {
            self.count(bytes.len());
        } else {
            let mut rest = bytes;
            while self.then == Then::GoOn {
                match self.lines.next(&mut rest) {
                    Next::Wait => break,
                    Next::Line { text, taken } => out.append(&mut self.answer(&text, taken)),
                    Next::TooLong => out.append(&mut self.give_up("line too long")),
                }
            }
        }
        Reply { bytes: out, then: self.then }
    }

    /// Ends the dialogue, and says how it stood before.
    pub(crate) fn end(&mut self) -> Then {
        std::mem::replace(&mut self.then, Then::Close)
    }

    /// What to write first; `None` where the client speaks first.
    pub(crate) fn greeting(&self) -> Option<Vec<u8>> {
        Some((self.protocol.language().checks.greeting)(&self.script)?.into_bytes())
    }

    /// The welcome and the facts, for where no protocol frames them.
    pub(crate) fn page(&self) -> String {
        self.script.page()
    }

    /// Whether the other side began to send mail or to log in, which no check does.
    pub(crate) fn heard_a_client(&self) -> bool {
        self.clients_words
    }

    /// What it calls this host.
    pub(crate) fn host(&self) -> &str {
        &self.script.host
    }

    fn answer(&mut self, line: &[u8], taken: usize) -> Vec<u8> {
        self.count(taken);
        if self.then == Then::Close {
            return self.give_up("too many bytes");
        }
        self.commands = self.commands.saturating_add(1);
        if self.commands > Self::MAX_COMMANDS {
            return self.give_up("too many commands");
        }
        let checks = self.protocol.language().checks;
        self.clients_words |= (checks.is_clients)(line);
        let (text, then) = (checks.answer)(&mut self.pending, &self.script, line);
        self.then = then;
        text.into_bytes()
    }

    /// Counts what was read; over the bound, the dialogue is over.
    fn count(&mut self, taken: usize) {
        self.bytes = self.bytes.saturating_add(taken);
        if self.bytes > Self::MAX_BYTES {
            self.then = Then::Close;
        }
    }

    fn give_up(&mut self, why: &'static str) -> Vec<u8> {
        self.then = Then::Close;
        (self.protocol.language().checks.give_up)(&self.script, why).into_bytes()
    }
}
