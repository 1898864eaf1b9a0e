//! What can be done about the row that is pointed at: explain it, and deny its client.

use ratatui::crossterm::event::KeyCode;

use crate::control::admin::{OpenConnections, Subject, reply};

use super::denial::Denial;
use super::model::{Act, Mode, Model, Notice, Tab};

/// Said where the rows that are shown are not those that were asked for last.
const NOT_YET: &str = "one moment: these are not yet the rows that were asked for";

/// Whom the chosen row is about.
enum Whom {
    /// This client.
    Client(String),
    /// Nobody who could be denied, and why.
    Nobody(&'static str),
}

fn whom(model: &Model) -> Whom {
    const NO_ROW: Whom = Whom::Nobody("no row is chosen");
    let client = |client: Option<&String>, none| {
        client.map_or(Whom::Nobody(none), |client| Whom::Client(client.clone()))
    };
    match model.tab {
        _ if model.is_awaited => Whom::Nobody(NOT_YET),
        Tab::Connections => match model.connections.connections.get(model.row) {
            None => NO_ROW,
            Some(row) if row.own => {
                Whom::Nobody("this connection is the proxy's own: there is no client to deny")
            }
            Some(row) => client(
                row.client.as_ref(),
                "its header is not there yet: no client is known who could be denied",
            ),
        },
        Tab::Clients => client(model.clients.page.get(model.row).map(|row| &row.client), "no row is chosen"),
        Tab::Refusals => match model.found_refusals().nth(model.row) {
            None => NO_ROW,
            Some(row) => client(row.client.as_ref(), "no client was known; its peer is turned away already"),
        },
        Tab::Backends => Whom::Nobody("backends cannot be denied"),
    }
}

/// Asks whether to deny the client of the chosen row.
pub(super) fn offer_denial(model: &mut Model) -> Option<Act> {
    match whom(model) {
        Whom::Client(client) => match Denial::of(&client) {
            Some(denial) => model.mode = Mode::Denying(denial),
            None => {
                model.notice = Some(Notice::Failed(format!("{client} is no address that could be denied")));
            }
        },
        Whom::Nobody(why) => model.notice = Some(Notice::Failed(why.to_owned())),
    }
    None
}

/// The answer to whether to deny.
pub(super) fn deny(model: &mut Model, mut denial: Denial, code: KeyCode) -> Option<Act> {
    let order = |open| denial.order().map(|order| Act::Deny(order, open));
    match code {
        KeyCode::Char('y') => return order(OpenConnections::Cut),
        KeyCode::Char('k') => return order(OpenConnections::Keep),
        KeyCode::Char('n' | 'q') | KeyCode::Esc => {
            model.notice = Some(Notice::Done("nobody was denied".to_owned()));
            return None;
        }
        KeyCode::Char('+' | '=') | KeyCode::Up | KeyCode::Right => denial.longer(),
        KeyCode::Char('-') | KeyCode::Down | KeyCode::Left => denial.shorter(),
        KeyCode::Char('w') => denial.widen(),
        _ => {}
    }
    model.mode = Mode::Denying(denial);
    None
}

/// Why the chosen row is as it is: asked for, or known already.
pub(super) fn explain(model: &mut Model) -> Option<Act> {
    if model.is_awaited {
        model.notice = Some(Notice::Failed(NOT_YET.to_owned()));
        return None;
    }
    match model.tab {
        Tab::Connections => {
            let row = model.connections.connections.get(model.row)?;
            let title = format!("connection {}", row.id);
            Some(Act::Why { title, subject: Subject::Connection(row.id.clone()) })
        }
        Tab::Clients => {
            let row = model.clients.page.get(model.row)?;
            let ip = Denial::of(&row.client)?.network.addr();
            Some(Act::Why { title: format!("client {}", row.client), subject: Subject::Client(ip) })
        }
        Tab::Refusals => {
            let row = model.found_refusals().nth(model.row)?;
            model.mode = Mode::Reading {
                title: format!("refusal of connection {}", row.id),
                steps: of_refusal(row),
                scroll: 0,
            };
            None
        }
        Tab::Backends => {
            let (backend, at) = model.found_backends().nth(model.row)?;
            let title = format!("backend {} at {}", backend.backend, at.address);
            model.mode = Mode::Reading { title, steps: of_backend(backend, at), scroll: 0 };
            None
        }
    }
}

fn of_refusal(row: &reply::Refusal) -> Vec<reply::Step> {
    let client = match (&row.client, &row.source) {
        (Some(client), Some(source)) if source == "direct" => format!("{client}, the peer itself"),
        (Some(client), Some(source)) => format!("{client}, named by a {source} header"),
        (Some(client), None) => client.clone(),
        (None, _) => "not known".to_owned(),
    };
    let known = [
        ("time", Some(&row.time)),
        ("listener", Some(&row.listener)),
        ("peer", Some(&row.peer)),
        ("client", Some(&client)),
        ("outcome", Some(&row.outcome)),
        ("meaning", Some(&row.meaning)),
        ("rule", row.rule.as_ref()),
        ("seen", row.seen.as_ref()),
        ("cause", row.cause.as_ref()),
        ("remedy", row.remedy.as_ref()),
    ];
    steps(&known)
}

fn of_backend(backend: &reply::Backend, at: &reply::BackendAddress) -> Vec<reply::Step> {
    let ready = if backend.ready { "clients are served" } else { "NO client would be served" }.to_owned();
    steps(&[
        ("backend", Some(&backend.backend)),
        ("protocol", Some(&backend.protocol)),
        ("handoff", Some(&backend.handoff)),
        ("ready", Some(&ready)),
        ("address", Some(&at.address)),
        ("readiness", Some(&at.readiness)),
        ("why", at.why.as_ref()),
    ])
}

fn steps(known: &[(&str, Option<&String>)]) -> Vec<reply::Step> {
    let step = |(about, text): &(&str, Option<&String>)| {
        text.map(|text| reply::Step { about: (*about).to_owned(), text: text.clone() })
    };
    known.iter().filter_map(step).collect()
}
