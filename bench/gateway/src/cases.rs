//! The cases, and which figures are held against which peer.

use crate::gateways::Kind;

/// One kind of load.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// What is measured, with its unit.
    pub what: &'static str,
    /// The arguments of the load behind target and process.
    pub load: &'static [&'static str],
    /// The peer that the bar is about.
    pub against: Kind,
    pub bar: f64,
    pub aim: f64,
}

pub const CASES: [Case; 9] = [
    Case {
        name: "short",
        what: "CPU us per short connection, 64 in flight",
        load: &["short", "64"],
        against: Kind::HaproxyLog,
        bar: 0.82,
        aim: 0.65,
    },
    Case {
        name: "paced",
        what: "CPU us per short connection, 2,000/s",
        load: &["paced", "2000"],
        against: Kind::HaproxyLog,
        bar: 0.78,
        aim: 0.65,
    },
    Case {
        name: "down",
        what: "CPU s per GB, backend to client",
        load: &["down"],
        against: Kind::Haproxy,
        bar: 0.36,
        aim: 0.28,
    },
    Case {
        name: "both",
        what: "CPU s per GB, both ways at once",
        load: &["both"],
        against: Kind::Haproxy,
        bar: 0.36,
        aim: 0.28,
    },
    Case {
        name: "up",
        what: "CPU s per GB, client to backend",
        load: &["up"],
        against: Kind::HaproxySplice,
        bar: 1.05,
        aim: 0.85,
    },
    Case {
        name: "messages1000",
        what: "CPU us per 64 B message, 1,000 connections",
        load: &["messages", "1000"],
        against: Kind::HaproxyLog,
        bar: 0.90,
        aim: 0.78,
    },
    Case {
        name: "messages64",
        what: "CPU us per 64 B message, 64 connections",
        load: &["messages", "64"],
        against: Kind::HaproxyLog,
        bar: 1.05,
        aim: 0.90,
    },
    Case {
        name: "messages1",
        what: "CPU us per 64 B message, 1 connection",
        load: &["messages", "1"],
        against: Kind::HaproxyLog,
        bar: 1.0,
        aim: 0.9,
    },
    Case {
        name: "slow",
        what: "CPU us per short connection while 4,000 hold half a header",
        load: &["slow", "4000"],
        against: Kind::Truepeer,
        bar: 1.05,
        aim: 1.0,
    },
];
