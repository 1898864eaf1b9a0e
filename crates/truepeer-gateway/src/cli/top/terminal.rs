//! The terminal: taken for the time that `top` runs and given back as it was, whatever ends it.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal;
use ratatui::layout::Rect;
use tokio::signal::unix::{SignalKind, signal};

use super::asking::{Ask, Asking, Server, Told};
use super::draw::{Look, draw, room};
use super::keys::press;
use super::model::{Act, Model, News, Notice};
use super::pace::Pace;
use crate::cli::FAILED;

/// How long a key or a signal may have to wait.
const TICK: Duration = Duration::from_millis(100);

/// What a terminal can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// Its cursor cannot be moved: pages come one below the other.
    Paper,
    /// It can be drawn on.
    Cells(Look),
}

impl Screen {
    /// What the environment says of it.
    pub(super) fn of_environment() -> Self {
        Self::of(env::var_os("TERM").as_deref(), env::var_os("NO_COLOR").as_deref())
    }

    fn of(term: Option<&OsStr>, no_colour: Option<&OsStr>) -> Self {
        let term = term.unwrap_or_default().to_string_lossy().into_owned();
        let has_none = ["vt1", "vt2", "vt3"].iter().any(|old| term.starts_with(old))
            || term.ends_with("-m")
            || term.ends_with("-mono");
        match term.as_str() {
            "" | "dumb" | "unknown" => Self::Paper,
            _ if has_none || no_colour.is_some_and(|set| !set.is_empty()) => Self::Cells(Look::Plain),
            _ => Self::Cells(Look::Colour),
        }
    }
}

/// Gives the terminal back.
struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = ratatui::try_restore();
    }
}

/// Shows what is asked for until it is enough.
///
/// # Errors
/// The terminal cannot be read or written.
pub(super) fn show(asking: &Asking, look: Look, every: Duration) -> io::Result<()> {
    let ended = signals()?;
    // Restored from here on, also if taking it fails half way.
    let _taken = Taken;
    let mut terminal = ratatui::try_init()?;
    let mut model = Model::default();
    let mut pace = Pace::new(every, Instant::now());
    let mut is_stale = true;
    while !ended.load(Ordering::Relaxed) {
        model.room = room(model.tab, terminal.size()?.height);
        if pace.is_due(Instant::now(), model.is_frozen)
            && asking.asks.try_send(Ask::Look(model.wanted())).is_ok()
        {
            pace.asked();
        }
        if is_stale {
            terminal.draw(|frame| draw(&model, look, frame.area(), frame.buffer_mut()))?;
        }
        is_stale = false;
        if event::poll(TICK)? {
            is_stale = true;
            if let Event::Key(key) = event::read()? {
                match press(&mut model, key) {
                    Some(Act::Quit) => break,
                    Some(act) => act_on(act, &mut model, &mut pace, asking),
                    None => {}
                }
            }
        }
        for told in asking.told.try_iter() {
            is_stale = true;
            match told {
                Told::News(news) => {
                    // Who is denied is gone from the list at once.
                    if matches!(news, News::Denied(_)) {
                        pace.hurry(Instant::now());
                    }
                    model.take(news);
                }
                Told::Looked(took) => pace.answered(took, Instant::now()),
            }
        }
    }
    Ok(())
}

fn act_on(act: Act, model: &mut Model, pace: &mut Pace, asking: &Asking) {
    let ask = match act {
        Act::Quit => return,
        Act::Look => return pace.hurry(Instant::now()),
        Act::Deny(order, open) => Ask::Deny(order, open),
        Act::Why { title, subject } => Ask::Why { title, subject },
    };
    if asking.asks.try_send(ask).is_err() {
        model.notice =
            Some(Notice::Failed("the server has not answered what was asked before: try again".to_owned()));
    }
}

/// How long an end in order may take after a signal. A terminal that is gone is never read to its end.
const IN_ORDER: Duration = Duration::from_secs(1);

/// Whether a signal asks this program to end: it ends as by a key, and the terminal is as it was. Where it does not,
/// because the terminal is gone and reading it does not return, the process ends all the same.
fn signals() -> io::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&ended);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut hangup, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?)
    };
    let body = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
            tell.store(true, Ordering::Relaxed);
            tokio::time::sleep(IN_ORDER).await;
        });
        std::process::exit(FAILED.into());
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(body)?;
    Ok(ended)
}

/// Pages without one escape sequence, for a terminal that obeys none: there are no keys, and Ctrl-C ends it.
///
/// # Errors
/// The terminal cannot be written.
pub(super) fn print(server: &Server, every: Duration) -> io::Result<()> {
    const SLOWER: u32 = 5;
    let mut model = Model::default();
    loop {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let area = Rect::new(0, 0, width, height);
        model.room = room(model.tab, height);
        let begun = Instant::now();
        server.look(&model.wanted()).into_iter().for_each(|news| model.take(news));
        let mut page = Buffer::empty(area);
        draw(&model, Look::Plain, area, &mut page);
        let mut out = io::stdout().lock();
        // The last line is about keys.
        for y in 0..height.saturating_sub(1) {
            let line: String = (0..width).filter_map(|x| page.cell((x, y))).map(Cell::symbol).collect();
            writeln!(out, "{}", line.trim_end())?;
        }
        out.flush()?;
        let rest = every.max(begun.elapsed()).saturating_mul(SLOWER);
        std::thread::park_timeout(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_colour_is_used_where_none_is_wanted_and_nothing_is_drawn_where_nothing_can_be() {
        let screen =
            |term, no_colour: Option<&str>| Screen::of(Some(OsStr::new(term)), no_colour.map(OsStr::new));
        assert_eq!(screen("xterm-256color", None), Screen::Cells(Look::Colour));
        assert_eq!(screen("xterm-256color", Some("")), Screen::Cells(Look::Colour));
        assert_eq!(screen("xterm-256color", Some("1")), Screen::Cells(Look::Plain));
        assert_eq!(screen("vt220", None), Screen::Cells(Look::Plain));
        assert_eq!(screen("linux-m", None), Screen::Cells(Look::Plain));
        assert_eq!((screen("dumb", None), Screen::of(None, None)), (Screen::Paper, Screen::Paper));
    }
}
