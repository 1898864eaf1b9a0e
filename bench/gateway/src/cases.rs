//! The cases, and which figures are held against which peer.

use crate::gateways::{GATEWAYS, GROWTH, HANDOFFS, Kind, SOCKETS, WORKERS};

/// One kind of load.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// What is measured, with its unit.
    pub what: &'static str,
    /// The arguments of the load behind target and process.
    pub load: &'static [&'static str],
    /// Who is measured.
    pub kinds: &'static [Kind],
    /// The peer that the bar is about.
    pub against: Against,
    /// Not a number where the bar is no ratio.
    pub bar: f64,
    pub aim: f64,
    /// How much more than the peer some may cost, in the unit of `what`.
    pub over: &'static [(Kind, f64)],
}

/// What a figure is held against, in the same repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The same case at another gateway.
    Peer(Kind),
    /// Another load of the same gateway, right before.
    Own(&'static [&'static str]),
}

pub const CASES: [Case; 17] = [
    Case {
        name: "short",
        what: "CPU us per short connection, 64 in flight",
        load: &["short", "64"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 0.82,
        aim: 0.65,
        over: &[],
    },
    Case {
        name: "paced",
        what: "CPU us per short connection, 2,000/s",
        load: &["paced", "2000"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 0.78,
        aim: 0.65,
        over: &[],
    },
    Case {
        name: "down",
        what: "CPU s per GB, backend to client",
        load: &["down"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::Haproxy),
        bar: 0.36,
        aim: 0.28,
        over: &[],
    },
    Case {
        name: "both",
        what: "CPU s per GB, both ways at once",
        load: &["both"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::Haproxy),
        bar: 0.36,
        aim: 0.28,
        over: &[],
    },
    Case {
        name: "up",
        what: "CPU s per GB, client to backend",
        load: &["up"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxySplice),
        bar: 1.05,
        aim: 0.85,
        over: &[],
    },
    Case {
        name: "messages1000",
        what: "CPU us per 64 B message, 1,000 connections",
        load: &["messages", "1000"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 0.90,
        aim: 0.78,
        over: &[],
    },
    Case {
        name: "messages64",
        what: "CPU us per 64 B message, 64 connections",
        load: &["messages", "64"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 1.05,
        aim: 0.90,
        over: &[],
    },
    Case {
        name: "messages1",
        what: "CPU us per 64 B message, 1 connection",
        load: &["messages", "1"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 1.0,
        aim: 0.9,
        over: &[],
    },
    Case {
        name: "slow",
        what: "CPU us per short connection while 4,000 hold half a header",
        load: &["slow", "4000"],
        kinds: &GATEWAYS,
        against: Against::Own(&["short", "64"]),
        bar: 1.05,
        aim: 1.0,
        over: &[],
    },
    Case {
        name: "growth-open",
        what: "CPU us per short connection beside 9,000 open ones, against 100",
        load: &["beside", "9000"],
        kinds: &[Kind::Truepeer],
        against: Against::Own(&["beside", "100"]),
        bar: 1.10,
        aim: 1.0,
        over: &[],
    },
    Case {
        name: "growth",
        what: "CPU us per short connection, by how many networks are trusted or denied",
        load: &["short", "64"],
        kinds: &GROWTH,
        against: Against::Peer(Kind::Truepeer),
        bar: 1.10,
        aim: 1.0,
        over: &[],
    },
    Case {
        name: "two-paced",
        what: "CPU us per short connection, 1,000/s, with two workers, of which one has the CPU of load and backend",
        load: &["paced", "1000"],
        kinds: &WORKERS,
        against: Against::Peer(Kind::Truepeer),
        bar: 1.10,
        aim: 1.0,
        over: &[],
    },
    Case {
        name: "unix",
        what: "CPU us per short connection, to a backend at a UNIX socket",
        load: &["short", "64"],
        kinds: &SOCKETS,
        against: Against::Peer(Kind::Truepeer),
        bar: f64::NAN,
        aim: f64::NAN,
        over: &[],
    },
    Case {
        name: "unix-messages",
        what: "CPU us per 64 B message on 64 connections, to a backend at a UNIX socket",
        load: &["messages", "64"],
        kinds: &SOCKETS,
        against: Against::Peer(Kind::Truepeer),
        bar: f64::NAN,
        aim: f64::NAN,
        over: &[],
    },
    Case {
        name: "unix-down",
        what: "CPU s per GB, backend to client, from a backend at a UNIX socket",
        load: &["down"],
        kinds: &SOCKETS,
        against: Against::Peer(Kind::Truepeer),
        bar: f64::NAN,
        aim: f64::NAN,
        over: &[],
    },
    Case {
        name: "handoff",
        what: "CPU us per short connection, 64 in flight, by handoff",
        load: &["short", "64"],
        kinds: &HANDOFFS,
        against: Against::Peer(Kind::Truepeer),
        bar: f64::NAN,
        aim: f64::NAN,
        over: &[(Kind::TruepeerLabel, 6.0), (Kind::Transparent, 4.0)],
    },
    Case {
        name: "handoff-down",
        what: "CPU s per GB, backend to client, by handoff (exec: none, there is no relay)",
        load: &["down"],
        kinds: &HANDOFFS,
        against: Against::Peer(Kind::Truepeer),
        bar: f64::NAN,
        aim: f64::NAN,
        over: &[],
    },
];
