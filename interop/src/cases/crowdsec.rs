//! Decisions of CrowdSec become bans: the shipped script and filter, the real jq, the real program, and the real
//! crowdsec-custom-bouncer, of which one case plays the part to see what the script says.
//!
//! Called by `cases`.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use super::{Case, PROXY, case};
use crate::client::{Client, Place};
use crate::feed::{Feed, Mark, PATIENCE};
use crate::lab::Lab;
use crate::servers::crowdsec::{Api, CustomBouncer};
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::servers::{find, write};
use crate::verdict::{During, Result, ensure, failed};

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("the_crowdsec_filter_orders_what_can_be_banned_and_nothing_else", filter),
        case("a_decision_of_crowdsec_is_a_ban_at_once_and_its_end_lifts_it", bouncer),
        case("decisions_of_crowdsec_wait_while_truepeer_is_restarted", restart),
    ]
}

const FILTER: &str = include_str!("../../../packaging/crowdsec/truepeer-feed.jq");
const BOUNCER: &str = include_str!("../../../packaging/crowdsec/truepeer-bouncer");

/// A decision as crowdsec-custom-bouncer writes it.
fn decision(action: &str, duration: &str, scope: &str, kind: &str, value: &str, scenario: &str) -> String {
    serde_json::json!({
        "action": action, "duration": duration, "id": 1, "origin": "crowdsec", "scenario": scenario,
        "scope": scope, "type": kind, "value": value,
    })
    .to_string()
}

fn filter(lab: &Lab) -> Result {
    let file = lab.fresh_dir("crowdsec")?.join("feed.jq");
    write(&file, FILTER)?;
    let ban = |scope, duration, value| decision("add", duration, scope, "ban", value, "ssh-bf");
    let mut input = String::new();
    let mut expected = Vec::new();
    for (line, order) in [
        (ban("Ip", "3h59m58.123456789s", "192.0.2.7"), "+192.0.2.7 14399s crowdsec ssh-bf"),
        (ban("ip", "90s", "2001:db8::7"), "+2001:db8::7 90s crowdsec ssh-bf"),
        (ban("Range", "4h", "198.51.100.0/24"), "+198.51.100.0/24 14400s crowdsec ssh-bf"),
        (ban("range", "500ms", "2001:db8:1::/48"), "+2001:db8:1::/48 1s crowdsec ssh-bf"),
        (ban("Ip", "90000h0m0s", "192.0.2.8"), "+192.0.2.8 31536000s crowdsec ssh-bf"),
        (decision("del", "-1m2s", "Ip", "ban", "192.0.2.7", "ssh-bf"), "-192.0.2.7"),
        (decision("del", "-1m2s", "Range", "ban", "2001:db8:1::/48", "ssh-bf"), "-2001:db8:1::/48"),
        (
            decision("add", "4h", "Ip", "ban", "192.0.2.9", "a\n+0.0.0.0/8 1h\r\nb"),
            "+192.0.2.9 14400s crowdsec a +0.0.0.0/8 1h  b",
        ),
        // The rest orders nothing, and what follows it is still read.
        (decision("add", "4h", "Ip", "captcha", "192.0.2.10", "x"), "#"),
        (decision("del", "4h", "Ip", "captcha", "192.0.2.10", "x"), "#"),
        (ban("Country", "4h", "XX"), "#"),
        (ban("AS", "4h", "64500"), "#"),
        (ban("Ip", "4h", "192.0.2.11\n-192.0.2.7"), "#"),
        (ban("Ip", "4h", "192.0.2.11 -192.0.2.7"), "#"),
        (ban("Ip", "1.2.3s", "192.0.2.12"), "#"),
        ("not JSON".to_owned(), "#"),
        ("[\"+192.0.2.13 4h\"]".to_owned(), "#"),
        ("{\"value\":7,\"action\":\"add\"}".to_owned(), "#"),
        ("{\"value\":\"192.0.2.13\",\"action\":\"add\",\"type\":\"ban\"}".to_owned(), "#"),
        (ban("Ip", "1m0s", "192.0.2.14"), "+192.0.2.14 60s crowdsec ssh-bf"),
    ] {
        input.push_str(&line);
        input.push('\n');
        expected.push(order);
    }
    let mut jq = Command::new(find("jq")?)
        .args(["--null-input", "--raw-input", "--raw-output", "--from-file"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during("start jq")?;
    if let Some(mut stdin) = jq.stdin.take() {
        stdin.write_all(input.as_bytes()).during("write decisions")?;
    }
    let output = jq.wait_with_output().during("jq")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(output.status.success() && output.stderr.is_empty(), || {
        format!("jq: {} {}", output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    let lines: Vec<&str> = said.lines().collect();
    ensure(lines.len() == expected.len(), || {
        format!("{} lines, not {}: {said}", lines.len(), expected.len())
    })?;
    for (line, expected) in lines.iter().zip(expected) {
        let is_it = if expected == "#" { line.starts_with("# ") } else { *line == expected };
        ensure(is_it, || format!("expected `{expected}`, got `{line}`"))?;
    }
    Ok(())
}

/// Puts script and filter into `dir`.
fn install(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    find("jq")?;
    let (script, filter) = (dir.join("truepeer-bouncer"), dir.join("truepeer-feed.jq"));
    write(&script, BOUNCER)?;
    write(&filter, FILTER)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).during("make it executable")?;
    Ok((script, filter))
}

/// A running script; dropping it ends its input, and with it the bouncer.
struct Bouncer {
    child: Child,
    stdin: Option<ChildStdin>,
    log: Feed,
}

impl Bouncer {
    fn start(lab: &Lab, truepeer: &Truepeer) -> Result<Self> {
        let (script, filter) = install(&lab.fresh_dir("bouncer")?)?;
        let mut child = Command::new(script)
            .envs(Self::env(lab.program()?, &filter, &truepeer.file("admin.sock")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .during("start the bouncer")?;
        let log = Feed::default();
        if let Some(err) = child.stderr.take() {
            log.follow(err);
        }
        lab.watch("bouncer", &log);
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, log })
    }

    fn env(truepeer: &Path, filter: &Path, socket: &Path) -> [(&'static str, String); 4] {
        [
            ("TRUEPEER", truepeer.display().to_string()),
            ("TRUEPEER_OPTIONS", format!("--socket {}", socket.display())),
            ("TRUEPEER_FEED_FILTER", filter.display().to_string()),
            ("TRUEPEER_PAUSE", "0.1".to_owned()),
        ]
    }

    fn say(&mut self, decision: &str) -> Result {
        match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{decision}").during("write a decision"),
            None => failed("the bouncer has no input"),
        }
    }

    /// Waits until the bouncer and whatever it started are gone.
    fn end(mut self) -> Result<(ExitStatus, String)> {
        let said = self.log.wait_end(Mark::default(), "the bouncer ends", PATIENCE)?;
        let status = self.child.wait().during("wait for the bouncer")?;
        Ok((status, String::from_utf8_lossy(&said).into_owned()))
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _said = self.log.wait_end(Mark::default(), "the bouncer ends", PATIENCE);
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

fn banning(lab: &Lab) -> Result<Truepeer> {
    let listener = Listener { id: "smtp", ip: PROXY.ip(), protocol: "smtp", backend: "postfix", lines: "" };
    let backend =
        Backend { id: "postfix", kind: "postfix", handoff: None, addr: lab.postfix()?.header_port() };
    let truepeer = lab.start_truepeer("truepeer-fed", &[listener], &[backend])?;
    lab.wait_until_served(truepeer.port("smtp")?)?;
    Ok(truepeer)
}

fn bouncer(lab: &Lab) -> Result {
    let truepeer = banning(lab)?;
    let (bad, good) = (lab.fresh_source(), lab.fresh_source());
    let door = truepeer.port("smtp")?;
    let mut open = Client::dial(Place::Here(bad), door)?;
    open.expect_reply("220")?;
    let mut bouncer = Bouncer::start(lab, &truepeer)?;
    let mark = truepeer.log().mark();
    bouncer.say("this line is damaged")?;
    bouncer.say(&decision("add", "4h", "Ip", "ban", &bad.to_string(), "crowdsecurity/postfix-spam"))?;
    // At once: the input stays open.
    let event = truepeer.wait_event(mark, "denied", &bad.to_string())?;
    ensure(event.contains("crowdsec crowdsecurity/postfix-spam"), || event.clone())?;
    open.rest("truepeer cuts the open connection")?;
    Client::dial(Place::Here(bad), door)?.expect_reply("554 5.7.1")?;
    super::hello(&mut Client::dial(Place::Here(good), door)?)?;

    bouncer.say(&decision("add", "4h", "Ip", "ban", "127.0.0.1", "crowdsecurity/ssh-bf"))?;
    truepeer.wait_event(mark, "feed_refused", "127.0.0.1/32 holds a trusted proxy")?;
    bouncer.say(&decision("del", "-1s", "Ip", "ban", &bad.to_string(), "crowdsecurity/postfix-spam"))?;
    truepeer.wait_event(mark, "undenied", &bad.to_string())?;
    super::hello(&mut Client::dial(Place::Here(bad), door)?)?;

    drop(bouncer.stdin.take());
    let (status, said) = bouncer.end()?;
    ensure(status.code() == Some(1) && said.contains("line 3: 127.0.0.1/32 holds a trusted proxy"), || {
        format!("the bouncer ended with {status} and said `{said}`")
    })
}

fn restart(lab: &Lab) -> Result {
    let truepeer = banning(lab)?;
    let dir = lab.fresh_dir("custom-bouncer")?;
    let (script, filter) = install(&dir)?;
    let ban = |value: &str| {
        let text = decision("", "4h", "Ip", "ban", value, "crowdsecurity/postfix-spam");
        serde_json::from_str(&text).during("make a decision")
    };
    let api = Api::start(vec![ban("192.0.2.1")?])?;
    let mark = truepeer.log().mark();
    let env = Bouncer::env(lab.program()?, &filter, &truepeer.file("admin.sock"));
    let bouncer = CustomBouncer::start(&dir, &api, &script, &env)?;
    lab.watch("crowdsec-custom-bouncer", bouncer.log());
    truepeer.wait_event(mark, "denied", "192.0.2.1/32")?;
    api.tell("new", &ban("192.0.2.2")?);
    truepeer.wait_event(mark, "denied", "192.0.2.2/32")?;
    api.tell("deleted", &ban("192.0.2.1")?);
    truepeer.wait_event(mark, "undenied", "192.0.2.1/32")?;

    let truepeer = truepeer.restart(|| {
        let seen = bouncer.log().mark();
        api.tell("new", &ban("192.0.2.3")?);
        let is_taken = |line: &str| ["adding '1' ", "adding 1 "].iter().any(|words| line.contains(words));
        bouncer.log().wait_line(seen, "the bouncer takes a decision", is_taken).map(|_| ())
    })?;
    lab.watch("truepeer-fed", truepeer.log());
    truepeer.wait_event(Mark::default(), "denied", "192.0.2.3/32")?;
    let bans = truepeer.denied()?;
    let networks: Vec<_> = bans.iter().filter_map(|ban| ban.get("network")?.as_str()).collect();
    ensure(networks == ["192.0.2.2/32", "192.0.2.3/32"], || format!("denied: {networks:?}"))
}
