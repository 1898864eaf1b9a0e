//! The store as a cluster: three masters, each with a part of the keys, and a copy of the one that has ours.

use std::time::Duration;

use redis::Value;

use crate::A_SECOND;
use crate::fleet::{Fleet, config, heard};
use crate::program::{Folder, Program, field};
use crate::support::eventually;
use crate::support::fake::Nobody;
use crate::support::store::Store;

/// Masters; all of them must agree that one is gone, but for that one.
const MASTERS: usize = 3;

const SLOTS: usize = 16_384;

struct Cluster {
    /// The masters, and then the copy.
    nodes: Vec<Store>,
    /// Kept free for what they speak to each other.
    _buses: Vec<Nobody>,
    /// Which of them has the keys of front doors.
    ours: usize,
    _folder: Folder,
}

impl Cluster {
    fn start() -> Self {
        let folder = Folder::new();
        let (nodes, buses): (Vec<_>, _) = (0..=MASTERS).map(|number| node(&folder, number)).unzip();
        for (number, node) in nodes.iter().take(MASTERS).enumerate() {
            let (first, next) = (SLOTS * number / MASTERS, SLOTS * (number + 1) / MASTERS);
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(next - 1).to_string()]);
        }
        for node in &nodes[1..] {
            nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), &bus(node).to_string()]);
        }
        let Value::Int(slot) = nodes[0].ask(&["CLUSTER", "KEYSLOT", "{truepeer}:bans"]) else { panic!() };
        let ours = (0..MASTERS).position(|number| slot < (SLOTS * (number + 1) / MASTERS) as i64).unwrap();
        let cluster = Self { nodes, _buses: buses, ours, _folder: folder };
        let all = format!("cluster_known_nodes:{}", MASTERS + 1);
        for node in &cluster.nodes {
            assert!(eventually(|| info(node).contains(&all)), "{}", info(node));
        }
        let copy = &cluster.nodes[MASTERS];
        let name = text(cluster.nodes[ours].ask(&["CLUSTER", "MYID"]));
        copy.ask(&["CLUSTER", "REPLICATE", &name]);
        for node in &cluster.nodes {
            let is_whole =
                || info(node).contains("cluster_state:ok") && info(node).contains("cluster_size:3");
            assert!(eventually(is_whole), "{}", info(node));
        }
        let master = &cluster.nodes[ours];
        let is_copied = || text(master.ask(&["INFO", "replication"])).contains("state=online");
        assert!(eventually(is_copied));
        cluster
    }

    fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }
}

fn node(folder: &Folder, number: usize) -> (Store, Nobody) {
    let dir = folder.path(&number.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    let bus = Nobody::new();
    let bus_port = bus.address().port().to_string();
    let more = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus_port];
    (Store::start(dir, &more), bus)
}

/// Where nodes speak to each other.
fn bus(node: &Store) -> u16 {
    let Value::Array(said) = node.ask(&["CONFIG", "GET", "cluster-port"]) else { panic!() };
    text(said[1].clone()).parse().unwrap()
}

fn info(node: &Store) -> String {
    text(node.ask(&["CLUSTER", "INFO"]))
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        Value::VerbatimString { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cluster_carries_bans_and_a_master_that_is_lost_loses_none() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let mut cluster = Cluster::start();
    for (number, door) in fleet.doors.iter_mut().enumerate() {
        door.write_config(&config(&fleet.backend, &cluster.url(), &format!("mx{number}"), ""));
        door.command(&["reload"]).ok();
        door.wait_for("event=shared_read");
    }
    fleet.store.kill();
    for address in ["203.0.113.1", "203.0.113.2"] {
        fleet.deny(0, address);
        fleet.refused_everywhere_within(A_SECOND, address);
    }
    fleet.doors[2].command(&["undeny", "203.0.113.2"]).ok();
    fleet.served_everywhere_within(A_SECOND, "203.0.113.2");
    // All of it is where one hash tag belongs; the other masters have nothing.
    for (number, node) in cluster.nodes.iter().take(MASTERS).enumerate() {
        let keys = node.ask(&["DBSIZE"]);
        assert_eq!(keys == Value::Int(0), number != cluster.ours, "{number}: {keys:?}");
    }

    let ours = cluster.ours;
    cluster.nodes[ours].kill();
    for door in &mut fleet.doors {
        door.wait_for("event=shared_lost");
    }
    fleet.deny(1, "203.0.113.3");
    fleet.refused_everywhere_within(Duration::from_secs(15), "203.0.113.3");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.served_everywhere_within(A_SECOND, "203.0.113.2");
    fleet.settled();
    let copy = &cluster.nodes[MASTERS];
    assert!(text(copy.ask(&["INFO", "replication"])).starts_with("# Replication\r\nrole:master"));
    // Each trouble of the election once, however often one followed the other.
    for (number, door) in fleet.doors.iter_mut().enumerate() {
        let mut troubles = Vec::new();
        door.count("");
        for line in door.seen.iter().filter(|line| line.contains("event=shared_lost")) {
            troubles.push(field(line, "trouble").unwrap());
        }
        let said = troubles.len();
        troubles.sort_unstable();
        troubles.dedup();
        assert_eq!(troubles.len(), said, "mx{number}: {:#?}", door.seen);
        assert!(
            troubles.iter().all(|trouble| ["unreachable", "not_master"].contains(trouble)),
            "{troubles:?}"
        );
    }
    // Whoever names one server of a cluster hears what to write instead.
    let other = (ours + 1) % MASTERS;
    let url = format!("redis://127.0.0.1:{}", cluster.nodes[other].port());
    let mut alone = Program::start(&config(&fleet.backend, &url, "mx9", ""));
    let said = heard(&mut alone, "event=shared_lost");
    assert!(said.contains("trouble=not_master") && said.contains("redis-cluster://"), "{said}");
}
