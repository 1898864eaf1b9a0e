//! After an upgrade: what an operator sees of the processes before, and what is ordered reaches them before it is answered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{self, Folder, Program, served};
use crate::support::shapes::assert_promised;
use crate::support::{HeaderMailServer, read_to_end};
use crate::upgrade::{Chain, config};

#[test]
fn connections_of_the_processes_before_are_listed_with_who_has_them() {
    let backend = HeaderMailServer::start();
    let mut chain = Chain::start(&config(backend.address, ""));
    let _first = served(&chain.program, "203.0.113.7");
    let said = chain.upgrade(&[]);
    assert_promised("Upgrade", &said);
    assert_eq!((&said["open_before"], &said["pid_before"]), (&1.into(), &chain.all[0].into()));
    let _second = served(&chain.program, "203.0.113.8");
    chain.upgrade(&[]);
    let _third = served(&chain.program, "203.0.113.9");

    let listed = chain.program.command(&["connections", "--json"]).ok().json();
    listed.iter().for_each(|connection| assert_promised("Open connection", connection));
    let mut seen: Vec<_> = listed
        .iter()
        .map(|one| {
            (
                one["client"].as_str().unwrap(),
                one["pid"].as_i64().unwrap(),
                one["replaced"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen[0], ("203.0.113.9:4711", chain.all[2].into(), false), "the one that accepts comes first");
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("203.0.113.7:4711", chain.all[0].into(), true),
            ("203.0.113.8:4711", chain.all[1].into(), true),
            ("203.0.113.9:4711", chain.all[2].into(), false)
        ]
    );
    let chosen = chain.program.command(&["connections", "--json", "--client", "203.0.113.7"]).ok().json();
    assert_eq!((chosen.len(), &chosen[0]["pid"]), (1, &chain.all[0].into()));
    let text = chain.program.command(&["connections"]).ok();
    for pid in &chain.all[..2] {
        let heading = format!("in the process {pid}, which an upgrade has replaced:");
        assert!(text.out().contains(&heading), "{}", text.out());
    }
    assert_eq!(text.error(), "");

    let status = chain.status();
    assert_promised("Running front door", &status);
    let before = status["before"].as_array().unwrap();
    before.iter().for_each(|process| assert_promised("Process before an upgrade", process));
    assert_eq!(before.iter().map(|process| process["open"].as_u64().unwrap()).sum::<u64>(), 2);
}

/// Hands over, and waits for nothing but the answer.
fn upgrade(chain: &mut Chain) {
    let said = chain.program.command(&["upgrade", "--json"]).ok().json().remove(0);
    chain.all.push(i32::try_from(said["pid"].as_u64().unwrap()).unwrap());
}

#[test]
fn a_ban_right_after_an_upgrade_cuts_who_is_in_the_process_before() {
    let backend = HeaderMailServer::start();
    let mut chain = Chain::start(&config(backend.address, ""));
    for turn in 0..4 {
        let client = format!("203.0.113.{}", 20 + turn);
        let open = served(&chain.program, &client);
        upgrade(&mut chain);
        chain.program.command(&["deny", &client, "--for", "1h"]).ok();
        assert!(read_to_end(&open).is_empty(), "it was cut");
    }
}

#[test]
fn an_upgrade_that_is_asked_for_during_another_one_follows_it() {
    let backend = HeaderMailServer::start();
    let mut chain = Chain::start(&config(backend.address, ""));
    for _ in 0..3 {
        let socket = chain.program.folder.path("admin.sock");
        let answers = std::thread::scope(|scope| {
            let upgrade = || program::command(&["upgrade", "--json"], &socket);
            let other = scope.spawn(upgrade);
            [upgrade(), other.join().unwrap()]
        });
        let mut pids = Vec::new();
        for said in
            answers.iter().filter(|answer| answer.code() == Some(0)).map(|answer| answer.json().remove(0))
        {
            let pid = |of: &str| i32::try_from(said[of].as_u64().unwrap()).unwrap();
            pids.push((pid("pid_before"), pid("pid")));
        }
        let before = chain.current();
        pids.sort_by_key(|(replaced, _)| *replaced != before);
        chain.all.extend(pids.iter().map(|(_, pid)| pid));
        let [(first, next), (second, _)] = pids[..] else {
            panic!("{}", answers.map(|answer| answer.error()).concat())
        };
        assert_eq!((first, second), (before, next), "one after the other");
    }
}

/// Where the process writes its log.
fn logs_to(pid: i32, folder: &Path) -> Vec<String> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let ours = open.filter_map(|path| Some(path.strip_prefix(folder).ok()?.to_str()?.to_owned()));
    ours.filter(|name| name.starts_with("log")).collect()
}

#[test]
fn a_reload_is_answered_when_every_process_has_opened_its_log_anew_whatever_the_configuration() {
    let backend = HeaderMailServer::start();
    let good = config(backend.address, "[log]\nfile = \"FOLDERlog\"\n");
    let program = Program::start_with_log_file(Folder::new(), &good, "log");
    let mut chain = Chain::of(program);
    let _first = served(&chain.program, "203.0.113.7");
    upgrade(&mut chain);
    let _second = served(&chain.program, "203.0.113.8");
    upgrade(&mut chain);
    let (log, socket) = (chain.program.folder.path("log"), chain.program.folder.path("admin.sock"));
    let folder = log.parent().unwrap();
    let rotated = |to: &str| std::fs::rename(&log, chain.program.folder.path(to)).unwrap();
    let followed = || chain.all.iter().all(|pid| logs_to(*pid, folder) == ["log"]);

    for turn in 0..5 {
        rotated(&format!("log.{turn}"));
        chain.program.command(&["reload"]).ok();
        assert!(followed(), "turn {turn}");
    }
    chain.program.write_config(&good.replace("drain-timeout", "dwain-timeout"));
    rotated("log.5");
    let refused = program::command(&["reload"], &socket);
    assert!(refused.error().contains("dwain-timeout"), "{}", refused.error());
    assert!(followed(), "the log is moved all the same");
}

#[test]
fn a_process_before_that_stands_still_holds_up_nobody_and_is_named() {
    let backend = HeaderMailServer::start();
    let mut chain = Chain::start(&config(backend.address, ""));
    let _first = served(&chain.program, "203.0.113.7");
    chain.upgrade(&[]);
    let _second = served(&chain.program, "203.0.113.8");
    let old = Pid::from_raw(chain.all[0]).unwrap();
    kill_process(old, Signal::STOP).unwrap();
    let socket = chain.program.folder.path("admin.sock");
    let (listed, reloaded) = std::thread::scope(|scope| {
        let listed = scope.spawn(|| program::command(&["connections", "--json"], &socket).ok());
        let reloaded = scope.spawn(|| program::command(&["reload"], &socket).ok());
        (listed.join().unwrap(), reloaded.join().unwrap())
    });
    drop(reloaded);
    kill_process(old, Signal::CONT).unwrap();
    let [only] = listed.json().try_into().unwrap();
    assert_eq!(only["client"], "203.0.113.8:4711");
    let named =
        format!("the process {}, which an upgrade has replaced, did not say which it has", chain.all[0]);
    assert!(listed.error().contains(&named), "{}", listed.error());
    let line = chain.program.wait_for("event=predecessor_deaf");
    assert!(line.contains(&format!("pid={}", chain.all[0])), "{line}");
    // Heard again, it is listed again.
    assert_eq!(chain.program.command(&["connections", "--json"]).ok().json().len(), 2);
}
