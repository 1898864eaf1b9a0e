//! One line of the log, in either format.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::facts::lines::LogFormat;
use crate::facts::outcome::Level;

/// One line being written, in either format.
#[derive(Debug)]
pub struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    /// A line that begins with its time and level.
    #[must_use]
    pub fn new(format: LogFormat, wall: SystemTime, level: Level) -> Self {
        let time = humantime::format_rfc3339_millis(wall);
        let level = level.name();
        let text = match format {
            LogFormat::Text => format!("time={time} level={level}"),
            LogFormat::Json => format!("{{\"time\":\"{time}\",\"level\":\"{level}\""),
        };
        Self { format, text }
    }

    /// Adds a field; `value` may hold anything.
    pub fn text(&mut self, key: &str, value: &str) {
        match self.format {
            LogFormat::Text if value.is_empty() || value.contains(needs_quotes) => {
                let _ = write!(self.text, " {key}={}", serde_json::Value::from(value));
            }
            LogFormat::Text => {
                let _ = write!(self.text, " {key}={value}");
            }
            LogFormat::Json => {
                let _ = write!(self.text, ",\"{key}\":{}", serde_json::Value::from(value));
            }
        }
    }

    /// Adds a field if there is a value.
    pub fn maybe(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, value: u64) {
        let _ = match self.format {
            LogFormat::Text => write!(self.text, " {key}={value}"),
            LogFormat::Json => write!(self.text, ",\"{key}\":{value}"),
        };
    }

    /// Adds a number if there is one.
    pub fn maybe_number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// The line.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text
    }
}

fn needs_quotes(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\')
}
