//! Addresses that a reload gives another purpose or another form: in one step, with nobody refused, or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::program::{Program, command};
use crate::support::fake::Nobody;
use crate::support::{HeaderMailServer, PATIENCE, eventually};

/// A front door with the addresses of `door`, its health ports and the status page; an empty one is left out.
fn config(backend: &HeaderMailServer, door: &str, health: &str, status: &str) -> String {
    let line = |key: &str, value: &str| match value {
        "" => String::new(),
        value => format!("{key} = {value}\n"),
    };
    format!(
        "[server.listener.door]\n{}{}protocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\", \"unix\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n[status]\n{}[admin]\nsocket = \"ADMIN\"\n",
        line("bind", door),
        line("health-bind", health),
        backend.address,
        line("bind", status)
    )
}

const ELSEWHERE: &str = "\"127.0.0.1:0\"";

/// Somebody listens there at any time. `None` for who comes in the instant between a socket's last look into its queue
/// and its end: the kernel has no way to do both at once, and resets it.
fn connect(at: SocketAddr) -> Option<TcpStream> {
    let stream = match TcpStream::connect(at) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
        Err(error) => panic!("nobody is refused: {error}"),
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Some(stream)
}

/// What `at` answers to `words`.
fn answer(at: SocketAddr, words: &[u8]) -> Vec<u8> {
    let Some(mut stream) = connect(at) else { return Vec::new() };
    if stream.write_all(words).is_err() {
        return Vec::new();
    }
    first_bytes(&stream)
}

fn first_bytes(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = [0; 64];
    let read = stream.read(&mut bytes).unwrap_or_default();
    bytes[..read].to_vec()
}

/// What `at` is for: it greets behind a header only, or at once, or answers HTTP.
fn serves_clients(at: SocketAddr) -> bool {
    answer(at, b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").starts_with(b"220 backend ready")
}

fn serves_checks(at: SocketAddr) -> bool {
    let said = answer(at, b"QUIT\r\n");
    said.starts_with(b"220 ") && !said.starts_with(b"220 backend")
}

fn serves_status(at: SocketAddr) -> bool {
    answer(at, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").starts_with(b"HTTP/1.1 200")
}

/// Hidden files in the program's folder: names that a socket had before it was moved to its own.
fn left_over(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with('.')).collect()
}

#[test]
fn an_address_goes_from_one_purpose_to_the_next_in_one_reload_and_refuses_nobody() {
    let backend = HeaderMailServer::start();
    let nobody = Nobody::new();
    let at = nobody.address();
    let here = format!("\"{at}\"");
    let (as_bind, as_health, as_status) = (
        config(&backend, &here, ELSEWHERE, ELSEWHERE),
        config(&backend, ELSEWHERE, &here, ELSEWHERE),
        config(&backend, ELSEWHERE, ELSEWHERE, &here),
    );
    let program = Program::start(&as_bind);
    let socket = program.folder.path("admin.sock");
    let over = Arc::new(AtomicBool::new(false));
    let others = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let mut connected = 0_u32;
            while !over.load(Ordering::Relaxed) {
                drop(connect(at));
                connected += 1;
            }
            connected
        })
    };
    type Serves = fn(SocketAddr) -> bool;
    let steps: [(&String, Serves); 6] = [
        (&as_health, serves_checks),
        (&as_status, serves_status),
        (&as_bind, serves_clients),
        (&as_status, serves_status),
        (&as_health, serves_checks),
        (&as_bind, serves_clients),
    ];
    for (number, (config, serves)) in steps.iter().enumerate() {
        program.write_config(config);
        command(&["reload"], &socket).ok();
        // Who comes to the old socket before it is closed still finds what that was for.
        assert!(eventually(|| (0..20).all(|_| serves(at))), "step {number}: only one of the two is left");
    }
    over.store(true, Ordering::Relaxed);
    assert!(others.join().unwrap() > 0);
}

#[test]
fn a_wildcard_gives_way_to_one_of_its_addresses_and_to_its_other_family() {
    let backend = HeaderMailServer::start();
    let nobody = Nobody::new();
    let at = nobody.address();
    let port = at.port();
    let forms = [
        format!("\"0.0.0.0:{port}\""),
        format!("\"127.0.0.1:{port}\""),
        format!("\"[::]:{port}\""),
        format!("[\"[::]:{port}\", \"0.0.0.0:{port}\"]"),
        format!("\"[::]:{port}\""),
    ];
    let program = Program::start(&config(&backend, &forms[0], "", ELSEWHERE));
    let socket = program.folder.path("admin.sock");
    for form in &forms[1..] {
        program.write_config(&config(&backend, form, "", ELSEWHERE));
        command(&["reload"], &socket).ok();
        assert!(eventually(|| serves_clients(at)), "{form}");
    }
}

#[test]
fn a_unix_socket_changes_its_purpose_and_its_mode_and_leaves_nothing_behind() {
    let backend = HeaderMailServer::start();
    let here = "\"unix:FOLDERx.sock\"";
    let program = Program::start(&config(&backend, here, "", ELSEWHERE));
    let (socket, path) = (program.folder.path("admin.sock"), program.folder.path("x.sock"));
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let says = |words: &[u8], answer: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(words).unwrap();
        first_bytes(&stream).starts_with(answer)
    };
    let header = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
    assert!(says(header, b"220 backend ready"));
    assert_eq!(mode(), 0o600);

    let reload = |text: &str| {
        program.write_config(text);
        command(&["reload"], &socket).ok();
    };
    let wider =
        config(&backend, here, "", ELSEWHERE).replace("protocol =", "socket-mode = \"0660\"\nprotocol =");
    reload(&wider);
    assert_eq!(mode(), 0o660);
    assert!(says(header, b"220 backend ready"));

    reload(&config(&backend, ELSEWHERE, here, ELSEWHERE));
    assert!(says(b"QUIT\r\n", b"220 "));
    reload(&config(&backend, ELSEWHERE, "", here));
    assert!(says(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200"));
    reload(&config(&backend, here, "", ELSEWHERE));
    assert!(says(header, b"220 backend ready"));
    assert_eq!(left_over(&program.folder.0), [""; 0]);

    // The path stays with its last owner, whose end removes it.
    reload(&config(&backend, ELSEWHERE, "", ELSEWHERE));
    assert!(eventually(|| !path.exists()));
}

#[test]
fn a_reload_that_moves_an_address_and_fails_behind_that_changes_nothing() {
    let backend = HeaderMailServer::start();
    let nobody = Nobody::new();
    let at = nobody.address();
    let here = format!("\"{at}\"");
    let unix = "\"unix:FOLDERx.sock\"";
    let both = format!("[\"{at}\", {unix}]");
    let start = config(&backend, &both, ELSEWHERE, ELSEWHERE);
    let mut program = Program::start(&start);
    let socket = program.folder.path("admin.sock");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let by_another = format!("\"{}\"", taken.local_addr().unwrap());
    for (bad, setting) in [
        // The status page is bound first, listeners behind it.
        (config(&backend, &by_another, &both, ELSEWHERE), "server.listener.door.bind"),
        (config(&backend, &by_another, unix, &here), "server.listener.door.bind"),
        (config(&backend, ELSEWHERE, &both, &by_another), "status.bind"),
    ] {
        program.write_config(&bad);
        let refused = command(&["reload"], &socket);
        assert_eq!(refused.code(), Some(1));
        assert!(refused.error().contains(setting) && refused.error().contains("in use by another program"));
        program.wait_for("event=reload_failed");
        assert!((0..20).all(|_| serves_clients(at)), "nothing else listens there");
        let mut stream = UnixStream::connect(program.folder.path("x.sock")).unwrap();
        stream.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
        let mut greeting = [0; 19];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 backend ready\r\n");
        assert_eq!(left_over(&program.folder.0), [""; 0]);
    }
    // And it goes on from there.
    program.write_config(&config(&backend, ELSEWHERE, &both, ELSEWHERE));
    command(&["reload"], &socket).ok();
    assert!(eventually(|| serves_checks(at)));
}
