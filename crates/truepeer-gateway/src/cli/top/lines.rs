//! What is said of a model in lines of text.

use super::model::{Model, Tab};
use super::words::{grouped, wrapped};
use crate::cli::reach::age;

/// What runs, in one line.
pub(super) fn running(model: &Model) -> String {
    let Some(status) = &model.status else { return " truepeer: waiting for the first answer".to_owned() };
    let state = match (status.draining, status.ready) {
        (true, _) => "DRAINING",
        (false, true) => "ready",
        (false, false) => "NOT READY",
    };
    format!(
        " truepeer {} up {} {state} | {}/{} open, {} pending, {} denied",
        status.version,
        age(status.duration_ms),
        grouped(status.open.into()),
        grouped(status.max_connections.into()),
        grouped(status.pending_headers.into()),
        status.denied
    )
}

/// The tabs, how much there is in this one, and whether it is frozen.
pub(super) fn tabs(model: &Model) -> String {
    let tab = |(number, tab): (usize, Tab)| {
        let name = format!("{number} {}", tab.name());
        if tab == model.tab { format!("[{name}]") } else { format!(" {name} ") }
    };
    let names: String = (1..).zip(Tab::ALL).map(tab).collect();
    let (found, all) = model.counts();
    let [found, all] = [found, all].map(|count| grouped(u64::try_from(count).unwrap_or(u64::MAX)));
    let count = if model.search.is_empty() { all } else { format!("{found}/{all}") };
    let missed = match model.tab {
        Tab::Refusals if model.missed > 0 => format!(" +{} unseen", grouped(model.missed)),
        _ => String::new(),
    };
    let frozen = if model.is_frozen { " FROZEN" } else { "" };
    format!("{names} {count}{missed}{frozen}")
}

/// What is said where there is no row.
pub(super) fn nothing(model: &Model) -> &'static str {
    match (model.tab, model.search.is_empty()) {
        (_, false) => " nothing like that",
        (Tab::Connections, true) => " no connection is open",
        (Tab::Clients, true) => " no client is here",
        (Tab::Refusals, true) => " nobody was refused",
        (Tab::Backends, true) => " no address of a backend is known yet",
    }
}

/// What has no room in the row that is pointed at.
pub(super) fn about_chosen(model: &Model, width: usize) -> Vec<String> {
    match model.tab {
        Tab::Connections => model.connections.connections.get(model.row).map_or_else(Vec::new, |row| {
            let backend = row.backend_address.as_deref().unwrap_or("no backend");
            let client = row.client.as_deref().unwrap_or("-");
            vec![format!(" {client} through {} to {backend}, id {}", row.peer, row.id)]
        }),
        Tab::Clients => Vec::new(),
        Tab::Refusals => model.found_refusals().nth(model.row).map_or_else(Vec::new, |row| {
            let known = [Some(&row.meaning), row.rule.as_ref(), row.cause.as_ref(), row.remedy.as_ref()];
            let known: Vec<_> = known.into_iter().flatten().map(String::as_str).collect();
            wrapped(&known.join(" | "), width)
        }),
        Tab::Backends => model.found_backends().nth(model.row).map_or_else(Vec::new, |(_, at)| {
            wrapped(at.why.as_deref().unwrap_or("it is proved to read our header"), width)
        }),
    }
}
