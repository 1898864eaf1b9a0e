//! Connections that are given to programs: the very socket, the client in the environment, and no relay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

use crate::support;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::program::{BINARY, Folder, Program};
use crate::support::exec::{V1, ask, config, house, sh, text};
use crate::support::{House, expect};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::rooms::backend::{Readiness, Unready};

/// The environment that a program printed.
fn sorted(environment: &str) -> Vec<&str> {
    let mut lines: Vec<_> =
        environment.lines().filter(|line| !line.starts_with("PROXY_CONNECTION=")).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_client_is_in_the_environment_and_nothing_of_ours() {
    let house = house("\"/usr/bin/env\"");
    let stream = house.connect();
    let proxy = stream.local_addr().unwrap();
    let said = ask(stream, V1);
    let mut expected = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "PROTO=TCP".to_owned(),
        "PROXY_ADDR=127.0.0.1".to_owned(),
        format!("PROXY_PORT={}", proxy.port()),
        "REMOTE_ADDR=203.0.113.7".to_owned(),
        "REMOTE_HOST=203.0.113.7".to_owned(),
        "REMOTE_PORT=4711".to_owned(),
        "TCPLOCALIP=198.51.100.25".to_owned(),
        "TCPLOCALPORT=25".to_owned(),
        "TCPREMOTEIP=203.0.113.7".to_owned(),
        "TCPREMOTEPORT=4711".to_owned(),
    ];
    expected.sort_unstable();
    assert_eq!(sorted(&said), expected);
    let record = house.record();
    record.assert_outcome(Outcome::Done);
    record.assert(&[
        ("client", "203.0.113.7:4711"),
        ("handoff", "exec"),
        ("backend_address", "exec:/usr/bin/env"),
        ("exit", "0"),
    ]);
    assert!(said.contains(&format!("PROXY_CONNECTION={}", record.get("id").unwrap())), "{said}");

    // Whoever comes without a proxy is the client, and finds no proxy there.
    let direct = house.connect_from([127, 0, 0, 2].into());
    let ours = direct.local_addr().unwrap();
    let said = ask(direct, b"");
    for line in ["REMOTE_ADDR=127.0.0.2".to_owned(), format!("TCPREMOTEPORT={}", ours.port())] {
        assert!(said.lines().any(|said| said == line), "{line} in {said}");
    }
    assert!(!said.contains("PROXY_ADDR") && !said.contains("203.0.113"), "{said}");
}

/// A service that may open low ports or load programs into the kernel does not hand that on. The right is this thread's,
/// and of those that it starts.
#[test]
fn a_program_has_none_of_our_capabilities() {
    use rustix::thread::{
        CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities,
    };
    let mut sets = capabilities(None).unwrap();
    sets.inheritable |= CapabilitySet::NET_BIND_SERVICE;
    if set_capabilities(None, sets).is_err()
        || configure_capability_in_ambient_set(CapabilitySet::NET_BIND_SERVICE, true).is_err()
    {
        eprintln!("skipped: a right to hand on (this user has none)");
        return;
    }
    let ours = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(!ours.contains("CapAmb:\t0000000000000000\n"), "{ours}");
    let house = house(&sh("exec grep CapAmb /proc/self/status"));
    assert_eq!(ask(house.connect(), V1), "CapAmb:\t0000000000000000\n");
}

#[test]
fn what_a_proxy_tells_of_tls_is_there_and_odd_words_are_not() {
    let house = house("\"/usr/bin/env\"");
    let ssl = |version: &[u8]| {
        let mut value = vec![0x01, 0, 0, 0, 0, 0x21, 0, version.len().try_into().unwrap()];
        value.extend_from_slice(version);
        value
    };
    for (version, told) in
        [(&b"TLSv1.3"[..], true), (b"() { :; }; id", false), (b"a\nREMOTE_ADDR=::1", false)]
    {
        let mut tlvs = Vec::new();
        for (kind, value) in [(0x20_u8, ssl(version)), (0x02, b"mx.example".to_vec())] {
            tlvs.push(kind);
            tlvs.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            tlvs.extend_from_slice(&value);
        }
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        header.extend_from_slice(&u16::try_from(12 + tlvs.len()).unwrap().to_be_bytes());
        header.extend_from_slice(&[203, 0, 113, 7, 198, 51, 100, 25, 0x12, 0x67, 0, 25]);
        header.extend_from_slice(&tlvs);
        let said = ask(house.connect(), &header);
        assert_eq!(said.contains("PROXY_TLS=TLSv1.3\n"), told, "{said}");
        assert!(said.contains("PROXY_AUTHORITY=mx.example\n"), "{said}");
        assert_eq!(said.matches("REMOTE_ADDR=").count(), 1, "{said}");
    }
}

#[test]
fn the_header_is_taken_and_not_a_byte_more() {
    let house = house("\"/bin/cat\"");
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    // In one piece with what follows ...
    let mut stream = house.connect();
    let mut sender = stream.try_clone().unwrap();
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        sender.write_all(&[V1, &sent].concat()).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    sending.join().unwrap();
    assert!(heard == body, "{} bytes came back", heard.len());
    // ... and in the smallest ones.
    let mut stream = house.connect();
    stream.set_nodelay(true).unwrap();
    for byte in V1 {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(b"hello\n").unwrap();
    expect(&stream, b"hello\n");
    drop(stream);
    for _ in 0..2 {
        house.record().assert(&[("outcome", "done"), ("client", "203.0.113.7:4711")]);
    }
}

#[test]
fn every_header_of_a_chain_is_taken_and_not_a_byte_more() {
    let more = "proxy.hop-networks = [\"192.0.2.9\"]";
    let house = House::start(&config(&text("tcp", "\"/bin/cat\"", "", more)));
    let chain =
        b"PROXY TCP4 192.0.2.9 198.51.100.25 1 25\r\nPROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nhello";
    assert_eq!(ask(house.connect(), chain), "hello");
    house.record().assert(&[("client", "203.0.113.7:4711"), ("hops", "192.0.2.9:1")]);
}

#[test]
fn a_client_without_a_header_keeps_its_first_bytes_where_they_had_to_be_looked_at() {
    let more = "proxy.missing-header = \"unsafe-client-is-peer\"";
    let house = House::start(&config(&text("tcp", "\"/bin/cat\"", "", more)));
    let mut stream = house.connect();
    // Could become a header, and does not.
    stream.write_all(b"PRO").unwrap();
    stream.write_all(b"CEED\n").unwrap();
    expect(&stream, b"PROCEED\n");
    drop(stream);
    house.record().assert(&[("outcome", "done"), ("source", "direct")]);
}

#[test]
fn who_closes_inside_the_header_is_noticed_at_once() {
    let house = house("\"/bin/cat\"");
    let mut stream = house.connect();
    stream.write_all(&V1[..20]).unwrap();
    // Looked at, and left in the socket, when the end comes.
    house.wait_for_open(1);
    drop(stream);
    house.record().assert_outcome(Outcome::HeaderTruncated);
    drop(house.connect());
    house.wait_for_open(0);
    assert!(house.finish().is_empty(), "a probe, and no header that was late");
}

#[test]
fn it_is_given_the_very_socket_and_no_other_descriptor() {
    let table = "cat /proc/$$/fdinfo/0; readlink /proc/$$/fd/0 /proc/$$/fd/1; pwd; cat /proc/net/tcp";
    let house = house(&sh(table));
    let stream = house.connect();
    let port = stream.local_addr().unwrap().port();
    let said = ask(stream, V1);
    let flags = said.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    assert_eq!(i32::from_str_radix(flags.trim(), 8).unwrap() & 0o4000, 0, "its calls wait: {flags}");
    let sockets: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("socket:[")).collect();
    assert!(sockets.len() == 2 && sockets[0] == sockets[1], "{sockets:?}");
    assert!(said.contains("]\n/\n"), "where it starts");
    // The kernel's list has that socket with the proxy at its other end: nothing is in between.
    let column = |line: &str, number: usize| line.split_whitespace().nth(number).map(str::to_owned);
    let inode = sockets[0].trim_end_matches(']').to_owned();
    let row = said.lines().find(|line| column(line, 9).as_ref() == Some(&inode)).expect("its row");
    assert_eq!(column(row, 2), Some(format!("0100007F:{port:04X}")), "{row}");

    // Besides, there is the folder that `ls` itself reads, and what whoever runs these tests left open.
    let house = self::house("[\"/bin/ls\", \"-l\", \"/proc/self/fd\"]");
    let said = ask(house.connect(), V1);
    let lines = said.lines().filter_map(|line| line.split_once(" -> "));
    let has = lines.map(|(fd, to)| (fd.rsplit(' ').next().unwrap().parse::<u32>().unwrap(), to));
    let (own, other): (Vec<_>, Vec<_>) =
        has.filter(|(fd, _)| !inherited().contains(fd)).partition(|(fd, _)| *fd < 3);
    assert!(own.len() == 3 && own[0].1 == own[1].1 && own[2].1.starts_with("pipe:"), "{said}");
    assert!(other.len() == 1 && other[0].1.starts_with("/proc/"), "{said}");
}

/// Descriptors that every program inherits which this process starts: none of them is truepeer's.
fn inherited() -> Vec<u32> {
    const CLOEXEC: u32 = 0o2_000_000;
    let flags = |info: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix("flags:"));
        line.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
    };
    let all = std::fs::read_dir("/proc/self/fdinfo").unwrap().map(|entry| entry.unwrap().path());
    let passed_on = |path: &std::path::PathBuf| {
        // One that is closed meanwhile was somebody's.
        flags(&std::fs::read_to_string(path).unwrap_or_default()).is_some_and(|flags| flags & CLOEXEC == 0)
    };
    let number = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    all.filter(passed_on).map(number).filter(|fd| *fd > 2).collect()
}

#[test]
fn it_starts_with_no_signal_blocked_and_is_ended_by_writing_to_nobody() {
    let house = house("[\"/bin/cat\", \"/proc/self/status\"]");
    let said = ask(house.connect(), V1);
    let mask = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    const PIPE: u64 = 1 << (13 - 1);
    assert_eq!((mask("SigBlk:"), mask("SigIgn:") & PIPE), (0, 0), "{said}");
}

#[test]
fn it_is_given_a_unix_socket_as_well() {
    let folder = Folder::new();
    let path = folder.path("door.sock");
    let text = text("tcp", "\"/usr/bin/env\"", "", "")
        .replace("\"127.0.0.1:0\"", &format!("\"unix:{}\"", path.display()))
        // Its section is the last.
        + "proxy.trusted-networks = [\"unix\"]\n";
    let house = House::start(&config(&text));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    for part in V1.chunks(7) {
        stream.write_all(part).unwrap();
    }
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains("TCPREMOTEIP=203.0.113.7\n") && !said.contains("PROXY_ADDR"), "{said}");
    house.record().assert(&[("outcome", "done"), ("peer", "unix")]);
}

#[test]
fn how_a_program_ended_is_in_the_record() {
    for (script, outcome, exit) in [
        ("exit 0", Outcome::Done, "0"),
        ("exit 255", Outcome::Done, "255"),
        ("kill -SEGV $$", Outcome::BackendFailed, "signal 11"),
    ] {
        let house = house(&sh(script));
        assert_eq!(ask(house.connect(), V1), "");
        let record = house.record();
        record.assert_outcome(outcome);
        record.assert(&[("exit", exit)]);
    }
}

#[test]
fn a_denied_client_starts_nothing() {
    let folder = Folder::new();
    let witness = folder.path("started");
    let script = format!("touch {}", witness.display());
    let more = "[access]\ndeny = [\"203.0.113.0/24\"]";
    let house = House::start(&config(&text("smtp", &sh(&script), "", more)));
    assert!(ask(house.connect(), &[V1, b"EHLO x\r\n"].concat()).starts_with("554 "));
    house.record().assert_outcome(Outcome::AccessDenied);
    assert!(!witness.exists());
}

#[test]
fn a_second_header_that_is_there_starts_nothing() {
    let folder = Folder::new();
    let witness = folder.path("started");
    let house = house(&sh(&format!("touch {}; cat", witness.display())));
    let other = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n";
    assert_eq!(ask(house.connect(), &[V1, other].concat()), "");
    house.record().assert_outcome(Outcome::HeaderRepeated);
    assert!(!witness.exists());
    // Nobody speaks for others without being trusted. What comes before it is looked at is refused, what comes later is
    // the program's to read, and never believed by us.
    let mut forger = house.connect_from([127, 0, 0, 2].into());
    let _ = forger.write_all(V1);
    drop(forger);
    let record = house.record();
    assert!(["untrusted_header", "done"].contains(&record.get("outcome").unwrap()), "{record:?}");
    record.assert(&[("source", "direct")]);
}

#[test]
fn a_program_that_cannot_be_run_is_never_given_a_client() {
    let folder = Folder::new();
    let plain = folder.path("plain");
    std::fs::write(&plain, "no program").unwrap();
    for (path, why) in
        [("/nonexistent/program", "No such file"), (plain.to_str().unwrap(), "denied"), ("/tmp", "directory")]
    {
        let text = text("smtp", &format!("\"{path}\""), "", "");
        let house = House::start(&config(&text));
        let unready = house.readiness();
        assert!(
            matches!(&*unready, Readiness::Unready(Unready::Unreachable { error }) if error.contains(why)),
            "{unready:?}"
        );
        assert!(ask(house.connect(), V1).starts_with("421 "));
        house.record().assert_outcome(Outcome::BackendUnready);
        // `check` says it before.
        std::fs::write(folder.path("truepeer.toml"), &text).unwrap();
        let check =
            Command::new(BINARY).args(["check", "--config"]).arg(folder.path("truepeer.toml")).output();
        let said = String::from_utf8(check.unwrap().stdout).unwrap();
        assert!(said.contains(&format!("backend.b.exec.command: `{path}` cannot be run: ")), "{said}");
    }
}

#[test]
fn a_program_that_does_not_start_costs_its_client_a_temporary_refusal() {
    let folder = Folder::new();
    let script = folder.path("script");
    // There, and may be run; its interpreter is not.
    std::fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    set_mode(&script, "755");
    let house = House::start(&config(&text("smtp", &format!("\"{}\"", script.display()), "", "")));
    assert!(ask(house.connect(), V1).starts_with("421 "));
    let record = house.record();
    record.assert_outcome(Outcome::BackendRefused);
    assert!(record.get("cause").unwrap().contains("cannot be started"), "{record:?}");
    assert_eq!(house.server.pools()[0].programs().running(), 0);
}

fn set_mode(path: &Path, mode: &str) {
    assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
}

#[test]
fn what_it_complains_of_is_in_the_log_line_by_line() {
    let script =
        "echo one >&2; printf two >&2; i=0; while [ $i -lt 150 ]; do echo more >&2; i=$((i+1)); done";
    let mut program = Program::start(&text("tcp", &sh(script), "", ""));
    let stream = program.connect("door");
    assert_eq!(ask(stream, V1), "");
    let line = program.wait_for("event=program_said");
    assert!(line.contains("backend=b") && line.contains("line=one"), "{line}");
    let first_of_many = program.wait_for("event=program_said");
    assert!(first_of_many.contains("line=twomore"), "{first_of_many}");
    let last = program.wait_for("more lines are left out");
    assert!(last.contains("(51 more lines are left out)"), "{last}");
    program.wait_for("outcome=done");
    assert_eq!(program.count("event=program_said"), 101);
}

#[test]
fn it_runs_as_whom_and_where_it_is_told() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let house = House::start(&config(&text(
        "tcp",
        &sh("id -u; id -g; id -G; pwd"),
        "exec.user = \"65533:65532\"\nexec.directory = \"/tmp\"",
        "",
    )));
    assert_eq!(ask(house.connect(), V1), "65533\n65532\n65532\n/tmp\n");
}

#[test]
fn a_thousand_connections_each_hear_of_themselves() {
    let house =
        House::start(&config(&text("tcp", "\"/usr/bin/env\"", "exec.rate = \"off\"\nexec.max = 200", "")));
    let address: SocketAddr = house.address();
    let ask_for = |lane: u16| {
        for number in 0..250_u16 {
            let port = lane * 1000 + number + 1;
            let header = format!("PROXY TCP4 203.0.113.{} 198.51.100.25 {port} 25\r\n", lane + 1);
            let said = ask(TcpStream::connect(address).unwrap(), header.as_bytes());
            let client = format!("TCPREMOTEIP=203.0.113.{}\n", lane + 1);
            assert!(said.contains(&client) && said.contains(&format!("TCPREMOTEPORT={port}\n")), "{said}");
        }
    };
    std::thread::scope(|scope| {
        for lane in 0..4 {
            scope.spawn(move || ask_for(lane));
        }
    });
    let programs = || house.server.pools()[0].programs().running();
    assert!(support::eventually(|| programs() == 0), "{}", programs());
    let records = house.finish();
    let done = records.iter().filter(|record| record.get("outcome") == Some("done")).count();
    assert_eq!((records.len(), done), (1000, 1000));
}
