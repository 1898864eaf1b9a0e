//! Rows and disguises as one automaton each for finding and for judging lines.
//!
//! Built once. Finding runs over everything and stops at the first word that some row cannot do without; judging looks
//! at the few lines around it.

use std::net::IpAddr;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input};

use super::lines::{AROUND, Batch, Line};
use super::report::{LogReport, Meaning};
use super::table::{NOT_A_HEADER, Only, Row, rows};
use super::{address, quote};
use crate::disguise::{Around, BEGINNING, Guise, NOBODY_KNOWS, NUMBER_OF, Near, WRONG, forms};
use crate::{Opening, Product};

/// What is known, ready for reading.
pub(super) struct Knowledge {
    /// Every word that makes a line worth judging.
    finder: AhoCorasick,
    /// Every word of every row and form.
    judge: AhoCorasick,
    rows: Vec<&'static Row>,
    /// For each row, for each of its needs, the words that will do.
    needs: Vec<Vec<Vec<usize>>>,
    /// For each first word, the rows that begin with it.
    led: Vec<Vec<usize>>,
    forms: Vec<Guise>,
    /// The word of each form.
    form_words: Vec<usize>,
    number_of: Vec<usize>,
    wrong: Vec<usize>,
    nobody_knows: Vec<usize>,
    beginning: Vec<usize>,
    near: Vec<(Near, Vec<usize>)>,
    words: usize,
}

impl Knowledge {
    pub(super) fn get() -> &'static Self {
        static KNOWLEDGE: OnceLock<Knowledge> = OnceLock::new();
        KNOWLEDGE.get_or_init(Self::build)
    }

    fn build() -> Self {
        let mut words: Vec<String> = Vec::new();
        let mut word = |text: &str| {
            let text = text.to_ascii_lowercase();
            words.iter().position(|known| *known == text).unwrap_or_else(|| {
                words.push(text);
                words.len().saturating_sub(1)
            })
        };
        let rows: Vec<_> = rows().collect();
        let needs: Vec<Vec<Vec<usize>>> = rows
            .iter()
            .map(|row| row.needs.iter().map(|need| need.iter().map(|text| word(text)).collect()).collect())
            .collect();
        let forms = forms();
        let form_words: Vec<_> = forms.iter().map(|form| word(&form.text)).collect();
        let number_of = NUMBER_OF.iter().map(|text| word(text)).collect();
        let wrong = WRONG.iter().map(|text| word(text)).collect();
        let nobody_knows: Vec<_> = NOBODY_KNOWS.iter().map(|text| word(text)).collect();
        let beginning = BEGINNING.iter().map(|text| word(text)).collect();
        let near =
            Near::ALL.map(|near| (near, near.words().iter().map(|text| word(text)).collect())).to_vec();
        let mut led = vec![Vec::new(); words.len()];
        for (row, needs) in needs.iter().enumerate() {
            for first in needs.first().into_iter().flatten() {
                if let Some(led) = led.get_mut(*first) {
                    led.push(row);
                }
            }
        }
        // A word that counts only beside others is not looked for by itself: every other line has "process" in it.
        let looked_for = |word: &usize| {
            let mut with_form = form_words.iter().zip(&forms).filter(|(known, _)| *known == word);
            with_form.any(|(_, form)| form.around != Around::NobodyKnows)
        };
        let leads = |word: usize| led.get(word).is_some_and(|led| !led.is_empty());
        let first: Vec<_> = (0..words.len())
            .filter(|word| leads(*word) || looked_for(word) || nobody_knows.contains(word))
            .filter_map(|word| words.get(word))
            .collect();
        Self {
            finder: automaton(&first),
            judge: automaton(&words.iter().collect::<Vec<_>>()),
            rows,
            needs,
            led,
            forms,
            form_words,
            number_of,
            wrong,
            nobody_knows,
            beginning,
            near,
            words: words.len(),
        }
    }

    /// Reads the lines that are due.
    pub(super) fn read(&self, batch: Batch<'_>, report: &mut LogReport) {
        let Batch { text, lines, due, done } = batch;
        let (Some(first), Some(last)) =
            (lines.get(due.start), due.end.checked_sub(1).and_then(|last| lines.get(last)))
        else {
            return;
        };
        let mut from = first.start.max(*done);
        let mut index = due.start;
        while from < last.end {
            // A word may reach over the end of the last line that is due.
            let until = text.len();
            let Some(found) = self.finder.find(Input::new(text).span(from..until)) else { break };
            while lines.get(index).is_some_and(|line| line.end <= found.start()) {
                index = index.saturating_add(1);
            }
            let Some(line) = lines.get(index).filter(|_| index < due.end) else { break };
            let over = lines
                .get(index..)
                .unwrap_or_default()
                .iter()
                .take_while(|line| line.start < found.end())
                .count()
                .saturating_sub(1);
            from = self.judge_at(text, lines, (index, over), done, report).max(line.end);
        }
    }

    /// Reads a short text that means nothing line by line as one line, wrapped between words or in the middle of one.
    pub(super) fn read_wrapped(&self, text: &[u8], report: &mut LogReport) {
        const LINES_MAX: usize = 12;
        let lines: Vec<_> = text.trim_ascii().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
        let (first, behind) = lines.split_first().unwrap_or((&text, &[]));
        if first.is_empty()
            || behind.is_empty()
            || behind.len() >= LINES_MAX
            || behind.iter().any(|line| is_fresh(line))
        {
            return;
        }
        for between in [&b" "[..], b""] {
            let whole = lines.join(between);
            if let Some(meaning) = self.judge(&whole) {
                report.note(meaning, &whole, 1);
                return;
            }
        }
    }

    /// Judges the line at `index` alone, and with those that it may have been wrapped over.
    ///
    /// `over`: how many lines behind it the word reaches into that was found. `done`: where the last text that means
    /// something ends. Returns where to go on.
    fn judge_at(
        &self,
        text: &[u8],
        lines: &[Line],
        (index, over): (usize, usize),
        done: &mut usize,
        report: &mut LogReport,
    ) -> usize {
        let Some(line) = lines.get(index) else { return text.len() };
        let piece = |from: usize, until: usize| text.get(from..until).unwrap_or_default();
        let is_continued =
            |index: usize| lines.get(index).is_some_and(|line| !is_fresh(piece(line.start, line.end)));
        let (mut begin, mut end) = (index, index.saturating_add(over));
        while index.saturating_sub(begin) < AROUND
            && is_continued(begin)
            && begin
                .checked_sub(1)
                .and_then(|before| lines.get(before))
                .is_some_and(|before| before.start >= *done)
        {
            begin = begin.saturating_sub(1);
        }
        while end.saturating_sub(index) < AROUND && is_continued(end.saturating_add(1)) {
            end = end.saturating_add(1);
        }
        let start = lines.get(begin).map_or(line.start, |line| line.start);
        let until = lines.get(end).map_or(line.end, |line| line.end);
        let alone = if over == 0 { self.judge(piece(line.start, line.end)) } else { None };
        let wrapped = if (begin, end) == (index, index) { None } else { self.judge(piece(start, until)) };
        let better = match (&alone, &wrapped) {
            (None, wrapped) => wrapped.is_some(),
            // More of the text is there, and what is beside the line does not say it without the line.
            (Some(alone), Some(wrapped)) => {
                let beside = [piece(start, line.start), piece(line.end, until)];
                self.rank(wrapped) < self.rank(alone)
                    && !beside.iter().any(|piece| {
                        self.judge(piece).is_some_and(|beside| self.rank(&beside) <= self.rank(wrapped))
                    })
            }
            (Some(_), None) => false,
        };
        let (meaning, start, until) =
            if better { (wrapped, start, until) } else { (alone, line.start, line.end) };
        let Some(meaning) = meaning else { return line.end };
        report.note(meaning, piece(start, until), line.number);
        *done = until;
        until
    }

    /// Which of two meanings asks for more: the smaller.
    fn rank(&self, meaning: &Meaning) -> usize {
        match meaning {
            Meaning::Row { row, .. } => self.rows.iter().position(|known| std::ptr::eq(*known, *row)),
            Meaning::Disguise { .. } => None,
        }
        .unwrap_or(self.rows.len())
    }

    /// What a text means: the first row that holds, or else what it contains.
    fn judge(&self, text: &[u8]) -> Option<Meaning> {
        let mut has = Words::default();
        let mut led: Vec<usize> = Vec::with_capacity(8);
        for found in self.judge.find_overlapping_iter(text) {
            let word = found.pattern().as_usize();
            has.insert(word);
            led.extend(self.led.get(word).into_iter().flatten());
        }
        led.sort_unstable();
        let mut peer = None;
        for row in led {
            let holds = self
                .needs
                .get(row)
                .is_some_and(|needs| needs.iter().all(|need| need.iter().any(|word| has.contains(*word))));
            let Some(row) = self.rows.get(row).filter(|row| holds && capitals_hold(row, text)) else {
                continue;
            };
            let allowed = match row.only {
                Only::Any => true,
                only => allows(only, *peer.get_or_insert_with(|| address::of(text))),
            };
            if allowed {
                let came = row.quote.iter().find_map(|word| quote::behind(text, word));
                let came = came.map(|bytes| (Opening::of(&bytes), bytes));
                // Where the text shows the header, it does not say that there was none.
                if row.id == NOT_A_HEADER && came.as_ref().is_some_and(|(opening, _)| is_header(*opening)) {
                    continue;
                }
                return Some(Meaning::Row { row, came });
            }
        }
        if self.form_words.iter().any(|word| has.contains(*word)) { self.disguise(text, &has) } else { None }
    }

    fn disguise(&self, text: &[u8], has: &Words) -> Option<Meaning> {
        let speaks = |words: &[usize]| words.iter().any(|word| has.contains(*word));
        let speaks_of = |near: Near| self.near.iter().any(|(known, words)| *known == near && speaks(words));
        let form = self.judge.find_overlapping_iter(text).find_map(|found| {
            let (word, start, end) = (found.pattern().as_usize(), found.start(), found.end());
            let holds = |form: &&Guise| match form.around {
                Around::Anything => true,
                Around::SameCase => text.get(start..end) == Some(form.text.as_bytes()),
                Around::Word => is_word(text, start, end),
                Around::NumberOfSomething => {
                    is_word(text, start, end) && (speaks(&self.number_of) || speaks(&self.wrong))
                }
                Around::WrongNumber => {
                    is_word(text, start, end) && speaks(&self.number_of) && speaks(&self.wrong)
                }
                Around::NobodyKnows => {
                    text.get(start..end) == Some(form.text.as_bytes())
                        && is_name(text, start, end)
                        && speaks(&self.nobody_knows)
                }
                Around::Beginning => is_word(text, start, end) && speaks(&self.beginning),
                Around::Then(byte) => quote::number_behind(text, end) == Some(u64::from(byte)),
                Around::ThenNot(byte, near) => {
                    quote::number_behind(text, end) == Some(u64::from(byte)) && speaks_of(near)
                }
                Around::With(near) => is_word(text, start, end) && speaks_of(near),
                Around::Name => {
                    text.get(start..end) == Some(form.text.as_bytes())
                        && !start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(is_part_of_a_name)
                }
                Around::Cut => {
                    text.get(start..end) == Some(form.text.as_bytes())
                        && !text.get(end).is_some_and(is_part_of_a_name)
                        && speaks(&self.wrong)
                }
                Around::Addresses => quote::addresses_behind(text, end),
            };
            let forms = self.form_words.iter().zip(&self.forms).filter(|(known, _)| **known == word);
            forms.map(|(_, form)| form).find(holds)
        })?;
        Some(Meaning::Disguise { version: form.version, reading: form.reading, product: product(text) })
    }
}

/// A word that has capitals counts in these only.
fn capitals_hold(row: &Row, text: &[u8]) -> bool {
    let stands = |word: &&str| memchr::memmem::find(text, word.as_bytes()).is_some();
    let has_capitals = |word: &&str| word.bytes().any(|byte| byte.is_ascii_uppercase());
    row.needs.iter().all(|need| !need.iter().all(has_capitals) || need.iter().any(stands))
}

/// The words that a text has.
#[derive(Debug, Default)]
struct Words([u64; WORDS_MAX / 64]);

impl Words {
    fn insert(&mut self, word: usize) {
        if let Some(part) = self.0.get_mut(word / 64) {
            *part |= 1 << (word % 64);
        }
    }

    fn contains(&self, word: usize) -> bool {
        self.0.get(word / 64).is_some_and(|part| part & (1 << (word % 64)) != 0)
    }
}

/// More words than the rows and forms have; a test counts them.
const WORDS_MAX: usize = 2048;

impl std::fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knowledge").field("rows", &self.rows.len()).field("words", &self.words).finish()
    }
}

/// Small enough for the cache, and without a way back from a byte once read.
#[expect(clippy::expect_used, reason = "the words are constants, a test builds the automata")]
fn automaton(words: &[&String]) -> AhoCorasick {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words)
        .expect("a few hundred short words fit into an automaton")
}

fn allows(only: Only, peer: Option<IpAddr>) -> bool {
    match only {
        Only::Any => true,
        Only::Near => peer.is_some_and(address::is_near),
        Only::NearOrUnsaid => peer.is_none_or(address::is_near),
        Only::Gateway => peer.is_some_and(address::is_gateway),
    }
}

/// A line that begins as log lines do, so that it continues no other.
fn is_fresh(line: &[u8]) -> bool {
    const MONTHS: &[&[u8]] = &[
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ", b"Nov ",
        b"Dec ",
    ];
    let date = |line: &[u8]| {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits >= 2 && line.get(digits).is_some_and(|byte| matches!(byte, b'-' | b'/' | b':' | b'T'))
    };
    let inner = line.strip_prefix(b"[").unwrap_or(line);
    date(inner)
        || MONTHS.iter().any(|month| inner.starts_with(month))
        || [&b"{\""[..], b"time=", b"level=", b"ts="].iter().any(|word| line.starts_with(word))
        || is_priority(line)
        || is_container(line)
}

/// `<22>1 `: the beginning of a syslog message.
fn is_priority(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"<") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest.get(digits) == Some(&b'>')
}

/// `mail-1  | `: what docker compose writes before each line.
fn is_container(line: &[u8]) -> bool {
    let head = line.get(..line.len().min(48)).unwrap_or(line);
    memchr::memmem::find(head, b" | ").is_some_and(|bar| {
        let name = head.get(..bar).unwrap_or_default().trim_ascii_end();
        !name.is_empty()
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    })
}

fn is_header(opening: Opening) -> bool {
    matches!(opening, Opening::Header | Opening::HeaderPiece | Opening::BrokenHeader)
}

fn is_part_of_a_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_word(text: &[u8], start: usize, end: usize) -> bool {
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    !before.is_some_and(u8::is_ascii_alphanumeric) && !text.get(end).is_some_and(u8::is_ascii_alphanumeric)
}

/// A word that is no part of a name with underscores or of a setting, and not the protocol's own name.
fn is_name(text: &[u8], start: usize, end: usize) -> bool {
    let part = |byte: &u8| matches!(byte, b'_' | b'-' | b'=' | b'/');
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    let behind = text.get(end..).unwrap_or_default();
    let protocol = behind.get(..9).is_some_and(|word| word.eq_ignore_ascii_case(b" protocol"));
    is_word(text, start, end) && !protocol && !before.is_some_and(part) && !behind.first().is_some_and(part)
}

/// Whose line it is, if it says so.
pub(super) fn product(text: &[u8]) -> Option<Product> {
    let lower = text.to_ascii_lowercase();
    crate::disguise::NAMES
        .iter()
        .find(|(name, _)| memchr::memmem::find(&lower, name.as_bytes()).is_some())
        .map(|(_, product)| *product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_have_room_and_every_row_can_be_found() {
        let knowledge = Knowledge::get();
        assert!(knowledge.words < WORDS_MAX, "{}", knowledge.words);
        for (row, needs) in knowledge.rows.iter().zip(&knowledge.needs) {
            assert!(!needs.is_empty() && needs.iter().all(|need| !need.is_empty()), "{}", row.id);
        }
    }

    /// What keeps a log of any length fast: lines of healthy programs are passed over without a closer look.
    #[test]
    fn ordinary_lines_are_not_looked_at_twice() {
        let knowledge = Knowledge::get();
        let lines = [
            "Nov 23 13:50:27 lb haproxy[7]: 203.0.113.7:41366 [23/Nov/2026:13:50:27.984] imaps~ imap/s1 1/0/31415 1205 -- 2/2/0/0/0 0/0",
            "203.0.113.7 - - [23/Nov/2026:13:50:27 +0000] \"GET /product/process?proxy=1 HTTP/1.1\" 200 612 \"-\" \"Mozilla/5.0\"",
            "Nov 23 13:50:27 mx1 postfix/smtpd[27287]: connect from mail.example.org[198.51.100.7]",
            "Nov 23 13:50:28 mx1 postfix/qmgr[99]: 4A1B2C3D: from=<a@example.org>, size=4100, nrcpt=1 (queue active)",
            "Nov 23 13:50:28 mx1 dovecot: imap-login: Login: user=<u>, method=PLAIN, rip=203.0.113.7, lip=198.51.100.25, mpid=99, TLS",
            "Nov 23 13:50:28 host kernel: [12345.678] process 80 of program proxy exited with length 13",
            "time=\"2026-11-23T13:59:20Z\" level=info msg=\"proxying request\" entryPointName=web protocol=HTTP/2.0",
            "{\"level\":\"info\",\"logger\":\"http.log.access\",\"msg\":\"handled request\",\"proto\":\"HTTP/2.0\",\"size\":612,\"status\":200}",
            "2026-11-23 13:44:30 SMTP connection from [203.0.113.7]:51234 I=[192.0.2.1]:25 closed by QUIT",
            "Nov 23 13:50:28 host systemd[1]: Started Process Core Dump (PID 1347/UID 0).",
        ];
        let looked_at: Vec<_> =
            lines.iter().filter(|line| knowledge.finder.find(line.as_bytes()).is_some()).collect();
        assert!(looked_at.is_empty(), "{looked_at:#?}");
    }

    #[test]
    fn lines_that_begin_as_log_lines_do_continue_none() {
        for line in [
            "Nov 23 13:50:27 mx1 postfix/smtpd[1]: x",
            "2026/11/23 14:00:18 [error] x",
            "2026-11-23T13:59:20Z ERR x",
            "[2026-11-23 13:59:20.123][1][debug] x",
            "13:50:26 imap-login: x",
            "{\"log\":\"x\"}",
            "<22>1 2027-01-02T03:04:05Z h x",
            "mail-1  | x",
        ] {
            assert!(is_fresh(line.as_bytes()), "{line}");
        }
        for line in ["time limit exceeded", "PROXY protocol, client: 10.0.0.2", "(rip=10.0.0.9)", "4711 25"] {
            assert!(!is_fresh(line.as_bytes()), "{line}");
        }
    }
}
