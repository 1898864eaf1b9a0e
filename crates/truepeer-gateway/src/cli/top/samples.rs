//! Models to test with.

use super::model::{Model, News, Tab};
use crate::control::admin::{Request, reply};

/// A server with a few of everything.
pub(super) fn model() -> Model {
    let mut model = Model { room: 18, ..Model::default() };
    model.take(News::Status(Box::new(status())));
    model.take(News::Refusals(refusals(1..=2)));
    model.turn_to(Tab::Clients);
    answer(&mut model, reply::ConnectionsPage::default(), clients());
    model.turn_to(Tab::Connections);
    list(&mut model, connections(3));
    model
}

/// The answer to what `model` asks for, if it asks for connections.
pub(super) fn list(model: &mut Model, page: reply::ConnectionsPage) {
    answer(model, page, clients());
}

/// The answer to what `model` asks for: one of these.
pub(super) fn answer(model: &mut Model, connections: reply::ConnectionsPage, clients: reply::ClientsPage) {
    match model.wanted().into_iter().nth(1) {
        Some(Request::Page(of)) => model.take(News::Connections(of, connections)),
        Some(Request::Clients(of)) => model.take(News::Clients(of, clients)),
        _ => {}
    }
}

pub(super) fn status() -> reply::Status {
    let backend = |name: &str, ready, readiness: &str, why: Option<&str>| reply::Backend {
        backend: name.to_owned(),
        protocol: "smtp".to_owned(),
        handoff: "proxy-v2".to_owned(),
        ready,
        addresses: vec![reply::BackendAddress {
            address: "127.0.0.1:10025".to_owned(),
            readiness: readiness.to_owned(),
            why: why.map(str::to_owned),
        }],
    };
    reply::Status {
        version: "0.1.0".to_owned(),
        pid: 812,
        since: "2026-11-30T08:00:00.000Z".to_owned(),
        duration_ms: 3 * 86_400_000 + 4 * 3_600_000,
        draining: false,
        ready: false,
        open: 98_765,
        max_connections: 100_000,
        pending_headers: 17,
        max_pending_headers: 16_384,
        denied: 2,
        before: Vec::new(),
        listeners: Vec::new(),
        health: Vec::new(),
        backends: vec![
            backend("postfix", true, "proved", None),
            backend("other", false, "backend_unreachable", Some("connection refused: nobody listens there")),
        ],
        trusted_names: Vec::new(),
        pending: Vec::new(),
        habits: Vec::new(),
        shared: None,
        advice: Vec::new(),
    }
}

/// So many connections of 98,765; the second has no client, and the third awaits its header.
pub(super) fn connections(count: usize) -> reply::ConnectionsPage {
    let row = |number: usize| reply::Connection {
        id: format!("5f-0-{number}"),
        listener: "smtp".to_owned(),
        protocol: "smtp".to_owned(),
        peer: format!("192.0.2.1:{}", 40_000_usize.saturating_add(number)),
        client: (number != 2 && number != 3).then(|| format!("203.0.113.{number}:4711")),
        header: if number == 3 { reply::Header::Awaited } else { reply::Header::Known },
        own: number == 2,
        backend: Some("postfix".to_owned()),
        backend_address: Some("127.0.0.1:10025".to_owned()),
        since: "2026-11-30T08:00:00.000Z".to_owned(),
        duration_ms: 61_000,
        bytes_in: 1_250_000,
        bytes_out: 27,
        pid: 4242,
        replaced: false,
    };
    reply::ConnectionsPage { open: 98_765, found: 98_765, connections: (1..=count).map(row).collect() }
}

pub(super) fn clients() -> reply::ClientsPage {
    let row = |client: &str, open, new| reply::Client {
        client: client.to_owned(),
        open,
        new,
        bytes_in: 1_250_000,
        bytes_out: 27,
        oldest_ms: (open > 0).then_some(61_000),
    };
    reply::ClientsPage {
        clients: 40_000,
        found: 40_000,
        seconds: 30,
        page: vec![row("203.0.113.7", 120, 4), row("2001:db8:1:2::/64", 0, 700)],
    }
}

/// Refusals with these numbers.
pub(super) fn refusals(numbers: std::ops::RangeInclusive<u64>) -> reply::RefusalsPage {
    let row = |number: u64| reply::Refusal {
        number,
        time: format!("2026-11-30T08:09:{:02}.123Z", number % 60),
        id: format!("5f-1-{number}"),
        listener: "smtp".to_owned(),
        peer: "192.0.2.9:40000".to_owned(),
        client: number.is_multiple_of(2).then(|| "198.51.100.66:4711".to_owned()),
        source: number.is_multiple_of(2).then(|| "v2".to_owned()),
        outcome: if number.is_multiple_of(2) { "access_denied" } else { "header_missing" }.to_owned(),
        meaning: "what it means".to_owned(),
        rule: number.is_multiple_of(2).then(|| "deny 198.51.100.0/24 (deny.txt, line 3)".to_owned()),
        seen: None,
        cause: (!number.is_multiple_of(2)).then(|| "the proxy sends no header to this port".to_owned()),
        remedy: (!number.is_multiple_of(2)).then(|| "add `send-proxy-v2` to its server line".to_owned()),
    };
    reply::RefusalsPage { last: *numbers.end(), missed: 0, refusals: numbers.map(row).collect() }
}
