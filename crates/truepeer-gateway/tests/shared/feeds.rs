//! What fail2ban and CrowdSec order at one front door holds at all: their shipped action and script.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use crate::A_SECOND;
use crate::fleet::Fleet;
use crate::program::{BINARY, Program};
use crate::support::eventually;
use crate::support::store::skipped;

fn socket(door: &Program) -> String {
    format!("--socket {}", door.folder.path("admin.sock").display())
}

#[test]
fn a_feed_at_one_front_door_reaches_all() {
    const BANS: usize = 3000;
    let Some(fleet) = Fleet::start(&[]) else { return };
    let mut feed = Command::new(BINARY)
        .args(["deny", "--feed", "--socket"])
        .arg(fleet.doors[1].folder.path("admin.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let list: String = (0..BANS).map(|n| format!("+10.0.{}.{} 4h crowdsec\n", n / 256, n % 256)).collect();
    feed.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    assert!(feed.wait().unwrap().success());
    fleet.know_within(A_SECOND * 5, BANS);
    fleet.refused_everywhere_within(A_SECOND, "10.0.11.183");
    // A front door that comes later knows them, too.
    let late = fleet.one_more("mx9", "");
    assert_eq!(late.command(&["status", "--json"]).ok().json()[0]["denied"], BANS);
}

/// The commands of fail2ban's action for `name`, as it would run them at this front door.
fn fail2ban(door: &Program, name: &str, address: &str) {
    const ACTION: &str = include_str!("../../../../packaging/fail2ban/action.d/truepeer.conf");
    let mut lines = ACTION.lines().skip_while(|line| !line.starts_with(&format!("{name} =")));
    let first = lines.next().unwrap().split_once('=').unwrap().1.trim();
    let more = lines.take_while(|line| line.starts_with("    ")).map(str::trim);
    let script: Vec<_> = std::iter::once(first).chain(more).collect();
    let tags = [
        ("<truepeer>", BINARY),
        ("<options>", &socket(door)),
        ("<bantime>", "600"),
        ("<name>", "dovecot"),
        ("<target>", address),
    ];
    let script = tags.iter().fold(script.join("\n"), |script, (tag, text)| script.replace(tag, text));
    assert!(!script.contains('<'), "{script}");
    let ran = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    assert!(ran.status.success(), "{script}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn what_fail2ban_bans_at_one_front_door_is_banned_at_all_until_it_lifts_it() {
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    fail2ban(&fleet.doors[0], "actionban", "203.0.113.7");
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.7");
    let said = fleet.doors[2].wait_for("event=denied");
    assert!(said.contains("by mx0") && said.contains("fail2ban dovecot"), "{said}");
    fail2ban(&fleet.doors[0], "actionunban", "203.0.113.7");
    fleet.served_everywhere_within(A_SECOND, "203.0.113.7");
}

/// CrowdSec's bouncer starts the shipped script and writes decisions to it.
struct Bouncer(Child);

impl Bouncer {
    fn start(door: &Program) -> Self {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/crowdsec/");
        let script = Command::new("/bin/sh")
            .arg(format!("{shipped}truepeer-bouncer"))
            .env("TRUEPEER", BINARY)
            .env("TRUEPEER_OPTIONS", socket(door))
            .env("TRUEPEER_FEED_FILTER", format!("{shipped}truepeer-feed.jq"))
            .env("TRUEPEER_PAUSE", "0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(script.unwrap())
    }

    fn decide(&mut self, action: &str, address: &str) {
        let decision = serde_json::json!({
            "action": action, "duration": "3h59m58.5s", "id": 1, "origin": "crowdsec", "scope": "Ip",
            "scenario": "crowdsecurity/postfix-spam", "type": "ban", "value": address,
        });
        self.0.stdin.as_mut().unwrap().write_all(format!("{decision}\n").as_bytes()).unwrap();
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // Its input ends, and with it the script.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn what_crowdsec_decides_at_one_front_door_holds_at_all_until_it_is_deleted() {
    if !Command::new("jq").arg("--version").stdout(Stdio::null()).status().is_ok_and(|jq| jq.success()) {
        return skipped("there is no jq");
    }
    let Some(mut fleet) = Fleet::start(&[]) else { return };
    let mut bouncer = Bouncer::start(&fleet.doors[1]);
    bouncer.decide("add", "203.0.113.7");
    // The script takes its time to start; from the order on it is a second.
    let is_taken = || fleet.doors[1].command(&["deny", "--list"]).out().contains("203.0.113.7/32");
    assert!(eventually(is_taken));
    fleet.refused_everywhere_within(A_SECOND, "203.0.113.7");
    let said = fleet.doors[0].wait_for("event=denied");
    assert!(said.contains("by mx1") && said.contains("crowdsecurity/postfix-spam"), "{said}");
    bouncer.decide("del", "203.0.113.7");
    fleet.doors[1].wait_for("event=undenied");
    fleet.served_everywhere_within(A_SECOND, "203.0.113.7");
}
