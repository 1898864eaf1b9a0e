//! Signals to the real program: the first lets connections end, the second cuts, and the log says what became of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod program;
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use program::{Answer, BINARY, Folder, Program, write_config};
use rustix::process::Signal;
use support::{HeaderMailServer, expect, read_to_end};

fn config(backend: &HeaderMailServer, server: &str) -> String {
    format!(
        "[server]\n{server}\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        backend.address
    )
}

fn greeted(program: &Program, port: u16) -> TcpStream {
    let mut client = program.connect("door");
    write!(client, "PROXY TCP4 203.0.113.7 198.51.100.25 {port} 25\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n");
    client
}

#[test]
fn the_first_signal_drains_the_second_cuts_and_the_log_counts_both_ways_to_end() {
    let backend = HeaderMailServer::start();
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = Program::start(&config(&backend, "drain-timeout = \"1h\""));
        let leaving = greeted(&program, 1001);
        let staying = [greeted(&program, 1002), greeted(&program, 1003)];
        program.signal(signal);
        program.wait_for("event=draining open=3");
        (&leaving).write_all(b"QUIT\r\n").unwrap();
        assert_eq!(read_to_end(&leaving), b"221 bye\r\n");
        drop(leaving);
        let done = program.wait_for("client=203.0.113.7:1001");
        assert!(done.contains("outcome=done"), "{done}");
        program.signal(signal);
        for client in &staying {
            assert_eq!(read_to_end(client), b"");
        }
        let mut cut = [program.wait_for("outcome=drained"), program.wait_for("outcome=drained")];
        cut.sort_by_key(|line| line.contains("client=203.0.113.7:1003"));
        assert!(cut[0].contains("client=203.0.113.7:1002"), "{cut:?}");
        assert!(cut[1].contains("client=203.0.113.7:1003"), "{cut:?}");
        program.wait_for("event=stopped open=3 done=1 cut=2");
        program.end();
    }
}

#[test]
fn a_reload_that_waits_for_a_file_holds_up_neither_clients_nor_the_end() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, "drain-timeout = \"1h\""));
    let staying = greeted(&program, 1001);
    let file = program.folder.path("truepeer.toml");
    std::fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    program.signal(Signal::HUP);
    // It has begun to read when somebody can write: opening waits for that.
    let pipe = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    drop(greeted(&program, 1002));
    program.signal(Signal::TERM);
    program.wait_for("event=draining open=");
    program.signal(Signal::TERM);
    assert_eq!(read_to_end(&staying), b"");
    program.wait_for("event=stopped");
    program.end();
    drop(pipe);
}

#[test]
fn the_drain_timeout_ends_what_does_not_end_itself() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, "drain-timeout = \"300ms\""));
    let client = greeted(&program, 1001);
    program.signal(Signal::TERM);
    program.wait_for("event=draining open=1");
    assert_eq!(read_to_end(&client), b"");
    program.wait_for("outcome=drained");
    program.wait_for("event=stopped open=1 done=0 cut=1");
    program.end();
}

#[test]
fn the_soft_descriptor_limit_is_raised_and_numbers_that_do_not_fit_are_named() {
    let backend = HeaderMailServer::start();
    // One socket for each worker beside the rest.
    let reserve = 64 + std::thread::available_parallelism().unwrap().get();
    let needed = 2 * 100 + 200 + reserve;
    let short = needed - 1;
    let numbers = "max-connections = 100\nproxy.max-pending = 200";
    let shell = |limits: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limits} && exec \"$@\""), "sh", BINARY]);
        command
    };
    let program = Program::start_by(
        shell(&format!("ulimit -Sn 64 && ulimit -Hn {needed}")),
        Folder::new(),
        &config(&backend, numbers),
    );
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.pid())).unwrap();
    let open_files: Vec<_> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(open_files[3..5], [needed.to_string(), needed.to_string()], "{limits}");
    drop(greeted(&program, 1001));

    let folder = Folder::new();
    write_config(&folder, &config(&backend, numbers));
    let mut command = shell(&format!("ulimit -Sn 64 && ulimit -Hn {short}"));
    let refused =
        Answer(command.args(["run", "--config"]).arg(folder.path("truepeer.toml")).output().unwrap());
    assert_eq!(refused.code(), Some(3));
    for said in [
        format!("need {needed} descriptors"),
        format!("2 x max-connections + max-pending + {reserve} for"),
        format!("the hard limit is {short}"),
    ] {
        assert!(refused.error().contains(&said), "{said} in {}", refused.error());
    }
}
