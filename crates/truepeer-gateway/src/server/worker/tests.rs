//! What a connection costs while it only lasts.

use std::io::Read;
use std::net::SocketAddr;

use truepeer::PeerAddress;

use super::*;
use crate::facts::protocol::Protocol;
use crate::observe::log::Refusals;

/// A record that is open, as that of a connection is from its arrival to its end.
fn open_record(
    registry: &Registry,
    log: &Log,
    metrics: &Metrics,
    stop: &watch::Receiver<Stop>,
) -> OpenRecord {
    let peer = PeerAddress::tcp(SocketAddr::from(([203, 0, 113, 7], 4711)));
    let listed = registry.open("id-1".to_owned(), "smtp".into(), Protocol::Smtp, peer);
    let record = Record::new(Arc::clone(&listed.entry), now());
    let seen = Observer::new(record, metrics.shard(0, &"smtp".into()));
    OpenRecord { seen, _listed: listed, outcome: None, log: log.clone(), stop: stop.clone() }
}

#[test]
fn a_mistake_of_ours_ends_one_connection_and_leaves_its_record_too() {
    let (mut lines, log_end) = io::pipe().unwrap();
    let (log, writer) = Log::start(LogFormat::Text, Refusals::WriteAll, log_end).unwrap();
    let (registry, metrics) = (Registry::default(), Arc::new(Metrics::default()));
    let (_stop, stop) = watch::channel(Stop::No);
    let done = crate::engine::run(async {
        let (mistaken, other) = (Tasks::default(), Tasks::default());
        let open = open_record(&registry, &log, &metrics, &stop);
        mistaken.spawn(async move {
            let _open = open;
            std::future::ready(()).await;
            panic!("a mistake");
        });
        mistaken.emptied().await;
        let open = open_record(&registry, &log, &metrics, &stop);
        other.spawn(async move { open.end(Outcome::Done) });
        other.emptied().await;
    });
    done.unwrap();
    assert_eq!(registry.list().len(), 0, "neither is open any more");
    drop((log, writer));
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    let outcomes: Vec<_> = text
        .lines()
        .map(|line| {
            (line.contains("level=error"), line.contains("outcome=internal"), line.contains("outcome=done"))
        })
        .collect();
    assert_eq!(outcomes, [(true, true, false), (false, false, true)], "{text}");
}

/// The size of what `make` returns; it is never called.
fn size_of_made<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_relayed_connection_is_one_future_of_a_kilobyte_at_most() {
    let serve = size_of_made(|arrival, door, desk, counters, tools: &'static Tools| {
        serve(arrival, door, desk, counters, tools)
    });
    assert!(serve <= 992, "a connection: {serve}");
    let walk = size_of_made(
        |arrival, door: &'static Door, desk: &'static WorkerContext, seen: &'static mut Observer, ()| {
            connection::walk(arrival, door, desk, seen)
        },
    );
    assert!(walk <= 432, "its walk: {walk}");
    assert!(size_of::<Record>() <= 448, "its record: {}", size_of::<Record>());
}
