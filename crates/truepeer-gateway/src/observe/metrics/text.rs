//! The text that is scraped: one family after the other.
//!
//! Source: OpenMetrics 1.0, section "Text format"; Prometheus, "Exposition formats", text format 0.0.4.

use std::fmt::{self, Write as _};

use crate::observe::metrics::family::Facts;
use crate::observe::metrics::label::Label;

/// In which of the two formats. Their samples are the same; they differ in what is said about a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0: units, the type info, families of counters without `_total`, `# EOF` at the end.
    OpenMetrics,
    /// Prometheus text 0.0.4, which knows none of these.
    Prometheus,
}

impl Format {
    /// The format for a scraper that says this in `Accept`: OpenMetrics, unless it takes plain text and no
    /// OpenMetrics. Anyone who says nothing, or takes anything, can read either.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let accept = accept.to_ascii_lowercase();
        if accept.contains("text/plain") && !accept.contains("application/openmetrics-text") {
            Self::Prometheus
        } else {
            Self::OpenMetrics
        }
    }

    /// Its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Text being written.
#[derive(Debug)]
pub(super) struct Text {
    format: Format,
    text: String,
}

impl Text {
    /// Nothing yet.
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Begins a family; its samples must follow.
    pub(super) fn family(&mut self, facts: &Facts) {
        let Facts { name, kind, help, .. } = facts;
        match self.format {
            Format::OpenMetrics => {
                self.line(format_args!("# TYPE {name} {}", kind.name()));
                if let Some(unit) = kind.unit() {
                    self.line(format_args!("# UNIT {name} {unit}"));
                }
                self.line(format_args!("# HELP {name} {}", Escaped(help)));
            }
            Format::Prometheus => {
                let suffix = kind.suffix();
                self.line(format_args!("# TYPE {name}{suffix} {}", kind.old_name()));
                self.line(format_args!("# HELP {name}{suffix} {help}"));
            }
        }
    }

    /// A sample of a counter, a gauge or an info; `values` are those of the family's labels, in their order.
    pub(super) fn sample(&mut self, facts: &Facts, values: &[&str], value: impl fmt::Display) {
        self.line(format_args!(
            "{}{}{} {value}",
            facts.name,
            facts.kind.suffix(),
            Labels(facts.labels, values, None)
        ));
    }

    /// All samples of one histogram; `values` as for [`Text::sample`].
    pub(super) fn histogram(&mut self, facts: &Facts, values: &[&str], held: &HeldText) {
        let Facts { name, labels, .. } = *facts;
        let HeldText { buckets, count, sum } = held;
        for (bound, up_to) in buckets {
            self.line(format_args!(
                "{name}_bucket{} {up_to}",
                Labels(labels, values, Some(&bound.to_string()))
            ));
        }
        self.line(format_args!("{name}_bucket{} {count}", Labels(labels, values, Some("+Inf"))));
        self.line(format_args!("{name}_count{} {count}", Labels(labels, values, None)));
        self.line(format_args!("{name}_sum{} {sum}", Labels(labels, values, None)));
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
        self.text
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// What a histogram holds.
#[derive(Debug)]
pub(super) struct HeldText {
    /// Upper bounds, ascending, with the number of values up to each.
    pub(super) buckets: Vec<(Seconds, u64)>,
    /// The number of all values.
    pub(super) count: u64,
    /// All values together.
    pub(super) sum: Seconds,
}

/// Microseconds, written as seconds with a decimal point, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MICROS: u64 = 1_000_000;
        let (seconds, micros) = (self.0 / MICROS, self.0 % MICROS);
        let fraction = format!("{micros:06}");
        let fraction = fraction.trim_end_matches('0');
        // Bounds need the canonical form: at least one digit behind the point.
        write!(f, "{seconds}.{}", if fraction.is_empty() { "0" } else { fraction })
    }
}

/// `{name="value",...}`, with `le` at the end; nothing if there is none.
struct Labels<'a>(&'a [Label], &'a [&'a str], Option<&'a str>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(labels, values, bound) = self;
        let labels = labels.iter().map(|label| label.name()).zip(values.iter().copied());
        let mut open = '{';
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            write!(f, "{open}{name}=\"{}\"", Escaped(value))?;
            open = ',';
        }
        if open == ',' { f.write_char('}') } else { Ok(()) }
    }
}

/// Text in which backslashes, quotes and line ends are escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_and_canonical() {
        let cases = [
            (0, "0.0"),
            (1, "0.000001"),
            (500, "0.0005"),
            (100_000, "0.1"),
            (1_000_000, "1.0"),
            (86_400_000_000, "86400.0"),
            (12_345_678, "12.345678"),
        ];
        for (micros, text) in cases {
            assert_eq!(Seconds(micros).to_string(), text);
        }
    }

    #[test]
    fn the_format_is_the_one_that_the_scraper_can_read() {
        const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            (PROMETHEUS, Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Prometheus),
            ("Text/Plain", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let labels = Labels(&[Label::Listener], &["a\\b\"c\nd"], Some("+Inf"));
        assert_eq!(labels.to_string(), r#"{listener="a\\b\"c\nd",le="+Inf"}"#);
        assert_eq!(Labels(&[], &[], None).to_string(), "");
    }
}
