//! `truepeer top` as an operator has it: the real program on a terminal of 80 columns and 24 lines, which is tmux's, in
//! front of a real server.
//!
//! Without tmux these tests are skipped aloud; where `TRUEPEER_REQUIRE` names it they fail.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::program::{BINARY, Folder, Program, client, command, served};
use crate::support::{HeaderMailServer, eventually, read_to_end};

fn config(backend: &HeaderMailServer) -> String {
    format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\naccess.deny = [\"198.51.100.66\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [admin]\nsocket = \"ADMIN\"\n",
        backend.address
    )
}

/// A terminal, with a shell command in it.
struct Screen {
    folder: Folder,
}

impl Screen {
    /// `None` where there is no tmux.
    fn start(environment: &str, command: &str) -> Option<Self> {
        let there = Command::new("tmux")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !there {
            let required = std::env::var("TRUEPEER_REQUIRE").is_ok_and(|list| list.contains("tmux"));
            assert!(!required, "tmux is not there, and TRUEPEER_REQUIRE wants it");
            eprintln!("skipped: there is no tmux");
            return None;
        }
        let screen = Self { folder: Folder::new() };
        // What stood there before, how it ended, and whether lines and echo are as they were.
        let script = format!(
            "#!/bin/sh\nstty -g >{0}/before\necho before\n{environment} {command}\necho \"ended with $?\"\n\
             stty -g >{0}/after\nexec cat\n",
            screen.folder.0.display()
        );
        let path = screen.folder.path("script");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        screen.tmux(&["new-session", "-d", "-x", "80", "-y", "24", path.to_str().unwrap()]);
        Some(screen)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.folder.path("tmux"))
            .args(["-f", "/dev/null"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The program that the script waits for.
    fn program(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        std::fs::read_to_string(children).unwrap().trim().to_owned()
    }

    /// Sends a signal to it.
    fn signal_program(&self, signal: &str) {
        let program = self.program();
        let status = Command::new("kill").args(["-s", signal, &program]).status().unwrap();
        assert!(status.success(), "{program}");
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as `is_so` says.
    #[track_caller]
    fn wait(&self, is_so: impl Fn(&str) -> bool) -> String {
        let found = eventually(|| is_so(&self.text()));
        let text = self.text();
        assert!(found, "{text}");
        text
    }

    #[track_caller]
    fn wait_for(&self, says: &str) -> String {
        self.wait(|text| text.contains(says))
    }

    /// The terminal is as it was before.
    #[track_caller]
    fn assert_restored(&self) {
        self.wait(|text| {
            text.contains("before") && text.contains("ended with 0") && !text.contains("LISTENER")
        });
        assert!(eventually(|| !self.folder.read("after").is_empty()));
        assert_eq!(self.folder.read("before"), self.folder.read("after"));
        assert_eq!(self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).trim(), "0 1");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut end = Command::new("tmux");
        end.arg("-S").arg(self.folder.path("tmux")).arg("kill-server").stderr(Stdio::null());
        let _ = end.status();
    }
}

fn top(program: &Program) -> String {
    format!("{BINARY} top --socket {}", program.folder.path("admin.sock").display())
}

/// The line that says `what`.
fn line<'t>(text: &'t str, what: &str) -> &'t str {
    text.lines().find(|line| line.contains(what)).unwrap_or_default()
}

#[test]
fn an_operator_looks_searches_sorts_freezes_denies_and_leaves() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let mut first = served(&program, "203.0.113.7");
    let _second = served(&program, "203.0.113.130");
    let Some(screen) = Screen::start("", &top(&program)) else { return };

    let text = screen.wait(|text| text.contains("203.0.113.7:4711") && text.contains("203.0.113.130:4711"));
    assert!(text.contains(" | 2/") && text.contains(" open, 0 pending"), "{text}");
    assert!(line(&text, "203.0.113.7:").starts_with('>'), "the oldest comes first: {text}");

    // Sorted: the second column, then the client; then the other end.
    screen.keys(&["s", "s"]);
    screen.wait(|text| text.contains("CLIENT ^") && line(text, "203.0.113.7:").starts_with('>'));
    screen.keys(&["r"]);
    screen.wait(|text| text.contains("CLIENT v") && line(text, "203.0.113.130:").starts_with('>'));

    // Searched, by the server.
    screen.keys(&["/", "113.130", "Enter"]);
    screen.wait(|text| text.contains("1/2") && !text.contains("203.0.113.7:"));
    screen.keys(&["Escape"]);
    screen.wait_for("203.0.113.7:");

    // Explained.
    screen.keys(&["Enter"]);
    let text = screen.wait_for("why: connection");
    for said in
        ["a proxy, must send a header", "v1: it names the client", "access default", "mail at 127.0.0.1:"]
    {
        assert!(text.replace('\n', " ").contains(said), "{said} in {text}");
    }
    screen.keys(&["Escape"]);
    // Read together with the next key, it would be Alt and that key.
    screen.wait(|text| !text.contains("why: connection"));

    // Frozen: what comes is not shown before it is let go.
    screen.keys(&["f"]);
    screen.wait_for("FROZEN");
    let _third = served(&program, "203.0.113.200");
    assert!(eventually(|| program.command(&["connections"]).out().contains("203.0.113.200")));
    assert!(!screen.text().contains("203.0.113.200"));
    screen.keys(&["f"]);
    screen.wait(|text| text.contains("203.0.113.200") && !text.contains("FROZEN"));

    // Refused, as it comes.
    let refused = read_to_end(&client(&program, "198.51.100.66"));
    assert!(refused.starts_with(b"554 "));
    screen.keys(&["3"]);
    let text = screen.wait_for("access_denied");
    assert!(text.contains("198.51.100.66:4711") && text.contains("deny 198.51.100.66"), "{text}");
    screen.keys(&["4"]);
    assert!(line(&screen.wait_for("proved"), "proved").starts_with(">mail"));

    // Denied, and only once that is confirmed.
    screen.keys(&["2"]);
    screen.wait(|text| text.contains("[2 clients]") && text.contains("203.0.113.7"));
    screen.keys(&["/", "113.7", "Enter"]);
    screen.wait(|text| text.contains("1/3") && !text.contains("203.0.113.130"));
    screen.keys(&["d"]);
    screen.wait_for("Deny 203.0.113.7 for 1h?");
    screen.keys(&["n"]);
    screen.wait_for("nobody was denied");
    assert!(program.command(&["deny", "--list"]).ok().out().contains("nobody is denied"));
    screen.keys(&["d", "+"]);
    screen.wait_for("Deny 203.0.113.7 for 6h?");
    screen.keys(&["y"]);
    screen.wait_for("connections cut: 1");
    assert!(program.command(&["deny", "--list"]).ok().out().contains("203.0.113.7/32"));
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest);
    assert!(!program.command(&["connections"]).out().contains("203.0.113.7:"));

    screen.keys(&["q"]);
    screen.assert_restored();
}

#[test]
fn a_signal_gives_the_terminal_back_and_a_server_that_comes_back_is_seen_again() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let _open = served(&program, "203.0.113.7");
    let Some(screen) = Screen::start("NO_COLOR=1", &top(&program)) else { return };
    screen.wait_for("203.0.113.7:");
    let drawn = screen.tmux(&["capture-pane", "-p", "-e"]);
    // No colour but the terminal's own.
    let drawn = drawn.replace("\u{1b}[39m", "").replace("\u{1b}[49m", "");
    assert!(!["\u{1b}[3", "\u{1b}[4", "\u{1b}[9"].iter().any(|colour| drawn.contains(colour)), "{drawn:?}");

    let folder = program.kill();
    screen.wait_for("NO ANSWER: nobody answers on");
    let _program = Program::start_in(folder, &config(&backend));
    screen.wait(|text| !text.contains("NO ANSWER") && text.contains("no connection is open"));

    screen.signal_program("TERM");
    screen.assert_restored();
}

#[test]
fn a_terminal_that_is_gone_ends_it() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let _open = served(&program, "203.0.113.7");
    let Some(screen) = Screen::start("", &top(&program)) else { return };
    screen.wait_for("203.0.113.7:");
    let folder = format!("/proc/{}", screen.program());
    assert!(std::fs::exists(&folder).unwrap());
    drop(screen);
    assert!(eventually(|| !std::fs::exists(&folder).unwrap()), "it goes on without a terminal");
}

#[test]
fn a_terminal_that_obeys_nothing_gets_pages_without_a_single_escape() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend));
    let _open = served(&program, "203.0.113.7");
    let folder = Folder::new();
    let seen = folder.path("seen");
    // Kept as it comes; tmux would obey it.
    let Some(screen) = Screen::start("TERM=dumb", &top(&program)) else { return };
    screen.tmux(&["pipe-pane", &format!("cat >{}", seen.display())]);
    screen.wait_for("203.0.113.7:");
    assert!(eventually(|| folder.read("seen").contains("203.0.113.7:")), "a second page comes by itself");
    assert!(!folder.read("seen").contains('\u{1b}'));
}

#[test]
fn who_has_no_terminal_or_no_server_hears_what_to_do() {
    let folder = Folder::new();
    let said = command(&["top"], &folder.path("none.sock"));
    assert_eq!(said.code(), Some(1));
    assert!(said.error().contains("standard output is no terminal"), "{}", said.error());
    assert!(said.error().contains("truepeer connections --json"), "{}", said.error());

    let missing = folder.path("none.sock");
    let Some(screen) = Screen::start("", &format!("{BINARY} top --socket {}", missing.display())) else {
        return;
    };
    let text = screen.wait_for("ended with 3").replace('\n', "");
    assert!(text.contains("there is no socket at") && text.contains("before"), "{text}");
    assert_eq!(screen.tmux(&["display-message", "-p", "#{alternate_on}"]).trim(), "0");
}

/// What `top` asks, by hand.
fn ask(program: &Program, request: &str) -> serde_json::Value {
    let mut stream = UnixStream::connect(program.folder.path("admin.sock")).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.lines().count(), 1, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn the_server_answers_with_pages_and_reasons() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend));
    let _first = served(&program, "203.0.113.7");
    let _second = served(&program, "203.0.113.130");
    assert!(read_to_end(&client(&program, "198.51.100.66")).starts_with(b"554 "));
    // It is open until the server has noticed that it closed.
    program.wait_for("outcome=access_denied");

    let by_client = r#"{"command":"page","of":{"by":"client","direction":"rising","rows":1}}"#;
    let page = ask(&program, by_client);
    assert_eq!((&page["ok"], &page["open"], &page["found"]), (&true.into(), &2.into(), &2.into()));
    assert_eq!(page["connections"].as_array().unwrap().len(), 1);
    assert_eq!(page["connections"][0]["client"], "203.0.113.7:4711");

    // Somebody looks from now on, and sees who comes and leaves.
    let clients = r#"{"command":"clients","of":{"by":"new","rows":5}}"#;
    assert_eq!(ask(&program, clients)["clients"], 2);
    assert!(read_to_end(&client(&program, "198.51.100.66")).starts_with(b"554 "));
    let left = || {
        let page = ask(&program, clients);
        let rows = page["page"].as_array().unwrap();
        rows.iter().any(|row| row["client"] == "198.51.100.66" && row["open"] == 0 && row["new"] == 1)
    };
    assert!(eventually(left), "{}", ask(&program, clients));

    let refusals = ask(&program, r#"{"command":"refusals","of":0}"#);
    assert_eq!((&refusals["last"], &refusals["missed"]), (&2.into(), &0.into()));
    let refusal = &refusals["refusals"][0];
    assert_eq!(
        (&refusal["outcome"], &refusal["client"]),
        (&"access_denied".into(), &"198.51.100.66:4711".into())
    );
    assert!(refusal["rule"].as_str().unwrap().starts_with("deny 198.51.100.66"), "{refusal}");
    assert_eq!(ask(&program, r#"{"command":"refusals","of":1}"#)["refusals"].as_array().unwrap().len(), 1);

    let id = page["connections"][0]["id"].as_str().unwrap();
    let why = |subject: &str| {
        let answer = ask(&program, &format!(r#"{{"command":"why","of":{subject}}}"#));
        let steps = answer["steps"].as_array().cloned().unwrap_or_default();
        let step = |step: &serde_json::Value| {
            format!("{}: {}", step["about"].as_str().unwrap(), step["text"].as_str().unwrap())
        };
        (steps.iter().map(step).collect::<Vec<_>>().join("\n"), answer)
    };
    let (text, _) = why(&format!(r#"{{"connection":"{id}"}}"#));
    for said in [
        "listener: door (smtp) on 127.0.0.1:",
        "is a proxy, must send a header (",
        "header: v1: it names the client, 203.0.113.7:4711",
        "access: as client 203.0.113.7: admitted by access default",
        "ban: none",
        "limits: ",
        "backend: mail at 127.0.0.1:",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let (text, _) = why(r#"{"client":"198.51.100.66"}"#);
    assert!(
        text.contains("denied by deny 198.51.100.66") && text.contains("with 0 connections open"),
        "{text}"
    );
    let (_, answer) = why(r#"{"connection":"none-0-1"}"#);
    assert!(answer["error"].as_str().unwrap().contains("has ended"), "{answer}");
    program.command(&["deny", "203.0.113.7", "--for", "1h", "--keep", "--reason", "noise"]).ok();
    let (text, _) = why(r#"{"client":"203.0.113.7"}"#);
    assert!(text.contains("ban: kept out: ") && text.contains("noise"), "{text}");
}

/// A server of another version says so; nothing is drawn for ever.
#[test]
fn a_server_that_knows_no_pages_is_said_to_be_older() {
    let folder = Folder::new();
    let path = folder.path("admin.sock");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let answers = std::thread::spawn(move || answer_as_of_old(&socket));
    let Some(screen) = Screen::start("", &format!("{BINARY} top --socket {}", path.display())) else {
        return;
    };
    screen.wait_for("NO ANSWER: there is no command");
    screen.keys(&["q"]);
    screen.assert_restored();
    drop(answers);
}

fn answer_as_of_old(socket: &std::os::unix::net::UnixListener) {
    let status = r#"{"ok":true,"version":"0.0.1","pid":1,"since":"x","duration_ms":1,"draining":false,"ready":true,"open":0,"max_connections":1,"pending_headers":0,"max_pending_headers":1,"denied":0,"listeners":[],"health":[],"backends":[],"trusted_names":[],"pending":[],"habits":[],"advice":[]}"#;
    for stream in socket.incoming() {
        let mut stream = stream.unwrap();
        let mut line = String::new();
        let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut line);
        let answer = if line.contains("status") {
            status
        } else {
            r#"{"ok":false,"error":"there is no command \"page\": this server may be older than the command"}"#
        };
        let _ = stream.write_all(format!("{answer}\n").as_bytes());
    }
}
