//! `truepeer init`, the real command, on machines that are folders: what it writes is what `check` takes, once.
//!
//! That its steps lead to the client's address in Postfix's log is seen by `packaging/debian/trial`, which takes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::program::{Answer, BINARY, Folder};
use crate::support::shapes::assert_documented;

/// A machine with these files.
fn machine(files: &[&str]) -> Folder {
    let folder = Folder::new();
    for file in files {
        let path = folder.path("root").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

fn command(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("init").arg("--root").arg(folder.path("root"));
    command.arg("--config").arg(folder.path("etc/truepeer.toml")).args(arguments).stdin(Stdio::null());
    command
}

fn init(folder: &Folder, arguments: &[&str]) -> Answer {
    Answer(command(folder, arguments).output().unwrap())
}

const MAIL_HOST: [&str; 2] = ["etc/postfix/main.cf", "etc/haproxy/haproxy.cfg"];

#[test]
fn a_first_configuration_passes_check_and_is_never_overwritten() {
    let folder = machine(&MAIL_HOST);
    let said = init(&folder, &["--yes"]).ok().out();
    for line in [
        "1. Postfix gets one more port, 127.0.0.1:10025, that reads the header; what it serves now stays as it is",
        "    postconf -P '127.0.0.1:10025/inet/smtpd_upstream_proxy_protocol=haproxy'",
        "    truepeer send --protocol smtp 127.0.0.1:10025",
        "    postconf -MX '127.0.0.1:10025/inet'",
        "      bind :2525",
        "    truepeer send --version none --protocol smtp --source 127.0.0.99 127.0.0.1:2525",
    ] {
        assert!(said.lines().any(|have| have == line), "{line}\n{said}");
    }
    let written = folder.read("etc/truepeer.toml");
    let mut check = Command::new(BINARY);
    check.arg("check").arg("--config").arg(folder.path("etc/truepeer.toml"));
    assert!(Answer(check.output().unwrap()).ok().out().contains("is in order"));

    let refused = init(&folder, &["--yes"]);
    assert_eq!((refused.code(), refused.out().as_str()), (Some(1), ""));
    assert!(refused.error().contains("is there already, and is kept as it is"), "{}", refused.error());
    assert_eq!(folder.read("etc/truepeer.toml"), written);
}

#[test]
fn an_init_that_is_killed_at_any_moment_leaves_nothing_or_the_whole_file() {
    let whole = {
        let folder = machine(&MAIL_HOST);
        init(&folder, &["--yes"]).ok();
        folder.read("etc/truepeer.toml")
    };
    for moment in 0..24 {
        let folder = machine(&MAIL_HOST);
        let mut init_that_is_killed =
            command(&folder, &["--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::park_timeout(Duration::from_micros(moment * 700));
        init_that_is_killed.kill().unwrap();
        init_that_is_killed.wait().unwrap();
        let left = fs::read_to_string(folder.path("etc/truepeer.toml")).ok();
        assert!(left.as_ref().is_none_or(|left| *left == whole), "{left:?}");
        // The next one takes away what may lie beside it.
        let next = init(&folder, &["--yes"]);
        assert_eq!(next.code(), Some(if left.is_none() { 0 } else { 1 }), "{}", next.error());
        let files: Vec<_> =
            fs::read_dir(folder.path("etc")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(left.is_some() || files == ["truepeer.toml"], "{files:?}");
        assert_eq!(folder.read("etc/truepeer.toml"), whole);
    }
}

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let folder = machine(&MAIL_HOST);
    let said = init(&folder, &["--yes", "--dry-run"]).ok().out();
    assert!(said.lines().any(|line| line == "+trusted-networks = \"127.0.0.1\""), "{said}");
    assert!(!folder.path("etc").exists());

    init(&folder, &["--yes"]).ok();
    let edited = folder.read("etc/truepeer.toml").replace("127.0.0.1:10025", "127.0.0.1:11025");
    fs::write(folder.path("etc/truepeer.toml"), &edited).unwrap();
    let said = init(&folder, &["--yes", "--dry-run"]).ok().out();
    let difference: Vec<_> =
        said.lines().filter(|line| line.starts_with("+a") || line.starts_with("-a")).collect();
    assert_eq!(difference, ["-address = \"127.0.0.1:11025\"", "+address = \"127.0.0.1:10025\""]);
    assert_eq!(folder.read("etc/truepeer.toml"), edited);
}

#[test]
fn without_a_terminal_it_asks_for_yes_or_answers() {
    let folder = machine(&MAIL_HOST);
    let refused = init(&folder, &[]);
    assert_eq!(refused.code(), Some(2));
    assert!(
        refused.error().contains("say `--yes` to take what is found here, or `--answers FILE`"),
        "{}",
        refused.error()
    );
    assert!(!folder.path("etc").exists());
}

#[test]
fn answers_that_are_wrong_name_the_file_and_write_nothing() {
    let folder = machine(&MAIL_HOST);
    let file = folder.path("answers.toml");
    fs::write(&file, "proxy = \"10.0.0.0/8\"\n").unwrap();
    let refused = init(&folder, &["--answers", file.to_str().unwrap()]);
    assert_eq!(refused.code(), Some(1));
    let error = refused.error();
    assert!(error.contains("answers.toml: `proxy`: \"10.0.0.0/8\" is a network"), "{error}");
    assert!(!folder.path("etc").exists());

    fs::write(&file, "services = \"smtp\"\nhostname = \"mx1.example.org\"\n").unwrap();
    let answers = file.to_str().unwrap().to_owned();
    let json = init(&folder, &["--answers", &answers, "--json"]).ok().out();
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["config"].as_str().unwrap(), folder.read("etc/truepeer.toml"));
    assert_documented("First configuration", &told);
    let steps = told["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4);
    for step in steps {
        assert_documented("Step of an init", step);
    }
    assert!(folder.read("etc/truepeer.toml").contains("hostname = \"mx1.example.org\""));
}

#[test]
fn a_machine_without_a_mail_server_or_proxy_says_what_is_missing() {
    for (files, missing) in [
        (&[][..], "no proxy is installed here"),
        (&["etc/postfix/main.cf"], "no proxy is installed here"),
        (&["etc/haproxy/haproxy.cfg"], "neither Postfix, Exim nor Dovecot is installed here"),
    ] {
        let folder = machine(files);
        let refused = init(&folder, &["--yes"]);
        assert_eq!(refused.code(), Some(1));
        assert!(refused.error().contains(missing), "{}", refused.error());
        assert!(!folder.path("etc").exists());
    }
}
