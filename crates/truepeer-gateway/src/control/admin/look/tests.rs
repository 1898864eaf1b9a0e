//! Pages of a registry that holds more than anybody wants to read.

#![allow(clippy::arithmetic_side_effects, reason = "numbers in tests are small")]

use std::net::{Ipv4Addr, SocketAddr};

use truepeer::{ClientIdentity, PeerAddress};

use super::*;
use crate::control::admin::{MAX_ROWS, MAX_SKIP};
use crate::facts::outcome::Outcome;
use crate::facts::protocol::Protocol;
use crate::rooms::backend::Reached;
use crate::rooms::record::{Entrance, Entry, Explanation, Record};
use crate::server::registry::Listing;

const MANY: u32 = 100_000;

/// The connection of number `number`: of one of a thousand clients, all through one proxy, to one of two listeners.
fn open(registry: &Registry, number: u32) -> (Arc<Entry>, Listing) {
    let proxy = PeerAddress::tcp(([192, 0, 2, 1], u16::try_from(number % 50_000).unwrap()).into());
    let listener = if number.is_multiple_of(100) { "imap" } else { "smtp" };
    let entrance = Entrance::here(listener.into(), Protocol::Smtp, "id-");
    // Ids are hexadecimal; here they read as if they were not.
    let id = u64::from_str_radix(&number.to_string(), 16).unwrap();
    let (entry, listing) = registry.open_as(id, &entrance, proxy);
    let client = SocketAddr::from((Ipv4Addr::from(0xcb00_0000 + number % 1000), 4711));
    entry.identified(ClientIdentity::direct(PeerAddress::tcp(client), None).unwrap());
    entry.reached(Reached::new(&"mail".into(), "127.0.0.1:10025"));
    entry.traffic.rode(usize::try_from(number).unwrap());
    (entry, listing)
}

fn full() -> (Registry, Vec<Listing>) {
    let registry = Registry::default();
    let listed = (0..MANY).map(|number| open(&registry, number).1).collect();
    (registry, listed)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn ids(page: &reply::ConnectionsPage) -> Vec<&str> {
    page.connections.iter().map(|connection| connection.id.as_str()).collect()
}

#[test]
fn a_page_of_a_hundred_thousand_connections_is_small_sorted_and_searched() {
    let (registry, _listed) = full();
    let ask = |page: &PageRequest<ConnectionsBy>| run(connections(&registry, page));
    let page = |by, direction| PageRequest { by, direction, rows: 3, ..PageRequest::default() };

    let oldest = ask(&page(ConnectionsBy::Open, ListOrder::Falling));
    assert_eq!((oldest.open, oldest.found), (100_000, 100_000));
    assert_eq!(ids(&oldest), ["id-0", "id-1", "id-2"]);
    assert_eq!(
        ids(&ask(&page(ConnectionsBy::Open, ListOrder::Rising))),
        ["id-99999", "id-99998", "id-99997"]
    );
    assert_eq!(
        ids(&ask(&page(ConnectionsBy::BytesIn, ListOrder::Falling))),
        ["id-99999", "id-99998", "id-99997"]
    );
    assert_eq!(ids(&ask(&page(ConnectionsBy::Listener, ListOrder::Rising))), ["id-0", "id-100", "id-200"]);
    // Those that are alike come in the order of their arrival.
    assert_eq!(ids(&ask(&page(ConnectionsBy::Client, ListOrder::Rising))), ["id-0", "id-1000", "id-2000"]);
    let behind = PageRequest { skip: 5, ..page(ConnectionsBy::Client, ListOrder::Rising) };
    assert_eq!(ids(&ask(&behind)), ["id-5000", "id-6000", "id-7000"]);

    for (search, found, first) in [
        ("imap", 1000, "id-0"),
        ("ID-4242 ", 11, "id-4242"),
        ("203.0.0.7", 100, "id-7"),
        ("203.0.0.0/28", 1600, "id-0"),
        ("192.0.2.1", 100_000, "id-0"),
        ("127.0.0.1:10025", 100_000, "id-0"),
    ] {
        let looked =
            ask(&PageRequest { search: search.to_owned(), ..page(ConnectionsBy::Open, ListOrder::Falling) });
        assert_eq!((looked.found, looked.open, ids(&looked)[0]), (found, 100_000, first), "{search}");
    }
    let nothing =
        ask(&PageRequest { search: "nowhere".to_owned(), ..page(ConnectionsBy::Open, ListOrder::Falling) });
    assert_eq!((nothing.found, nothing.connections.len()), (0, 0));
}

#[test]
fn whoever_asks_for_all_gets_a_page() {
    let (registry, _listed) = full();
    let greedy = PageRequest { rows: usize::MAX, skip: usize::MAX, ..PageRequest::default() };
    let page = run(connections(&registry, &greedy));
    assert_eq!((page.connections.len(), ids(&page)[0]), (MAX_ROWS, format!("id-{MAX_SKIP}").as_str()));
    let line = serde_json::to_vec(&page).unwrap().len();
    assert!(line < 128 * 1024, "{line}");
    let none = run(connections(&registry, &PageRequest { rows: 0, ..PageRequest::default() }));
    assert_eq!((none.open, none.connections.len()), (100_000, 0));
}

#[test]
fn clients_are_summed_up_with_those_who_were_here_and_left() {
    let (registry, listed) = full();
    let arrivals = Arrivals::default();
    let ask = |by, search: &str| {
        let page = PageRequest { by, search: search.to_owned(), rows: 2, ..PageRequest::default() };
        run(clients(&registry, &arrivals, &page))
    };
    let _ = ask(ClientsBy::Open, "");
    // One who comes and goes all the time, and is never seen in a list of open connections.
    let restless = ClientIp::from(IpAddr::from([198, 51, 100, 66]));
    let now = moment();
    (0..500).for_each(|_| arrivals.note(restless, now, now));

    let by_new = ask(ClientsBy::New, "");
    assert_eq!((by_new.clients, by_new.found), (1001, 1001));
    let first = &by_new.page[0];
    assert_eq!(
        (first.client.as_str(), first.open, first.new, first.oldest_ms),
        ("198.51.100.66", 0, 500, None)
    );
    listed.into_iter().skip(50_000).for_each(|listing| registry.close(listing));
    let by_open = ask(ClientsBy::Open, "203.0.");
    assert_eq!((by_open.found, by_open.page[0].open), (1000, 50));
    let busiest = ask(ClientsBy::BytesIn, "");
    assert_eq!(busiest.page[0].client, "203.0.3.231");
    assert_eq!(busiest.page[0].bytes_in, (0..50).map(|round| round * 1000 + 999).sum::<u64>());
    assert_eq!(ask(ClientsBy::Client, "203.0.1.0/30").found, 4);
}

#[test]
fn a_refusal_says_what_its_record_says() {
    let kept = LatestRefusals::default();
    let registry = Registry::default();
    let (entry, _) = open(&registry, 7);
    let mut record = Record::new(entry, moment());
    record.explained(Explanation {
        rule: Some("deny 203.0.0.0/8 (deny.txt, line 3)".into()),
        remedy: Some("x".repeat(5000)),
        ..Explanation::default()
    });
    kept.keep(RefusedConnection::take(&mut record, Outcome::AccessDenied, SystemTime::UNIX_EPOCH));
    let page = refusals(&kept, 0);
    let [refusal] = page.refusals.as_slice() else { panic!("{page:?}") };
    assert_eq!((refusal.number, refusal.id.as_str(), refusal.outcome.as_str()), (1, "id-7", "access_denied"));
    assert_eq!(refusal.time, "1970-01-01T00:00:00.000Z");
    assert_eq!(refusal.rule.as_deref(), Some("deny 203.0.0.0/8 (deny.txt, line 3)"));
    assert_eq!(refusal.remedy.as_ref().map(String::len), Some(MAX_TEXT));
    assert!(!refusal.meaning.is_empty() && refusal.cause.is_none());
    assert!(refusals(&kept, page.last).refusals.is_empty());
}
