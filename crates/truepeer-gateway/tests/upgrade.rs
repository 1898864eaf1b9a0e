//! Upgrades: a new process takes a running one's place, and not one connection or byte is lost; or the old one goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::program;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::program::{BINARY, Folder, Program, client, served};
use crate::support::exchange::{echo, exchange, open, pattern};
use crate::support::fake::{Fake, Nobody, smtp_behind_v1};
use crate::support::{HeaderMailServer, PATIENCE, eventually, expect, read_to_end};
use rustix::process::{Pid, Signal, kill_process};

/// What each connection moves each way.
const BYTES: usize = 20_000;
const CLIENTS: u32 = 8;
const UPGRADES: usize = 10;

/// A chain of processes, each in the place of the one before; all end with the test.
pub(crate) struct Chain {
    pub(crate) program: Program,
    pub(crate) all: Vec<i32>,
}

impl Chain {
    pub(crate) fn start(config: &str) -> Self {
        Self::of(Program::start(config))
    }

    pub(crate) fn of(program: Program) -> Self {
        let all = vec![i32::try_from(program.pid()).unwrap()];
        Self { program, all }
    }

    /// The process that accepts now.
    pub(crate) fn current(&self) -> i32 {
        *self.all.last().unwrap()
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let answer = self.program.command(&["status", "--json"]);
        answer.json().remove(0)
    }

    /// Hands over to the next process.
    #[track_caller]
    pub(crate) fn upgrade(&mut self, arguments: &[&str]) -> serde_json::Value {
        let answer = self.program.command(&[&["upgrade", "--json"], arguments].concat()).ok();
        let said = answer.json().remove(0);
        assert_eq!(said["pid_before"], self.current());
        self.all.push(i32::try_from(said["pid"].as_u64().unwrap()).unwrap());
        self.program.wait_for("event=ready");
        assert_eq!(self.status()["pid"], self.current());
        said
    }

    /// Tries to, and says why not; the same process goes on, and serves.
    #[track_caller]
    fn stays(&mut self, arguments: &[&str]) -> String {
        let answer = self.program.command(&[&["upgrade"], arguments].concat());
        assert_eq!(answer.code(), Some(1), "{}{}", answer.out(), answer.error());
        self.program.wait_for("event=upgrade_failed");
        assert_eq!(self.status()["pid"], self.current());
        drop(served(&self.program, "203.0.113.99"));
        answer.error()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.current()).unwrap(), signal).unwrap();
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        for pid in self.all.iter().skip(1) {
            let _ = kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
        }
    }
}

/// Whether the process has ended, buried or not.
fn is_gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

pub(crate) fn config(backend: SocketAddr, more: &str) -> String {
    format!(
        "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\ndrain-timeout = \"5s\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n[admin]\nsocket = \"ADMIN\"\n{more}"
    )
}

/// One that is open for long: says something, and hears it.
fn goes_on(mut stream: &TcpStream, client: u32, turn: u32) {
    let sent = pattern(client, turn, 1000);
    stream.write_all(&sent).unwrap();
    let mut heard = vec![0; sent.len()];
    stream.read_exact(&mut heard).expect("nobody is cut");
    assert_eq!(heard, sent);
}

#[test]
fn ten_thousand_connections_through_ten_upgrades_are_neither_refused_nor_cut() {
    let at_least = 10_000;
    let backend = echo();
    let config = config(backend, "").replace("\"smtp\"", "\"tcp\"");
    let mut chain = Chain::start(&config);
    let address = chain.program.address("door");
    let copy = chain.program.folder.path("the-version-before");
    install(BINARY.as_ref(), &copy);
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            std::thread::spawn(move || {
                for connection in 0.. {
                    if stop.load(Ordering::Relaxed) && count.load(Ordering::Relaxed) >= at_least {
                        return;
                    }
                    exchange(address, client + 1, connection, BYTES);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Some stay from each process to the end.
    let mut long: Vec<TcpStream> = Vec::new();
    for turn in 0..u32::try_from(UPGRADES).unwrap() {
        long.extend((0..10).map(|_| open(address, 200)));
        for stream in &long {
            goes_on(stream, 200, turn);
        }
        // Every other time to the other program, and back to the first.
        let named = copy.to_str().unwrap();
        let said = if turn % 2 == 0 {
            chain.upgrade(&["--program", named])
        } else {
            chain.upgrade(&["--program", BINARY])
        };
        assert!(said["open_before"].as_u64().unwrap() >= 10, "{said}");
        let exe = std::fs::read_link(format!("/proc/{}/exe", chain.current())).unwrap();
        assert_eq!(exe == copy, turn % 2 == 0, "{}", exe.display());
    }
    for stream in &long {
        goes_on(stream, 200, 77);
    }
    let before = chain.status()["before"].as_array().unwrap().len();
    assert_eq!(before, UPGRADES, "each process has connections of its own");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(count.load(Ordering::Relaxed) >= at_least);
    // With their last connections they end by themselves.
    drop(long);
    let (current, all) = (chain.current(), chain.all.clone());
    assert!(eventually(|| all.iter().all(|pid| *pid == current || is_gone(*pid))), "{all:?}");
    assert!(eventually(|| chain.status()["before"].as_array().unwrap().is_empty()));
    assert_eq!(chain.program.count("outcome=drained"), 0);
}

#[test]
fn whatever_goes_wrong_the_old_process_goes_on_and_says_why() {
    let backend = HeaderMailServer::start();
    let good = config(backend.address, "");
    let mut chain = Chain::start(&good);
    let open = served(&chain.program, "203.0.113.7");

    chain.program.write_config(&good.replace("drain-timeout", "dwain-timeout"));
    let configured = chain.program.command(&["status", "--json"]);
    assert_eq!(configured.code(), Some(1), "the file is wrong for every command");
    let socket = chain.program.folder.path("admin.sock");
    let refused = program::command(&["upgrade"], &socket);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("does not take the configuration"), "{}", refused.error());
    assert!(refused.error().contains("dwain-timeout"), "{}", refused.error());
    chain.program.write_config(&good);
    chain.program.wait_for("event=upgrade_failed");

    let script = |name: &str, text: &str| script(&chain.program, name, text);
    let pids = chain.program.folder.path("hanging").display().to_string();
    let crashes = script("crashes", "[ \"$1\" = check ] && exit 0; echo no luck >&2; exit 7");
    let hangs = script("hangs", &format!("[ \"$1\" = check ] && exit 0; echo $$ >{pids}; exec sleep 600"));
    let checks_for_ever = script("checks", "exec sleep 600");
    let old = script("old", &format!("[ \"$1\" = check ] && exec {BINARY} \"$@\"; exec {BINARY} status"));
    // It has the sockets, and ends before it accepts: an address that only the new configuration has is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let open_to_all = script("open", "exit 0");
    std::fs::set_permissions(&open_to_all, std::fs::Permissions::from_mode(0o757)).unwrap();
    let plain = chain.program.folder.path("truepeer.toml").display().to_string();

    for (arguments, says) in [
        (vec!["--program", &crashes], "ended before it was ready"),
        (vec!["--program", &hangs, "--wait", "1"], "was not ready in time"),
        (vec!["--program", &checks_for_ever, "--wait", "1"], "did not check the configuration in time"),
        (vec!["--program", &old], "ended before it was ready"),
        (vec!["--program", "/nonexistent"], "/nonexistent cannot be used"),
        (vec!["--program", &plain], "is no program"),
        (vec!["--program", &open_to_all], "may be written by others"),
    ] {
        let said = chain.stays(&arguments);
        assert!(said.contains(says), "{says} in {said}");
        // Who was there before all that goes on.
        (&open).write_all(b"NOOP\r\n").unwrap();
        expect(&open, b"250 ok\r\n");
    }
    let hanging: i32 = std::fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
    assert!(is_gone(hanging), "what hung was ended");

    let more = format!("[status]\nbind = \"{}\"\n", taken.local_addr().unwrap());
    chain.program.write_config(&config(backend.address, &more));
    let said = chain.stays(&[]);
    assert!(said.contains("does not start") && said.contains("is in use by another program"), "{said}");
    chain.program.write_config(&good);
    chain.upgrade(&[]);
    (&open).write_all(b"QUIT\r\n").unwrap();
    expect(&open, b"221 bye\r\n");
}

#[test]
fn paths_bans_feeds_and_the_log_change_hands() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let more = "[server.listener.local]\nbind = \"unix:FOLDERdoor.sock\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
                proxy.trusted-networks = [\"unix\"]\n[status]\nbind = \"127.0.0.1:0\"\n[log]\nfile = \"FOLDERlog\"\n";
    let config = config(backend.address, more);
    let program = Program::start_with_log_file(folder, &config, "log");
    let mut all = vec![i32::try_from(program.pid()).unwrap()];
    let path = |name: &str| program.folder.path(name);
    let upgrade = |all: &mut Vec<i32>| {
        let said = program.command(&["upgrade", "--json"]).ok().json().remove(0);
        all.push(i32::try_from(said["pid"].as_u64().unwrap()).unwrap());
    };
    let local = || {
        let mut stream = UnixStream::connect(path("door.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"PROXY TCP4 203.0.113.8 198.51.100.25 4711 25\r\n").unwrap();
        let mut greeting = [0; 19];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 backend ready\r\n");
        stream
    };
    let (banned_later, stays) = (served(&program, "203.0.113.20"), served(&program, "203.0.113.21"));
    let over_unix = local();
    // Without a state file: it is the memory that changes hands.
    program.command(&["deny", "203.0.113.9", "--for", "1h"]).ok();
    let mut feed = Command::new(BINARY)
        .args(["deny", "--feed", "--socket"])
        .arg(path("admin.sock"))
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = feed.stdin.take().unwrap();
    orders.write_all(b"+203.0.113.10 1h\n").unwrap();
    let denied = || program.command(&["deny", "--list", "--json"]).ok().out();
    assert!(eventually(|| denied().contains("203.0.113.10/32")));

    upgrade(&mut all);
    let list = denied();
    assert!(list.contains("203.0.113.9/32") && list.contains("203.0.113.10/32"), "{list}");
    program::assert_refused(&program, "203.0.113.9");
    let ended = feed.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "a feed that is not heard any more ends");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("start the feed again"));
    drop(orders);

    // Orders to the new process reach who is still in the old one, through one more upgrade as well.
    upgrade(&mut all);
    program.command(&["deny", "203.0.113.20", "--for", "1h"]).ok();
    assert!(read_to_end(&banned_later).is_empty(), "it was cut");

    // A rotation: the old process follows.
    std::fs::rename(path("log"), path("log.1")).unwrap();
    program.command(&["reload"]).ok();
    drop(stays);
    let record = || program.folder.read("log").lines().any(|line| line.contains("client=203.0.113.21"));
    assert!(eventually(record), "{}\n---\n{}", program.folder.read("log.1"), program.folder.read("log"));

    drop(local());
    let mut page = TcpStream::connect(program.address("status")).unwrap();
    page.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
    assert!(read_to_end(&page).starts_with(b"HTTP/1.0 200"));
    drop(over_unix);
    assert!(eventually(|| all[..2].iter().all(|pid| is_gone(*pid))));
    drop(local());
    kill_process(Pid::from_raw(all[2]).unwrap(), Signal::TERM).unwrap();
    assert!(eventually(|| is_gone(all[2])));
    assert!(!path("door.sock").exists() && !path("admin.sock").exists(), "the last one removes what it had");
}

#[test]
fn what_a_reload_moved_goes_on_through_upgrades_and_moves_again() {
    let backend = HeaderMailServer::start();
    let free = TcpListener::bind("127.0.0.1:0").map(|held| held.local_addr().unwrap().to_string()).unwrap();
    let local = |mode: &str, more: &str| {
        let listener = format!(
            "[server.listener.local]\nbind = \"unix:FOLDERdoor.sock\"\nsocket-mode = \"{mode}\"\nprotocol = \"smtp\"\n\
             backend = \"mail\"\nproxy.trusted-networks = [\"unix\"]\n{more}"
        );
        config(backend.address, &listener)
    };
    let mut chain = Chain::start(&local("0600", &format!("health-bind = \"{free}\"\n")));
    let path = chain.program.folder.path("door.sock");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let greets = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"PROXY TCP4 203.0.113.8 198.51.100.25 4711 25\r\n").unwrap();
        let mut greeting = [0; 19];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 backend ready\r\n");
    };
    let ready = |at: &str| {
        let mut page = TcpStream::connect(at).unwrap();
        page.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
        assert!(read_to_end(&page).starts_with(b"HTTP/1.0 200"));
    };

    // Another socket is needed, which a reload makes.
    let status = format!("[status]\nbind = \"{free}\"\n");
    chain.program.write_config(&local("0660", ""));
    let said = chain.stays(&[]);
    assert!(said.contains("`socket-mode`") && said.contains("reload first"), "{said}");
    for (wanted, more) in [(0o660, status.as_str()), (0o640, "")] {
        chain.program.write_config(&local(&format!("{wanted:04o}"), more));
        chain.program.command(&["reload"]).ok();
        for _ in 0..2 {
            chain.upgrade(&[]);
            assert_eq!(mode(), wanted);
            greets();
            if !more.is_empty() {
                ready(&free);
            }
        }
    }
    // Whose socket is not there any more has given its address up.
    assert!(eventually(|| TcpStream::connect(&free).is_err()));
    chain.signal(Signal::TERM);
    let last = chain.current();
    assert!(eventually(|| is_gone(last)));
    let left = std::fs::read_dir(path.parent().unwrap()).unwrap().filter_map(Result::ok);
    let left: Vec<_> = left
        .filter(|entry| entry.path().metadata().is_ok_and(|found| found.file_type().is_socket()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn orders_that_come_while_a_process_is_replaced_are_carried_out() {
    let backend = HeaderMailServer::start();
    let mut chain = Chain::start(&config(backend.address, "state = \"FOLDERdenied\"\n"));
    let socket = chain.program.folder.path("admin.sock");
    let stop = Arc::new(AtomicBool::new(false));
    let ordering = {
        let (stop, socket) = (Arc::clone(&stop), socket.clone());
        std::thread::spawn(move || {
            let mut ordered = 0;
            while !stop.load(Ordering::Relaxed) {
                let client = format!("198.18.{}.{}", ordered / 250, ordered % 250);
                program::command(&["deny", &client, "--for", "1h"], &socket).ok();
                ordered += 1;
            }
            ordered
        })
    };
    for _ in 0..3 {
        chain.upgrade(&[]);
    }
    stop.store(true, Ordering::Relaxed);
    let ordered = ordering.join().unwrap();
    let bans = program::command(&["deny", "--list", "--json"], &socket).ok().json();
    assert_eq!(bans.len(), ordered);
    let text = chain.program.folder.read("denied");
    for ban in bans.iter().filter_map(|ban| ban["network"].as_str()) {
        assert!(text.contains(ban), "{ban} in the file");
    }
}

#[test]
fn an_address_that_is_shut_stays_shut_and_opens_when_the_backend_is_back() {
    let nobody = Nobody::new();
    let free = Nobody::new();
    let door = free.address();
    let more = "[server.listener.door]\nwhen-backend-down = \"close-listener\"\n";
    let config = config(nobody.address(), "")
        .replace("[server.listener.door]\n", more)
        .replace("127.0.0.1:0", &door.to_string());
    let program = Program::start(&config);
    let mut chain = Chain::of(program);
    TcpStream::connect(door).unwrap_err();
    chain.upgrade(&[]);
    TcpStream::connect(door).unwrap_err();
    let backend = Fake::on(nobody.come_back(), smtp_behind_v1("220 backend ready\r\n"));
    chain.program.wait_for("event=listener_opened");
    chain.upgrade(&[]);
    expect(&client(&chain.program, "203.0.113.7"), b"220 backend ready\r\n");
    let _gone = Nobody::instead_of(backend);
    chain.program.wait_for("event=listener_closed");
    assert!(eventually(|| TcpStream::connect(door).is_err()));
}

#[test]
fn the_service_manager_follows_to_the_new_process_and_a_stop_reaches_all() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let path = folder.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut bytes = [0; 4096];
        let count = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    };
    let mut command = Command::new(BINARY);
    command.env("NOTIFY_SOCKET", &path);
    let mut chain = Chain::of(Program::start_by(command, folder, &config(backend.address, "")));
    assert!(next().starts_with("READY=1\n"));
    let in_the_first = served(&chain.program, "203.0.113.7");
    let said = chain.upgrade(&[]);
    assert_eq!(next(), format!("MAINPID={}", said["pid"]), "before the new one says a word");
    assert!(next().starts_with("READY=1\n"), "and it speaks itself from then on");

    let in_the_second = served(&chain.program, "203.0.113.8");
    assert_eq!(chain.status()["before"][0]["open"], 1);
    chain.signal(Signal::TERM);
    assert!(next().starts_with("STOPPING=1\n"));
    let all = chain.all.clone();
    // Both drain; each ends with its last connection.
    drop(in_the_second);
    assert!(!is_gone(all[0]));
    drop(in_the_first);
    assert!(eventually(|| all.iter().all(|pid| is_gone(*pid))));
    assert_eq!(chain.program.count("outcome=drained"), 0);
}

#[test]
fn sockets_of_a_service_manager_go_from_process_to_process() {
    let backend = HeaderMailServer::start();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let mut command = Command::new("sh");
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    command.args(["-c", script, "sh", BINARY]).stdin(std::os::fd::OwnedFd::from(tcp.try_clone().unwrap()));
    let config = config(backend.address, "").replace("127.0.0.1:0", &address.to_string());
    let mut chain = Chain::of(Program::start_by(command, Folder::new(), &config));
    for _ in 0..2 {
        chain.upgrade(&[]);
        expect(&client(&chain.program, "203.0.113.7"), b"220 backend ready\r\n");
    }
    chain.signal(Signal::TERM);
    let all = chain.all.clone();
    assert!(eventually(|| all.iter().all(|pid| is_gone(*pid))));
    // What the service manager made stays open: who comes now waits for the next run.
    drop(TcpStream::connect(address).unwrap());
}

/// A program at another place. Another process writes it: what a test beside this one starts would have the file open
/// for writing for a moment, and nobody could run it then.
fn install(from: &Path, to: &Path) {
    let done = Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap();
    assert!(done.success(), "{}", to.display());
}

/// A script in the folder of `program`.
fn script(program: &Program, name: &str, text: &str) -> String {
    let (source, path) = (program.folder.path(&format!("{name}.source")), program.folder.path(name));
    std::fs::write(&source, format!("#!/bin/sh\n{text}\n")).unwrap();
    install(&source, &path);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_process_with_fewer_workers_and_one_with_more_serve_every_share_of_the_sockets() {
    let allowed = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let first = allowed.split([',', '-']).next().unwrap();
    let backend = HeaderMailServer::start();
    let mut chain = Chain::start(&config(backend.address, ""));
    let fewer = script(&chain.program, "fewer", &format!("exec taskset -c {first} {BINARY} \"$@\""));
    let more = script(&chain.program, "more", &format!("exec taskset -c {allowed} {BINARY} \"$@\""));
    let workers = |pid: i32| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        // One that has ended since is none.
        let name = |thread: &std::fs::DirEntry| {
            std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default()
        };
        threads.filter(|thread| name(thread.as_ref().unwrap()).starts_with("worker-")).count()
    };
    let at_first = workers(chain.current());
    for (program, expected) in [(&fewer, 1), (&more, at_first), (&fewer, 1)] {
        chain.upgrade(&["--program", program]);
        assert_eq!(workers(chain.current()), expected);
        let old = chain.all[chain.all.len() - 2];
        assert!(eventually(|| is_gone(old)), "nobody else accepts");
        // The kernel shares them out over all sockets of the group: nobody waits at one that is not looked at.
        for _ in 0..40 {
            drop(served(&chain.program, "203.0.113.7"));
        }
    }
}

#[test]
fn an_order_to_stop_ends_an_upgrade_and_the_new_process_with_it() {
    let backend = HeaderMailServer::start();
    let chain = Chain::start(&config(backend.address, ""));
    let pid = chain.program.folder.path("pid");
    let text = format!("[ \"$1\" = check ] && exit 0; echo $$ >{}; exec sleep 600", pid.display());
    let hangs = script(&chain.program, "hangs", &text);
    let mut order = Command::new(BINARY)
        .args(["upgrade", "--program", &hangs, "--socket"])
        .arg(chain.program.folder.path("admin.sock"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let hanging = || std::fs::read_to_string(&pid).ok()?.trim().parse::<i32>().ok();
    assert!(eventually(|| hanging().is_some()));
    let open = served(&chain.program, "203.0.113.7");
    chain.signal(Signal::TERM);
    assert!(eventually(|| is_gone(hanging().unwrap())), "it has no sockets to serve");
    assert_eq!(order.wait().unwrap().code(), Some(1), "whoever ordered it hears that nothing came of it");
    // Who is connected may finish, as at any stop.
    (&open).write_all(b"QUIT\r\n").unwrap();
    expect(&open, b"221 bye\r\n");
    drop(open);
    assert!(eventually(|| is_gone(chain.current())));
}

#[test]
fn pid_1_says_that_the_container_is_to_be_replaced() {
    let backend = HeaderMailServer::start();
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--", BINARY]);
    let program = Program::start_by(command, Folder::new(), &config(backend.address, ""));
    let refused = program.command(&["upgrade"]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("replace the container instead"), "{}", refused.error());
    drop(served(&program, "203.0.113.7"));
}

#[test]
fn a_program_that_was_replaced_on_disk_is_the_one_that_follows() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    let installed: PathBuf = folder.path("truepeer");
    install(BINARY.as_ref(), &installed);
    let mut chain =
        Chain::of(Program::start_by(Command::new(&installed), folder, &config(backend.address, "")));
    // As a package does it.
    let new = chain.program.folder.path("truepeer.new");
    install(BINARY.as_ref(), &new);
    std::fs::rename(&new, &installed).unwrap();
    chain.upgrade(&[]);
    let exe = std::fs::read_link(format!("/proc/{}/exe", chain.current())).unwrap();
    assert_eq!(exe, installed, "not the one that is deleted");
}
