//! How long programs have their clients, and how many there are: bounds, reload, drain, cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::{Read, Write};

use crate::program::Program;
use crate::support::exec::{V1, ask, config, house, sh, text};
use crate::support::{House, expect};
use rustix::process::Signal;
use truepeer_gateway::facts::outcome::Outcome;

#[test]
fn so_many_run_at_once_and_the_next_hears_to_come_back() {
    let house = House::start(&config(&text("smtp", "\"/bin/cat\"", "exec.max = 1", "")));
    let mut first = house.connect();
    first.write_all(V1).unwrap();
    first.write_all(b"x").unwrap();
    expect(&first, b"x");
    let said = ask(house.connect(), V1);
    assert!(said.starts_with("421 "), "{said}");
    let record = house.record();
    record.assert_outcome(Outcome::BackendFull);
    assert!(record.get("cause").unwrap().contains("`exec.max`"), "{record:?}");
    // A reload that changes the backend forgets nobody.
    let mut house = house;
    house
        .server
        .take(&config(&text("smtp", "\"/bin/cat\"", "exec.max = 1\nexec.directory = \"/tmp\"", "")))
        .unwrap();
    let said = ask(house.connect(), V1);
    assert!(said.starts_with("421 "), "{said}");
    house.record().assert_outcome(Outcome::BackendFull);
    // Whoever was there goes on; when it has gone, there is room.
    first.write_all(b"y").unwrap();
    expect(&first, b"y");
    drop(first);
    house.record().assert_outcome(Outcome::Done);
    assert_eq!(ask(house.connect(), &[V1, b"z"].concat()), "z");
}

#[test]
fn so_many_are_started_in_a_time() {
    let house = House::start(&config(&text("smtp", "\"/bin/cat\"", "exec.rate = \"2/1h\"", "")));
    for _ in 0..2 {
        assert_eq!(ask(house.connect(), V1), "");
        house.record().assert_outcome(Outcome::Done);
    }
    assert!(ask(house.connect(), V1).starts_with("421 "));
    let record = house.record();
    record.assert_outcome(Outcome::BackendFull);
    assert!(record.get("cause").unwrap().contains("`exec.rate`"), "{record:?}");
}

#[test]
fn a_client_is_counted_as_long_as_its_program_runs() {
    let more = "[limits]\nconnections-per-client = 1";
    let house = House::start(&config(&text("smtp", "\"/bin/cat\"", "", more)));
    let mut first = house.connect();
    first.write_all(&[V1, b"x"].concat()).unwrap();
    expect(&first, b"x");
    assert!(ask(house.connect(), V1).starts_with("421 "));
    house.record().assert_outcome(Outcome::LimitReached);
    drop(first);
    house.record().assert_outcome(Outcome::Done);
    assert_eq!(ask(house.connect(), &[V1, b"z"].concat()), "z");
}

#[test]
fn a_drain_waits_for_programs() {
    let mut house = house("\"/bin/cat\"");
    let mut stream = house.connect();
    stream.write_all(&[V1, b"x"].concat()).unwrap();
    expect(&stream, b"x");
    assert_eq!(house.server.stop_accepting(), 1);
    let draining = std::thread::spawn(move || house.drain());
    stream.write_all(b"y").unwrap();
    expect(&stream, b"y");
    drop(stream);
    let (drained, records) = draining.join().unwrap();
    assert_eq!((drained.open, drained.cut), (1, 0));
    records[0].assert_outcome(Outcome::Done);
}

#[test]
fn programs_outlive_a_drain_that_is_over_and_the_record_says_so() {
    let house = house("\"/bin/cat\"");
    let mut stream = house.connect();
    stream.write_all(&[V1, b"x"].concat()).unwrap();
    expect(&stream, b"x");
    // It may speak before we know that it runs; ended in that moment, it would be ended with its client.
    let is_given = || house.server.registry().list().iter().any(|entry| entry.backend().is_some());
    assert!(support::eventually(is_given));
    let records = house.finish();
    records[0].assert_outcome(Outcome::Drained);
    stream.write_all(b"y").unwrap();
    expect(&stream, b"y");
}

#[test]
fn whoever_is_cut_loses_its_program() {
    let house = house(&sh("echo there; sleep 1000 & wait"));
    let mut stream = house.connect();
    stream.write_all(V1).unwrap();
    expect(&stream, b"there\n");
    assert_eq!(house.server.registry().cut(|entry| entry.client().is_some()), 1);
    house.record().assert_outcome(Outcome::Cut);
    // The shell and what it has started are gone: the end comes, not the patience.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(support::eventually(|| house.server.pools()[0].programs().running() == 0));
}

#[test]
fn a_reload_and_a_stop_leave_programs_their_clients() {
    let command = "\"/bin/cat\"";
    let mut program = Program::start(&text("tcp", command, "", ""));
    let mut stream = program.connect("door");
    stream.write_all(&[V1, b"x"].concat()).unwrap();
    expect(&stream, b"x");
    program.write_config(&text("tcp", command, "exec.max = 3", ""));
    program.signal(Signal::HUP);
    program.wait_for("event=reloaded");
    stream.write_all(b"y").unwrap();
    expect(&stream, b"y");
    program.signal(Signal::TERM);
    program.wait_for("event=draining open=1");
    stream.write_all(b"z").unwrap();
    expect(&stream, b"z");
    drop(stream);
    let line = program.wait_for("outcome=done");
    assert!(line.contains("exit=0"), "{line}");
    program.wait_for("event=stopped open=1 done=1 cut=0");
}

#[test]
fn a_program_that_does_not_hear_is_ended_all_the_same() {
    let house = house(&sh("trap \"\" TERM; echo there; cat"));
    let mut stream = house.connect();
    stream.write_all(V1).unwrap();
    expect(&stream, b"there\n");
    house.server.registry().cut(|_| true);
    house.record().assert_outcome(Outcome::Cut);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(support::eventually(|| house.server.pools()[0].programs().running() == 0));
}
