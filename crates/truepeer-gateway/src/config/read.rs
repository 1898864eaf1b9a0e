//! Typed readers: a value of the file as what it should be, or a problem that says what is allowed.
//!
//! Readers return `None` both for an absent and for a wrong value; a wrong one has left its problem behind, and a
//! configuration with problems is never used, so callers may go on with a default to find the next problem.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::Advice;
use super::lines::Lines;
use super::nearest::nearest;
use super::problem::Problem;
use super::setting::{Setting, Shape, duration_text, names};
use super::settings::STDERR;
use super::tree::{Found, Owner, Tree, describe};
use crate::facts::lines::LogTarget;
use crate::rooms::limits::Rate;

/// What sets no limit.
const OFF: &str = "off";

/// Reads the values of one file and collects what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    /// What the file holds.
    pub(super) tree: &'t Tree<'t>,
    /// The file's lines.
    pub(super) lines: Lines,
    /// Where braces of set notation opened.
    pub(super) sets: &'t [usize],
    /// What is wrong so far.
    pub(super) problems: Vec<Problem>,
    /// What is valid but surprising so far.
    pub(super) advice: Vec<Advice>,
}

/// A string of the file and its place.
#[derive(Debug, Clone)]
pub(super) struct Text<'t> {
    /// The string.
    pub(super) text: &'t str,
    /// Its place, quotes included.
    pub(super) at: Range<usize>,
}

impl<'t> Reader<'t> {
    /// What the file says of `setting` for `owner`.
    pub(super) fn get(&self, setting: &'static Setting, owner: Owner<'_>) -> Option<&'t Found<'t>> {
        self.tree.get(setting, owner)
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes an advice about `key`, which stands at `at`.
    pub(super) fn advise(&mut self, key: &str, at: &Range<usize>, text: impl Into<String>) {
        let line = Some(self.lines.number(at.start));
        self.advice.push(Advice { key: key.to_owned(), line, text: text.into() });
    }

    /// A string.
    pub(super) fn text(&mut self, found: &'t Found<'t>) -> Option<Text<'t>> {
        match found.value.get_ref() {
            DeValue::String(text) => Some(Text { text, at: found.value.span() }),
            _ => self.wrong(found, found.value),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, found: Option<&'t Found<'t>>) -> Option<bool> {
        let found = found?;
        match found.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong(found, found.value),
        }
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, found: Option<&'t Found<'t>>) -> Option<u32> {
        let found = found?;
        let DeValue::Integer(number) = found.value.get_ref() else { return self.wrong(found, found.value) };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(count) if count > 0 => Some(count),
            _ => self.wrong(found, found.value),
        }
    }

    /// A whole number from 1, or `Some(None)` for `"off"`.
    pub(super) fn count_or_off(&mut self, found: Option<&'t Found<'t>>) -> Option<Option<NonZeroU32>> {
        let found = found?;
        if matches!(found.value.get_ref(), DeValue::String(text) if text == OFF) {
            return Some(None);
        }
        self.count(Some(found)).and_then(NonZeroU32::new).map(Some)
    }

    /// A number of connections in a time, or `Some(None)` for `"off"`.
    pub(super) fn rate(&mut self, found: Option<&'t Found<'t>>) -> Option<Option<Rate>> {
        let found = found?;
        let text = self.text(found)?;
        if text.text == OFF {
            return Some(None);
        }
        let split = text.text.split_once('/').and_then(|(count, period)| {
            let count = Some(count).filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()))?;
            Some((count.parse::<NonZeroU32>().ok()?, parse_duration(period)?))
        });
        let Some((count, period)) = split else {
            let problem = self.wrong_problem(found, found.value);
            self.problem(match unit_without_number(text.text) {
                Some(meant) => problem.help(format!("the time has a number, too: `\"{meant}\"`")),
                None => problem,
            });
            return None;
        };
        let rate = Rate::new(count, period);
        if rate.is_none() {
            self.problem(
                Problem::new(format!("`{}`: no such rate can be kept", found.key))
                    .at(text.at, format!("found the string {:?}", text.text))
                    .note(format!(
                        "the time is at most `\"{}\"`, for which every client is remembered, and not so short that connections are less than a nanosecond apart",
                        duration_text(Rate::MAX_PERIOD)
                    )),
            );
        }
        rate.map(Some)
    }

    /// A whole number from 1 to the bits of an address.
    pub(super) fn prefix_length(&mut self, found: Option<&'t Found<'t>>) -> Option<u8> {
        let found = found?;
        let Shape::PrefixLength(bits) = found.setting.shape else { return None };
        let number = match found.value.get_ref() {
            DeValue::Integer(number) => u8::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number {
            Some(number) if (1..=bits).contains(&number) => Some(number),
            _ => self.wrong(found, found.value),
        }
    }

    /// A duration with its unit, not under the setting's floor.
    pub(super) fn duration(&mut self, found: Option<&'t Found<'t>>) -> Option<Duration> {
        let found = found?;
        let value = match found.value.get_ref() {
            DeValue::String(text) => parse_duration(text),
            _ => None,
        };
        let Some(value) = value else {
            let number = match found.value.get_ref() {
                DeValue::Integer(number) => number.as_str().parse::<u32>().ok(),
                DeValue::String(text) => text.parse::<u32>().ok(),
                _ => None,
            };
            let problem = self.wrong_problem(found, found.value);
            self.problem(match number {
                Some(number) => problem.help(format!("if seconds are meant, write `\"{number}s\"`")),
                None => problem,
            });
            return None;
        };
        let Shape::Duration { floor, why } = found.setting.shape else { return Some(value) };
        if value < floor {
            let floor = duration_text(floor);
            self.problem(
                Problem::new(format!("`{}` must be at least `\"{floor}\"`", found.key))
                    .at(found.value.span(), format!("found {}", describe(found.value.get_ref())))
                    .note(why),
            );
            return None;
        }
        Some(value)
    }

    /// A word of a closed set.
    pub(super) fn word<T: Copy>(
        &mut self,
        found: Option<&'t Found<'t>>,
        words: &'static [(&'static str, T)],
    ) -> Option<T> {
        let found = found?;
        let text = self.text(found)?;
        self.one_word(found, &text, words)
    }

    /// One word or a list of them, without repeats.
    pub(super) fn words<T: Copy + PartialEq>(
        &mut self,
        found: Option<&'t Found<'t>>,
        words: &'static [(&'static str, T)],
    ) -> Option<Vec<T>> {
        let found = found?;
        let mut out = Vec::new();
        for text in self.list(found)? {
            let word = self.one_word(found, &text, words)?;
            if !out.contains(&word) {
                out.push(word);
            }
        }
        Some(out)
    }

    /// One string, or a list of strings that is not empty.
    pub(super) fn list(&mut self, found: &'t Found<'t>) -> Option<Vec<Text<'t>>> {
        if self.sets.contains(&found.value.span().start) {
            let problem = self
                .wrong_problem(found, found.value)
                .help("set notation is read for networks only: write `[...]` instead of `{...}`");
            self.problem(problem);
            return None;
        }
        let texts = self.strings(found)?;
        if texts.is_empty() { self.wrong(found, found.value) } else { Some(texts) }
    }

    /// One string or a list of strings; an empty list passes.
    pub(super) fn strings(&mut self, found: &'t Found<'t>) -> Option<Vec<Text<'t>>> {
        let DeValue::Array(list) = found.value.get_ref() else {
            return self.text(found).map(|text| vec![text]);
        };
        let mut texts = Vec::with_capacity(list.len());
        for value in list.iter() {
            let DeValue::String(text) = value.get_ref() else { return self.wrong(found, value) };
            texts.push(Text { text, at: value.span() });
        }
        Some(texts)
    }

    /// As [`Reader::strings`], nothing where there is a problem.
    pub(super) fn strings_of(&mut self, found: &'t Found<'t>) -> Vec<Text<'t>> {
        self.strings(found).unwrap_or_default()
    }

    /// An absolute path, or the word for standard error.
    pub(super) fn log_target(&mut self, found: Option<&'t Found<'t>>) -> Option<LogTarget> {
        match found?.value.get_ref() {
            DeValue::String(text) if text == STDERR => Some(LogTarget::Stderr),
            _ => self.path(found).map(LogTarget::File),
        }
    }

    /// An absolute path.
    pub(super) fn path(&mut self, found: Option<&'t Found<'t>>) -> Option<PathBuf> {
        let found = found?;
        let text = self.text(found)?;
        if !text.text.starts_with('/') || text.text.contains('\0') {
            return self.wrong(found, found.value);
        }
        Some(PathBuf::from(text.text))
    }

    /// Permission bits.
    pub(super) fn mode(&mut self, found: Option<&'t Found<'t>>) -> Option<u32> {
        const DIGITS: std::ops::RangeInclusive<usize> = 3..=4;
        const ALL_BITS: u32 = 0o777;
        let found = found?;
        let text = self.text(found)?;
        match u32::from_str_radix(text.text, 8) {
            Ok(mode) if mode <= ALL_BITS && DIGITS.contains(&text.text.len()) => Some(mode),
            _ => self.wrong(found, found.value),
        }
    }

    /// The problem "this is not what it must be", left behind.
    pub(super) fn wrong<T>(&mut self, found: &Found<'_>, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let problem = self.wrong_problem(found, value);
        self.problem(problem);
        None
    }

    /// The problem "this is not what it must be".
    pub(super) fn wrong_problem(&self, found: &Found<'_>, value: &Spanned<DeValue<'_>>) -> Problem {
        Problem::new(format!("`{}` must be {}", found.key, found.setting.shape.allowed()))
            .at(value.span(), format!("found {}", describe(value.get_ref())))
    }

    fn one_word<T: Copy>(
        &mut self,
        found: &Found<'_>,
        text: &Text<'_>,
        words: &'static [(&'static str, T)],
    ) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == text.text) {
            return Some(*value);
        }
        let problem = self.not_a_word(found, text, &names(words));
        self.problem(problem);
        None
    }

    /// The problem "this word is not one of those", with the nearest of them.
    pub(super) fn not_a_word(&self, found: &Found<'_>, text: &Text<'_>, words: &[&str]) -> Problem {
        let problem = Problem::new(format!("`{}` must be {}", found.key, found.setting.shape.allowed()))
            .at(text.at.clone(), format!("found the string {:?}", text.text));
        match nearest(text.text, words.iter().copied()) {
            Some(near) => problem.help(format!("the nearest is `\"{near}\"`")),
            None => problem,
        }
    }
}

/// `60/m` as `60/1m`.
fn unit_without_number(rate: &str) -> Option<String> {
    let (count, unit) = rate.split_once('/')?;
    (count.parse::<NonZeroU32>().is_ok() && parse_duration(&format!("1{unit}")).is_some())
        .then(|| format!("{count}/1{unit}"))
}

/// As on the command line: `500ms`, `5s`, `1h30m`.
fn parse_duration(text: &str) -> Option<Duration> {
    // A century is enough, and keeps every later sum of instants in range.
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    // Refused: `5M`, which would be months and is meant as minutes, and `0`, which has no unit.
    let clear = text.ends_with(|last: char| last.is_ascii_lowercase()) && !text.contains('M');
    let value = humantime::parse_duration(text).ok().filter(|_| clear)?;
    Some(value).filter(|value| *value <= LONGEST && value.subsec_nanos().is_multiple_of(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_numbers_with_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("1h30m", 5_400_000),
            ("1m 30s", 90_000),
            ("2days", 172_800_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "0",
            "1h30",
            "-5s",
            "+5s",
            "5S",
            "5M",
            "1h5M",
            "100us",
            "99999999999999999999s",
            "9999999999h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
