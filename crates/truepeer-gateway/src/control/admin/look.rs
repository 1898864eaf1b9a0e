//! A look at a running server, of a bounded size however much there is to see.
//!
//! Computed on the control thread, part by part of the registry: a worker waits for one part to be copied, and whoever
//! else asks is answered in between. Of all that is looked through, only the rows that may be shown are kept.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;

use super::page::{ClientsBy, ConnectionsBy, ListOrder, PageRequest, shown};
use super::{reply, report};
use crate::engine::moment;
use crate::facts::address::ClientIp;
use crate::observe::recent::{Arrivals, Counted, LatestRefusals, RefusedConnection, client_of};
use crate::rooms::record::Entry;
use crate::server::registry::Registry;

/// A part of the open connections.
pub(super) async fn connections(
    registry: &Registry,
    page: &PageRequest<ConnectionsBy>,
) -> reply::ConnectionsPage {
    let (search, mut room) = (page.search(), String::new());
    let (mut open, mut found) = (0_usize, 0_usize);
    let mut best = Best::new(page);
    for part in registry.parts() {
        open = open.saturating_add(part.len());
        for (number, entry) in part {
            if search.finds(&entry, &mut room) {
                found = found.saturating_add(1);
                best.offer((key(page.by, &entry, number), number), entry);
            }
        }
        tokio::task::yield_now().await;
    }
    let now = SystemTime::now();
    let connections = best.page().iter().map(|entry| report::connection(entry, now)).collect();
    reply::ConnectionsPage { open, found, connections }
}

/// What two connections are compared by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Name(Option<Arc<str>>),
    Address(Option<(IpAddr, u16)>),
}

fn key(by: ConnectionsBy, entry: &Entry, number: u64) -> Key {
    match by {
        // The longest open has the smallest number.
        ConnectionsBy::Open => Key::Number(u64::MAX.saturating_sub(number)),
        ConnectionsBy::Client => {
            let client = entry.client();
            Key::Address(client.map(|client| (client.ip, client.port.map_or(0, NonZeroU16::get))))
        }
        ConnectionsBy::Peer => Key::Address(match entry.peer() {
            truepeer::PeerAddress::Tcp(addr) => Some((addr.ip(), addr.port())),
            _ => None,
        }),
        ConnectionsBy::Listener => Key::Name(Some(Arc::clone(entry.listener()))),
        ConnectionsBy::Backend => Key::Name(entry.backend().map(|reached| Arc::clone(&reached.backend))),
        ConnectionsBy::BytesIn => Key::Number(entry.traffic.bytes_in()),
        ConnectionsBy::BytesOut => Key::Number(entry.traffic.bytes_out()),
    }
}

/// The first rows of an order, kept from many that come in none. Rows that are alike come in a stable order, so that a
/// page does not flicker.
struct Best<K, T> {
    direction: ListOrder,
    skip: usize,
    most: usize,
    kept: Vec<(K, T)>,
}

impl<K: Ord, T> Best<K, T> {
    fn new<By>(page: &PageRequest<By>) -> Self {
        let (skip, rows) = page.bounds();
        Self { direction: page.direction, skip, most: skip.saturating_add(rows), kept: Vec::new() }
    }

    fn offer(&mut self, key: K, row: T) {
        self.kept.push((key, row));
        // Half of what is held is thrown away at once: each row is looked at twice on average.
        if self.kept.len() >= self.most.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    fn page(mut self) -> Vec<T> {
        self.cut();
        let direction = self.direction;
        self.kept.sort_unstable_by(|(one, _), (other, _)| direct(direction, one, other));
        self.kept.into_iter().skip(self.skip).map(|(_, row)| row).collect()
    }

    fn cut(&mut self) {
        if self.most == 0 {
            return self.kept.clear();
        }
        if self.kept.len() > self.most {
            let direction = self.direction;
            self.kept.select_nth_unstable_by(self.most, |(one, _), (other, _)| direct(direction, one, other));
            self.kept.truncate(self.most);
        }
    }
}

fn direct<K: Ord>(direction: ListOrder, one: &K, other: &K) -> Ordering {
    match direction {
        ListOrder::Falling => other.cmp(one),
        ListOrder::Rising => one.cmp(other),
    }
}

/// What is known of a client.
#[derive(Debug, Default)]
struct Sums {
    open: u64,
    new: u64,
    bytes_in: u64,
    bytes_out: u64,
    oldest: Option<SystemTime>,
}

/// A part of the clients: of those with open connections, and of those who came of late.
pub(super) async fn clients(
    registry: &Registry,
    arrivals: &Arrivals,
    page: &PageRequest<ClientsBy>,
) -> reply::ClientsPage {
    let (now, Counted { span, ended }) = (SystemTime::now(), arrivals.ask(moment()));
    let ended = ended.into_iter().map(|(client, new)| (client, Sums { new, ..Sums::default() }));
    let mut clients: HashMap<IpNet, Sums> = ended.collect();
    for part in registry.parts() {
        for (_, entry) in part {
            let Some(client) = entry.client() else { continue };
            let sums = clients.entry(client_of(ClientIp::from(client))).or_default();
            // A clock that was set back makes it new.
            let is_new = now.duration_since(entry.since()).is_ok_and(|age| age <= span);
            sums.open = sums.open.saturating_add(1);
            sums.new = sums.new.saturating_add(u64::from(is_new));
            sums.bytes_in = sums.bytes_in.saturating_add(entry.traffic.bytes_in());
            sums.bytes_out = sums.bytes_out.saturating_add(entry.traffic.bytes_out());
            sums.oldest = Some(sums.oldest.map_or(entry.since(), |oldest| oldest.min(entry.since())));
        }
        tokio::task::yield_now().await;
    }
    let (search, mut room) = (page.search(), String::new());
    let (count, mut found, mut best) = (clients.len(), 0_usize, Best::new(page));
    for (client, sums) in clients.into_iter().filter(|(client, _)| search.finds_client(client, &mut room)) {
        found = found.saturating_add(1);
        let number = match page.by {
            ClientsBy::Open => sums.open,
            ClientsBy::New => sums.new,
            ClientsBy::BytesIn => sums.bytes_in,
            ClientsBy::BytesOut => sums.bytes_out,
            ClientsBy::Client => 0,
        };
        best.offer((number, client), (client, sums));
    }
    let row = |(client, sums): (IpNet, Sums)| reply::Client {
        client: shown(&client),
        open: sums.open,
        new: sums.new,
        bytes_in: sums.bytes_in,
        bytes_out: sums.bytes_out,
        oldest_ms: sums.oldest.map(|since| report::millis(since, now)),
    };
    let page = best.page().into_iter().map(row).collect();
    reply::ClientsPage { clients: count, found, seconds: span.as_secs(), page }
}

/// The refusals behind number `after`.
pub(super) fn refusals(refusals: &LatestRefusals, after: u64) -> reply::RefusalsPage {
    let unseen = refusals.after(after);
    let refusals = unseen.refusals.iter().map(|(number, refusal)| refused(*number, refusal)).collect();
    reply::RefusalsPage { last: unseen.last, missed: unseen.missed, refusals }
}

fn refused(number: u64, refusal: &RefusedConnection) -> reply::Refusal {
    let (entry, facts) = (&refusal.entry, refusal.outcome.facts());
    let cut = |text: &str| text.chars().take(MAX_TEXT).collect::<String>();
    reply::Refusal {
        number,
        time: report::time(refusal.at),
        id: entry.id().to_string(),
        listener: entry.listener().to_string(),
        peer: report::peer(&entry.peer()),
        client: refusal.entry.client().map(|client| client.to_string()),
        source: refusal.entry.identity().map(|identity| identity.source().code().to_owned()),
        outcome: facts.code.to_owned(),
        meaning: facts.sentence.to_owned(),
        rule: refusal.why.rule.as_deref().map(cut),
        seen: refusal.why.seen.as_deref().map(cut),
        cause: refusal.why.cause.as_deref().map(cut),
        remedy: refusal.why.remedy.as_deref().map(cut),
    }
}

/// Characters of one text, at most: what a record says is shorter in general.
const MAX_TEXT: usize = 1000;

#[cfg(test)]
mod tests;
