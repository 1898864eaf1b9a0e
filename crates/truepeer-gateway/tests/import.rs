//! `truepeer import stalwart`, the real command: what it prints passes `check`, starts, and serves through proxies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::program;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{Answer, BINARY, Folder, Program};
use crate::support::fake::{Fake, answer_lines};
use crate::support::shapes::assert_documented;
use crate::support::space::inside;
use crate::support::{PATIENCE, expect};

fn inputs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/import")
}

/// Run in the folder of the inputs, so that messages name no other path.
fn import(arguments: &[&str]) -> Answer {
    let output = Command::new(BINARY)
        .args(["import", "stalwart"])
        .args(arguments)
        .current_dir(inputs())
        .output()
        .unwrap();
    Answer(output)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_form_comes_out_as_expected_and_passes_check() {
    let mut seen = 0;
    for name in files(&inputs()).iter().filter(|name| *name != "README.md") {
        let done = import(&[name]).ok();
        assert_eq!(done.error(), "", "{name}");
        let expected = inputs().join("expected").join(format!("{name}.truepeer.toml"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(inputs().join("expected")).unwrap();
            std::fs::write(&expected, done.out()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&expected).unwrap_or_default(), done.out(), "{name}");
        let folder = Folder::new();
        program::write_config(&folder, &done.out());
        let check =
            Command::new(BINARY).args(["check", "--config"]).arg(folder.path("truepeer.toml")).output();
        let check = Answer(check.unwrap()).ok();
        assert!(check.out().contains("is in order"), "{name}: {}", check.out());
        seen += 1;
    }
    assert!(seen >= 9, "{seen}");
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_nothing_is_printed() {
    let mut seen = 0;
    for name in files(&inputs().join("bad")).iter().filter(|name| !name.ends_with(".says")) {
        let says = std::fs::read_to_string(inputs().join(format!("bad/{name}.says"))).unwrap();
        let refused = import(&[&format!("bad/{name}")]);
        assert_eq!(refused.code(), Some(1), "{name}");
        assert_eq!(refused.out(), "", "{name}");
        assert_eq!(refused.error(), format!("error: bad/{name}: {says}"), "{name}");
        seen += 1;
    }
    assert!(seen >= 15, "{seen}");
    for (arguments, code, says) in [
        (
            &["no-such-file"][..],
            1,
            "error: no-such-file: the file cannot be read: No such file or directory (os error 2)\n",
        ),
        (&["."], 1, "error: .: the file cannot be read: Is a directory (os error 21)\n"),
    ] {
        let refused = import(arguments);
        assert_eq!(
            (refused.code(), refused.out().as_str(), refused.error().as_str()),
            (Some(code), "", says)
        );
    }
    assert_eq!(import(&[]).code(), Some(2));
    assert_eq!(import(&["stock.toml", "--behind", "nowhere"]).code(), Some(2));
}

#[test]
fn for_a_program_there_is_one_object() {
    let done = import(&["blocked-and-allowed.toml", "--json"]).ok();
    let objects = done.json();
    assert_eq!(objects.len(), 1);
    let object = &objects[0];
    assert_eq!(object["config"].as_str().unwrap(), import(&["blocked-and-allowed.toml"]).out());
    assert_eq!(object["stalwart"][0], "server.listener.imap.bind = [\"127.0.0.1:10143\"]");
    let notes = object["notes"].as_array().unwrap();
    assert_documented("Import", object);
    notes.iter().for_each(|note| assert_documented("Import note", note));
    let inert = notes.iter().find(|note| note["key"] == "server.security.allowed-ip.0000").unwrap();
    assert_eq!((inert["line"].as_u64(), inert["kind"].as_str()), (Some(12), Some("stalwart")));
    let kinds: Vec<_> = notes.iter().map(|note| note["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["left-out", "meaning", "meaning", "meaning", "stalwart"]);
    let object = &import(&["snapshot-0.16.json", "--json"]).ok().json()[0];
    let note = &object["notes"][0];
    assert_documented("Import note", note);
    assert_eq!((note["object"].as_str(), note["line"].as_u64()), (Some("SystemSettings"), None));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let help = import(&["--help"]).ok().out();
    for text in
        ["Exit codes: 0", "Examples:", "--keep-ports", "stalwart-cli snapshot | truepeer import stalwart -"]
    {
        assert!(help.contains(text), "{text}: {help}");
    }
}

#[test]
fn what_is_printed_starts_and_hands_clients_to_stalwart_behind() {
    inside("import::what_is_printed_starts_and_hands_clients_to_stalwart_behind", || {
        let folder = Folder::new();
        let input = "[server]\nhostname = \"mail.example.org\"\nproxy.trusted-networks = {\"127.0.0.1\"}\n\
                     [server.listener.smtp]\nbind = \"[::]:25\"\nprotocol = \"smtp\"\n\
                     [server.listener.imaptls]\nbind = \"[::]:993\"\nprotocol = \"imap\"\ntls.implicit = true\n\
                     [server.blocked-ip]\n\"203.0.113.66\" = \"\"\n";
        std::fs::write(folder.path("config.toml"), input).unwrap();
        let done = Command::new(BINARY)
            .args(["import", "stalwart"])
            .arg(folder.path("config.toml"))
            .output()
            .unwrap();
        let config = Answer(done).ok().out();
        // As it would listen behind us: not a word before the header.
        let stalwart = Fake::on(TcpListener::bind("127.0.0.1:10025").unwrap(), |mut stream| {
            let mut header = [0; 16];
            if stream.read_exact(&mut header).is_err() {
                return Vec::new();
            }
            let mut rest = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
            stream.read_exact(&mut rest).unwrap();
            stream.write_all(b"220 mail.example.org Stalwart ESMTP at your service\r\n").unwrap();
            answer_lines(stream, |_| "221 2.0.0 Bye.\r\n");
            rest
        });
        let program = Program::start_in(folder, &config);
        let mut client = TcpStream::connect("127.0.0.1:25").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
        expect(&client, b"220 mail.example.org Stalwart ESMTP at your service\r\n");
        client.write_all(b"QUIT\r\n").unwrap();
        expect(&client, b"221 2.0.0 Bye.\r\n");
        let mut denied = TcpStream::connect("127.0.0.1:25").unwrap();
        denied.set_read_timeout(Some(PATIENCE)).unwrap();
        denied.write_all(b"PROXY TCP4 203.0.113.66 198.51.100.25 4711 25\r\n").unwrap();
        let mut said = String::new();
        denied.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("554 5.7.1 mail.example.org "), "{said}");
        drop(program);
        let told = stalwart.finish();
        let client = [203, 0, 113, 7, 198, 51, 100, 25, 0x12, 0x67, 0, 25];
        assert_eq!(told.iter().filter(|told| told.starts_with(&client)).count(), 1, "{told:?}");
    });
}
