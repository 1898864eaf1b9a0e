//! What `top` knows and shows: a value that answers and keys change, and that is drawn. No terminal, no socket, no clock.

use std::collections::VecDeque;

use crate::control::admin::{ClientsBy, ConnectionsBy, PageRequest, Request, reply};

pub(super) use super::parts::{Act, Mode, News, Notice, Sorted, Tab};

/// Refusals that are kept to look back at; the server keeps fewer.
const MAX_REFUSALS: usize = 1000;

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) tab: Tab,
    pub(super) mode: Mode,
    pub(super) status: Option<Box<reply::Status>>,
    pub(super) connections: reply::ConnectionsPage,
    pub(super) clients: reply::ClientsPage,
    /// The latest first.
    pub(super) refusals: VecDeque<reply::Refusal>,
    /// The number of the latest that was asked for.
    pub(super) last_refusal: u64,
    /// Refusals that nobody saw.
    pub(super) missed: u64,
    pub(super) connections_by: Sorted<ConnectionsBy>,
    pub(super) clients_by: Sorted<ClientsBy>,
    pub(super) search: String,
    /// Rows before the page that is shown.
    pub(super) skip: usize,
    /// The row that is pointed at, on the page.
    pub(super) row: usize,
    /// What is in that row, once somebody has moved there: the pointer follows it.
    pub(super) chosen: Option<String>,
    /// Whether the rows that are shown are not those that are looked for: nothing is done about them.
    pub(super) is_awaited: bool,
    /// Rows that the terminal has room for.
    pub(super) room: usize,
    pub(super) is_frozen: bool,
    pub(super) notice: Option<Notice>,
    /// Why the server does not answer, while it does not.
    pub(super) lost: Option<String>,
}

impl Model {
    /// What has to be asked to show what is looked at.
    pub(super) fn wanted(&self) -> Vec<Request> {
        let page = match self.tab {
            Tab::Connections => Some(Request::Page(self.page(self.connections_by))),
            Tab::Clients => Some(Request::Clients(self.page(self.clients_by))),
            Tab::Refusals | Tab::Backends => None,
        };
        [Request::Status].into_iter().chain(page).chain([Request::Refusals(self.last_refusal)]).collect()
    }

    fn page<By>(&self, order: Sorted<By>) -> PageRequest<By> {
        let Sorted { by, direction } = order;
        PageRequest { by, direction, search: self.search.clone(), skip: self.skip, rows: self.room.max(1) }
    }

    /// Takes an answer over.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Lost(why) => return self.lost = Some(why),
            News::Refused(why) => self.notice = Some(Notice::Failed(why)),
            News::Denied(what) => self.notice = Some(Notice::Done(what)),
            News::Why { title, why } => self.mode = Mode::Reading { title, steps: why.steps, scroll: 0 },
            // Asked for before it was frozen; what was searched or sorted since is taken.
            _ if self.is_frozen && !self.is_awaited => {}
            News::Status(status) => self.status = Some(status),
            // An answer to what was looked for before comes too late.
            News::Connections(of, page) => {
                if is_same(&of, &self.page(self.connections_by)) {
                    (self.connections, self.is_awaited) =
                        (page, self.is_awaited && self.tab != Tab::Connections);
                }
            }
            News::Clients(of, page) => {
                if is_same(&of, &self.page(self.clients_by)) {
                    (self.clients, self.is_awaited) = (page, self.is_awaited && self.tab != Tab::Clients);
                }
            }
            News::Refusals(page) => self.take_refusals(page),
        }
        self.lost = None;
        self.follow();
    }

    fn take_refusals(&mut self, page: reply::RefusalsPage) {
        if page.last < self.last_refusal {
            // Another process: it counts from one again.
            self.refusals.clear();
        }
        self.missed = self.missed.saturating_add(page.missed);
        self.last_refusal = page.last;
        page.refusals.into_iter().for_each(|refusal| self.refusals.push_front(refusal));
        self.refusals.truncate(MAX_REFUSALS);
    }

    /// The row that is pointed at is the one with what was chosen, wherever that is by now; before anything was chosen,
    /// it stays where it is.
    fn follow(&mut self) {
        let keys = self.keys();
        let found = self.chosen.as_ref().and_then(|chosen| keys.iter().position(|key| key == chosen));
        self.row = found.unwrap_or(self.row).min(keys.len().saturating_sub(1));
        if self.chosen.is_some() {
            self.chosen = keys.into_iter().nth(self.row);
        }
    }

    /// Points at a row.
    pub(super) fn point_at(&mut self, row: usize) {
        let keys = self.keys();
        self.row = row.min(keys.len().saturating_sub(1));
        self.chosen = keys.into_iter().nth(self.row);
    }

    /// Another tab, from its beginning.
    pub(super) fn turn_to(&mut self, tab: Tab) {
        self.tab = tab;
        self.start_over();
    }

    /// The beginning of what is looked at.
    pub(super) fn start_over(&mut self) {
        (self.skip, self.row, self.chosen) = (0, 0, None);
        self.is_awaited = self.is_paged();
    }

    /// Another part of the list that the server has, pointing at `row` of it.
    pub(super) fn leaf_to(&mut self, skip: usize, row: usize) {
        (self.skip, self.row, self.chosen, self.is_awaited) = (skip, row, None, true);
    }

    /// Whether the rest of the rows is on the server.
    pub(super) fn is_paged(&self) -> bool {
        matches!(self.tab, Tab::Connections | Tab::Clients)
    }

    /// What tells the rows of this page apart.
    pub(super) fn keys(&self) -> Vec<String> {
        match self.tab {
            Tab::Connections => self.connections.connections.iter().map(|row| row.id.clone()).collect(),
            Tab::Clients => self.clients.page.iter().map(|row| row.client.clone()).collect(),
            Tab::Refusals => self.found_refusals().map(|row| row.number.to_string()).collect(),
            Tab::Backends => self
                .found_backends()
                .map(|(backend, at)| format!("{} {}", backend.backend, at.address))
                .collect(),
        }
    }

    /// The refusals that are looked for, the latest first.
    pub(super) fn found_refusals(&self) -> impl Iterator<Item = &reply::Refusal> {
        self.refusals.iter().filter(|row| {
            let texts = [&row.listener, &row.peer, &row.outcome, &row.id];
            let maybe = [&row.client, &row.rule, &row.seen, &row.cause];
            self.is_found(texts.into_iter().chain(maybe.into_iter().flatten()))
        })
    }

    /// The addresses of backends that are looked for.
    pub(super) fn found_backends(&self) -> impl Iterator<Item = (&reply::Backend, &reply::BackendAddress)> {
        let backends = self.status.iter().flat_map(|status| &status.backends);
        let rows = backends.flat_map(|backend| backend.addresses.iter().map(move |at| (backend, at)));
        rows.filter(|(backend, at)| {
            self.is_found([&backend.backend, &backend.protocol, &at.address, &at.readiness].into_iter())
        })
    }

    fn is_found<'t>(&self, mut texts: impl Iterator<Item = &'t String>) -> bool {
        let search = self.search.to_lowercase();
        search.is_empty() || texts.any(|text| text.to_lowercase().contains(&search))
    }

    /// How many rows there are to look at, of how many; beyond what is on this page.
    pub(super) fn counts(&self) -> (usize, usize) {
        match self.tab {
            Tab::Connections => (self.connections.found, self.connections.open),
            Tab::Clients => (self.clients.found, self.clients.clients),
            Tab::Refusals => (self.found_refusals().count(), self.refusals.len()),
            Tab::Backends => {
                let all = self.status.iter().flat_map(|status| &status.backends);
                (self.found_backends().count(), all.map(|backend| backend.addresses.len()).sum())
            }
        }
    }
}

/// Whether these are the same part of a list, on whatever terminal.
fn is_same<By: PartialEq>(one: &PageRequest<By>, other: &PageRequest<By>) -> bool {
    let part = |page: &PageRequest<By>| (page.direction, page.skip);
    one.by == other.by && part(one) == part(other) && one.search == other.search
}

#[cfg(test)]
mod tests;
