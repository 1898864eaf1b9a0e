//! Whoever can write to the store is not thereby trusted: entries are checked, bounded, and named by their node.

#![allow(unreachable_pub, reason = "shared by the files of this test")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::A_SECOND;
use crate::fleet::{Fleet, heard};
use crate::program::{assert_refused, served};

/// Writes an entry as another program could: into the hash and into the list of changes.
pub fn write(fleet: &Fleet, network: &str, value: &str) {
    const ANNOUNCE: &str = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) \
        local n = redis.call('HINCRBY', KEYS[2], 'count', 1) \
        return redis.call('XADD', KEYS[3], n .. '-0', ARGV[1], ARGV[2])";
    let keys = ["{truepeer}:bans", "{truepeer}:about", "{truepeer}:changes"];
    fleet.store.ask(&["EVAL", ANNOUNCE, "3", keys[0], keys[1], keys[2], network, value]);
}

/// `age`, `left` in milliseconds, `lasts` in seconds.
pub fn value(age: i64, left: i64, lasts: u64, node: &str, reason: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    format!("{}\t{}\t{lasts}\t{node}\t{reason}", now - age, now + left)
}

#[test]
fn entries_that_may_not_be_are_refused_by_all_and_named() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let hour = 3_600_000;
    let fits = value(0, hour, 3600, "evil", "x");
    for (network, value) in [
        // The proxy of every listener, alone and in a network.
        ("127.0.0.1/32", fits.clone()),
        ("127.0.0.0/8", fits.clone()),
        ("0.0.0.0/0", fits.clone()),
        ("not a network", fits.clone()),
        ("203.0.113.1", "nonsense".to_owned()),
        ("203.0.113.2", "x".repeat(5000)),
        ("203.0.113.3", value(-10 * hour, 20 * hour, 3600, "evil", "x")),
        ("203.0.113.4", value(0, 100_000 * hour, 3600, "evil", "x")),
        ("203.0.113.5", value(0, hour, 3600, "", "x")),
    ] {
        write(&fleet, network, &value);
    }
    // The last one is good, so that all are known to have been read.
    write(&fleet, "203.0.113.9", &value(0, hour, 3600, "mx7", "good\tbut \u{1b}[31m red"));
    fleet.refused_everywhere_within(A_SECOND * 2, "203.0.113.9");
    for number in 1..=5 {
        fleet.served_everywhere_within(A_SECOND, &format!("203.0.113.{number}"));
    }
    for door in &mut fleet.doors {
        let said = heard(door, "reason=trusted_proxy");
        assert!(said.contains("evil says: 127.0.0.1/32 holds a trusted proxy"), "{said}");
        heard(door, "reason=too_wide");
        heard(door, "reason=unfit");
        let said = heard(door, "event=denied");
        assert!(said.contains("by mx7") && said.contains("\\\\u{1b}"), "{said}");
        let refused = door.command(&["status", "--json"]).ok().json()[0]["shared"]["refused"].clone();
        assert_eq!(refused, 9);
    }
    // A front door that reads them all at its start refuses the same.
    let late = fleet.one_more("mx9", "");
    assert_eq!(late.command(&["status", "--json"]).ok().json()[0]["denied"], 1);
    served(&late, "203.0.113.1");
    assert_refused(&late, "203.0.113.9");
}

#[test]
fn who_ends_a_ban_before_its_time_leaves_a_trace_and_who_removes_it_ends_nothing() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    for last in 1..=3 {
        fleet.deny(0, &format!("203.0.113.{last}"));
        fleet.refused_everywhere_within(A_SECOND, &format!("203.0.113.{last}"));
    }
    write(&fleet, "203.0.113.1/32", &value(0, 60_000, 0, "evil", ""));
    fleet.served_everywhere_within(A_SECOND, "203.0.113.1");
    write(&fleet, "203.0.113.2/32", &value(0, 1000, 3600, "evil", "short"));
    for door in &mut fleet.doors {
        let said = heard(door, "event=undenied");
        assert!(said.contains("node=evil") && said.contains("203.0.113.1/32 until"), "{said}");
        let said = heard(door, "event=ban_shortened");
        assert!(said.contains("by evil") && said.contains("before="), "{said}");
    }
    // Without a word in the list of changes nobody hears of it, and whoever knows the ban tells the store again.
    fleet.store.ask(&["HDEL", "{truepeer}:bans", "203.0.113.3/32"]);
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.3");
    fleet.store.ask(&["DEL", "{truepeer}:bans", "{truepeer}:about", "{truepeer}:changes"]);
    let late = fleet.one_more("mx9", "");
    let told = || late.command(&["deny", "--list"]).out().contains("203.0.113.3/32");
    assert!(crate::support::eventually(told));
    fleet.refused_everywhere_within(Duration::from_secs(1), "203.0.113.3");
}
