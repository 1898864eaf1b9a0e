//! One line of the log, in either format.
//!
//! Every connection writes one, so it is written straight into a buffer that its thread keeps: no value becomes a
//! string of its own first, and common ones (words, numbers, IPv4 addresses) pass no formatter.

use std::cell::RefCell;
use std::fmt::{Display, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use arrayvec::ArrayString;
use truepeer::Endpoint;

use crate::facts::lines::LogFormat;
use crate::facts::outcome::Level;

/// The most bytes of a value from the wire that a line shows.
const LONGEST: usize = 128;

/// What a field is called.
pub trait Name {
    /// Appends what precedes the value in a line of `format`.
    fn push_to(&self, format: LogFormat, text: &mut String);
}

/// A name that is known when the program is built, with all that stands around it; made by `key!`.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// In JSON.
    pub json: &'static str,
    /// In text.
    pub text: &'static str,
}

/// The [`Key`] of a literal.
macro_rules! key {
    ($name:literal) => {
        $crate::observe::line::Key { json: concat!(",\"", $name, "\":"), text: concat!(" ", $name, "=") }
    };
}

pub(crate) use key;

impl Name for Key {
    fn push_to(&self, format: LogFormat, text: &mut String) {
        text.push_str(match format {
            LogFormat::Text => self.text,
            LogFormat::Json => self.json,
        });
    }
}

impl Name for &str {
    fn push_to(&self, format: LogFormat, text: &mut String) {
        let (before, behind) = match format {
            LogFormat::Text => (" ", "="),
            LogFormat::Json => (",\"", "\":"),
        };
        text.push_str(before);
        text.push_str(self);
        text.push_str(behind);
    }
}

/// One line being written, in either format.
#[derive(Debug)]
pub struct Line<'a> {
    format: LogFormat,
    text: &'a mut String,
}

impl<'a> Line<'a> {
    /// A line behind what `text` holds, that begins with its time and level.
    #[must_use]
    pub fn new(format: LogFormat, wall: SystemTime, level: Level, text: &'a mut String) -> Self {
        let mut line = Self { format, text };
        line.text.push_str(match format {
            LogFormat::Text => "time=",
            LogFormat::Json => "{\"time\":\"",
        });
        push_time(line.text, wall);
        if format == LogFormat::Json {
            line.text.push('"');
        }
        line.word(key!("level"), level.name());
        line
    }

    /// Adds a field; `value` may hold anything.
    pub fn text(&mut self, key: impl Name, value: &str) {
        self.key(key);
        let is_plain = match self.format {
            LogFormat::Text => !value.is_empty() && !value.contains(needs_quotes),
            LogFormat::Json => value.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')),
        };
        if !is_plain {
            let _ = write!(self.text, "{}", serde_json::Value::from(value));
            return;
        }
        self.quote();
        self.text.push_str(value);
        self.quote();
    }

    /// Adds a word of ours, which holds nothing that would have to be quoted.
    pub fn word(&mut self, key: impl Name, word: &str) {
        self.key(key);
        self.quote();
        self.text.push_str(word);
        self.quote();
    }

    /// Adds a field if there is a value.
    pub fn maybe(&mut self, key: impl Name, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// Adds text from the wire, if there is any: printable ASCII as it is, the rest escaped, and no more than
    /// 128 bytes of it.
    pub fn wire(&mut self, key: impl Name, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
        // What the text format has no quotes around, and is no escape.
        let is_plain =
            |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'\'' | b'"' | b'\\' | b'=');
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => self.word(key, text),
            _ => self.text(key, &bytes.escape_ascii().to_string()),
        }
    }

    /// Adds an address with its port.
    pub fn address(&mut self, key: impl Name, address: SocketAddr) {
        self.key(key);
        self.quote();
        self.push_address(address);
        self.quote();
    }

    /// Adds where a connection comes from or goes to, if that is known.
    pub fn maybe_endpoint(&mut self, key: impl Name, endpoint: Option<Endpoint>) {
        match endpoint {
            Some(endpoint) if endpoint.port.is_some() => self.address(key, endpoint.to_socket_addr(0)),
            Some(without_port) => self.plain(key, without_port),
            None => {}
        }
    }

    /// Adds what prints itself without anything that would have to be quoted.
    pub fn plain(&mut self, key: impl Name, value: impl Display) {
        self.key(key);
        self.quote();
        let _ = write!(self.text, "{value}");
        self.quote();
    }

    /// Adds a number.
    pub fn number(&mut self, key: impl Name, value: u64) {
        self.key(key);
        self.push_number(value);
    }

    /// Adds a number if there is one.
    pub fn maybe_number(&mut self, key: impl Name, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// Ends the line, without a line end.
    pub fn finish(self) {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
    }

    fn key(&mut self, key: impl Name) {
        key.push_to(self.format, self.text);
    }

    fn quote(&mut self) {
        if self.format == LogFormat::Json {
            self.text.push('"');
        }
    }

    fn push_number(&mut self, number: u64) {
        self.text.push_str(itoa::Buffer::new().format(number));
    }

    fn push_address(&mut self, address: SocketAddr) {
        let IpAddr::V4(ip) = address.ip() else {
            let _ = write!(self.text, "{address}");
            return;
        };
        let [first, rest @ ..] = ip.octets();
        self.push_number(first.into());
        for octet in rest {
            self.text.push('.');
            self.push_number(octet.into());
        }
        self.text.push(':');
        self.push_number(address.port().into());
    }
}

/// Appends a time as RFC 3339 has it, in UTC and to the millisecond.
fn push_time(text: &mut String, wall: SystemTime) {
    thread_local! {
        /// The second of the line before, and how it is written: a second has many lines.
        static LAST: RefCell<(u64, ArrayString<40>)> = const { RefCell::new((u64::MAX, ArrayString::new_const())) };
    }
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    LAST.with_borrow_mut(|(second, written)| {
        if *second != since.as_secs() {
            written.clear();
            // There is room for every year.
            let _ = write!(written, "{}", humantime::format_rfc3339_seconds(wall));
            let _zone = written.pop();
            *second = since.as_secs();
        }
        text.push_str(written);
    });
    let millis = since.subsec_millis();
    text.push_str(match millis {
        0..10 => ".00",
        10..100 => ".0",
        _ => ".",
    });
    text.push_str(itoa::Buffer::new().format(millis));
    text.push('Z');
}

fn needs_quotes(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_formatter_writes_them() {
        for millis in [0, 7, 69, 420, 999, 1_000, 1_764_597_121_005, 1_764_597_121_999, 253_402_300_799_999] {
            let wall = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis);
            let mut text = String::new();
            push_time(&mut text, wall);
            assert_eq!(text, humantime::format_rfc3339_millis(wall).to_string());
        }
    }

    /// What the formatters of the standard library and `serde_json` make of the same.
    #[test]
    fn what_is_written_straight_reads_as_if_it_had_been_formatted() {
        let addresses = [
            "0.0.0.0:0",
            "255.255.255.255:65535",
            "192.0.2.1:25",
            "[2001:db8::1]:443",
            "[::ffff:192.0.2.1]:1",
        ];
        for address in addresses {
            let parsed: SocketAddr = address.parse().unwrap();
            let mut text = String::new();
            let mut line = Line::new(LogFormat::Json, SystemTime::UNIX_EPOCH, Level::Info, &mut text);
            line.address("peer", parsed);
            line.finish();
            assert_eq!(
                text,
                format!(r#"{{"time":"1970-01-01T00:00:00.000Z","level":"info","peer":"{parsed}"}}"#)
            );
        }
        for value in ["", "plain", "a b", "a\"b", "a\\b", "a\nb", "a\u{7f}b", "ä=€", "\u{0}"] {
            let mut text = String::new();
            let mut line = Line::new(LogFormat::Json, SystemTime::UNIX_EPOCH, Level::Info, &mut text);
            line.text("value", value);
            line.finish();
            let read: serde_json::Value = text.parse().unwrap();
            assert_eq!(read["value"], value, "{text}");
        }
    }
}
