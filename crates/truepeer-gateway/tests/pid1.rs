//! As in a container: the program is PID 1 of a process namespace that the test makes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::Write;
use std::process::Command;

use crate::program::{Answer, BINARY, Folder, Program};
use crate::support::{HeaderMailServer, eventually, expect};
use rustix::process::{Pid, Signal, kill_process};

/// `unshare` for a process namespace of its own, with root's rights or, where there are none, those over itself.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command
}

/// A program that is PID 1, and its process as seen from here.
fn first(config: &str) -> (Program, Pid) {
    let mut command = unshare();
    command.arg(BINARY);
    let program = Program::start_by(command, Folder::new(), config);
    let children = children(program.pid());
    assert_eq!(children.len(), 1, "unshare has one child");
    let pid = Pid::from_raw(children[0].try_into().unwrap()).unwrap();
    (program, pid)
}

/// The children of a process, the dead among them included.
fn children(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let list = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        all.extend(list.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    }
    all
}

fn config(backend: &HeaderMailServer) -> String {
    format!(
        "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        backend.address
    )
}

#[test]
fn pid_1_reloads_on_sighup_and_drains_on_sigterm_and_sigint() {
    let backend = HeaderMailServer::start();
    for stop in [Signal::TERM, Signal::INT] {
        let (mut program, pid) = first(&config(&backend));
        kill_process(pid, Signal::HUP).unwrap();
        program.wait_for("event=reloaded");
        let mut open = program.connect("door");
        open.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
        expect(&open, b"220 backend ready\r\n");
        kill_process(pid, stop).unwrap();
        program.wait_for("event=draining open=1");
        open.write_all(b"QUIT\r\n").unwrap();
        expect(&open, b"221 bye\r\n");
        drop(open);
        program.wait_for("event=stopped");
        // `unshare` ends as its child did, with 0.
        program.end();
    }
}

#[test]
fn pid_1_buries_orphans() {
    let backend = HeaderMailServer::start();
    let (program, pid) = first(&config(&backend));
    let pid = pid.as_raw_nonzero().get();
    // What `docker exec` can leave behind: processes whose parent has ended. They are children of PID 1 by then.
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &pid.to_string(), "--pid", "--mount", "--"]);
    enter.args(["sh", "-c", "for i in 1 2 3; do true & done; exit 0"]);
    assert!(enter.status().unwrap().success());
    assert!(eventually(|| children(pid.try_into().unwrap()).is_empty()));
    drop(program);
}

#[test]
fn pid_1_learns_how_its_programs_ended_and_buries_what_they_leave() {
    // The shell leaves children behind each time.
    let script = "true & true & exit 7";
    let config = format!(
        "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"sh\"\n\
         [backend.sh]\nhandoff = \"exec\"\nexec.command = [\"/bin/sh\", \"-c\", \"{script}\"]\nexec.rate = \"off\"\n"
    );
    let (mut program, pid) = first(&config);
    for _ in 0..50 {
        let mut stream = program.connect("door");
        stream.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
        assert_eq!(support::read_to_end(&stream), b"");
        let line = program.wait_for("event=connection");
        assert!(line.contains("outcome=done") && line.contains("exit=7"), "{line}");
    }
    assert!(eventually(|| children(pid.as_raw_nonzero().get().try_into().unwrap()).is_empty()));
}

#[test]
fn pid_1_and_its_services_do_not_run_a_demonstration() {
    let direct = Answer(unshare().args([BINARY, "run"]).output().unwrap());
    // A service of a manager that sets INVOCATION_ID and nothing else.
    let script = "INVOCATION_ID=x \"$0\" run; exit $?";
    let service = Answer(unshare().args(["sh", "-c", script, BINARY]).output().unwrap());
    for answer in [direct, service] {
        assert_eq!(answer.code(), Some(1), "{}", answer.error());
        assert!(answer.error().contains("there is no configuration"), "{}", answer.error());
        assert!(answer.error().contains("/etc/truepeer/truepeer.toml"), "{}", answer.error());
    }
}
