//! What is for terminals only: a bar while a long log is read, and colours. Pipes and files get neither.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::program::Folder;

const BINARY: &str = env!("CARGO_BIN_EXE_truepeer");

/// A shell's words on a terminal of their own.
fn on_a_terminal(words: &str) -> Command {
    let mut command = Command::new("script");
    command
        .args(["-qec", words, "/dev/null"])
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    command
}

#[test]
fn a_long_log_has_a_bar_on_a_terminal_and_none_elsewhere() {
    let folder = Folder::new();
    let fifo = folder.path("log").to_string_lossy().into_owned();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut child = on_a_terminal(&format!("cat '{fifo}' | {BINARY} explain --log"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The log goes on until the bar was seen.
    let seen = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&seen);
    let writer = thread::spawn(move || {
        let lines = "Nov 23 13:50:27 mx1 postfix/smtpd[1]: connect from mail.example.org[198.51.100.7]\n"
            .repeat(1000);
        let mut log = File::options().write(true).open(fifo).unwrap();
        while !told.load(Ordering::Acquire) && log.write_all(lines.as_bytes()).is_ok() {}
    });
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    let mut output = child.stdout.take().unwrap();
    loop {
        let len = output.read(&mut piece).unwrap_or(0);
        if len == 0 {
            break;
        }
        shown.extend_from_slice(piece.get(..len).unwrap());
        if String::from_utf8_lossy(&shown).contains(" MB read") {
            seen.store(true, Ordering::Release);
        }
    }
    seen.store(true, Ordering::Release);
    writer.join().unwrap();
    child.wait().unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let (_, behind) = shown.rsplit_once(" MB read").unwrap_or_else(|| panic!("no bar: {shown}"));
    assert!(behind.contains("\r\x1b[K"), "it is taken away: {behind:?}");

    let file = folder.path("mail.log");
    let line = "Nov 23 13:50:27 mx1 postfix/smtpd[1]: connect from mail.example.org[198.51.100.7]\n";
    fs::write(&file, line.repeat(100_000)).unwrap();
    let output = Command::new(BINARY).args(["explain", "--log"]).arg(&file).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let folder = Folder::new();
    let file = folder.path("wrong.toml").to_string_lossy().into_owned();
    fs::write(&file, "[server]\nmax-conections = 1\n").unwrap();
    let words = format!("{BINARY} check '{file}'");
    let coloured = |command: &mut Command| {
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("max-conections"), "{text}");
        text.contains("\x1b[")
    };
    assert!(coloured(&mut on_a_terminal(&words)));
    assert!(!coloured(on_a_terminal(&words).env("NO_COLOR", "1")));
    assert!(!coloured(Command::new(BINARY).args(["check", &file])));
    // Findings have none anywhere.
    let words = format!("{BINARY} explain --log 'haproxy read: timeout error'");
    let output = on_a_terminal(&words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("MISS") && !text.contains('\x1b'), "{text}");
}
