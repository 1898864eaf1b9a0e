//! Clocks that differ by a minute change no ban by more than that.
//!
//! Wall clocks of front doors are moved by `libfaketime`, which the real program is started with; their steady clocks go
//! on as they are. Where it is missing the cases are skipped aloud, as without a store.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::A_SECOND;
use crate::entries::{value, write};
use crate::fleet::{Fleet, heard};
use crate::program::{BINARY, Folder, Program};
use crate::support::store::skipped;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;

/// What has to be loaded before the program, so that it asks another clock.
fn other_clock() -> Option<String> {
    let asked = Command::new("faketime").args(["-f", "+0s", "printenv", "LD_PRELOAD"]).output();
    let found = asked.ok().filter(|output| output.status.success());
    if found.is_none() {
        skipped("there is no faketime");
    }
    Some(String::from_utf8(found?.stdout).unwrap().trim().to_owned())
}

/// Starts the program with a wall clock that is as far off as the file `clock` in its folder says, now and later.
fn start(fleet: &Fleet, folder: Folder, node: &str, preload: &str) -> Program {
    let mut command = Command::new(BINARY);
    command.env("LD_PRELOAD", preload).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_TIMESTAMP_FILE", folder.path("clock"));
    let mut door = Program::start_by(command, folder, &fleet.config(node, ""));
    heard(&mut door, "event=shared_read");
    door
}

fn folder(clock: &str) -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.path("clock"), clock).unwrap();
    folder
}

fn fleet(clocks: [&str; 3]) -> Option<Fleet> {
    let preload = other_clock()?;
    let mut fleet = Fleet::start(&[])?;
    let nodes = ["mx0", "mx1", "mx2"].into_iter().zip(clocks);
    fleet.doors = nodes.map(|(node, clock)| start(&fleet, folder(clock), node, &preload)).collect();
    Some(fleet)
}

/// What each front door says of its one ban: seconds left, and when it ends by its own clock.
fn left(fleet: &Fleet, network: &str) -> Vec<(u64, String)> {
    let listed = |door: &Program| {
        let bans = door.command(&["deny", "--list", "--json"]).ok().json();
        let ban = bans.into_iter().find(|ban| ban["network"] == network).unwrap();
        (ban["seconds_left"].as_u64().unwrap(), ban["until"].as_str().unwrap().to_owned())
    };
    fleet.doors.iter().map(listed).collect()
}

#[track_caller]
fn assert_about(left: &[(u64, String)], expected: u64, off: u64) {
    for (seconds, _) in left {
        // Rounded up once, and as long as an order and three questions may take on a busy machine.
        assert!((expected - off - 20..=expected + off + 1).contains(seconds), "{left:?}");
    }
}

#[test]
fn an_hour_is_an_hour_and_seconds_are_seconds_by_clocks_a_minute_apart() {
    let Some(fleet) = fleet(["-60s", "+0s", "+60s"]) else { return };
    for door in 0..3 {
        let address = format!("203.0.113.{door}");
        fleet.deny(door, &address);
        fleet.refused_everywhere_within(A_SECOND, &address);
        let left = left(&fleet, &format!("{address}/32"));
        assert_about(&left, 3600, 0);
        // They do disagree on what time that is.
        assert!(left[0].1 < left[1].1 && left[1].1 < left[2].1, "{left:?}");
    }
    // By the clock that is behind, one from the front door that is ahead would last a minute longer, and the other way
    // round it would have ended before it began.
    for door in [0, 2] {
        let (ordered, address) = (Instant::now(), format!("203.0.113.1{door}"));
        fleet.doors[door].command(&["deny", &address, "--for", "5s"]).ok();
        fleet.refused_everywhere_within(A_SECOND, &address);
        fleet.served_everywhere_within(Duration::from_secs(8), &address);
        assert!(ordered.elapsed() >= Duration::from_secs(5), "{:?}", ordered.elapsed());
    }
}

#[test]
fn a_clock_that_jumps_changes_no_ban_and_a_restart_after_it_at_most_by_the_jump() {
    let Some(mut fleet) = fleet(["+0s", "+0s", "+0s"]) else { return };
    fleet.deny(0, "203.0.113.1");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    for clock in ["+60s", "-60s"] {
        std::fs::write(fleet.doors[1].folder.path("clock"), clock).unwrap();
        assert_about(&left(&fleet, "203.0.113.1/32"), 3600, 0);
        // Orders are told and heard as before, with their age by the clock that jumped.
        let address = format!("203.0.113.{}", 100 + clock.len() + usize::from(clock.starts_with('-')));
        fleet.deny(1, &address);
        fleet.refused_everywhere_within(A_SECOND, &address);
        assert_about(&left(&fleet, &format!("{address}/32")), 3600, 0);
    }
    let preload = other_clock().unwrap();
    let folder = fleet.doors.remove(1).kill();
    let again = start(&fleet, folder, "mx1", &preload);
    fleet.doors.insert(1, again);
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    assert_about(&left(&fleet, "203.0.113.1/32"), 3600, 60);
}

#[test]
fn what_a_store_with_another_clock_has_written_is_taken_and_is_off_by_no_more() {
    // The master was another machine until a moment ago, a minute ahead or behind.
    let Some(fleet) = Fleet::start(&[]) else { return };
    for (network, age, remains) in
        [("203.0.113.1/32", -MINUTE, HOUR + MINUTE), ("203.0.113.2/32", MINUTE, HOUR - MINUTE)]
    {
        write(&fleet, network, &value(age, remains, 3600, "mx9", "other clock"));
        fleet.refused_everywhere_within(A_SECOND, network.trim_end_matches("/32"));
        assert_about(&left(&fleet, network), 3600, 60);
    }
    for network in ["203.0.113.2", "203.0.113.1"] {
        fleet.doors[2].command(&["undeny", network]).ok();
        fleet.served_everywhere_within(A_SECOND, network);
    }
}
