//! What each tab shows as columns and cells, for a width.

use crate::control::admin::{ClientsBy, ConnectionsBy, ListOrder, reply};

use super::model::{Model, Tab};
use super::words::{short, time_of_day};
use crate::cli::reach::age;

/// One column: its heading, the least width, and what it does with more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) width: usize,
    pub(super) align: Align,
    /// Which share of the width that is left it takes.
    grows: usize,
    /// Whether the rows are sorted by it.
    pub(super) sorted: Option<ListOrder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Columns and rows of one page.
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
    /// Rows that should be looked at, by their numbers.
    pub(super) bad: Vec<usize>,
}

const fn left(heading: &'static str, width: usize, grows: usize) -> Column {
    Column { heading, width, align: Align::Left, grows, sorted: None }
}

const fn right(heading: &'static str, width: usize) -> Column {
    Column { heading, width, align: Align::Right, grows: 0, sorted: None }
}

/// What is to be shown of `model` on `width` columns, one of which is the pointer's.
pub(super) fn table(model: &Model, width: usize) -> Table {
    let mut table = match model.tab {
        Tab::Connections => connections(model),
        Tab::Clients => clients(model),
        Tab::Refusals => refusals(model),
        Tab::Backends => backends(model),
    };
    spread(&mut table.columns, width.saturating_sub(1));
    table
}

/// Gives the columns that grow what the others leave.
fn spread(columns: &mut [Column], width: usize) {
    let gaps = columns.len().saturating_sub(1);
    let least: usize = columns.iter().map(|column| column.width).sum::<usize>().saturating_add(gaps);
    let shares: usize = columns.iter().map(|column| column.grows).sum();
    let left = width.saturating_sub(least);
    for column in columns {
        let more = left.saturating_mul(column.grows).checked_div(shares).unwrap_or_default();
        column.width = column.width.saturating_add(more);
    }
}

fn connections(model: &Model) -> Table {
    let mut columns = vec![
        left("OPEN", 6, 0),
        left("LISTENER", 8, 1),
        left("CLIENT", 21, 4),
        left("PEER", 21, 4),
        left("BACKEND", 7, 2),
        right("IN", 5),
        right("OUT", 5),
    ];
    let order = model.connections_by;
    let at = match order.by {
        ConnectionsBy::Open => 0,
        ConnectionsBy::Listener => 1,
        ConnectionsBy::Client => 2,
        ConnectionsBy::Peer => 3,
        ConnectionsBy::Backend => 4,
        ConnectionsBy::BytesIn => 5,
        ConnectionsBy::BytesOut => 6,
    };
    mark(&mut columns, at, order.direction);
    let row = |row: &reply::Connection| {
        let client = match &row.client {
            Some(client) => client.clone(),
            None if row.header == reply::Header::Awaited => "(header awaited)".to_owned(),
            None => "(the proxy's own)".to_owned(),
        };
        vec![
            age(row.duration_ms),
            row.listener.clone(),
            client,
            row.peer.clone(),
            row.backend.clone().unwrap_or_else(|| "-".to_owned()),
            short(row.bytes_in),
            short(row.bytes_out),
        ]
    };
    let rows = &model.connections.connections;
    Table { columns, rows: rows.iter().map(row).collect(), bad: Vec::new() }
}

fn clients(model: &Model) -> Table {
    let mut columns = vec![
        left("CLIENT", 24, 1),
        right("OPEN", 7),
        right("NEW/min", 8),
        right("IN", 7),
        right("OUT", 7),
        right("OLDEST", 7),
    ];
    let order = model.clients_by;
    let at = match order.by {
        ClientsBy::Client => 0,
        ClientsBy::Open => 1,
        ClientsBy::New => 2,
        ClientsBy::BytesIn => 3,
        ClientsBy::BytesOut => 4,
    };
    mark(&mut columns, at, order.direction);
    let seconds = model.clients.seconds;
    let row = |row: &reply::Client| {
        // A rate over a moment says nothing.
        let rate = match seconds {
            0..5 => "...".to_owned(),
            _ => short(row.new.saturating_mul(60).checked_div(seconds).unwrap_or_default()),
        };
        vec![
            row.client.clone(),
            short(row.open),
            rate,
            short(row.bytes_in),
            short(row.bytes_out),
            row.oldest_ms.map_or_else(|| "-".to_owned(), age),
        ]
    };
    Table { columns, rows: model.clients.page.iter().map(row).collect(), bad: Vec::new() }
}

fn refusals(model: &Model) -> Table {
    let columns = vec![
        left("TIME", 8, 0),
        left("LISTENER", 8, 1),
        left("CLIENT OR PEER", 21, 2),
        left("OUTCOME", 18, 1),
        left("WHY", 20, 8),
    ];
    let row = |row: &reply::Refusal| {
        let why = row.rule.as_ref().or(row.cause.as_ref()).unwrap_or(&row.meaning);
        vec![
            time_of_day(&row.time).to_owned(),
            row.listener.clone(),
            row.client.clone().unwrap_or_else(|| row.peer.clone()),
            row.outcome.clone(),
            why.clone(),
        ]
    };
    Table { columns, rows: model.found_refusals().map(row).collect(), bad: Vec::new() }
}

fn backends(model: &Model) -> Table {
    let columns = vec![
        left("BACKEND", 12, 1),
        left("PROTOCOL", 8, 0),
        left("HANDOFF", 12, 0),
        left("ADDRESS", 21, 2),
        left("READINESS", 20, 2),
    ];
    let mut table = Table { columns, rows: Vec::new(), bad: Vec::new() };
    for (number, (backend, at)) in model.found_backends().enumerate() {
        if !backend.ready {
            table.bad.push(number);
        }
        table.rows.push(vec![
            backend.backend.clone(),
            backend.protocol.clone(),
            backend.handoff.clone(),
            at.address.clone(),
            at.readiness.clone(),
        ]);
    }
    table
}

fn mark(columns: &mut [Column], at: usize, direction: ListOrder) {
    if let Some(column) = columns.get_mut(at) {
        column.sorted = Some(direction);
    }
}
