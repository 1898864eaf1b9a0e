//! Bans that several front doors share, with the real program and a real store: three front doors, one order.
//!
//! Where there is no `redis-server` the cases are skipped aloud, and with `TRUEPEER_REQUIRE=store` they fail; likewise without `faketime` and `jq`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../program/mod.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

mod clocks;
mod cluster;
mod entries;
mod feeds;
mod fleet;
mod many;
mod outages;
mod start;

use std::io::{Read, Write};
use std::time::Duration;

use fleet::Fleet;
use program::served;
use support::{expect, read_to_end};

/// What an order may take from one front door to all others.
const A_SECOND: Duration = Duration::from_secs(1);

#[test]
fn one_order_reaches_all_within_a_second_and_cuts_what_is_open() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let open: Vec<_> = fleet.doors.iter().map(|door| served(door, "203.0.113.7")).collect();
    let good: Vec<_> = fleet.doors.iter().map(|door| served(door, "203.0.113.8")).collect();
    fleet.deny(0, "203.0.113.7");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.7");
    for open in &open {
        assert_eq!(read_to_end(open), b"");
    }
    // Who else said so stands in the log and in the list.
    let said = fleet.doors[1].wait_for("event=denied");
    assert!(said.contains("203.0.113.7/32") && said.contains("by mx0") && !said.contains("cut=0"), "{said}");
    let listed = fleet.doors[2].command(&["deny", "--list", "--json"]).ok().json();
    assert_eq!((&listed[0]["network"], &listed[0]["node"]), (&"203.0.113.7/32".into(), &"mx0".into()));
    let own = fleet.doors[0].command(&["deny", "--list", "--json"]).ok().json();
    assert!(own[0].get("node").is_none(), "{}", own[0]);

    fleet.doors[2].command(&["undeny", "203.0.113.7"]).ok();
    fleet.served_everywhere_within(A_SECOND, "203.0.113.7");
    let said = fleet.doors[0].wait_for("event=undenied");
    assert!(said.contains("node=mx2") && said.contains("203.0.113.7/32 until"), "{said}");
    for good in &good {
        let mut stream = good;
        stream.write_all(b"NOOP\r\n").unwrap();
        expect(good, b"250 ok\r\n");
    }
    let status = fleet.doors[1].command(&["status", "--json"]).ok().json();
    let shared = &status[0]["shared"];
    assert_eq!((&shared["connected"], &shared["read"]), (&true.into(), &true.into()), "{shared}");
    assert!(fleet.doors[1].command(&["status"]).ok().out().contains("shared store: connected"));
}

#[test]
fn connections_at_other_front_doors_count_where_that_is_wanted() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let more = "limits = true\n[limits]\nconnections-per-client = 4\n";
    fleet.doors = ["mx0", "mx1", "mx2"].map(|node| fleet.one_more(node, more)).into();
    let serve = |door: usize| served(&fleet.doors[door], "203.0.113.7");
    let open = [0, 0, 1, 1].map(serve);
    // Temporarily: SMTP's 4xx.
    let is_refused = || {
        let mut stream = program::client(&fleet.doors[2], "203.0.113.7");
        let _ = stream.write_all(b"QUIT\r\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_to_end(&stream).starts_with(b"4")
    };
    assert!(support::eventually(is_refused));
    served(&fleet.doors[2], "203.0.113.8");
    drop(open);
    assert!(support::eventually(|| !is_refused()));
    // Without the store each counts by itself. The first may still have heard of those that have just ended.
    let again = [0, 0, 0, 0].map(|door: usize| {
        let mut greeted = None;
        let is_greeted = || {
            let mut stream = program::client(&fleet.doors[door], "203.0.113.7");
            let mut first = [0];
            let is_well = stream.read_exact(&mut first).is_ok() && first == *b"2";
            greeted = is_well.then_some(stream);
            is_well
        };
        assert!(support::eventually(is_greeted));
        greeted
    });
    assert!(support::eventually(is_refused));
    fleet.store.kill();
    assert!(support::eventually(|| !is_refused()));
    drop(again);
    let record = fleet.doors[2].wait_for("outcome=limit_reached");
    assert!(record.contains("4 of them at other front doors), 4 are allowed"), "{record}");
}
