//! The cases, and which figures are held against which peer.

use crate::gateways::{GATEWAYS, HANDOFFS, Kind};

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
}

/// What a figure is held against, in the same repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The same case at another gateway.
    Peer(Kind),
    /// The short connections of the same gateway.
    OwnShort,
}

pub const CASES: [Case; 11] = [
    Case {
        name: "short",
        what: "CPU us per short connection, 64 in flight",
        load: &["short", "64"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 0.82,
        aim: 0.65,
    },
    Case {
        name: "paced",
        what: "CPU us per short connection, 2,000/s",
        load: &["paced", "2000"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 0.78,
        aim: 0.65,
    },
    Case {
        name: "down",
        what: "CPU s per GB, backend to client",
        load: &["down"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::Haproxy),
        bar: 0.36,
        aim: 0.28,
    },
    Case {
        name: "both",
        what: "CPU s per GB, both ways at once",
        load: &["both"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::Haproxy),
        bar: 0.36,
        aim: 0.28,
    },
    Case {
        name: "up",
        what: "CPU s per GB, client to backend",
        load: &["up"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxySplice),
        bar: 1.05,
        aim: 0.85,
    },
    Case {
        name: "messages1000",
        what: "CPU us per 64 B message, 1,000 connections",
        load: &["messages", "1000"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 0.90,
        aim: 0.78,
    },
    Case {
        name: "messages64",
        what: "CPU us per 64 B message, 64 connections",
        load: &["messages", "64"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 1.05,
        aim: 0.90,
    },
    Case {
        name: "messages1",
        what: "CPU us per 64 B message, 1 connection",
        load: &["messages", "1"],
        kinds: &GATEWAYS,
        against: Against::Peer(Kind::HaproxyLog),
        bar: 1.0,
        aim: 0.9,
    },
    Case {
        name: "slow",
        what: "CPU us per short connection while 4,000 hold half a header",
        load: &["slow", "4000"],
        kinds: &GATEWAYS,
        against: Against::OwnShort,
        bar: 1.05,
        aim: 1.0,
    },
    Case {
        name: "handoff",
        what: "CPU us per short connection, 64 in flight, by handoff (transparent: at most 4 us over proxy-v2)",
        load: &["short", "64"],
        kinds: &HANDOFFS,
        against: Against::Peer(Kind::Truepeer),
        bar: f64::NAN,
        aim: f64::NAN,
    },
    Case {
        name: "handoff-down",
        what: "CPU s per GB, backend to client, by handoff (exec: none, there is no relay)",
        load: &["down"],
        kinds: &HANDOFFS,
        against: Against::Peer(Kind::Truepeer),
        bar: f64::NAN,
        aim: f64::NAN,
    },
];
