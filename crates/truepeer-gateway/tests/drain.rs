//! Stopping: open connections may end, then they are cut; each leaves exactly one record, and nobody new comes in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::fake::{Fake, smtp_behind_v1};
use crate::support::{House, PATIENCE, Plan, Record, eventually, expect, read_to_end};
use truepeer_gateway::facts::machine;
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::handoff::Handoff;
use truepeer_gateway::server::{Drained, View};

const GREETING: &str = "220 backend ready\r\n";
/// Longer than any test: a drain that ends did not wait for it.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn house(drain_timeout: Duration) -> House {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.drain_timeout = drain_timeout;
    plan.start()
}

/// A client whose session is open: it has been greeted.
fn greeted(house: &House, number: usize) -> TcpStream {
    let mut client = house.connect();
    write!(client, "PROXY TCP4 203.0.113.7 198.51.100.25 {} 25\r\n", 1000 + number).unwrap();
    expect(&client, GREETING.as_bytes());
    client
}

fn quit(mut client: &TcpStream) {
    client.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(client), b"221 bye\r\n");
}

fn drain(house: House) -> JoinHandle<(Drained, Vec<Record>)> {
    std::thread::spawn(move || house.drain())
}

/// Returns once nobody listens there any more.
#[track_caller]
/// Tried by listening there: a connection would be served if it still finds the queue.
fn wait_until_closed(view: &View, address: SocketAddr) {
    assert!(eventually(|| view.is_draining()));
    assert!(eventually(|| TcpListener::bind(address).is_ok()));
}

/// One record for each client, none twice, and how many there are of each outcome.
#[track_caller]
fn assert_outcomes(records: &[Record], done: usize, drained: usize) {
    let ids: HashSet<_> = records.iter().map(|record| record.get("id").unwrap()).collect();
    let clients: HashSet<_> = records.iter().map(|record| record.get("client").unwrap()).collect();
    assert_eq!((ids.len(), clients.len()), (records.len(), records.len()), "{records:?}");
    let count = |outcome: Outcome| {
        records.iter().filter(|record| record.get("outcome") == Some(outcome.facts().code)).count()
    };
    assert_eq!((count(Outcome::Done), count(Outcome::Drained)), (done, drained), "{records:?}");
    assert_eq!(records.len(), done + drained, "{records:?}");
}

#[test]
fn a_drain_lets_open_connections_end() {
    let house = house(FOR_EVER);
    let clients: Vec<_> = (0..6).map(|number| greeted(&house, number)).collect();
    let view = house.server.view();
    let address = house.address();
    let draining = drain(house);
    wait_until_closed(&view, address);
    for client in &clients {
        quit(client);
    }
    drop(clients);
    let (drained, records) = draining.join().unwrap();
    assert_eq!(drained, Drained { open: 6, cut: 0 });
    assert_outcomes(&records, 6, 0);
}

#[test]
fn a_drain_cuts_what_has_not_ended_in_time() {
    let house = house(Duration::from_millis(300));
    let clients: Vec<_> = (0..6).map(|number| greeted(&house, number)).collect();
    let (drained, records) = house.drain();
    assert_eq!(drained, Drained { open: 6, cut: 6 });
    assert_outcomes(&records, 0, 6);
    for client in &clients {
        assert_eq!(read_to_end(client), b"");
    }
}

#[test]
fn a_drain_counts_only_what_was_cut() {
    let house = house(FOR_EVER);
    let view = house.server.view();
    let (cutter, address) = (house.server.cutter(), house.address());
    let clients: Vec<_> = (0..6).map(|number| greeted(&house, number)).collect();
    let (leaving, staying) = clients.split_at(2);
    let draining = {
        // Two end by themselves before the end is asked for: their records are there.
        let records: Vec<_> = leaving
            .iter()
            .map(|client| {
                quit(client);
                client.shutdown(std::net::Shutdown::Write).unwrap();
                house.record()
            })
            .collect();
        assert_outcomes(&records, 2, 0);
        house.wait_for_open(4);
        drain(house)
    };
    wait_until_closed(&view, address);
    cutter.cut();
    let (drained, records) = draining.join().unwrap();
    assert_eq!(drained, Drained { open: 4, cut: 4 });
    assert_outcomes(&records, 0, 4);
    for client in staying {
        assert_eq!(read_to_end(client), b"");
    }
}

#[test]
fn a_drain_of_nothing_ends_at_once() {
    let (drained, records) = house(FOR_EVER).drain();
    assert_eq!(drained, Drained { open: 0, cut: 0 });
    assert!(records.is_empty(), "{records:?}");
}

#[test]
fn nobody_new_comes_in_during_a_drain_and_who_is_inside_goes_on() {
    let house = house(FOR_EVER);
    let view = house.server.view();
    let (cutter, address) = (house.server.cutter(), house.address());
    let mut inside = greeted(&house, 0);
    let draining = drain(house);
    wait_until_closed(&view, address);
    for _ in 0..20 {
        let refused = TcpStream::connect_timeout(&address, PATIENCE).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        inside.write_all(b"NOOP\r\n").unwrap();
        expect(&inside, b"250 ok\r\n");
    }
    quit(&inside);
    drop(inside);
    let (drained, records) = draining.join().unwrap();
    assert_eq!(drained, Drained { open: 1, cut: 0 });
    assert_outcomes(&records, 1, 0);
    // Too late, and harmless.
    cutter.cut();
}

#[test]
fn a_connection_that_has_not_sent_its_header_is_drained_as_well() {
    let house = house(Duration::from_millis(200));
    let silent = house.connect();
    house.wait_for_open(1);
    let (drained, records) = house.drain();
    assert_eq!(drained, Drained { open: 1, cut: 1 });
    assert_eq!(read_to_end(&silent), b"");
    let [record] = &records[..] else { panic!("{records:?}") };
    record.assert_outcome(Outcome::Drained);
    assert_eq!((record.get("client"), record.get("backend")), (None, None), "{}", record.0);
}

#[test]
fn dropping_the_server_cuts_all_and_each_leaves_its_record() {
    let house = house(FOR_EVER);
    let address = house.address();
    let clients: Vec<_> = (0..6).map(|number| greeted(&house, number)).collect();
    let records = house.finish();
    assert_outcomes(&records, 0, 6);
    for record in &records {
        record.assert(&[("bytes_out", "19"), ("backend", "b")]);
    }
    for client in &clients {
        assert_eq!(read_to_end(client), b"");
    }
    let refused = TcpStream::connect_timeout(&address, PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn who_waits_in_the_queue_when_a_drain_begins_is_served() {
    const WAITING: usize = 20;
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    (plan.drain_timeout, plan.max_connections) = (FOR_EVER, Some(1));
    let house = plan.start();
    let inside = greeted(&house, 0);
    // Each worker may accept one beyond the maximum; then all of them pause.
    let all = WAITING + machine::workers();
    let clients: Vec<_> = (1..=all)
        .map(|number| {
            let mut client = house.connect();
            write!(client, "PROXY TCP4 203.0.113.7 198.51.100.25 {} 25\r\n", 1000 + number).unwrap();
            client
        })
        .collect();
    let draining = drain(house);
    for client in &clients {
        expect(client, GREETING.as_bytes());
        quit(client);
    }
    quit(&inside);
    drop((inside, clients));
    let (drained, records) = draining.join().unwrap();
    assert_eq!(drained, Drained { open: u32::try_from(all + 1).unwrap(), cut: 0 });
    assert_outcomes(&records, all + 1, 0);
}
