//! What a key does: a model in, a changed model and what is to be done out. Reads no terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::control::admin::{ClientsBy, ConnectionsBy, ListOrder, MAX_SEARCH, MAX_SKIP};

use super::chosen::{deny, explain, offer_denial};
use super::model::{Act, Mode, Model, Sorted, Tab};

/// The keys, as the help page and the manual have them.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("1 2 3 4, Tab", "connections, clients, refusals, backends"),
    ("Up Down j k, PgUp PgDn, Home", "move; more pages are asked for as needed"),
    ("/", "search: text, an address, a network; Esc ends it"),
    ("s, r", "sort by the next column; the other end first"),
    ("f, Space", "freeze what is shown, and let it go on"),
    ("Enter, e", "explain: listener, peer, header, rule, backend"),
    ("d", "deny the client for a while; asks first"),
    ("q, Ctrl-C", "quit"),
];

/// One key.
pub(super) fn press(model: &mut Model, key: KeyEvent) -> Option<Act> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Act::Quit);
    }
    match std::mem::take(&mut model.mode) {
        Mode::Looking => look_around(model, key.code),
        Mode::Searching { before } => search(model, before, key.code),
        Mode::Denying(denial) => deny(model, denial, key.code),
        Mode::Reading { title, steps, scroll } => {
            let scroll = match key.code {
                KeyCode::Up | KeyCode::Char('k') => scroll.saturating_sub(1),
                KeyCode::Down | KeyCode::Char('j') => scroll.saturating_add(1).min(MAX_SCROLL),
                KeyCode::Char('d') => {
                    return offer_denial(model);
                }
                _ => return None,
            };
            model.mode = Mode::Reading { title, steps, scroll };
            None
        }
        // Any key leaves it.
        Mode::Help => None,
    }
}

/// Lines that can be scrolled over: more than an explanation has.
const MAX_SCROLL: u16 = 200;

fn look_around(model: &mut Model, code: KeyCode) -> Option<Act> {
    model.notice = None;
    let turn = |model: &mut Model, tab| {
        model.turn_to(tab);
        Some(Act::Look)
    };
    match code {
        KeyCode::Char('q') => Some(Act::Quit),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => {
            model.mode = Mode::Help;
            None
        }
        KeyCode::Char(digit @ '1'..='4') => {
            let at = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(1);
            turn(model, Tab::ALL.get(at.saturating_sub(1)).copied().unwrap_or_default())
        }
        KeyCode::Tab => turn(model, neighbour(model.tab, 1)),
        KeyCode::BackTab => turn(model, neighbour(model.tab, Tab::ALL.len().saturating_sub(1))),
        KeyCode::Up | KeyCode::Char('k') => step_back(model, 1),
        KeyCode::Down | KeyCode::Char('j') => step_on(model, 1),
        KeyCode::PageUp => step_back(model, model.room.max(1)),
        KeyCode::PageDown => step_on(model, model.room.max(1)),
        KeyCode::Home => {
            model.start_over();
            Some(Act::Look)
        }
        KeyCode::Char('/') => {
            model.mode = Mode::Searching { before: model.search.clone() };
            None
        }
        KeyCode::Esc if !model.search.is_empty() => {
            model.search.clear();
            model.start_over();
            Some(Act::Look)
        }
        KeyCode::Char('s') => {
            sort(model);
            model.start_over();
            Some(Act::Look)
        }
        KeyCode::Char('r') => {
            turn_round(model);
            model.start_over();
            Some(Act::Look)
        }
        KeyCode::Char('f' | ' ') => {
            model.is_frozen = !model.is_frozen;
            (!model.is_frozen).then_some(Act::Look)
        }
        KeyCode::Char('d') => offer_denial(model),
        KeyCode::Enter | KeyCode::Char('e') => explain(model),
        _ => None,
    }
}

fn neighbour(tab: Tab, steps: usize) -> Tab {
    let at = Tab::ALL.iter().position(|other| *other == tab).unwrap_or_default();
    Tab::ALL.iter().cycle().nth(at.saturating_add(steps)).copied().unwrap_or_default()
}

fn step_on(model: &mut Model, rows: usize) -> Option<Act> {
    let on_page = model.keys().len();
    let is_last = model.row.saturating_add(1) >= on_page;
    let (found, _) = model.counts();
    let next = model.skip.saturating_add(on_page);
    if is_last && model.is_paged() && on_page > 0 && next < found && next <= MAX_SKIP {
        model.leaf_to(next, 0);
        return Some(Act::Look);
    }
    model.point_at(model.row.saturating_add(rows));
    None
}

fn step_back(model: &mut Model, rows: usize) -> Option<Act> {
    if model.row == 0 && model.skip > 0 && model.is_paged() {
        let room = model.room.max(1);
        model.leaf_to(model.skip.saturating_sub(room), room.saturating_sub(1));
        return Some(Act::Look);
    }
    model.point_at(model.row.saturating_sub(rows));
    None
}

fn sort(model: &mut Model) {
    match model.tab {
        Tab::Connections => {
            use ConnectionsBy::{Backend, BytesIn, BytesOut, Client, Listener, Open, Peer};
            let by = match model.connections_by.by {
                Open => Listener,
                Listener => Client,
                Client => Peer,
                Peer => Backend,
                Backend => BytesIn,
                BytesIn => BytesOut,
                BytesOut => Open,
            };
            let is_number = matches!(by, Open | BytesIn | BytesOut);
            model.connections_by = Sorted { by, direction: usual(is_number) };
        }
        Tab::Clients => {
            use ClientsBy::{BytesIn, BytesOut, Client, New, Open};
            let by = match model.clients_by.by {
                Client => Open,
                Open => New,
                New => BytesIn,
                BytesIn => BytesOut,
                BytesOut => Client,
            };
            model.clients_by = Sorted { by, direction: usual(by != Client) };
        }
        Tab::Refusals | Tab::Backends => {}
    }
}

fn usual(is_number: bool) -> ListOrder {
    if is_number { ListOrder::Falling } else { ListOrder::Rising }
}

fn turn_round(model: &mut Model) {
    let direction = match model.tab {
        Tab::Connections => &mut model.connections_by.direction,
        Tab::Clients => &mut model.clients_by.direction,
        Tab::Refusals | Tab::Backends => return,
    };
    *direction = match direction {
        ListOrder::Falling => ListOrder::Rising,
        ListOrder::Rising => ListOrder::Falling,
    };
}

fn search(model: &mut Model, before: String, code: KeyCode) -> Option<Act> {
    match code {
        KeyCode::Enter => return None,
        KeyCode::Esc => model.search.clone_from(&before),
        KeyCode::Backspace => drop(model.search.pop()),
        KeyCode::Char(c) if !c.is_control() && model.search.chars().count() < MAX_SEARCH => {
            model.search.push(c);
        }
        _ => {}
    }
    if code != KeyCode::Esc {
        model.mode = Mode::Searching { before };
    }
    model.start_over();
    Some(Act::Look)
}

#[cfg(test)]
mod tests;
