//! Reloads under load: real clients, the real program, and not one connection or byte lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::program;
use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::program::{Program, command};
use crate::support::exchange::{echo, exchange};
use crate::support::{HeaderMailServer, expect, read_to_end};
use rustix::process::Signal;

const RELOADS: usize = 200;
const CLIENTS: u32 = 4;
/// What each connection moves each way.
const BYTES: usize = 100_000;

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
                    exchange(address, client, connection, BYTES);
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
            exchange(program.address("other"), 100, u32::try_from(reload).unwrap(), BYTES);
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
    // What is no socket is not replaced by one.
    std::fs::write(program.folder.path("notes"), "precious").unwrap();
    program::write_config(&program.folder, &config("").replace("door.sock", "notes"));
    refused(&mut program, &["server.listener.local.bind: unix:", "a file that is no socket is there"]);
    assert_eq!(program.folder.read("notes"), "precious");

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
