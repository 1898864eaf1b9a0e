//! Where the log goes: the real program, files that are rotated under it, and destinations that take nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::program::{Folder, Program, command, field, write_config};
use crate::support::fake::{Fake, smtp_behind_v1};
use crate::support::{HeaderMailServer, PATIENCE, eventually, expect, read_to_end};
use rustix::process::{Pid, Signal, kill_process};
use truepeer_gateway::observe::log::{LAST_LINES, LINES};

const PROGRAM: &str = env!("CARGO_BIN_EXE_truepeer");

/// One listener in front of `backend`, and these lines in `[log]`.
fn config(backend: &HeaderMailServer, log: &str) -> String {
    config_for(backend.address, log)
}

fn config_for(backend: SocketAddr, log: &str) -> String {
    format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n\
         [admin]\nsocket = \"ADMIN\"\n[status]\nbind = \"127.0.0.1:0\"\n[log]\n{log}"
    )
}

/// A program that ends with its test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TO_FILE: &str = "file = \"FOLDERtruepeer.log\"\n";

/// One session of the client `203.0.113.7:port`.
fn visit(address: SocketAddr, port: usize) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    write!(client, "PROXY TCP4 203.0.113.7 198.51.100.25 {port} 25\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n");
    client.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"221 bye\r\n");
}

/// The port of a record's client, if this line is a record.
fn visitor(line: &str) -> Option<usize> {
    field(line, "outcome")?;
    field(line, "client")?.strip_prefix("203.0.113.7:")?.parse().ok()
}

#[test]
fn the_file_is_made_for_its_owner_and_group_appended_to_and_standard_error_stays_empty() {
    let backend = HeaderMailServer::start();
    let mut folder = Folder::new();
    for (umask, before) in [("077", ""), ("000", ""), ("022", "kept\n")] {
        let log = folder.path("truepeer.log");
        let _ = std::fs::remove_file(&log);
        if !before.is_empty() {
            std::fs::write(&log, before).unwrap();
            std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o604)).unwrap();
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), PROGRAM]);
        let program = Program::with_log_file(folder, &config(&backend, TO_FILE), "truepeer.log", shell);
        visit(program.address("door"), 4711);
        program.signal(Signal::TERM);
        assert_eq!(program.rest_of_stderr(), [""; 0]);
        folder = program.end();
        let mode = std::fs::metadata(folder.path("truepeer.log")).unwrap().permissions().mode() & 0o777;
        // Whoever made it beforehand knew why.
        assert_eq!(mode, if before.is_empty() { 0o640 } else { 0o604 }, "umask {umask}");
        let text = folder.read("truepeer.log");
        assert!(text.starts_with(before) && text.ends_with('\n'), "{text}");
        assert_eq!(text.lines().filter_map(visitor).collect::<Vec<_>>(), [4711]);
        assert!(text.lines().last().unwrap().contains("event=stopped"), "{text}");
    }
}

#[test]
fn a_rotation_under_load_loses_doubles_and_splits_no_line() {
    const ROTATIONS: usize = 20;
    const CLIENTS: usize = 3;
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let program = Program::start_with_log_file(folder, &config(&backend, TO_FILE), "truepeer.log");
    let (address, log) = (program.address("door"), program.folder.path("truepeer.log"));
    let visits = AtomicUsize::new(1);
    let over = AtomicBool::new(false);
    let mut bounds = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    visit(address, visits.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
        for rotation in 0..ROTATIONS {
            let begun = visits.load(Ordering::Relaxed);
            assert!(eventually(|| visits.load(Ordering::Relaxed) > begun + CLIENTS));
            // As logrotate does it with `create`.
            let old = program.folder.path(&format!("truepeer.log.{rotation}"));
            std::fs::rename(&log, &old).unwrap();
            std::fs::write(&log, "").unwrap();
            if rotation % 2 == 0 {
                program.command(&["reload"]).ok();
                // Whoever hears that it is done may compress the old file.
                bounds.push((old.clone(), std::fs::metadata(&old).unwrap().len()));
            } else {
                program.signal(Signal::HUP);
                assert!(eventually(|| program.folder.read("truepeer.log").contains("event=reloaded")));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    program.signal(Signal::TERM);
    let folder = program.end();
    for (old, len) in bounds {
        assert_eq!(std::fs::metadata(&old).unwrap().len(), len, "{}", old.display());
    }
    let names = (0..ROTATIONS).map(|rotation| format!("truepeer.log.{rotation}"));
    let mut seen: HashMap<usize, usize> = HashMap::new();
    for name in names.chain(["truepeer.log".to_owned()]) {
        let text = folder.read(&name);
        assert!(text.ends_with('\n'), "{name} ends inside a line");
        for line in text.lines() {
            assert!(line.starts_with("time=20") && line.matches(" event=").count() == 1, "{name}: {line}");
            if let Some(port) = visitor(line) {
                *seen.entry(port).or_default() += 1;
            }
        }
    }
    let all = visits.into_inner() - 1;
    assert!(all >= ROTATIONS * CLIENTS);
    assert_eq!((1..=all).filter(|port| seen.get(port) != Some(&1)).collect::<Vec<_>>(), [0; 0]);
}

#[test]
fn lines_go_to_the_old_file_until_the_reload_and_to_the_new_one_after_it() {
    let backend = HeaderMailServer::start();
    let program = Program::start_with_log_file(Folder::new(), &config(&backend, TO_FILE), "truepeer.log");
    let (address, log) = (program.address("door"), program.folder.path("truepeer.log"));
    visit(address, 1);
    // The second may be another worker's, and quicker.
    assert!(eventually(|| program.folder.read("truepeer.log").lines().any(|line| visitor(line) == Some(1))));
    std::fs::rename(&log, program.folder.path("old")).unwrap();
    visit(address, 2);
    assert!(eventually(|| program.folder.read("old").lines().filter_map(visitor).count() == 2));
    assert!(!log.exists());
    // A configuration that is refused changes nothing, but the log is rotated all the same.
    program.write_config("frobnicate = 1\n");
    let refused = command(&["reload"], &program.folder.path("admin.sock"));
    assert_eq!(refused.code(), Some(1), "{}", refused.error());
    visit(address, 3);
    program.signal(Signal::TERM);
    let folder = program.end();
    let ports = |name: &str| folder.read(name).lines().filter_map(visitor).collect::<Vec<_>>();
    assert_eq!((ports("old"), ports("truepeer.log")), (vec![1, 2], vec![3]));
    assert!(folder.read("truepeer.log").contains("event=reload_failed"));
}

#[test]
fn a_file_that_cannot_be_opened_again_leaves_the_old_one_in_use_and_says_so() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    std::fs::create_dir(folder.path("logs")).unwrap();
    let log = "file = \"FOLDERlogs/truepeer.log\"\n";
    let program = Program::start_with_log_file(folder, &config(&backend, log), "logs/truepeer.log");
    std::fs::rename(program.folder.path("logs"), program.folder.path("moved")).unwrap();
    let answer = program.command(&["reload"]).ok().out();
    assert!(answer.contains("log.file: ") && answer.contains("make the folder"), "{answer}");
    visit(program.address("door"), 4711);
    program.signal(Signal::TERM);
    let folder = program.end();
    let text = folder.read("moved/truepeer.log");
    let warning = text.lines().find(|line| line.contains(" level=warn event=log_not_reopened ")).unwrap();
    for part in
        ["logs/truepeer.log cannot be opened for writing: No such file", "the log goes on where it was"]
    {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(text.contains("event=reloaded"), "the rest of the configuration holds: {text}");
    assert_eq!(text.lines().filter_map(visitor).collect::<Vec<_>>(), [4711]);
}

#[test]
fn another_file_and_another_format_hold_from_the_reload_on() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, ""));
    let address = program.address("door");
    visit(address, 1);
    program.wait_for("client=203.0.113.7:1 ");
    let to_json = "file = \"FOLDERtruepeer.json\"\nformat = \"json\"\n";
    program.write_config(&config(&backend, to_json));
    let answer = program.command(&["reload"]).ok().out();
    assert!(!answer.contains("restart"), "{answer}");
    visit(address, 2);
    program.write_config(&config(&backend, "file = \"FOLDERtruepeer.json\"\n"));
    program.command(&["reload"]).ok();
    visit(address, 3);
    // What cannot be had changes nothing, and says why.
    program.write_config(&config(&backend, "file = \"FOLDERnowhere/truepeer.log\"\n"));
    let refused = program.command(&["reload"]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("make the folder"), "{}", refused.error());
    visit(address, 4);
    program.write_config(&config(&backend, "file = \"stderr\"\n"));
    program.command(&["reload"]).ok();
    visit(address, 5);
    program.wait_for("client=203.0.113.7:5 ");
    program.signal(Signal::TERM);
    let folder = program.end();
    let text = folder.read("truepeer.json");
    let is_json = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let (json, plain): (Vec<_>, Vec<_>) = text.lines().partition(is_json);
    assert_eq!(json.iter().filter(|line| line.contains("203.0.113.7:2")).count(), 1, "{text}");
    assert_eq!(plain.iter().copied().filter_map(visitor).collect::<Vec<_>>(), [3, 4], "{text}");
    assert!(plain.iter().all(|line| line.starts_with("time=")), "{text}");
    assert!(!text.contains("203.0.113.7:1\"") && !text.contains("203.0.113.7:5"), "{text}");
}

#[test]
fn a_file_that_cannot_be_opened_at_the_start_is_an_error_with_its_remedy() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    assert!(Command::new("mkfifo").arg(folder.path("pipe")).status().unwrap().success());
    for (path, says) in [
        ("nowhere/truepeer.log", ["No such file or directory", "make the folder"]),
        ("", ["Is a directory", "name a file"]),
        ("pipe", ["No such device", "nothing reads this pipe"]),
    ] {
        write_config(&folder, &config(&backend, &format!("file = \"FOLDER{path}\"\n")));
        let toml = folder.path("truepeer.toml");
        let output = Command::new(PROGRAM).args(["run", "--config"]).arg(toml).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{error}");
        let place = folder.path(path).display().to_string();
        for part in ["error: log.file: ", &place, " cannot be opened for writing: ", says[0], says[1]] {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    }
}

#[test]
fn with_a_full_disk_clients_are_served_and_the_end_comes_at_once() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    // The start is heard through a second door: nothing can be read from a log that takes nothing.
    let socket = folder.path("admin.sock");
    let config = config(&backend, "file = \"/dev/full\"\n");
    write_config(&folder, &config);
    let mut command_line = Command::new(PROGRAM);
    command_line.args(["run", "--config"]).arg(folder.path("truepeer.toml"));
    let mut child = Guarded(command_line.spawn().unwrap());
    assert!(eventually(|| socket.exists()));
    let status = || command(&["status", "--json"], &socket);
    assert!(eventually(|| status().code() == Some(0)));
    let listening = status().json()[0]["listeners"][0]["address"].as_str().unwrap().parse().unwrap();
    for port in 1..=20 {
        visit(listening, port);
    }
    let pid = Pid::from_child(&child.0);
    let begun = Instant::now();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(child.0.wait().unwrap().success());
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_pipe_that_nobody_reads_stalls_no_client_loses_countably_and_holds_up_no_end() {
    const AT_ONCE: usize = 4;
    let backend = Fake::start(smtp_behind_v1("220 backend ready\r\n"));
    let folder = Folder::new();
    write_config(&folder, &config_for(backend.address, ""));
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config"]).arg(folder.path("truepeer.toml")).stderr(Stdio::piped());
    let mut child = Guarded(command.spawn().unwrap());
    let mut log = BufReader::new(child.0.stderr.take().unwrap());
    let mut addresses = HashMap::new();
    let mut line = String::new();
    while !line.contains("event=ready") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
        if let Some(address) = field(line.trim_end(), "address").and_then(|address| address.parse().ok()) {
            let address: SocketAddr = address;
            addresses.insert(field(&line, "listener").unwrap_or("status").to_owned(), address);
        }
    }
    let (door, status) = (addresses["door"], addresses["status"]);
    // From here on nobody reads.
    let lost = || metric(status, "truepeer_lost_log_lines_total");
    let visits = AtomicUsize::new(1);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while visits.load(Ordering::Relaxed) < LINES || lost() < 10 {
                    for _ in 0..100 {
                        visit(door, visits.fetch_add(1, Ordering::Relaxed));
                    }
                }
            });
        }
    });
    let (visited, lost) = (visits.into_inner() - 1, lost());
    // Everything that was not lost is there for whoever reads again, and the gap says how much is missing.
    let (mut read, mut missing) = (0, 0);
    while read + missing < visited {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "{read} and {missing} of {visited}");
        assert!(line.ends_with('\n') && line.starts_with("time="), "{line}");
        read += usize::from(visitor(&line).is_some());
        if line.contains("event=lines_lost") {
            missing += field(&line, "lines").unwrap().parse::<usize>().unwrap();
        }
    }
    assert_eq!((read + missing, missing), (visited, lost));
    // It fills up again; a stop is not held up by it.
    for port in 0..400 {
        visit(door, port);
    }
    let begun = Instant::now();
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert!(child.0.wait().unwrap().success());
    assert!(begun.elapsed() < LAST_LINES + Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(log);
}

fn metric(status: SocketAddr, name: &str) -> usize {
    let mut stream = TcpStream::connect(status).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}
