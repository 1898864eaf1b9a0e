//! The store is away in every way there is: nobody waits, no ban is lost, each trouble is said once, and all agree again
//! when it is back.

use std::time::Duration;

use crate::A_SECOND;
use crate::fleet::Fleet;
use crate::program::{Program, assert_refused, served};
use crate::support::eventually;
use crate::support::fake::Nobody;

/// From the return of the store until all agree: one pause before the next connection, and a second.
const AGREED: Duration = Duration::from_secs(6);

/// It was said once, by each.
#[track_caller]
fn said_once(fleet: &mut Fleet, trouble: &str) {
    for (number, door) in fleet.doors.iter_mut().enumerate() {
        let lost = door.count("event=shared_lost");
        let this = door.count(&format!("trouble={trouble} "));
        assert_eq!((lost, this), (1, 1), "mx{number}: {:#?}", door.seen);
    }
}

#[track_caller]
fn wait_for_all(fleet: &mut Fleet, text: &str) {
    for door in &mut fleet.doors {
        door.wait_for(text);
    }
}

#[test]
fn a_store_that_is_killed_and_comes_back_empty_learns_everything_again() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    fleet.deny(0, "203.0.113.1");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.store.kill();
    wait_for_all(&mut fleet, "event=shared_lost");
    // Everybody goes on with what he knows, and takes orders.
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.served_everywhere_within(A_SECOND, "203.0.113.9");
    fleet.deny(0, "203.0.113.2");
    fleet.deny(1, "203.0.113.3");
    fleet.doors[2].command(&["undeny", "203.0.113.1"]).ok();
    let status = fleet.doors[0].command(&["status"]).ok().out();
    assert!(status.contains("shared store: AWAY (unreachable)"), "{status}");
    assert!(fleet.doors[0].command(&["status"]).ok().out().contains("1 orders to be sent"));
    said_once(&mut fleet, "unreachable");

    fleet.store.run(&[]);
    for address in ["203.0.113.2", "203.0.113.3"] {
        fleet.refused_everywhere_within(AGREED, address);
    }
    // What was lifted meanwhile is lifted everywhere, although two knew it as a ban and the store knew nothing.
    fleet.served_everywhere_within(AGREED, "203.0.113.1");
    wait_for_all(&mut fleet, "event=shared_back");
    fleet.settled();
    said_once(&mut fleet, "unreachable");
    let late = fleet.one_more("mx9", "");
    assert_refused(&late, "203.0.113.2");
    assert_refused(&late, "203.0.113.3");
    served(&late, "203.0.113.1");
}

#[test]
fn a_store_that_hangs_keeps_nobody_waiting_and_all_agree_when_it_goes_on() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    fleet.store.stop();
    fleet.deny(0, "203.0.113.1");
    assert_refused(&fleet.doors[0], "203.0.113.1");
    served(&fleet.doors[1], "203.0.113.1");
    wait_for_all(&mut fleet, "event=shared_lost");
    said_once(&mut fleet, "silent");
    fleet.store.go_on();
    fleet.refused_everywhere_within(AGREED, "203.0.113.1");
    fleet.settled();
}

#[test]
fn a_full_store_is_read_on_and_told_once_there_is_room() {
    let Some(mut fleet) = Fleet::start(&["--maxmemory-policy", "noeviction"]) else { return };
    fleet.deny(0, "203.0.113.1");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.store.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    fleet.deny(0, "203.0.113.2");
    let said = fleet.doors[0].wait_for("event=shared_lost");
    assert!(said.contains("trouble=full") && said.contains("maxmemory"), "{said}");
    assert_refused(&fleet.doors[0], "203.0.113.2");
    served(&fleet.doors[1], "203.0.113.2");
    assert!(fleet.doors[0].command(&["status"]).ok().out().contains("takes no orders (full)"));
    fleet.store.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    fleet.refused_everywhere_within(AGREED, "203.0.113.2");
    fleet.doors[0].wait_for("event=shared_back");
    assert_eq!(fleet.doors[0].count("event=shared_lost"), 1);
    fleet.settled();
}

#[test]
fn a_store_that_is_emptied_behind_our_back_learns_everything_again() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    for address in ["203.0.113.1", "203.0.113.2"] {
        fleet.deny(1, address);
        fleet.refused_everywhere_within(A_SECOND, address);
    }
    fleet.store.ask(&["FLUSHALL"]);
    let has_all = || fleet.store.ask(&["HLEN", "{truepeer}:bans"]) == redis::Value::Int(2);
    assert!(eventually(has_all));
    fleet.deny(2, "203.0.113.3");
    fleet.refused_everywhere_within(A_SECOND * 3, "203.0.113.3");
    wait_for_all(&mut fleet, "event=shared_read");
    fleet.settled();
}

#[test]
fn an_old_order_of_an_outage_does_not_beat_a_newer_one() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    fleet.deny(0, "203.0.113.1");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.store.kill();
    wait_for_all(&mut fleet, "event=shared_lost");
    // Said by one, then undone by another that cannot have heard of it.
    fleet.doors[0].command(&["deny", "203.0.113.1", "--for", "2h", "--reason", "older"]).ok();
    fleet.doors[1].command(&["undeny", "203.0.113.1"]).ok();
    fleet.store.run(&[]);
    fleet.served_everywhere_within(AGREED, "203.0.113.1");
    fleet.settled();
    fleet.served_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.know_within(A_SECOND, 0);
}

#[test]
fn a_copy_that_becomes_the_master_is_found_by_its_sentinel_and_nothing_is_lost() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let folder = crate::program::Folder::new();
    let master = fleet.store.port().to_string();
    let copy = crate::support::store::Store::start(folder.0.clone(), &["--replicaof", "127.0.0.1", &master]);
    let is_copied = || {
        let redis::Value::BulkString(info) = fleet.store.ask(&["INFO", "replication"]) else { return false };
        String::from_utf8(info).unwrap().contains("state=online")
    };
    assert!(eventually(is_copied));
    let sentinel_at = Nobody::new();
    let sentinel_port = sentinel_at.address().port();
    let conf = folder.path("sentinel.conf");
    std::fs::write(
        &conf,
        format!(
            "port {sentinel_port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
        ),
    )
    .unwrap();
    let mut sentinel = crate::support::store::Sentinel::start(&conf, sentinel_at);
    assert!(eventually(|| sentinel.knows_a_copy()));

    // Each front door is told of the sentinel by a reload, without a restart.
    let url = format!("redis-sentinel://127.0.0.1:{sentinel_port}/mymaster");
    for (number, door) in fleet.doors.iter_mut().enumerate() {
        door.write_config(&crate::fleet::config(&fleet.backend, &url, &format!("mx{number}"), ""));
        door.command(&["reload"]).ok();
        door.wait_for("event=shared_read");
    }
    fleet.deny(0, "203.0.113.1");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.store.kill();
    wait_for_all(&mut fleet, "event=shared_lost");
    fleet.deny(1, "203.0.113.2");
    fleet.refused_everywhere_within(Duration::from_secs(15), "203.0.113.2");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.settled();
    assert_eq!(copy.ask(&["HLEN", "{truepeer}:bans"]), redis::Value::Int(2));
    sentinel.end();
}

#[test]
fn a_slow_store_delays_the_word_and_no_connection() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let slow = crate::support::store::slow_way_to(fleet.store.port(), Duration::from_millis(150));
    let url = format!("redis://127.0.0.1:{slow}");
    let mut far = Program::start(&crate::fleet::config(&fleet.backend, &url, "far", ""));
    crate::fleet::heard(&mut far, "event=shared_read");
    fleet.doors.push(far);
    fleet.deny(0, "203.0.113.1");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.1");
    fleet.deny(3, "203.0.113.2");
    fleet.refused_everywhere_within(A_SECOND * 2, "203.0.113.2");
    assert_eq!(fleet.doors[3].count("event=shared_lost"), 0);
}
