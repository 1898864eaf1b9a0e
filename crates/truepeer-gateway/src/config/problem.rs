//! What is wrong with a file: collected with positions, rendered like a compiler's messages.
//!
//! The readers make problems, commands print them. Nothing here knows a setting.

use std::fmt;
use std::io::IsTerminal as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use super::lines::Lines;

/// Problems of one file that are shown. Each costs a walk over the text.
const MOST_SHOWN: usize = 100;

/// Everything that is wrong with one configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file_name: String,
    text: String,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    title: String,
    at: Option<Mark>,
    others: Vec<Mark>,
    notes: Vec<String>,
    help: Vec<String>,
    needs_all_lines: bool,
}

/// A place in the text and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    span: Range<usize>,
    label: String,
}

impl Mark {
    /// The label may hold words of the file, so what a terminal would obey is made visible.
    fn new(span: Range<usize>, label: &str) -> Self {
        Self { span, label: normalize_untrusted_str(label) }
    }
}

/// Whether messages are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// For files and pipes.
    #[default]
    Plain,
    /// For terminals.
    Styled,
}

impl Colour {
    /// Colour if standard error is a terminal and nobody asked for none (`NO_COLOR`).
    #[must_use]
    pub fn for_stderr() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stderr().is_terminal() && !refused { Self::Styled } else { Self::Plain }
    }
}

impl Problem {
    /// A problem of the whole file.
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            at: None,
            others: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            needs_all_lines: false,
        }
    }

    /// Where it is, and what was found there.
    pub(super) fn at(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.at = Some(Mark::new(span, &label.into()));
        self
    }

    /// Another place that has to do with it.
    pub(super) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.others.push(Mark::new(span, &label.into()));
        self
    }

    /// Why it is a problem.
    pub(super) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// What to write instead.
    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// It is about something that is not there, and so could be owed to a line that cannot be read.
    pub(super) fn if_all_lines(mut self) -> Self {
        self.needs_all_lines = true;
        self
    }

    /// Whether it may go away once every line can be read.
    pub(super) fn needs_all_lines(&self) -> bool {
        self.needs_all_lines
    }

    /// The first byte it is about; problems of the whole file come first.
    pub(super) fn start(&self) -> usize {
        self.at.as_ref().map_or(0, |mark| mark.span.start)
    }

    /// One sentence on what is wrong.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    fn group<'p>(&'p self, text: &'p str, file_name: &'p str) -> Group<'p> {
        let mut group = Group::with_title(Level::ERROR.primary_title(self.title.as_str()));
        group = match &self.at {
            None => group.element(Origin::path(file_name)),
            Some(mark) => {
                let others = self.others.iter().map(|mark| {
                    AnnotationKind::Context.span(within(text, &mark.span)).label(mark.label.as_str())
                });
                group.element(
                    Snippet::source(text)
                        .path(file_name)
                        .annotation(
                            AnnotationKind::Primary.span(within(text, &mark.span)).label(mark.label.as_str()),
                        )
                        .annotations(others),
                )
            }
        };
        let notes = self.notes.iter().map(|text| Level::NOTE.message(normalize_untrusted_str(text)));
        let help = self.help.iter().map(|text| Level::HELP.message(normalize_untrusted_str(text)));
        group.elements(notes.chain(help))
    }
}

impl ConfigErrors {
    /// Sorts the problems by their place in `text`.
    pub(super) fn new(file_name: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::start);
        Self { file_name: normalize_untrusted_str(file_name), text: text.to_owned(), problems }
    }

    /// One problem of a file whose text is not there.
    pub(super) fn without_text(file_name: &str, problem: Problem) -> Self {
        Self { file_name: normalize_untrusted_str(file_name), text: String::new(), problems: vec![problem] }
    }

    /// Each problem with the number of its line, where it has one.
    pub fn problems(&self) -> impl Iterator<Item = (Option<usize>, &Problem)> {
        let lines = Lines::new(&self.text);
        let line = move |problem: &Problem| problem.at.as_ref().map(|mark| lines.number(mark.span.start));
        self.problems.iter().map(move |problem| (line(problem), problem))
    }

    /// The problems, each with its lines of the file, and their number at the end; at most a hundred of them.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Plain => Renderer::plain(),
            Colour::Styled => Renderer::styled(),
        };
        let mut out = String::new();
        for problem in self.problems.iter().take(MOST_SHOWN) {
            out.push_str(&renderer.render(&[problem.group(&self.text, &self.file_name)]));
            out.push_str("\n\n");
        }
        let count = self.problems.len();
        if count > MOST_SHOWN {
            out.push_str(&format!("the first {MOST_SHOWN} are shown, correct these first\n\n"));
        }
        let noun = if count == 1 { "error" } else { "errors" };
        out.push_str(&format!("{}: {count} {noun}", self.file_name));
        out
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Plain))
    }
}

impl std::error::Error for ConfigErrors {}

/// The span cut to the text and to whole characters, for the renderer counts on both.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at = at.saturating_sub(1);
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}
