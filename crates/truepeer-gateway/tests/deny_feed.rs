//! Another program keeps the list of who is denied: the real program fed over its standard input.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use crate::support;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::program::{Folder, Program, assert_refused, command, served};
use crate::support::{HeaderMailServer, expect, read_to_end};
use rustix::process::Signal;
use serde_json::Value;

fn config(backend: &HeaderMailServer) -> String {
    format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [admin]\nsocket = \"ADMIN\"\nstate = \"FOLDERdenied\"\n",
        backend.address
    )
}

/// A feed whose input stays open until the test closes it.
struct Feed {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Feed {
    fn start(folder: &Folder, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_truepeer"))
            .args(["deny", "--feed", "--json"])
            .args(more)
            .arg("--socket")
            .arg(folder.path("admin.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn write(&mut self, text: impl AsRef<[u8]>) {
        self.input.as_mut().unwrap().write_all(text.as_ref()).unwrap();
    }

    /// Writes one line and waits for its answer, while the input stays open.
    #[track_caller]
    fn order(&mut self, line: &str) -> Value {
        self.write(format!("{line}\n"));
        self.answer()
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Closes the input; what the command says and how it ends.
    fn close(mut self) -> (Option<i32>, String, String) {
        drop(self.input.take());
        self.end()
    }

    /// Waits for the end, whatever the input does.
    fn end(&mut self) -> (Option<i32>, String, String) {
        let (mut rest, mut error) = (String::new(), String::new());
        self.output.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        (self.child.wait().unwrap().code(), rest, error)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_line_acts_at_once_while_the_input_stays_open() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend));
    let (bad, good) = (served(&program, "203.0.113.7"), served(&program, "203.0.113.8"));
    let mut feed = Feed::start(&program.folder, &[]);

    let denied = feed.order("+203.0.113.7 4h crowdsec ssh-bf");
    assert_eq!((&denied["ok"], &denied["line"]), (&true.into(), &1.into()));
    assert_eq!((&denied["network"], &denied["kept"]), (&"203.0.113.7/32".into(), &true.into()));
    assert_eq!((&denied["reason"], &denied["replaced"]), (&"crowdsec ssh-bf".into(), &false.into()));
    assert_eq!(read_to_end(&bad), b"");
    assert_refused(&program, "203.0.113.7");
    let event = program.wait_for("event=denied");
    assert!(event.contains("crowdsec ssh-bf") && event.contains("cut=1"), "{event}");

    assert_eq!(feed.order("-203.0.113.7")["lifted"], true);
    program.wait_for("event=undenied");
    served(&program, "203.0.113.7");
    // A ban that is over already is nothing to complain of.
    assert_eq!(feed.order("-203.0.113.7")["lifted"], false);
    (&good).write_all(b"NOOP\r\n").unwrap();
    expect(&good, b"250 ok\r\n");
    assert_eq!(feed.close(), (Some(0), String::new(), String::new()));
}

#[test]
fn a_line_that_is_wrong_or_refused_concerns_that_line_only() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend));
    let mut feed = Feed::start(&program.folder, &[]);
    feed.write(b"# the list\n\n+203.0.113.1 1h\nban 203.0.113.2\n+127.0.0.1 1h a proxy\n+10.0.0.0/6 1h\n");
    feed.write(
        [b"+203.0.113.3 1h ", [b'x'; 5000].as_slice(), b"\n+203.0.113.4 1h caf\xe9\n+203.0.113.5 ever\n"]
            .concat(),
    );
    feed.write(b"+2001:db8::/64 1h the last line has no end");
    let (code, out, error) = feed.close();
    assert_eq!(code, Some(1));
    let said: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = said.iter().map(|said| (said["line"].as_u64().unwrap(), said["ok"] == true)).collect();
    assert_eq!(said, [(3, true), (5, false), (6, false), (8, true), (10, true)]);
    let mut error: Vec<_> = error.lines().collect();
    error.sort_unstable();
    for (line, begins, holds) in [
        (0, "line 4: \"ban 203.0.113.2\": ", "begins with + (set a ban) or - (lift it)"),
        (1, "line 5: 127.0.0.1/32 holds a trusted proxy", "server.listener.door.proxy.trusted-networks"),
        (2, "line 6: 8.0.0.0/6 is wider than /8", "access.deny"),
        (3, "line 7: it is longer than 4096 bytes", ""),
        (4, "line 9: \"+203.0.113.5 ever\": a ban lasts", "1h30m"),
    ] {
        assert!(error[line].starts_with(begins) && error[line].contains(holds), "{}", error[line]);
    }
    assert_eq!(error.len(), 5, "{error:?}");
    program.wait_for("event=feed_refused");
    let listed = program.command(&["deny", "--list", "--json"]).ok().json();
    let networks: Vec<_> = listed.iter().map(|ban| ban["network"].as_str().unwrap()).collect();
    assert_eq!(networks, ["203.0.113.1/32", "203.0.113.4/32", "2001:db8::/64"]);
}

#[test]
fn a_list_of_thousands_is_taken_in_few_steps_and_survives_a_restart() {
    const BANS: usize = 20_000;
    let backend = HeaderMailServer::start();
    let config = config(&backend);
    let mut program = Program::start(&config);
    let spared = served(&program, "10.1.0.7");
    let mut list = String::new();
    for number in 0..BANS {
        writeln!(list, "+10.0.{}.{} 4h list", number / 256, number % 256).unwrap();
    }
    let mut feed = Feed::start(&program.folder, &["--keep"]);
    let mut input = feed.input.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(list.as_bytes()).unwrap());
    let (code, out, error) = feed.end();
    writer.join().unwrap();
    assert_eq!((code, error.as_str(), out.lines().count()), (Some(0), "", BANS));
    assert!(out.lines().all(|line| line.contains("\"kept\":true")));
    let listed = program.command(&["deny", "--list", "--json"]).ok().json();
    assert_eq!(listed.len(), BANS);
    (&spared).write_all(b"NOOP\r\n").unwrap();
    expect(&spared, b"250 ok\r\n");
    drop(spared);

    program.signal(Signal::TERM);
    let mut taken = 0;
    loop {
        let line = program.wait_for("event=");
        taken += usize::from(line.contains("event=feed_taken") || line.contains("event=denied"));
        if line.contains("event=stopped") {
            break;
        }
    }
    // Each step writes the state file once; one for each ban would write it 20,000 times.
    assert!(taken < BANS / 20, "{taken} steps");
    let program = Program::start_in(program.end(), &config);
    assert_refused(&program, "10.0.78.31");
    served(&program, "10.0.78.32");
}

#[test]
fn a_feed_ends_with_the_server_even_if_its_input_is_silent() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let mut feed = Feed::start(&program.folder, &[]);
    assert_eq!(feed.order("+203.0.113.7 1h")["ok"], true);
    program.signal(Signal::TERM);
    let (code, _, error) = feed.end();
    assert_eq!(
        (code, error.as_str()),
        (Some(3), "error: truepeer went away; every order so far was answered\n")
    );
    let folder = program.end();
    let unreached = command(&["deny", "--feed"], &folder.path("admin.sock"));
    assert_eq!(unreached.code(), Some(3));
    assert!(unreached.error().contains("there is no socket at"), "{}", unreached.error());
}

#[test]
fn feeds_leave_room_for_operators_and_spare_whom_they_are_told_to() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let mut feeds: Vec<_> = (0..4).map(|_| Feed::start(&program.folder, &["--keep"])).collect();
    let open = served(&program, "203.0.113.7");
    for (number, feed) in feeds.iter_mut().enumerate() {
        assert_eq!(feed.order("+203.0.113.7 1h")["replaced"], number > 0);
    }
    let more = command(&["deny", "--feed"], &program.folder.path("admin.sock"));
    assert_eq!(more.code(), Some(1));
    assert!(more.error().contains("4 feeds are open already"), "{}", more.error());
    program.command(&["status"]).ok();
    assert_refused(&program, "203.0.113.7");
    (&open).write_all(b"NOOP\r\n").unwrap();
    expect(&open, b"250 ok\r\n");
    assert_eq!(feeds.remove(0).close().0, Some(0));
    // The place is free as soon as the server has seen the end.
    let next = support::eventually(|| {
        command(&["deny", "--feed"], &program.folder.path("admin.sock")).code() == Some(0)
    });
    assert!(next);
}

#[test]
fn a_feed_goes_on_where_the_socket_has_moved_away_and_counts_among_those_at_the_new_place() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let mut feeds: Vec<_> = (0..4).map(|_| Feed::start(&program.folder, &[])).collect();
    for feed in &mut feeds {
        assert_eq!(feed.order("+203.0.113.7 1h")["ok"], true);
    }
    program.write_config(&config(&backend).replace("ADMIN", "ADMIN.other"));
    command(&["reload"], &program.folder.path("admin.sock")).ok();
    assert_eq!(feeds[0].order("+203.0.113.8 1h")["ok"], true);
    assert_refused(&program, "203.0.113.8");
    let new = program.folder.path("admin.sock.other");
    let more = command(&["deny", "--feed"], &new);
    assert_eq!(more.code(), Some(1));
    assert!(more.error().contains("4 feeds are open already"), "{}", more.error());
    command(&["status"], &new).ok();
    assert_eq!(feeds.remove(0).close().0, Some(0));
    assert!(support::eventually(|| command(&["deny", "--feed"], &new).code() == Some(0)));
}

#[test]
fn a_feed_takes_denials_only() {
    let folder = Folder::new();
    for arguments in [
        &["deny", "--feed", "203.0.113.7"][..],
        &["deny", "--feed", "--list"],
        &["deny", "--feed", "--for", "1h"],
    ] {
        assert_eq!(command(arguments, &folder.path("none.sock")).code(), Some(2), "{arguments:?}");
    }
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let mut stream = std::os::unix::net::UnixStream::connect(program.folder.path("admin.sock")).unwrap();
    stream.write_all(b"{\"command\":\"feed\"}\n{\"command\":\"reload\"}\n{\"command\":\"feed\"}\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answers: Vec<Value> =
        BufReader::new(stream).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(
        (&answers[0]["ok"], &answers[1]["ok"], &answers[2]["ok"]),
        (&true.into(), &false.into(), &false.into())
    );
    assert_eq!(answers[1]["error"], "a feed takes `deny` and `undeny` only");
}

#[test]
fn a_feed_ends_with_the_admin_socket_and_says_why() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let mut feed = Feed::start(&program.folder, &[]);
    assert_eq!(feed.order("+203.0.113.7 1h")["ok"], true);
    let socket = program.folder.path("admin.sock");
    let without = config(&backend).replace("socket = \"ADMIN\"\n", "");
    program.write_config(&without);
    command(&["reload"], &socket).ok();
    // The input stays open: the end is the server's.
    let _input = feed.input.take();
    let mut said = String::new();
    feed.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(feed.child.wait().unwrap().code(), Some(3), "{said}");
    assert!(said.contains("truepeer ended the feed: a reload removed `[admin]`"), "{said}");
}
