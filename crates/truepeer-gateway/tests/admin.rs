//! What an operator asks a running server: the real program, its own commands, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crate::support;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::program::{Folder, Program, command};
use crate::support::fake::Nobody;
use crate::support::{HeaderMailServer, PATIENCE, expect, read_to_end};
use rustix::process::Signal;

/// One listener in front of `backend`, with whatever else is to be said.
fn config(backend: &HeaderMailServer, more: &str) -> String {
    format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [admin]\nsocket = \"ADMIN\"\n{more}",
        backend.address
    )
}

#[test]
fn connections_are_listed_with_peer_client_and_backend_and_can_be_chosen() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    assert!(program.command(&["connections"]).ok().out().contains("no such connection is open"));

    let mut first = program.connect("door");
    first.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&first, b"220 backend ready\r\n");
    first.write_all(b"NOOP\r\n").unwrap();
    expect(&first, b"250 ok\r\n");
    let mut second = program.connect("door");
    second.write_all(b"PROXY TCP4 203.0.113.130 198.51.100.25 4712 25\r\n").unwrap();
    expect(&second, b"220 backend ready\r\n");

    let listed = program.command(&["connections", "--json"]).ok().json();
    assert_eq!(listed.len(), 2);
    listed.iter().for_each(|connection| support::shapes::assert_promised("Open connection", connection));
    let peer = first.local_addr().unwrap().to_string();
    for (key, value) in [
        ("listener", "door"),
        ("protocol", "smtp"),
        ("client", "203.0.113.7:4711"),
        ("peer", peer.as_str()),
        ("header", "known"),
        ("backend", "mail"),
        ("backend_address", &backend.address.to_string()),
    ] {
        assert_eq!(listed[0][key], value, "{key}");
    }
    assert_eq!((&listed[0]["bytes_in"], &listed[0]["bytes_out"]), (&6.into(), &27.into()));
    assert!(listed[0]["since"].as_str().unwrap().ends_with('Z'));

    let text = program.command(&["connections"]).ok().out();
    let since = listed[0]["since"].as_str().unwrap().split('.').next().unwrap();
    let row = text.lines().find(|line| line.contains("203.0.113.7:4711")).unwrap();
    let backend_at = format!("mail {}", backend.address);
    for said in [&format!("{since}Z "), " door ", &peer, &backend_at, " 6 ", " 27 "] {
        assert!(row.contains(said), "{said} in {row}");
    }
    assert!(text.contains("203.0.113.7:4711") && text.contains("203.0.113.130:4712"), "{text}");
    for (filter, clients) in [
        (["--client", "203.0.113.0/25"], vec!["203.0.113.7:4711"]),
        (["--client", "::ffff:203.0.113.130"], vec!["203.0.113.130:4712"]),
        (["--peer", "127.0.0.1"], vec!["203.0.113.7:4711", "203.0.113.130:4712"]),
        (["--peer", "192.0.2.0/24"], vec![]),
        (["--listener", "other"], vec![]),
    ] {
        let listed = program.command(&["connections", "--json", filter[0], filter[1]]).ok().json();
        let found: Vec<_> = listed.iter().map(|connection| connection["client"].as_str().unwrap()).collect();
        assert_eq!(found, clients, "{filter:?}");
    }
    let wrong = program.command(&["connections", "--client", "mail.example"]);
    assert_eq!(wrong.code(), Some(2));
    assert!(wrong.error().contains("write an address or a network"), "{}", wrong.error());
}

#[test]
fn status_says_what_runs_what_is_unproven_and_who_is_pending() {
    let backend = HeaderMailServer::start();
    let more = format!(
        "[server.listener.plain]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"blind\"\n\
         [backend.blind]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [backend.idle]\nhandoff = \"proxy-v1\"\naddress = \"127.0.0.1:9\"\n",
        backend.address
    );
    let program = Program::start(&config(&backend, &more));
    let pending = program.connect("door");

    let until = Instant::now() + PATIENCE;
    let status = loop {
        // The kernel has the connection; that a worker has taken it can be seen only here.
        assert!(Instant::now() < until);
        let status = program.command(&["status", "--json"]).ok().json().remove(0);
        if status["pending_headers"] == 1 {
            break status;
        }
    };
    support::shapes::assert_promised("Running front door", &status);
    assert_eq!((&status["ready"], &status["draining"]), (&true.into(), &false.into()));
    assert_eq!(status["listeners"][0]["address"], program.address("door").to_string());
    let readiness = |at: usize| status["backends"][at]["addresses"][0]["readiness"].as_str().unwrap();
    assert_eq!((readiness(0), readiness(1)), ("proved", "unproven"));
    assert_eq!(status["pending"][0]["peer"], "127.0.0.1");
    assert_eq!(status["pending"][0]["headers"], 1);
    let advice = status["advice"].as_array().unwrap();
    assert!(advice.iter().any(|advice| advice["key"] == "backend.idle"), "{advice:?}");

    let text = program.command(&["status"]).ok().out();
    for said in [
        ": ready",
        "proved",
        "unproven: it accepts",
        "127.0.0.1 at door: 1",
        "backend.idle (line 18): no listener",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    drop(pending);
}

#[test]
fn a_server_without_a_ready_backend_says_so_and_the_command_fails() {
    let nobody = Nobody::new();
    let gone = nobody.address();
    let program = Program::start(&format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{gone}\"\n[admin]\nsocket = \"ADMIN\"\n"
    ));
    let status = program.command(&["status"]);
    assert_eq!(status.code(), Some(1));
    assert!(
        status.out().contains("NOT READY") && status.out().contains("backend_unreachable"),
        "{}",
        status.out()
    );
}

#[test]
fn status_says_what_is_closed_who_else_is_served_and_where_health_is_asked_for() {
    let backend = HeaderMailServer::start();
    let nobody = Nobody::new();
    let gone = nobody.address();
    let more = format!(
        "[server.listener.shut]\nbind = \"127.0.0.1:0\"\nhealth-bind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\n\
         backend = \"gone\"\nwhen-backend-down = \"close-listener\"\n\
         [server.listener.two]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         backend-when-secure = \"gone\"\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.gone]\nhandoff = \"proxy-v1\"\naddress = \"{gone}\"\n"
    );
    let program = Program::start(&config(&backend, &more));
    let asked = program.command(&["status", "--json"]);
    assert_eq!(asked.code(), Some(1));
    let status = asked.json().remove(0);
    let listener = |name: &str| {
        let all = status["listeners"].as_array().unwrap();
        all.iter().find(|listener| listener["listener"] == name).unwrap().clone()
    };
    for (name, ready, closed, secure) in
        [("door", true, false, None), ("shut", false, true, None), ("two", false, false, Some("gone"))]
    {
        let found = listener(name);
        assert_eq!((&found["ready"], &found["closed"]), (&ready.into(), &closed.into()), "{name}");
        assert_eq!(found["backend_when_secure"].as_str(), secure, "{name}");
    }
    assert_eq!(
        (&status["health"][0]["listener"], &status["health"][0]["closed"]),
        (&"shut".into(), &true.into())
    );
    let text = program.command(&["status"]).out();
    for said in [
        ", to mail: ready",
        ", to gone: CLOSED until a backend can be reached",
        ", to mail, over TLS to gone: NOT READY",
        "health checks of shut on 127.0.0.1:",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
}

#[test]
fn reload_takes_what_is_right_and_says_what_is_wrong() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, ""));
    let mut open = program.connect("door");
    open.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&open, b"220 backend ready\r\n");

    // Broken: the command itself says what is wrong, and nothing changes.
    program.write_config(&config(&backend, "[sever]\n"));
    let refused = program.command(&["reload"]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("unknown key `sever`"), "{}", refused.error());
    // The server says the same to whoever does not read the file.
    let refused = command(&["reload"], &program.folder.path("admin.sock"));
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("unknown key `sever`"), "{}", refused.error());
    program.wait_for("event=reload_failed");

    // Right as a file, but the system says no.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = |port| {
        format!(
            "[server.listener.more]\nbind = \"127.0.0.1:{port}\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n"
        )
    };
    program.write_config(&config(&backend, &more(taken.local_addr().unwrap().port())));
    let refused = program.command(&["reload"]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("server.listener.more.bind") && refused.error().contains("in use"));

    let state = "state = \"FOLDERdenied\"\n";
    program.write_config(&config(&backend, &format!("{state}{}", more(0))));
    let socket = program.folder.path("admin.sock");
    let reloaded = command(&["reload", "--json"], &socket).ok().json().remove(0);
    support::shapes::assert_promised("Reload", &reloaded);
    let reloaded = command(&["reload"], &socket).ok();
    assert!(reloaded.out().contains("more on 127.0.0.1:"), "{}", reloaded.out());
    assert!(reloaded.out().contains("`admin.state` has changed"), "{}", reloaded.out());
    program.wait_for("event=reloaded");
    let listed = command(&["status", "--json"], &socket).ok().json();
    assert_eq!(listed[0]["listeners"].as_array().unwrap().len(), 2);

    open.write_all(b"NOOP\r\n").unwrap();
    expect(&open, b"250 ok\r\n");
}

#[test]
fn a_reload_moves_the_admin_socket_and_the_status_page_and_whoever_asked_is_answered() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, ""));
    let (old, new) = (program.folder.path("admin.sock"), program.folder.path("admin.sock.other"));
    let other = config(&backend, "[status]\nbind = \"127.0.0.1:0\"\n").replace("ADMIN", "ADMIN.other");
    program.write_config(&other);
    // Asked at the old place, which ends with this answer.
    assert!(command(&["reload"], &old).ok().out().contains("The new configuration holds"));
    program.wait_for("event=reloaded");
    let mut page = program.connect("status");
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(read_to_end(&page).starts_with(b"HTTP/1.1 200 "));
    command(&["status"], &new).ok();
    assert!(support::eventually(|| !old.exists()));

    // One that cannot be had changes nothing at all.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bad = other.replace(
        "[status]\nbind = \"127.0.0.1:0\"",
        &format!("[status]\nbind = \"{}\"", taken.local_addr().unwrap()),
    );
    program.write_config(&bad.replace("ADMIN.other", "ADMIN"));
    let refused = command(&["reload"], &new);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("status.bind: 127.0.0.1:") && refused.error().contains("in use"));
    program.wait_for("event=reload_failed");
    assert!(!old.exists(), "what was bound for it is given up");
    command(&["status"], &new).ok();
    let mut page = program.connect("status");
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(read_to_end(&page).starts_with(b"HTTP/1.1 200 "));

    // And they may end.
    program.write_config(&config(&backend, "").replace("[admin]\nsocket = \"ADMIN\"\n", ""));
    let status = program.address("status");
    command(&["reload"], &new).ok();
    assert!(support::eventually(|| !new.exists()));
    assert!(support::eventually(|| std::net::TcpStream::connect(status).is_err()));
}

#[test]
fn a_server_that_drains_still_answers_but_reloads_no_more() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, ""));
    let mut open = program.connect("door");
    open.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&open, b"220 backend ready\r\n");
    program.signal(Signal::TERM);
    program.wait_for("event=draining");
    let status = program.command(&["status", "--json"]);
    assert_eq!(status.code(), Some(1));
    assert_eq!((&status.json()[0]["draining"], &status.json()[0]["open"]), (&true.into(), &1.into()));
    let refused = program.command(&["reload"]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.error().contains("the server is stopping"), "{}", refused.error());

    open.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&open), b"");
    program.wait_for("event=stopped");
    let folder = program.end();
    assert!(!folder.path("admin.sock").exists(), "the socket is removed at the end");
}

#[test]
fn the_socket_is_for_its_owner_and_takes_the_place_of_a_dead_one_only() {
    let backend = HeaderMailServer::start();
    let folder = Folder::new();
    drop(UnixListener::bind(folder.path("admin.sock")).unwrap());
    let program = Program::start_in(folder, &config(&backend, ""));
    let socket = program.folder.path("admin.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let second = program.command(&["run"]);
    assert_eq!(second.code(), Some(3));
    assert!(
        second.error().contains("admin.socket") && second.error().contains("in use"),
        "{}",
        second.error()
    );
    program.command(&["status"]).ok();
}

#[test]
fn who_cannot_reach_the_server_hears_what_to_do() {
    let folder = Folder::new();
    let missing = command(&["status"], &folder.path("none.sock"));
    assert_eq!(missing.code(), Some(3));
    assert!(missing.error().contains("there is no socket at"), "{}", missing.error());

    drop(UnixListener::bind(folder.path("dead.sock")).unwrap());
    let dead = command(&["connections"], &folder.path("dead.sock"));
    assert_eq!(dead.code(), Some(3));
    assert!(dead.error().contains("nobody answers"), "{}", dead.error());

    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, "").replace("[admin]\nsocket = \"ADMIN\"\n", ""));
    let unset = program.command(&["reload"]);
    assert_eq!(unset.code(), Some(3));
    assert!(unset.error().contains("has no `[admin] socket`: add"), "{}", unset.error());
}

#[test]
fn a_request_that_is_none_gets_an_answer() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    for (request, says) in [
        (b"reload\n".as_slice(), "not JSON"),
        (b"{\"command\":\"dance\"}\n", "no command"),
        (b"{\"command\":\"reload\"}", "one line of at most"),
        (b"\xff\n", "UTF-8"),
    ] {
        let mut stream = UnixStream::connect(program.folder.path("admin.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["ok"], false);
        assert!(answer["error"].as_str().unwrap().contains(says), "{answer}");
    }
}

#[test]
fn visitors_who_finish_no_request_keep_no_operator_waiting() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    let socket = program.folder.path("admin.sock");
    let slow: Vec<_> = (0..200)
        .map(|visitor| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let said: &[u8] = if visitor % 2 == 0 { b"{\"command\":\"status\"}" } else { b"" };
            // One that had to make room already is refused.
            let _ = stream.write_all(said);
            stream
        })
        .collect();
    for command in ["status", "connections"] {
        let asked = Instant::now();
        program.command(&[command]).ok();
        assert!(asked.elapsed() < Duration::from_secs(1), "{command}: {:?}", asked.elapsed());
    }
    // The oldest had to go, and heard why.
    let mut oldest = &slow[0];
    oldest.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    oldest.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("too many ask at once"), "{answer}");
}

#[test]
fn a_server_that_does_not_answer_keeps_no_command_for_ever() {
    let folder = Folder::new();
    let silent = UnixListener::bind(folder.path("admin.sock")).unwrap();
    // Full up to the last place: not even a connection is to be had.
    let full = folder.path("full.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&full).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _waiting = UnixStream::connect(&full).unwrap();

    std::thread::scope(|scope| {
        for (arguments, socket, says) in [
            (vec!["status"], folder.path("admin.sock"), "waited 10 s for the status on "),
            (vec!["connections"], folder.path("admin.sock"), "waited 10 s for the list of connections on "),
            (vec!["deny", "--list"], folder.path("admin.sock"), "waited 10 s for the list of bans on "),
            (vec!["deny", "--feed"], folder.path("admin.sock"), "waited 10 s for the feed's answer on "),
            (vec!["reload"], full.clone(), "waited 5 s for a place in the queue on "),
            (vec!["undeny", "192.0.2.1"], full.clone(), "waited 5 s for a place in the queue on "),
        ] {
            scope.spawn(move || {
                let answer = command(&arguments, &socket);
                assert_eq!(answer.code(), Some(3), "{arguments:?}: {}", answer.error());
                assert!(answer.error().contains(says), "{arguments:?}: {}", answer.error());
            });
        }
    });
    drop(silent);
}

#[test]
fn what_peers_do_again_and_again_is_in_the_log_once_and_in_the_status() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, ""));
    let header = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
    // Nobody has listed it.
    for _ in 0..3 {
        let mut unlisted = support::connect_from([127, 0, 0, 9].into(), program.address("door"));
        unlisted.write_all(header).unwrap();
        read_to_end(&unlisted);
    }
    // It is trusted, and speaks like a client.
    for _ in 0..10 {
        let mut silent = program.connect("door");
        silent.write_all(b"EHLO client.example\r\n").unwrap();
        read_to_end(&silent);
    }
    let said = program.wait_for("habit=never_a_header");
    assert!(said.contains("level=info ") && said.contains("peer=127.0.0.1 "), "{said}");
    assert_eq!(program.count("habit=unlisted_headers"), 1);
    let status = program.command(&["status", "--json"]).ok().json().remove(0);
    let habits: Vec<_> = status["habits"].as_array().unwrap().iter().collect();
    status["habits"].as_array().into_iter().flatten().for_each(|habit| {
        support::shapes::assert_promised("Habit of a peer", habit);
    });
    let shown = |habit: &serde_json::Value| {
        format!("{} {} {} {}", habit["peer"], habit["listener"], habit["habit"], habit["count"])
    };
    assert_eq!(
        habits.iter().map(|habit| shown(habit)).collect::<Vec<_>>(),
        [r#""127.0.0.1" "door" "never_a_header" 10"#, r#""127.0.0.9" "door" "unlisted_headers" 3"#,]
    );
    let text = program.command(&["status"]).ok().out();
    for words in [
        "peers to look at\n  127.0.0.1 is trusted at door and sent no header in any of 10 connections\n",
        "add 127.0.0.9 to `server.listener.door.proxy.trusted-networks`, or to `server.proxy.trusted-networks`",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // One header, and it is a proxy.
    let mut proxy = program.connect("door");
    proxy.write_all(header).unwrap();
    expect(&proxy, b"220 backend ready\r\n");
    proxy.write_all(b"QUIT\r\n").unwrap();
    proxy.shutdown(Shutdown::Write).unwrap();
    read_to_end(&proxy);
    assert!(support::eventually(|| {
        let status = program.command(&["status", "--json"]).ok().json().remove(0);
        status["habits"].as_array().unwrap().len() == 1
    }));
}
