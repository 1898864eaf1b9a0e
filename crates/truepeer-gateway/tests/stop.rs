//! Signals to the real program: the first lets connections end, the second cuts, and the log says what became of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{Answer, BINARY, Folder, Program, command as program_command, write_config};
use crate::support::{HeaderMailServer, eventually, expect, read_to_end};
use rustix::process::Signal;

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

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn run(folder: &Folder, stderr: impl Into<Stdio>) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["run", "--config"]).arg(folder.path("truepeer.toml")).stderr(stderr).spawn().unwrap()
}

/// Waits until it has a thread of this name: what it does begins only then.
fn wait_for_thread(child: &Child, name: &str) {
    assert!(eventually(|| has_thread(child, name)), "no thread {name}");
}

fn has_thread(child: &Child, name: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let mut names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.any(|comm| comm.trim() == name)
}

fn signal(child: &Child) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), Signal::TERM).unwrap();
}

#[test]
fn a_start_that_waits_for_its_configuration_ends_when_it_is_told_to() {
    let folder = Folder::new();
    mkfifo(&folder.path("truepeer.toml"));
    let mut child = run(&folder, Stdio::piped());
    wait_for_thread(&child, "file");
    signal(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_state_file_that_is_a_pipe_is_an_error_at_the_start() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let more = "[admin]\nsocket = \"ADMIN\"\nstate = \"FOLDERstate\"\n";
    write_config(&folder, &format!("{}{more}", config(&backend, "")));
    mkfifo(&folder.path("state"));
    let refused = Answer(run(&folder, Stdio::piped()).wait_with_output().unwrap());
    assert_eq!(refused.code(), Some(3), "{}", refused.error());
    for said in
        ["admin.state: ", "/state: cannot be read: this is no file, but a directory, a pipe or a device"]
    {
        assert!(refused.error().contains(said), "{said} in {}", refused.error());
    }
}

#[test]
fn a_reload_whose_files_are_pipes_says_so_at_once_and_the_next_one_is_taken() {
    let backend = HeaderMailServer::start();
    let more = "[admin]\nsocket = \"ADMIN\"\n";
    let good = format!("{}{more}", config(&backend, ""));
    let mut program = Program::start(&good);
    mkfifo(&program.folder.path("pipe"));
    let file = program.folder.path("truepeer.toml");
    let log = format!("{good}[log]\nfile = \"FOLDERpipe\"\n");
    let list = format!("{good}[access]\ndeny-files = [\"FOLDERpipe\"]\n");
    for (config, said) in [
        (None, "this is no file, but a directory, a pipe or a device: a reload reads files only"),
        (Some(log), "nothing reads this pipe"),
        (Some(list), "pipe: not a regular file"),
    ] {
        std::fs::remove_file(&file).unwrap();
        match config {
            Some(config) => program.write_config(&config),
            None => mkfifo(&file),
        }
        let answer = program_command(&["reload"], &program.folder.path("admin.sock"));
        assert_eq!(answer.code(), Some(1), "{}", answer.error());
        assert!(answer.error().contains(said), "{said} in {}", answer.error());
        std::fs::remove_file(&file).unwrap();
        program.write_config(&good);
        program.command(&["reload"]).ok();
        program.wait_for("event=reloaded");
        drop(greeted(&program, 1001));
    }
}

#[test]
fn the_second_signal_ends_a_process_whose_main_thread_hangs() {
    let folder = Folder::new();
    let file = folder.path("truepeer.toml");
    mkfifo(&file);
    // Nobody reads what is wrong with the configuration, and the pipe is full.
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while (&writer).write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut child = run(&folder, writer);
    // Opening waits for its reader.
    std::fs::write(&file, "[server\n").unwrap();
    assert!(eventually(|| !has_thread(&child, "file")), "it has read what is wrong");
    signal(&child);
    // The first one may still be on its way.
    assert!(eventually(|| {
        signal(&child);
        child.try_wait().unwrap().is_some()
    }));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    drop(reader);
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
    // Each worker has one listening socket, which is held twice, since a successor may be given it, and three descriptors
    // of its own.
    let reserve = 64 + 5 * std::thread::available_parallelism().unwrap().get();
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
