//! A model drawn on a page of cells: pure, the same for any terminal. Letters alone tell everything, so that nothing is
//! lost without colour: `>` points at a row, brackets stand around the tab, `^` and `v` say what is sorted.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::control::admin::{ListOrder, reply};

use super::keys::KEYS;
use super::lines::{about_chosen, nothing, running, tabs};
use super::model::{Mode, Model, Notice, Tab};
use super::table::{Align, Column, table};
use super::words::{fitted, wrapped};

/// Whether the terminal has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Colour,
    Plain,
}

impl Look {
    const fn bad(self) -> Style {
        match self {
            Self::Colour => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Self::Plain => BOLD,
        }
    }

    const fn quiet(self) -> Style {
        match self {
            Self::Colour => Style::new().fg(Color::Cyan),
            Self::Plain => Style::new(),
        }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const TURNED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// The least that it can be drawn on.
pub(super) const SMALLEST: (u16, u16) = (40, 10);

/// Lines above the rows: what runs, the tabs, the headings.
const ABOVE: u16 = 3;
/// Lines below: what was said, the keys.
const BELOW: u16 = 2;

/// Rows that there is room for on so many lines.
pub(super) fn room(tab: Tab, height: u16) -> usize {
    height.saturating_sub(ABOVE).saturating_sub(BELOW).saturating_sub(details(tab)).into()
}

/// Lines about the chosen row.
const fn details(tab: Tab) -> u16 {
    match tab {
        Tab::Connections => 1,
        Tab::Clients => 0,
        Tab::Refusals | Tab::Backends => 4,
    }
}

/// Draws all of `area`.
pub(super) fn draw(model: &Model, look: Look, area: Rect, buf: &mut Buffer) {
    let mut page = Page { area, buf };
    if (area.width, area.height) < SMALLEST || area.height < SMALLEST.1 {
        let (width, height) = SMALLEST;
        return page.line(
            0,
            &format!("at least {width} columns and {height} lines are needed; q quits"),
            BOLD,
        );
    }
    page.line(0, &running(model), TURNED);
    page.line(1, &tabs(model), look.quiet());
    match &model.mode {
        Mode::Reading { title, steps, scroll } => page.explanation(title, steps, *scroll),
        Mode::Help => page.help(),
        Mode::Looking | Mode::Searching { .. } | Mode::Denying(_) => page.rows(model, look),
    }
    page.foot(model, look);
}

/// Where it is drawn.
struct Page<'b> {
    area: Rect,
    buf: &'b mut Buffer,
}

impl Page<'_> {
    /// A whole line, filled up in its style.
    fn line(&mut self, at: u16, text: &str, style: Style) {
        let width = usize::from(self.area.width);
        let text = format!("{:<width$}", fitted(text, width));
        if at < self.area.height {
            let y = self.area.y.saturating_add(at);
            self.buf.set_stringn(self.area.x, y, text, width, style);
        }
    }

    /// The first line below the rows.
    fn foot_at(&self) -> u16 {
        self.area.height.saturating_sub(BELOW)
    }

    fn rows(&mut self, model: &Model, look: Look) {
        let table = table(model, self.area.width.into());
        let headings: Vec<_> = table.columns.iter().map(heading).collect();
        self.line(2, &cells(' ', &table.columns, &headings), BOLD);
        let room = room(model.tab, self.area.height);
        // The pointer stays in sight where there are more rows than lines.
        let first = model.row.saturating_add(1).saturating_sub(room);
        let numbered = table.rows.iter().enumerate().skip(first);
        for (at, (number, row)) in (ABOVE..).zip(numbered.take(room)) {
            let (pointer, style) = match (number == model.row, table.bad.contains(&number)) {
                (true, _) => ('>', TURNED),
                (false, true) => (' ', look.bad()),
                (false, false) => (' ', Style::new()),
            };
            self.line(at, &cells(pointer, &table.columns, row), style);
        }
        if table.rows.is_empty() {
            self.line(ABOVE, nothing(model), Style::new());
        }
        let about = about_chosen(model, self.area.width.into());
        let from = self.foot_at().saturating_sub(details(model.tab));
        for (at, line) in (from..self.foot_at()).zip(about) {
            self.line(at, &line, look.quiet());
        }
    }

    fn explanation(&mut self, title: &str, steps: &[reply::Step], scroll: u16) {
        const ABOUT: usize = 11;
        self.line(2, &format!("why: {title}"), BOLD);
        let width = usize::from(self.area.width).saturating_sub(ABOUT);
        let lines = steps.iter().flat_map(|step| {
            let about = std::iter::once(step.about.as_str()).chain(std::iter::repeat(""));
            let text = wrapped(&step.text, width);
            about.zip(text).map(|(about, text)| format!("{about:<ABOUT$}{text}")).collect::<Vec<_>>()
        });
        for (at, line) in (ABOVE..self.foot_at()).zip(lines.skip(scroll.into())) {
            self.line(at, &line, Style::new());
        }
    }

    fn help(&mut self) {
        self.line(2, "keys", BOLD);
        for (at, (keys, what)) in (ABOVE..self.foot_at()).zip(KEYS) {
            self.line(at, &format!(" {keys:<28} {what}"), Style::new());
        }
    }

    fn foot(&mut self, model: &Model, look: Look) {
        let (said, style) = match (&model.mode, &model.lost, &model.notice) {
            (Mode::Searching { .. }, ..) => (format!("search: {}_", model.search), BOLD),
            (Mode::Denying(denial), ..) => {
                let question =
                    format!("Deny {} for {}? Its open connections are cut.", denial.whom(), denial.lasts());
                (question, look.bad())
            }
            (_, Some(why), _) => (format!("NO ANSWER: {why}"), look.bad()),
            (_, None, Some(Notice::Failed(text))) => (text.clone(), look.bad()),
            (_, None, Some(Notice::Done(text))) => (text.clone(), BOLD),
            (_, None, None) if !model.search.is_empty() => {
                (format!("search: {} (Esc ends it)", model.search), Style::new())
            }
            (_, None, None) => (String::new(), Style::new()),
        };
        let keys = match &model.mode {
            Mode::Looking => "q quit  / search  s r sort  f freeze  Enter explain  d deny  1-4 Tab  ? help",
            Mode::Searching { .. } => "Enter keep it  Esc as before",
            Mode::Denying(_) => "y yes  k yes, keep what is open  + - how long  w wider or not  n no",
            Mode::Reading { .. } => "Up Down scroll  d deny  any other key: back",
            Mode::Help => "any key: back",
        };
        let at = self.foot_at();
        self.line(at, &said, style);
        self.line(at.saturating_add(1), keys, TURNED);
    }
}

fn heading(column: &Column) -> String {
    let mark = match column.sorted {
        None => "",
        Some(ListOrder::Falling) => " v",
        Some(ListOrder::Rising) => " ^",
    };
    format!("{}{mark}", column.heading)
}

fn cells(pointer: char, columns: &[Column], row: &[String]) -> String {
    let cell = |(column, text): (&Column, &String)| {
        let (width, text) = (column.width, fitted(text, column.width));
        match column.align {
            Align::Left => format!("{text:<width$}"),
            Align::Right => format!("{text:>width$}"),
        }
    };
    let cells: Vec<_> = columns.iter().zip(row).map(cell).collect();
    format!("{pointer}{}", cells.join(" "))
}

#[cfg(test)]
mod tests;
