//! Front doors that start while the store is away, or cannot be spoken to: what they say, and whether they are ready.

use std::io::{Read, Write};

use base64::Engine as _;

use crate::A_SECOND;
use crate::fleet::{Fleet, config, heard};
use crate::program::{Folder, Program, assert_refused, served};
use crate::support::fake::Nobody;
use crate::support::store::{Store, is_there};
use crate::support::{HeaderMailServer, eventually};

/// What the status page says of readiness.
fn readiness(door: &Program, path: &str) -> String {
    let mut stream = door.connect("status");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn who_starts_during_an_outage_says_what_it_does_not_know_and_is_ready_unless_it_must_know() {
    if !is_there() {
        return;
    }
    let (backend, at) = (HeaderMailServer::start(), Nobody::new());
    let url = format!("redis://{}", at.address());
    let mut door = Program::start(&config(&backend, &url, "mx0", ""));
    let said = heard(&mut door, "event=shared_lost");
    assert!(said.contains("trouble=unreachable") && said.contains("is not known here yet"), "{said}");
    served(&door, "203.0.113.1");
    assert!(readiness(&door, "/readyz").starts_with("HTTP/1.1 200"));
    let status = door.command(&["status"]).ok().out();
    assert!(status.contains("what others have banned is NOT KNOWN yet"), "{status}");
    door.command(&["deny", "203.0.113.1", "--for", "1h"]).ok();

    let mut strict = Program::start(&config(&backend, &url, "mx1", "required = true\n"));
    heard(&mut strict, "event=shared_lost");
    for path in ["/readyz", "/readyz/door"] {
        let said = readiness(&strict, path);
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("[shared]"), "{said}");
    }
    let status = strict.command(&["status"]);
    assert_eq!(status.code(), Some(1));
    assert!(status.out().contains("not ready: what other front doors share"), "{}", status.out());
    // Whoever comes all the same is served.
    served(&strict, "203.0.113.1");

    let folder = Folder::new();
    let mut store = Store::start_at(at, folder.0.clone(), &[]);
    strict.wait_for("event=shared_read");
    assert!(readiness(&strict, "/readyz").starts_with("HTTP/1.1 200"));
    door.wait_for("event=shared_read");
    assert!(eventually(|| strict.command(&["deny", "--list"]).out().contains("203.0.113.1/32")));
    assert_refused(&strict, "203.0.113.1");
    // A store that goes away later makes nobody unready.
    store.kill();
    strict.wait_for("event=shared_lost");
    assert!(readiness(&strict, "/readyz").starts_with("HTTP/1.1 200"));
    // What the others said survives in the state file, and is written there although the store is away.
    assert!(eventually(|| strict.folder.read("denied").contains("203.0.113.1/32")));
    let folder = strict.kill();
    let again = Program::start_in(folder, &config(&backend, &url, "mx1", ""));
    assert_refused(&again, "203.0.113.1");
    let listed = again.command(&["deny", "--list", "--json"]).ok().json();
    assert_eq!(listed[0]["node"], "mx0");
}

#[test]
fn a_wrong_password_is_said_once_and_the_right_one_needs_no_reload() {
    if !is_there() {
        return;
    }
    let folder = Folder::new();
    let store = Store::start(folder.0.clone(), &["--requirepass", "right"]);
    let backend = HeaderMailServer::start();
    let url = format!("redis://127.0.0.1:{}", store.port());
    let mut without = Program::start(&config(&backend, &url, "mx1", ""));
    let said = heard(&mut without, "event=shared_lost");
    assert!(said.contains("trouble=password"), "{said}");

    let password = folder.path("password");
    let more = format!("password-file = \"{}\"\n", password.display());
    let mut door = Program::start(&config(&backend, &url, "mx0", &more));
    let said = heard(&mut door, "event=shared_lost");
    assert!(said.contains("trouble=file") && said.contains("password"), "{said}");
    std::fs::write(&password, "wrong\n").unwrap();
    let said = door.wait_for("event=shared_lost");
    assert!(said.contains("trouble=password") && !said.contains("wrong\""), "{said}");
    served(&door, "203.0.113.1");
    std::fs::write(&password, "right\n").unwrap();
    door.wait_for("event=shared_read");
    assert_eq!(door.count("event=shared_lost"), 2);
    assert_eq!(without.count("event=shared_lost"), 1);
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

#[test]
fn tls_is_proved_and_what_is_wrong_with_it_is_said() {
    if !is_there() {
        return;
    }
    let folder = Folder::new();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path(name), text).unwrap();
        folder.path(name).display().to_string()
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = write("cert.pem", &pem("CERTIFICATE", made.cert.der()));
    let key = write("key.pem", &pem("PRIVATE KEY", &made.signing_key.serialize_der()));
    let wrong = write("other.pem", &pem("CERTIFICATE", other.cert.der()));
    let at = Nobody::new();
    let port = at.address().port();
    let store = Store::start_at(
        at,
        folder.0.clone(),
        &[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &cert,
            "--tls-auth-clients",
            "no",
        ],
    );
    let backend = HeaderMailServer::start();
    let start = |url: &str, ca: &str| {
        let more = format!("tls.ca-file = \"{ca}\"\n");
        Program::start(&config(&backend, &format!("{url}:{port}"), "mx0", &more))
    };
    for (url, ca) in [("rediss://localhost", &wrong), ("rediss://127.0.0.1", &cert)] {
        let mut door = start(url, ca);
        let said = heard(&mut door, "event=shared_lost");
        assert!(said.contains("trouble=tls"), "{said}");
        served(&door, "203.0.113.1");
        door.read_on();
        assert_eq!(door.count("event=shared_read"), 0);
    }
    let mut right = start("rediss://localhost", &cert);
    heard(&mut right, "event=shared_read");
    drop(store);
}

#[test]
fn sharing_begins_and_ends_by_a_reload() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let backend = HeaderMailServer::start();
    let alone = config(&backend, "URL", "mx9", "").split("[shared]").next().unwrap().to_owned();
    let mut late = Program::start(&alone);
    late.command(&["deny", "203.0.113.1", "--for", "1h"]).ok();
    assert!(late.command(&["status", "--json"]).ok().json()[0].get("shared").is_none());
    // What was ordered before is told.
    late.write_config(&fleet.config("mx9", ""));
    late.command(&["reload"]).ok();
    late.wait_for("event=shared_read");
    fleet.refused_everywhere_within(A_SECOND * 2, "203.0.113.1");
    late.write_config(&alone);
    late.command(&["reload"]).ok();
    fleet.deny(0, "203.0.113.2");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.2");
    served(&late, "203.0.113.2");
    assert_refused(&late, "203.0.113.1");
    assert_eq!(fleet.doors[0].count("event=shared_lost"), 0);
}
