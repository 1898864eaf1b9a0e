//! What a connection costs while it only lasts; and how it goes, whatever happens ([`simulated`]).

mod simulated;

use std::io::Read;
use std::net::SocketAddr;
use std::time::SystemTime;

use truepeer::PeerAddress;

use super::open::{OpenRecord, Threshold};
use super::*;
use crate::door::ids_of;
use crate::engine::{Lingering, PendingHeaders};
use crate::facts::lines::LogFormat;
use crate::facts::outcome::Outcome;
use crate::facts::protocol::Protocol;
use crate::observe::log::RefusalLines;
use crate::rooms::identify::RecentPeers;
use crate::rooms::record::{Entrance, Entry, Record};

/// A record that is open, as that of a connection is from its arrival to its end.
fn open_record(
    registry: &Registry,
    log: &Log,
    metrics: &Metrics,
    stop: &watch::Receiver<Stop>,
) -> OpenRecord {
    let peer = PeerAddress::tcp(SocketAddr::from(([203, 0, 113, 7], 4711)));
    let entrance = Entrance::here("smtp".into(), Protocol::Smtp, "id-");
    let (entry, listing) = registry.open(&entrance, peer);
    let record = Record::new(entry, now());
    let (counters, admission) = (metrics.shard(0, &"smtp".into()), Admission::new(1));
    counters.accepted();
    admission.enter();
    let desk = WorkerContext {
        pending: PendingHeaders::new(1, Arc::default()),
        lingering: Lingering::new(1, Arc::default()),
        recent: RecentPeers::default(),
        ids: ids_of(SystemTime::UNIX_EPOCH, 0),
        log: log.clone(),
    };
    let (door, registry, desk, stop) = (simulated::any_door(), registry.clone(), Rc::new(desk), stop.clone());
    let threshold = Rc::new(Threshold { door, registry, admission, counters, entrance, desk, stop });
    OpenRecord { record, threshold, listing, outcome: None }
}

#[test]
fn a_mistake_of_ours_ends_one_connection_and_leaves_its_record_too() {
    let (mut lines, log_end) = io::pipe().unwrap();
    let (log, writer) = Log::start(LogFormat::Text, RefusalLines::WriteAll, log_end).unwrap();
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
        other.spawn(async move {
            let mut open = open;
            open.outcome = Some(Outcome::Done);
        });
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

#[test]
fn a_connection_that_lasts_holds_little() {
    const { assert!(serve::RELAYED <= 200, "a relayed connection") };
    assert!(size_of::<Record>() <= 40, "its record: {}", size_of::<Record>());
    assert!(size_of::<Entry>() <= 104, "what others see of it: {}", size_of::<Entry>());
}
