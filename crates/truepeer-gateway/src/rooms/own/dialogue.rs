//! One dialogue, whatever the language: greet, take lines, answer each, and end in time.
//!
//! Used by [`Answer`](super::Answer) and by the built-in backend. Knows the bounds; what a line means is known by the
//! file of its protocol.

use super::lines::{Lines, Next};
use super::{Reply, Then, http, imap, managesieve, pop3, smtp};
use crate::facts::protocol::Protocol;

/// What a dialogue says, where its protocol leaves it a choice. Every text is printable ASCII without quotes or
/// backslashes, so that it may stand anywhere.
#[derive(Debug)]
pub(crate) struct Script {
    /// What it calls this host.
    pub(crate) host: String,
    /// The greeting's words.
    pub(crate) welcome: String,
    /// `name=value` words that the answer to a first question lists, one a line.
    pub(crate) facts: Vec<String>,
    /// Why everything else is refused.
    pub(crate) no: &'static str,
}

/// A dialogue as it stands.
#[derive(Debug)]
pub(crate) struct Dialogue {
    language: Language,
    script: Script,
    lines: Lines,
    commands: u32,
    bytes: usize,
    then: Then,
    clients_words: bool,
}

#[derive(Debug)]
enum Language {
    Smtp(smtp::Dialect),
    Imap,
    Pop3,
    ManageSieve,
    Http(http::Request),
    /// Bytes without lines or answers.
    Mute,
}

impl Dialogue {
    /// The longest line that is read, its end included.
    pub(crate) const MAX_LINE: usize = Lines::MAX;
    /// How many lines are answered.
    pub(crate) const MAX_COMMANDS: u32 = 64;
    /// How many bytes are read in all.
    pub(crate) const MAX_BYTES: usize = 16 * 1024;

    pub(crate) fn new(protocol: Protocol, script: Script) -> Self {
        let language = match protocol {
            Protocol::Smtp | Protocol::Submission => Language::Smtp(smtp::Dialect::Smtp),
            Protocol::Lmtp => Language::Smtp(smtp::Dialect::Lmtp),
            Protocol::Imap => Language::Imap,
            Protocol::Pop3 => Language::Pop3,
            Protocol::ManageSieve => Language::ManageSieve,
            Protocol::Http => Language::Http(http::Request::default()),
            Protocol::Tcp => Language::Mute,
        };
        Self {
            language,
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
        if let Language::Mute = self.language {
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
        let script = &self.script;
        let text = match self.language {
            Language::Smtp(dialect) => smtp::greeting(dialect, script),
            Language::Imap => imap::greeting(script),
            Language::Pop3 => pop3::greeting(script),
            Language::ManageSieve => managesieve::greeting(script),
            Language::Http(_) | Language::Mute => return None,
        };
        Some(text.into_bytes())
    }

    /// The welcome and the facts, for where no protocol frames them.
    pub(crate) fn page(&self) -> String {
        http::page(&self.script)
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
        let script = &self.script;
        self.clients_words |= match self.language {
            Language::Smtp(_) => smtp::is_clients(line),
            Language::Imap => imap::is_clients(line),
            Language::Pop3 => pop3::is_clients(line),
            Language::ManageSieve => managesieve::is_clients(line),
            Language::Http(_) | Language::Mute => false,
        };
        let (text, then) = match &mut self.language {
            Language::Smtp(dialect) => smtp::answer(*dialect, script, line),
            Language::Imap => imap::answer(script, line),
            Language::Pop3 => pop3::answer(script, line),
            Language::ManageSieve => managesieve::answer(script, line),
            Language::Http(request) => request.answer(script, line),
            Language::Mute => (String::new(), Then::GoOn),
        };
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
        let text = match self.language {
            Language::Smtp(_) => smtp::give_up(&self.script, why),
            Language::Imap => imap::give_up(why),
            Language::Pop3 => pop3::give_up(why),
            Language::ManageSieve => managesieve::give_up(why),
            Language::Http(_) => http::give_up(why),
            Language::Mute => String::new(),
        };
        text.into_bytes()
    }
}
