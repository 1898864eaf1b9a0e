//! Keeping clients out by command: the real program, its own commands, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use crate::support;
use std::io::Write;

use crate::program::{Program, assert_refused, client, served};
use crate::support::{HeaderMailServer, eventually, expect, read_to_end};
use rustix::process::Signal;

fn config(backend: &HeaderMailServer, more: &str) -> String {
    format!(
        "[server]\nhostname = \"mx.example\"\n\
         [server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n\
         [admin]\nsocket = \"ADMIN\"\n{more}",
        backend.address
    )
}

#[test]
fn a_denied_client_is_cut_at_once_and_hears_it_until_it_is_let_in_again() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, "state = \"FOLDERdenied\"\n"));
    let (bad, good) = (served(&program, "203.0.113.7"), served(&program, "203.0.113.8"));

    let denied =
        program.command(&["deny", "203.0.113.7", "--for", "1h", "--reason", "fail2ban sshd", "--json"]);
    let denied = denied.ok().json().remove(0);
    support::shapes::assert_promised("Ban", &denied);
    assert_eq!((&denied["cut"], &denied["kept"]), (&1.into(), &true.into()));
    assert_eq!((&denied["network"], &denied["replaced"]), (&"203.0.113.7/32".into(), &false.into()));
    assert_eq!(read_to_end(&bad), b"");
    assert!(program.wait_for("outcome=cut").contains("client=203.0.113.7:4711"));

    assert_refused(&program, "203.0.113.7");
    let record = program.wait_for("outcome=access_denied");
    assert!(record.contains("ban 203.0.113.7/32 until") && record.contains("fail2ban sshd"), "{record}");
    assert!(record.contains("truepeer undeny 203.0.113.7/32"), "{record}");
    served(&program, "203.0.113.9");
    let mut good_again = &good;
    good_again.write_all(b"NOOP\r\n").unwrap();
    expect(&good, b"250 ok\r\n");

    let listed = program.command(&["deny", "--list", "--json"]).ok().json();
    assert_eq!((listed.len(), &listed[0]["reason"]), (1, &"fail2ban sshd".into()));
    let status = program.command(&["status", "--json"]).ok().json();
    assert_eq!(status[0]["denied"], 1);

    assert!(program.command(&["undeny", "203.0.113.7"]).ok().out().contains("may enter again"));
    served(&program, "203.0.113.7");
    let again = program.command(&["undeny", "203.0.113.7"]);
    assert_eq!(again.code(), Some(1));
    assert!(again.error().contains("is not denied"), "{}", again.error());
}

#[test]
fn keep_spares_what_is_open_and_a_list_that_admits_comes_first() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, "[access]\nallow = [\"203.0.113.8\"]\n"));
    let (open, listed) = (served(&program, "203.0.113.7"), served(&program, "203.0.113.8"));
    let kept = program.command(&["deny", "203.0.113.0/24", "--for", "10m", "--keep"]).ok();
    assert!(kept.out().contains("connections cut: 0"), "{}", kept.out());
    assert!(kept.out().contains("warning: it ends with the process"), "{}", kept.out());
    assert_refused(&program, "203.0.113.7");
    served(&program, "203.0.113.8");
    // A second order for the same network cuts.
    let cut = program.command(&["deny", "203.0.113.0/24", "--for", "10m", "--json"]).ok().json().remove(0);
    assert_eq!((&cut["cut"], &cut["replaced"]), (&1.into(), &true.into()));
    assert_eq!(read_to_end(&open), b"");
    (&listed).write_all(b"NOOP\r\n").unwrap();
    expect(&listed, b"250 ok\r\n");
}

#[test]
fn denials_survive_a_restart() {
    let backend = HeaderMailServer::start();
    let config = config(&backend, "state = \"FOLDERdenied\"\n");
    let mut program = Program::start(&config);
    program.command(&["deny", "203.0.113.0/24", "--for", "7d", "--reason", "spam"]).ok();
    program.signal(Signal::TERM);
    program.wait_for("event=stopped");
    let mut program = Program::start_in(program.end(), &config);
    assert_refused(&program, "203.0.113.200");
    program.wait_for("outcome=access_denied");

    // A reload that trusts a proxy in that network lifts the denial: everybody behind the proxy would be kept out.
    program.write_config(&config.replace("[\"127.0.0.1\"]", "[\"127.0.0.1\", \"203.0.113.5\"]"));
    program.command(&["reload"]).ok();
    program.wait_for("event=ban_lifted");
    served(&program, "203.0.113.200");
}

#[test]
fn a_denial_that_was_answered_survives_a_kill() {
    let backend = HeaderMailServer::start();
    let config = config(&backend, "state = \"FOLDERdenied\"\n");
    let program = Program::start(&config);
    program.command(&["deny", "203.0.113.7", "--for", "7d"]).ok();
    program.command(&["deny", "203.0.113.8", "--for", "7d"]).ok();
    program.command(&["undeny", "203.0.113.8"]).ok();
    let program = Program::start_in(program.kill(), &config);
    assert_refused(&program, "203.0.113.7");
    served(&program, "203.0.113.8");
}

#[test]
fn a_clock_that_is_set_while_the_process_is_down_ends_no_denial() {
    const YEARS: u64 = 10 * 365 * 24 * 3600;
    let backend = HeaderMailServer::start();
    let config = config(&backend, "state = \"FOLDERdenied\"\n");
    let program = Program::start(&config);
    program.command(&["deny", "203.0.113.7", "--for", "1h"]).ok();
    program.command(&["deny", "203.0.113.8", "--for", "1h"]).ok();
    let folder = program.kill();
    // As if it had been written ten years ago by this wall clock, and just now by the boot clock.
    let earlier = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let less = |field: &str, by: u64| (field.parse::<u64>().unwrap() - by).to_string();
        match fields[..] {
            ["clock", wall, passed, boot] => ["clock", &less(wall, YEARS * 1000), passed, boot].join("\t"),
            [network, since, until, reason] => {
                [network, &less(since, YEARS), &less(until, YEARS), reason].join("\t")
            }
            _ => line.to_owned(),
        }
    };
    let text: Vec<_> = folder.read("denied").lines().map(earlier).collect();
    std::fs::write(folder.path("denied"), text.join("\n") + "\n").unwrap();
    let program = Program::start_in(folder, &config);
    assert_refused(&program, "203.0.113.7");
    let listed = program.command(&["deny", "--list", "--json"]).ok().json();
    assert_eq!(listed.len(), 2);
    for ban in listed {
        let left = ban["seconds_left"].as_u64().unwrap();
        assert!((3000..=3600).contains(&left), "{ban}");
    }
}

#[test]
fn a_denial_ends_by_itself() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    program.command(&["deny", "203.0.113.7", "--for", "1s"]).ok();
    assert_refused(&program, "203.0.113.7");
    let is_served = || {
        let mut said = [0; 4];
        std::io::Read::read_exact(&mut client(&program, "203.0.113.7"), &mut said).unwrap();
        said == *b"220 "
    };
    assert!(eventually(is_served));
    assert!(program.command(&["deny", "--list"]).ok().out().contains("nobody is denied"));
    assert_eq!(program.command(&["undeny", "203.0.113.7"]).code(), Some(1));
}

#[test]
fn the_list_says_whom_until_when_and_why() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    program.command(&["deny", "2001:db8::9/64", "--for", "1h", "--reason", "two\nlines"]).ok();
    program.command(&["deny", "::ffff:203.0.113.7", "--for", "1h"]).ok();
    let listed = program.command(&["deny", "--list", "--json"]).ok().json();
    assert_eq!(listed.len(), 2);
    for (ban, network, reason) in
        [(&listed[0], "203.0.113.7/32", ""), (&listed[1], "2001:db8::/64", "two\\nlines")]
    {
        assert_eq!((&ban["network"], &ban["reason"]), (&network.into(), &reason.into()));
        let seconds_left = ban["seconds_left"].as_u64().unwrap();
        assert!((3500..=3601).contains(&seconds_left), "{ban}");
        let (since, until) = (ban["since"].as_str().unwrap(), ban["until"].as_str().unwrap());
        assert!(since < until && since.ends_with('Z') && until.ends_with('Z'), "{ban}");
    }
    let text = program.command(&["deny", "--list"]).ok().out();
    assert!(text.contains("2001:db8::/64") && text.contains(listed[1]["until"].as_str().unwrap()), "{text}");
}

#[test]
fn a_denial_that_cannot_be_kept_holds_and_says_so() {
    let backend = HeaderMailServer::start();
    let mut program = Program::start(&config(&backend, "state = \"FOLDERgone/denied\"\n"));
    let denied = program.command(&["deny", "203.0.113.7", "--for", "1h", "--json"]).ok().json().remove(0);
    assert_eq!(denied["kept"], false);
    let warning = denied["warning"].as_str().unwrap();
    assert!(warning.contains("not after a restart") && warning.contains("gone/denied"), "{warning}");
    program.wait_for("event=bans_not_kept");
    assert_refused(&program, "203.0.113.7");
}

#[test]
fn what_cannot_be_denied_is_said_why() {
    let backend = HeaderMailServer::start();
    let program = Program::start(&config(&backend, ""));
    for (arguments, code, says) in [
        (&["deny", "127.0.0.1", "--for", "1h"][..], 1, "server.listener.door.proxy.trusted-networks"),
        (&["deny", "127.0.0.0/24", "--for", "1h"], 1, "holds a trusted proxy"),
        (&["deny", "0.0.0.0/0", "--for", "1h"], 1, "wider than /8"),
        (&["deny", "203.0.113.7"], 2, "--for"),
        (&["deny", "203.0.113.7", "--for", "forever"], 2, "a ban lasts"),
        (&["deny", "mail.example", "--for", "1h"], 2, "mail.example"),
        (&["deny"], 2, "ADDR|NETWORK"),
    ] {
        let refused = program.command(arguments);
        assert_eq!(refused.code(), Some(code), "{arguments:?}");
        assert!(refused.error().contains(says), "{arguments:?}: {}", refused.error());
    }
    assert!(program.command(&["deny", "--list"]).ok().out().contains("nobody is denied"));
}

#[test]
fn a_state_file_that_is_not_ours_is_not_written_over() {
    let backend = HeaderMailServer::start();
    let config = config(&backend, "state = \"FOLDERtruepeer.toml\"\n");
    let program = Program::start(&config.replace("state = ", "#state = "));
    program.write_config(&config.replace("ADMIN", "ADMIN.other"));
    let refused = program.command(&["run"]);
    assert_eq!(refused.code(), Some(3));
    assert!(refused.error().contains("admin.state: ") && refused.error().contains("move the file away"));
}
