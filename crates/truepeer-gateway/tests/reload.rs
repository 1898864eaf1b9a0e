//! Reloads under load: real clients, the real program, and not one connection or byte lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod program;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use program::{Program, command};
use rustix::process::Signal;
use support::{HeaderMailServer, PATIENCE, expect, read_to_end};

const RELOADS: usize = 200;
const CLIENTS: u32 = 4;
/// What each connection moves each way.
const BYTES: usize = 100_000;

/// Reads a v1 line, then sends back what it hears.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut writer) = stream else { return };
            std::thread::spawn(move || {
                let mut reader = BufReader::new(writer.try_clone().unwrap());
                let mut header = String::new();
                if reader.read_line(&mut header).is_ok() && header.starts_with("PROXY ") {
                    let _ = std::io::copy(&mut reader, &mut writer);
                }
            });
        }
    });
    address
}

/// Bytes that no other connection sends.
fn pattern(client: u32, connection: u32) -> Vec<u8> {
    let seed = client.wrapping_mul(0x9E37_79B9) ^ connection.wrapping_mul(0x85EB_CA6B) | 1;
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(seed), next).map(|state| (state >> 24) as u8).take(BYTES).collect()
}

/// One connection, from its beginning to both ends' last byte.
fn exchange(address: SocketAddr, client: u32, connection: u32) {
    let mut stream = TcpStream::connect(address).expect("nobody is refused");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "PROXY TCP4 203.0.113.{client} 198.51.100.25 4711 25\r\n").unwrap();
    let sent = pattern(client, connection);
    let bytes = sent.clone();
    let mut sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        sender.write_all(&bytes).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::with_capacity(BYTES);
    stream.read_to_end(&mut heard).expect("nobody is reset");
    sending.join().unwrap();
    assert!(heard == sent, "{} of {BYTES} bytes, or others", heard.len());
}

#[test]
fn two_hundred_reloads_under_load_lose_no_connection_and_no_byte() {
    let backend = echo();
    let config = |more: &str| {
        format!(
            "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
             [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"echo\"\n\
             [backend.echo]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n[admin]\nsocket = \"ADMIN\"\n{more}"
        )
    };
    let configs = [
        config("[access]\ndeny = [\"198.51.100.0/24\"]\n"),
        config(
            "[access]\ndeny = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n\
             [server.listener.other]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"echo\"\n",
        ),
    ];
    let mut program = Program::start(&configs[0]);
    let address = program.address("door");
    let mut through_all = program.connect("door");
    through_all.write_all(b"PROXY TCP4 203.0.113.200 198.51.100.25 4711 25\r\n").unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|client| {
            let (over, served) = (Arc::clone(&over), Arc::clone(&served));
            std::thread::spawn(move || {
                for connection in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    exchange(address, client, connection);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for reload in 1..=RELOADS {
        program.write_config(&configs[reload % 2]);
        if reload % 4 < 2 {
            program.signal(Signal::HUP);
        } else {
            program.command(&["reload"]).ok();
        }
        program.wait_for("event=reloaded");
        let word = format!("after {reload}\r\n");
        through_all.write_all(word.as_bytes()).unwrap();
        expect(&through_all, word.as_bytes());
        if reload % 2 == 1 {
            exchange(program.address("other"), 100, u32::try_from(reload).unwrap());
        }
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    through_all.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&through_all), b"");
    // Load there was: as a rule more connections than reloads.
    let served = served.load(Ordering::Relaxed);
    assert!(served >= CLIENTS, "{served} connections");
    program.signal(Signal::TERM);
    program.wait_for("event=stopped");
    program.end();
}

#[test]
fn a_reload_that_cannot_be_says_why_and_changes_nothing() {
    let backend = HeaderMailServer::start();
    let config = |more: &str| {
        format!(
            "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
             [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
             [server.listener.local]\nbind = \"unix:FOLDERdoor.sock\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n{more}\
             [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n[admin]\nsocket = \"ADMIN\"\n",
            backend.address
        )
    };
    let mut program = Program::start(&config(""));
    let socket = program.folder.path("admin.sock");
    let file = program.folder.path("truepeer.toml");
    let refused = |program: &mut Program, says: &[&str]| {
        let answer = command(&["reload"], &socket);
        assert_eq!(answer.code(), Some(1));
        let logged = program.wait_for("event=reload_failed");
        for text in says {
            assert!(answer.error().contains(text), "{text} in {}", answer.error());
            assert!(logged.contains(text), "{text} in {logged}");
        }
    };
    std::fs::remove_file(&file).unwrap();
    refused(&mut program, &["there is no such file", "truepeer.toml"]);
    std::fs::write(&file, "[server\n").unwrap();
    refused(&mut program, &["truepeer.toml:1"]);
    std::fs::write(&file, b"[server]\n\xff\n").unwrap();
    refused(&mut program, &["line 2 is not UTF-8"]);
    program::write_config(&program.folder, &config("socket-mode = \"0660\"\n"));
    refused(
        &mut program,
        &["server.listener.local.bind: unix:", "`socket-mode` is decided when its socket is made: restart"],
    );

    program::write_config(&program.folder, &config(""));
    program.command(&["reload"]).ok();
    let mut client = program.connect("door");
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n");
}

#[test]
fn a_reload_names_the_settings_that_take_a_restart() {
    let backend = echo();
    let config = |server: &str, limits: &str| {
        format!(
            "[server]\n{server}\n[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"echo\"\n\
             [backend.echo]\nhandoff = \"proxy-v1\"\naddress = \"{backend}\"\n[limits]\n{limits}\n[admin]\nsocket = \"ADMIN\"\n"
        )
    };
    let mut program = Program::start(&config("", ""));
    program.write_config(&config("max-connections = 100\nproxy.max-pending = 100", "max-clients = 2000"));
    let said = program.command(&["reload"]).ok().out();
    for key in ["server.max-connections", "server.proxy.max-pending", "limits.max-clients"] {
        assert!(said.contains(&format!("`{key}` has changed, but is read at start only")), "{said}");
        program.wait_for(&format!("key={key} advice=\"it is read at start only"));
    }
    program.write_config(&config("", ""));
    assert!(!program.command(&["reload"]).ok().out().contains("at start only"));
}
