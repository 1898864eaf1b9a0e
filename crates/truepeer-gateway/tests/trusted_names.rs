//! `proxy.trusted-names`, with the system's resolver and the one name that it always knows: `localhost`.
//!
//! What answers that move, fail and surprise do is tested beside the code with resolvers that are made up; a name server
//! of its own has the case in `interop/`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use crate::program::{Program, field};
use crate::support::{HeaderMailServer, expect, read_to_end};
use rustix::process::Signal;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";

fn config(backend: &HeaderMailServer, proxy: &str) -> String {
    format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy = {{ {proxy} }}\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [admin]\nsocket = \"ADMIN\"\n",
        backend.address
    )
}

/// Sends a header, and then what a client would.
fn proxied(program: &Program) -> TcpStream {
    let mut client = program.connect("door");
    client.write_all(HEADER).unwrap();
    client.write_all(b"NOOP\r\n").unwrap();
    client
}

#[test]
fn a_peer_whose_address_the_name_stands_for_must_send_a_header_and_is_believed() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, "trusted-names = [\"localhost\"]"));
    let changed = program.seen.iter().find(|line| line.contains("event=trusted_name_changed")).unwrap();
    assert_eq!(field(changed, "name"), Some("localhost"));
    assert!(field(changed, "addresses").unwrap().contains("127.0.0.1"), "{changed}");
    let surprising = program.seen.iter().find(|line| line.contains("event=trusted_name_surprising")).unwrap();
    assert!(surprising.contains("loopback"), "{surprising}");

    let client = proxied(&program);
    expect(&client, b"220 backend ready\r\n250 ok\r\n");
    drop(client);
    let record = program.wait_for("event=connection");
    assert_eq!(field(&record, "client"), Some("203.0.113.7:4711"));
    assert_eq!(backend.heard().0, String::from_utf8_lossy(HEADER).trim_end());

    let mut silent = program.connect("door");
    silent.write_all(b"NOOP\r\n").unwrap();
    assert_eq!(read_to_end(&silent), b"");
    assert_eq!(field(&program.wait_for("event=connection"), "outcome"), Some("header_missing"));
}

#[test]
fn status_says_what_each_name_means_and_no_ban_holds_it() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, "trusted-names = [\"localhost\"]"));
    let status = program.command(&["status", "--json"]).ok().json().remove(0);
    let name = &status["trusted_names"][0];
    assert_eq!(name["name"], "localhost");
    assert!(name["addresses"].as_array().unwrap().contains(&"127.0.0.1".into()), "{name}");
    assert!(name["since"].is_string() && name["changed_ms"].is_u64() && name["failing"].is_null(), "{name}");
    assert!(name["advice"][0].as_str().unwrap().contains("loopback"), "{name}");
    let text = program.command(&["status"]).ok().out();
    assert!(text.contains("\ntrusted names\n  localhost: 127.0.0.1"), "{text}");
    let refused = program.command(&["deny", "127.0.0.1", "--for", "1h"]);
    assert_ne!(refused.code(), Some(0));
    assert!(refused.error().contains("trusted-names (`localhost`)"), "{}", refused.error());
}

#[test]
fn a_reload_takes_names_away_and_brings_them() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, "trusted-names = [\"localhost\"]"));
    for (proxy, outcome) in [
        ("trusted-names = \"off\"", "untrusted_header"),
        ("trusted-names = [\"localhost\"]", "done"),
        ("trusted-networks = [\"192.0.2.1\"]", "untrusted_header"),
    ] {
        program.write_config(&config(&backend, proxy));
        program.signal(Signal::HUP);
        program.wait_for("event=reloaded");
        let client = proxied(&program);
        if outcome == "done" {
            expect(&client, b"220 backend ready\r\n250 ok\r\n");
        }
        drop(client);
        assert_eq!(field(&program.wait_for("event=connection"), "outcome"), Some(outcome), "{proxy}");
    }
}

#[test]
fn check_says_what_each_name_means_now_and_what_is_surprising() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, "trusted-names = [\"localhost\"]"));
    let check = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truepeer"));
        command.args(["check", "--config"]).arg(program.folder.path("truepeer.toml")).args(more);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said = check(&[]);
    assert!(said.contains("trusted name `localhost`: now 127.0.0.1"), "{said}");
    assert!(said.contains("advice: proxy.trusted-names: `localhost`: 127.0.0.1 is loopback"), "{said}");
    let said = check(&["--explain-ip", "127.0.0.1"]);
    assert!(
        said.contains("must send a header") && said.contains("`localhost`, which stands for it now"),
        "{said}"
    );
    let said = check(&["--explain-ip", "127.0.0.9"]);
    assert!(said.contains("the client itself"), "{said}");
}
