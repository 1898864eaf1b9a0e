//! Stalwart's own reading of its text files: no tables, only keys with dots and their values, one of each.
//!
//! It looks like TOML and is not quite: braces may hold a set of bare strings, a table may come twice, one key may both
//! have a value and be the beginning of others, numbers with units need no quotes. So no TOML parser will do; this one
//! accepts what Stalwart accepts and stops where it stops.

use std::collections::HashMap;

use super::Unreadable;

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// All of it, joined with dots; elements of lists end in `.0000` and so on, as Stalwart has them.
    pub key: String,
    /// What was written, without quotes.
    pub value: String,
    /// Where it was written.
    pub place: Position,
    /// How it was written.
    pub form: Syntax,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// On this line.
    Line(usize),
    /// In this object.
    Object(String),
}

/// How an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// `key = value`
    Value,
    /// One of a list in brackets.
    Element,
    /// One of a set in braces.
    Member,
    /// An empty list or empty braces, which Stalwart does not keep.
    Empty,
}

/// Lists and tables in one another; Stalwart's own bound.
const MAX_DEPTH: usize = 10;

/// Reads a whole file.
pub(super) fn read(text: &str) -> Result<Vec<Assignment>, Unreadable> {
    let rest = text.trim_start_matches('\u{feff}');
    let mut scan = Scan { rest, line: 1, in_quotes: false, at_break: false, entries: Vec::new() };
    let mut table = String::new();
    let mut arrays: HashMap<String, usize> = HashMap::new();
    while let Some(next) = scan.skip_blank() {
        match next {
            '[' => {
                table = scan.header(&mut arrays)?;
                scan.skip_line();
            }
            '"' | 'a'..='z' | 'A'..='Z' | '0'..='9' => {
                let prefix = if table.is_empty() { String::new() } else { format!("{table}.") };
                let (key, end) = scan.key(prefix, Within::Table)?;
                if end != '=' {
                    return Err(scan.error("a key without a value"));
                }
                scan.value(key, Syntax::Value, 0)?;
                scan.end_of_line()?;
            }
            other => return Err(scan.error(format!("{other:?} begins neither a key nor a table"))),
        }
    }
    no_key_twice(&scan.entries)?;
    Ok(scan.entries)
}

fn no_key_twice(entries: &[Assignment]) -> Result<(), Unreadable> {
    let mut seen = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.form != Syntax::Empty && !entry.key.ends_with('.')) {
        let Position::Line(line) = entry.place else { continue };
        if let Some(first) = seen.insert(entry.key.as_str(), line) {
            return Err(Unreadable::at(line, format!("`{}` is set twice, first in line {first}", entry.key)));
        }
    }
    Ok(())
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// On a line of its own.
    Table,
    /// In braces, where it may also be one of a set.
    Braces,
}

struct Scan<'t> {
    rest: &'t str,
    line: usize,
    /// Whether the last key had quotes: an empty one in a set is one that was lost, not a comma too many.
    in_quotes: bool,
    /// Whether the last character ended a line.
    at_break: bool,
    entries: Vec<Assignment>,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
        self.at_break = next == '\n';
        if self.at_break {
            self.line = self.line.saturating_add(1);
        }
        Some(next)
    }

    /// Moves past blanks, line ends and comments; returns what comes then.
    fn skip_blank(&mut self) -> Option<char> {
        loop {
            match self.peek()? {
                ' ' | '\t' | '\r' | '\n' => drop(self.next()),
                '#' => self.skip_line(),
                other => return Some(other),
            }
        }
    }

    /// Moves past blanks of this line.
    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r')) {
            self.next();
        }
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|next| next != '\n') {}
    }

    fn end_of_line(&mut self) -> Result<(), Unreadable> {
        self.skip_spaces();
        match self.peek() {
            None => Ok(()),
            Some('\n' | '#') => {
                self.skip_line();
                Ok(())
            }
            Some(other) => Err(self.error(format!("{other:?} behind the end of a value"))),
        }
    }

    /// `[table]` or `[[array]]`, whose tables get numbers.
    fn header(&mut self, arrays: &mut HashMap<String, usize>) -> Result<String, Unreadable> {
        self.next();
        let array = self.peek() == Some('[');
        if array {
            self.next();
        }
        let mut name = String::new();
        loop {
            self.skip_spaces();
            match self.next() {
                Some('"') => self.quoted('"', &mut name)?,
                Some(']') if name.is_empty() => return Err(self.error("a table without a name")),
                Some(']') => break,
                Some(other) if other.is_alphanumeric() || matches!(other, '.' | '-' | '_') => {
                    name.push(other.to_ascii_lowercase());
                }
                None | Some('\n') => return Err(self.cut("the name of a table is not closed")),
                Some(other) => return Err(self.error(format!("{other:?} in the name of a table"))),
            }
        }
        if array {
            if self.next() != Some(']') {
                return Err(self.error("`[[` without `]]`"));
            }
            let count = arrays.entry(name.clone()).and_modify(|count| *count = count.saturating_add(1));
            name = format!("{name}.{:04}", count.or_default());
        }
        Ok(name)
    }

    /// A key behind `key`, and what ended it: `=`, or in braces `,` and `}` for one of a set.
    fn key(&mut self, mut key: String, within: Within) -> Result<(String, char), Unreadable> {
        let before = key.len();
        self.in_quotes = false;
        loop {
            match self.next() {
                Some(end @ '=') | Some(end @ (',' | '}')) if end == '=' || within == Within::Braces => {
                    if key.len() == before && end == '=' && !self.in_quotes {
                        return Err(self.error("`=` without a key"));
                    }
                    return Ok((key, end));
                }
                Some('"') => self.quoted('"', &mut key)?,
                Some('\'') if within == Within::Braces => self.quoted('\'', &mut key)?,
                Some(' ' | '\t' | '\r') => {}
                // Around the members of a set, where a person breaks the line.
                Some('\n') if within == Within::Braces => {
                    let next = self.skip_blank();
                    if key.len() > before && !matches!(next, Some(',' | '}' | '=')) {
                        return Err(self.error("no comma between the members of a set"));
                    }
                }
                Some(other) if other.is_ascii_alphanumeric() || matches!(other, '.' | '_' | '-') => {
                    key.push(other);
                }
                None | Some('\n') => return Err(self.cut("a key without `=`")),
                Some(other) => return Err(self.error(format!("{other:?} in a key"))),
            }
        }
    }

    /// From behind a quote to behind the one that closes it, on one line.
    fn quoted(&mut self, quote: char, into: &mut String) -> Result<(), Unreadable> {
        self.in_quotes = true;
        loop {
            match self.next() {
                Some('\\') => into.extend(self.next().filter(|next| *next != '\n')),
                Some(end) if end == quote => return Ok(()),
                None | Some('\n') => return Err(self.cut("a quote is not closed")),
                Some(other) => into.push(other),
            }
        }
    }

    fn value(&mut self, key: String, form: Syntax, depth: usize) -> Result<(), Unreadable> {
        if depth >= MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} lists in one another")));
        }
        self.skip_spaces();
        let line = self.line;
        let value = match self.peek() {
            Some('[') => return self.list(&key, depth),
            Some('{') => return self.braces(&key, depth),
            Some(quote @ ('"' | '\'')) => self.string(quote)?,
            Some(first) if first.is_alphanumeric() || matches!(first, '.' | '+' | '-') => {
                let end =
                    self.rest.find(|next: char| !(next.is_alphanumeric() || matches!(next, '.' | '+' | '-')));
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                let word = word.to_owned();
                self.rest = rest;
                word
            }
            _ => return Err(self.error(format!("`{key}` has no value"))),
        };
        self.entries.push(Assignment { key, value, place: Position::Line(line), form });
        Ok(())
    }

    fn list(&mut self, key: &str, depth: usize) -> Result<(), Unreadable> {
        let opened = self.line;
        self.next();
        let mut count = 0_usize;
        loop {
            match self.skip_blank() {
                Some(']') => break,
                None => return Err(Unreadable::at(opened, format!("the list of `{key}` is not closed"))),
                Some(_) => {}
            }
            self.value(format!("{key}.{count:04}"), Syntax::Element, depth.saturating_add(1))?;
            count = count.saturating_add(1);
            match self.skip_blank() {
                Some(',') => drop(self.next()),
                Some(']') => break,
                None => return Err(Unreadable::at(opened, format!("the list of `{key}` is not closed"))),
                Some(other) => return Err(self.error(format!("{other:?} between the elements of `{key}`"))),
            }
        }
        self.next();
        if count == 0 {
            self.empty(key, opened);
        }
        Ok(())
    }

    /// An inline table, a set, or both in one.
    fn braces(&mut self, key: &str, depth: usize) -> Result<(), Unreadable> {
        let opened = self.line;
        self.next();
        let prefix = format!("{key}.");
        let mut any = false;
        loop {
            if self.skip_blank().is_none() {
                return Err(Unreadable::at(opened, format!("the braces of `{key}` are not closed")));
            }
            let line = self.line;
            let (name, end) = self.key(prefix.clone(), Within::Braces)?;
            if end == '=' {
                self.skip_blank();
                self.value(name, Syntax::Value, depth.saturating_add(1))?;
                any = true;
                match self.skip_blank() {
                    Some(',') => drop(self.next()),
                    Some('}') => {
                        self.next();
                        break;
                    }
                    _ => return Err(Unreadable::at(opened, format!("the braces of `{key}` are not closed"))),
                }
                continue;
            }
            // An empty string in a set, as pages have it that lost their networks, is kept to be told.
            if name.len() > prefix.len() || self.in_quotes {
                let place = Position::Line(line);
                self.entries.push(Assignment {
                    key: name,
                    value: String::new(),
                    place,
                    form: Syntax::Member,
                });
                any = true;
            }
            if end == '}' {
                break;
            }
        }
        if !any {
            self.empty(key, opened);
        }
        Ok(())
    }

    fn empty(&mut self, key: &str, line: usize) {
        self.entries.push(Assignment {
            key: key.to_owned(),
            value: String::new(),
            place: Position::Line(line),
            form: Syntax::Empty,
        });
    }

    fn string(&mut self, quote: char) -> Result<String, Unreadable> {
        let opened = self.line;
        let long: String = [quote; 3].iter().collect();
        let not_closed = || Unreadable::at(opened, "a quote is not closed");
        if let Some(rest) = self.rest.strip_prefix(long.as_str()) {
            let rest = rest.strip_prefix('\n').unwrap_or(rest);
            let (text, behind) = rest.split_once(long.as_str()).ok_or_else(not_closed)?;
            let text = text.to_owned();
            let taken = self.rest.len().saturating_sub(behind.len());
            let breaks = self.rest.get(..taken).unwrap_or_default().matches('\n').count();
            self.line = self.line.saturating_add(breaks);
            self.rest = behind;
            return Ok(text);
        }
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\\') => match self.next() {
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('n') => text.push('\n'),
                    Some(other) => text.push(other),
                    None => return Err(not_closed()),
                },
                Some(end) if end == quote => return Ok(text),
                Some(other) => text.push(other),
                None => return Err(not_closed()),
            }
        }
    }

    fn error(&self, reason: impl Into<String>) -> Unreadable {
        Unreadable::at(self.line, reason)
    }

    /// Something that its line, or the file, ended too early for.
    fn cut(&self, reason: &str) -> Unreadable {
        let line = if self.at_break { self.line.saturating_sub(1) } else { self.line };
        Unreadable::at(line, reason)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }
}
