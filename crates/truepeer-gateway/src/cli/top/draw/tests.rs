//! Pages as an operator sees them, at 80x24 and without colour.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::cli::top::denial::Denial;
use crate::cli::top::model::News;
use crate::cli::top::samples::{self, model};

/// The lines of a page, without the blanks behind them.
fn page(model: &Model, width: u16, height: u16) -> Vec<String> {
    drawn(model, Look::Plain, width, height).0
}

/// The lines, and every style that is used.
fn drawn(model: &Model, look: Look, width: u16, height: u16) -> (Vec<String>, Vec<Style>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(model, look, frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    let styles = buffer.content().iter().map(ratatui::buffer::Cell::style).collect();
    ((0..height).map(line).collect(), styles)
}

#[test]
fn connections_fit_on_the_smallest_terminal_that_people_have() {
    let mut model = model();
    model.point_at(1);
    let page = page(&model, 80, 24);
    assert_eq!(page[0], " truepeer 0.1.0 up 3d4h NOT READY | 98,765/100,000 open, 17 pending, 2 denied");
    assert_eq!(page[1], "[1 connections] 2 clients  3 refusals  4 backends  98,765");
    assert_eq!(page[2], " OPEN v LISTENER CLIENT                PEER                  BACKEND    IN   OUT");
    assert_eq!(page[3], " 1m1s   smtp     203.0.113.1:4711      192.0.2.1:40001       postfix  1.2M    27");
    assert_eq!(page[4], ">1m1s   smtp     (the proxy's own)     192.0.2.1:40002       postfix  1.2M    27");
    assert_eq!(page[5], " 1m1s   smtp     (header awaited)      192.0.2.1:40003       postfix  1.2M    27");
    assert_eq!(page[21], " - through 192.0.2.1:40002 to 127.0.0.1:10025, id 5f-0-2");
    assert!(page[23].starts_with("q quit  / search") && page[23].ends_with("? help"), "{}", page[23]);
    assert_eq!(room(Tab::Connections, 24), 18);
}

#[test]
fn a_wide_terminal_shows_whole_addresses() {
    let mut model = model();
    let mut rows = samples::connections(1);
    let long = "[2001:db8:1234:5678:9abc:def0:1234:5678]:40000";
    rows.connections[0].client = Some(long.to_owned());
    samples::list(&mut model, rows);
    assert!(page(&model, 200, 50)[3].contains(long));
    let narrow = page(&model, 80, 24);
    assert!(narrow[3].contains("[2001:db8:1234:5678:~ 192"), "{}", narrow[3]);
    assert!(narrow[21].contains(long), "the whole of it is below: {}", narrow[21]);
}

#[test]
fn clients_are_shown_by_count_and_rate() {
    let mut model = model();
    model.turn_to(Tab::Clients);
    let lines = page(&model, 80, 24);
    assert_eq!(lines[1], " 1 connections [2 clients] 3 refusals  4 backends  40,000");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&lines[2]), ["CLIENT", "OPEN", "v", "NEW/min", "IN", "OUT", "OLDEST"]);
    assert_eq!(words(&lines[3]), [">203.0.113.7", "120", "8", "1.2M", "27", "1m1s"]);
    assert_eq!(words(&lines[4]), ["2001:db8:1:2::/64", "0", "1400", "1.2M", "27", "-"]);
    model.clients.seconds = 1;
    assert_eq!(words(&page(&model, 80, 24)[3])[2], "...", "a second is no basis for a rate");
}

#[test]
fn a_refusal_is_shown_with_its_cause_and_what_to_change() {
    let mut model = model();
    model.turn_to(Tab::Refusals);
    let lines = page(&model, 80, 24);
    assert_eq!(lines[3], ">08:09:02 smtp     198.51.100.66:4711    access_denied      deny 198.51.100.0/2~");
    assert_eq!(lines[4], " 08:09:01 smtp     192.0.2.9:40000       header_missing     the proxy sends no ~");
    assert_eq!(lines[18], "what it means | deny 198.51.100.0/24 (deny.txt, line 3)");
    model.point_at(1);
    let lines = page(&model, 80, 24);
    assert_eq!(lines[18], "what it means | the proxy sends no header to this port | add `send-proxy-v2` to");
    assert_eq!(lines[19], "its server line");
    model.missed = 1234;
    assert!(page(&model, 80, 24)[1].ends_with("2 +1,234 unseen"));
    // More than there is room for: the pointer stays in sight.
    model.take(News::Refusals(samples::refusals(3..=100)));
    model.point_at(99);
    assert!(page(&model, 80, 24)[17].starts_with(">08:09:01"));
}

#[test]
fn backends_are_shown_with_what_is_wrong() {
    let mut model = model();
    model.turn_to(Tab::Backends);
    model.point_at(1);
    let lines = page(&model, 80, 24);
    assert_eq!(lines[4], ">other        smtp     proxy-v2     127.0.0.1:10025       backend_unreachable");
    assert_eq!(lines[18], "connection refused: nobody listens there");
    model.point_at(0);
    let (_, styles) = drawn(&model, Look::Colour, 80, 24);
    assert!(
        styles.iter().any(|style| style.fg == Some(Color::Red)),
        "what is wrong is red where there are colours"
    );
}

#[test]
fn questions_reasons_help_and_what_was_said() {
    let mut model = model();
    model.mode = Mode::Denying(Denial::of("203.0.113.7:4711").unwrap());
    let lines = page(&model, 80, 24);
    assert_eq!(lines[22], "Deny 203.0.113.7 for 1h? Its open connections are cut.");
    assert_eq!(lines[23], "y yes  k yes, keep what is open  + - how long  w wider or not  n no");
    let long = "word ".repeat(30);
    let steps = [("listener", "smtp on [::]:25"), ("peer", long.trim())];
    let steps = steps.map(|(about, text)| reply::Step { about: about.to_owned(), text: text.to_owned() });
    model.mode = Mode::Reading { title: "connection 5f-0-1".to_owned(), steps: steps.to_vec(), scroll: 0 };
    let lines = page(&model, 80, 24);
    assert_eq!(
        (lines[2].as_str(), lines[3].as_str()),
        ("why: connection 5f-0-1", "listener   smtp on [::]:25")
    );
    assert!(
        lines[4].starts_with("peer       word word") && lines[5].starts_with("           word"),
        "{lines:?}"
    );
    model.mode = Mode::Help;
    let lines = page(&model, 80, 24);
    assert!(KEYS.iter().all(|(keys, _)| lines.iter().any(|line| line.contains(keys))));
    assert!(!lines.iter().any(|line| line.ends_with('~')), "each key fits: {lines:?}");
    model.mode = Mode::Searching { before: String::new() };
    "203".clone_into(&mut model.search);
    assert_eq!(page(&model, 80, 24)[22], "search: 203_");
    model.mode = Mode::Looking;
    model.is_frozen = true;
    assert!(page(&model, 80, 24)[1].ends_with("98,765/98,765 FROZEN"));
    model.take(News::Denied("203.0.113.7/32 is kept out".to_owned()));
    assert_eq!(page(&model, 80, 24)[22], "203.0.113.7/32 is kept out");
    model.take(News::Lost("nobody answers on /run/truepeer/admin.sock".to_owned()));
    assert_eq!(page(&model, 80, 24)[22], "NO ANSWER: nobody answers on /run/truepeer/admin.sock");
}

#[test]
fn without_colour_there_is_none_and_every_page_is_the_same() {
    for tab in Tab::ALL {
        let mut model = model();
        model.turn_to(tab);
        let (plain, styles) = drawn(&model, Look::Plain, 80, 24);
        let none = |colour: Option<Color>| colour.is_none_or(|colour| colour == Color::Reset);
        assert!(styles.iter().all(|style| none(style.fg) && none(style.bg)), "{tab:?}");
        assert_eq!(plain, drawn(&model, Look::Colour, 80, 24).0, "{tab:?}");
        assert!(plain.iter().all(|line| line.is_ascii()), "{plain:?}");
    }
}

#[test]
fn no_size_is_too_much_and_text_from_outside_is_not_obeyed() {
    let mut model = model();
    model.connections.connections[0].listener = "a\u{1b}[2J\u{7}\u{202e}b".to_owned();
    for tab in Tab::ALL {
        model.turn_to(tab);
        for (width, height) in [(1, 1), (10, 3), (39, 24), (40, 10), (80, 24), (300, 100)] {
            let lines = page(&model, width, height);
            assert!(lines.iter().all(|line| !line.chars().any(char::is_control)), "{lines:?}");
        }
    }
    assert!(page(&model, 30, 10)[0].starts_with("at least 40 columns"));
}

/// The pictures of `docs/top.md` are drawn here; `UPDATE=1` writes them anew.
#[test]
fn documented_pages_are_those_that_are_drawn() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/top.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let mut current = written.clone();
    let mut model = model();
    model.is_frozen = false;
    for tab in Tab::ALL {
        model.turn_to(tab);
        let mut lines = page(&model, 80, 16);
        lines.push(String::new());
        current = replaced(&current, tab.name(), &format!("```text\n{}```\n", lines.join("\n")));
    }
    let mut keys = "| keys | what they do |\n|---|---|\n".to_owned();
    for (names, what) in KEYS {
        keys.push_str(&format!("| `{names}` | {what} |\n"));
    }
    current = replaced(&current, "keys", &keys);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == current,
        "docs/top.md is stale: run the tests with UPDATE=1"
    );
}

fn replaced(text: &str, name: &str, by: &str) -> String {
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{by}{end}{after}")
}
