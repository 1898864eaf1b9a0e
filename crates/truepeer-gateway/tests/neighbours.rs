//! `truepeer check` and `--neighbour`, the real command: exit codes, both forms of output, and who can reach a backend.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::program::{Answer, BINARY, Folder};
use crate::support::shapes::assert_documented;
use serde_json::Value;

/// Run in `folder`, so that messages name files only.
fn check(folder: &Folder, arguments: &[&str]) -> Answer {
    let directory = folder.path("x");
    let directory = std::path::Path::new(&directory).parent().unwrap();
    let output = Command::new(BINARY).arg("check").args(arguments).current_dir(directory).output().unwrap();
    Answer(output)
}

fn objects(answer: &Answer) -> Vec<Value> {
    answer.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write(folder: &Folder, name: &str, text: &str) {
    std::fs::write(folder.path(name), text).unwrap();
}

const HAPROXY: &str =
    "listen smtp\n  mode tcp\n  bind 203.0.113.1:25\n  server mx 127.0.0.1:10025 send-proxy-v2\n";
const MASTER: &str = "127.0.0.1:10025 inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n";
const OURS: &str = "\
[server.proxy]
trusted-networks = [\"203.0.113.1\"]
[server.listener.smtp]
bind = \"127.0.0.1:2500\"
protocol = \"smtp\"
backend = \"postfix\"
[backend.postfix]
kind = \"postfix\"
address = \"127.0.0.1:10025\"
";

#[test]
fn two_neighbours_are_compared_without_a_configuration_of_ours() {
    let folder = Folder::new();
    write(&folder, "haproxy.cfg", HAPROXY);
    write(&folder, "master.cf", MASTER);
    let healthy = check(&folder, &["--neighbour", "haproxy:haproxy.cfg", "--neighbour", "postfix:master.cf"]);
    assert_eq!(healthy.code(), Some(0), "{}", healthy.out());
    assert!(
        healthy.out().contains("HAProxy haproxy.cfg:4 -> Postfix master.cf:1: sends version 2\n"),
        "{}",
        healthy.out()
    );
    assert!(healthy.out().ends_with("\nNothing was found that does not fit.\n"), "{}", healthy.out());

    write(&folder, "haproxy.cfg", &HAPROXY.replace(" send-proxy-v2", ""));
    let broken =
        check(&folder, &["--json", "--neighbour", "haproxy:haproxy.cfg", "--neighbour", "postfix:master.cf"]);
    assert_eq!(broken.code(), Some(1));
    let found = objects(&broken);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_documented("Finding", &found[0]);
    assert_eq!((&found[0]["class"], &found[0]["side"]), (&"MISS".into(), &"front".into()));
    assert!(
        found[0]["change"].as_str().unwrap().starts_with("in haproxy.cfg:4: add `send-proxy-v2`"),
        "{found:?}"
    );
}

#[test]
fn ours_stands_between_its_neighbours() {
    let folder = Folder::new();
    write(&folder, "truepeer.toml", OURS);
    write(&folder, "master.cf", MASTER);
    write(&folder, "haproxy.cfg", &HAPROXY.replace("127.0.0.1:10025", "127.0.0.1:2500"));
    let neighbours = ["--neighbour", "haproxy:haproxy.cfg", "--neighbour", "postfix:master.cf"];
    let mut arguments = vec!["truepeer.toml"];
    arguments.extend(neighbours);
    // HAProxy reaches us from 127.0.0.1, whom nobody trusts.
    let said = check(&folder, &arguments);
    assert_eq!(said.code(), Some(1), "{}", said.out());
    assert!(said.out().contains("HOP (certain), to change at the back: truepeer"), "{}", said.out());
    assert!(
        said.out().contains("change: in truepeer.toml:2: add to `proxy.trusted-networks`"),
        "{}",
        said.out()
    );
    assert!(said.out().contains("truepeer truepeer.toml:9 -> Postfix master.cf:1"), "{}", said.out());
    // With the source address that it names, all is well.
    write(
        &folder,
        "haproxy.cfg",
        &HAPROXY.replace("127.0.0.1:10025 send", "127.0.0.1:2500 source 203.0.113.1 send"),
    );
    assert_eq!(check(&folder, &arguments).code(), Some(0));
    // Who lists nobody refuses every header.
    write(
        &folder,
        "truepeer.toml",
        &OURS.replace("trusted-networks = [\"203.0.113.1\"]", "trusted-networks = \"off\""),
    );
    let said = check(&folder, &arguments);
    assert!(said.out().contains("truepeer trusts nobody on this port"), "{}", said.out());
    write(&folder, "truepeer.toml", OURS);
    // A server that stops reading the header is found behind us, too.
    write(&folder, "master.cf", "127.0.0.1:10025 inet n - n - - smtpd\n");
    let said = check(&folder, &arguments);
    assert!(said.out().contains("UNEX (certain), to change at the back: Postfix"), "{}", said.out());
    assert!(said.out().contains("in master.cf:1: add below the service's line"), "{}", said.out());
}

#[test]
fn our_wait_for_a_header_and_our_patience_are_held_against_both_neighbours() {
    let folder = Folder::new();
    let haproxy = "defaults\n  mode tcp\n  timeout connect 10s\nlisten smtp\n  bind 203.0.113.1:25\n  \
                   server mx 192.0.2.9:2500 source 203.0.113.1 send-proxy-v2\n";
    let master = "192.0.2.20:10025 inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n  \
                  -o smtpd_upstream_proxy_timeout=4s\n";
    let ours = OURS
        .replace("127.0.0.1:2500", "192.0.2.9:2500")
        .replace("127.0.0.1:10025", "192.0.2.20:10025")
        .replace("backend = \"postfix\"\n", "backend = \"postfix\"\nproxy.header-timeout = \"4s\"\n")
        + "connect-timeout = \"10s\"\n";
    write(&folder, "haproxy.cfg", haproxy);
    write(&folder, "master.cf", master);
    write(&folder, "truepeer.toml", &ours);
    let arguments =
        ["truepeer.toml", "--json", "--neighbour", "haproxy:haproxy.cfg", "--neighbour", "postfix:master.cf"];
    let late = |said: &Answer| -> Vec<(String, String)> {
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        objects(said)
            .iter()
            .filter(|finding| finding["class"] == "MISS")
            .inspect(|finding| assert_documented("Finding", finding))
            .map(|finding| {
                (format!("{}; {}", text(finding, "seen"), text(finding, "cause")), text(finding, "change"))
            })
            .collect()
    };
    let said = check(&folder, &arguments);
    let found = late(&said);
    assert_eq!(found.len(), 2, "{}", said.out());
    for (lines, change) in [
        (
            ["haproxy.cfg:3: timeout connect 10s -> truepeer.toml:7", "waits 4 s", "take 10 s"],
            "in truepeer.toml:7: `proxy.header-timeout = \"5s\"`",
        ),
        (
            ["truepeer.toml:11: connect-timeout = \"10s\" -> master.cf:3", "waits 4 s", "take 10 s"],
            "in master.cf:3: `smtpd_upstream_proxy_timeout=5s`",
        ),
    ] {
        let it = found.iter().find(|(_, said)| said == change);
        let (seen, _) = it.unwrap_or_else(|| panic!("no `{change}` in {found:?}"));
        assert!(lines.iter().all(|line| seen.contains(line)), "{seen}");
    }
    // By the very lines that were named.
    write(
        &folder,
        "truepeer.toml",
        &ours.replace("proxy.header-timeout = \"4s\"", "proxy.header-timeout = \"5s\""),
    );
    write(&folder, "master.cf", &master.replace("=4s", "=5s"));
    let said = check(&folder, &arguments);
    assert_eq!(late(&said), [], "{}", said.out());
}

#[test]
fn a_check_that_gives_up_before_we_take_it_for_a_client_is_found() {
    let folder = Folder::new();
    let haproxy = |timeout: &str| {
        format!(
            "listen smtp\n  bind 203.0.113.1:25\n  option smtpchk\n  timeout check {timeout}\n  \
                 server mx 127.0.0.1:2600 send-proxy-v2 source 203.0.113.1 check port 2500\n"
        )
    };
    let ours = OURS.replace(
        "backend = \"postfix\"\n",
        "backend = \"postfix\"\nproxy.missing-header = \"unsafe-client-is-peer\"\nproxy.missing-header-wait = \"2s\"\n",
    );
    write(&folder, "truepeer.toml", &ours);
    let arguments = ["truepeer.toml", "--json", "--neighbour", "haproxy:haproxy.cfg"];
    let given_up = |timeout: &str| {
        write(&folder, "haproxy.cfg", &haproxy(timeout));
        let said = check(&folder, &arguments);
        objects(&said).into_iter().filter(|finding| finding["class"] == "MIX").collect::<Vec<_>>()
    };
    let found = given_up("1s");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0]["seen"],
        "haproxy.cfg:4: timeout check 1s -> truepeer.toml:8: proxy.missing-header-wait = \"2s\""
    );
    let change = found[0]["change"].as_str().unwrap();
    assert!(change.starts_with("in haproxy.cfg:4: ") && change.ends_with("`timeout check 3s`"), "{change}");
    assert_eq!(given_up("3s"), Vec::<Value>::new());
}

#[test]
fn what_is_not_interpreted_or_not_compared_is_no_agreement() {
    let folder = Folder::new();
    write(&folder, "nginx.conf", "stream {\n  include conf.d/*.conf;\n}\n");
    let said = check(&folder, &["--neighbour", "nginx:nginx.conf"]);
    assert_eq!(said.code(), Some(4));
    assert!(
        said.out().contains("Not interpreted, and not taken for agreement:\n  nginx: nginx.conf:2: "),
        "{}",
        said.out()
    );
    let json = objects(&check(&folder, &["--json", "--neighbour", "nginx:nginx.conf"]));
    assert_documented("Not interpreted", &json[0]);
    // One program alone meets nobody.
    write(&folder, "master.cf", MASTER);
    let alone = check(&folder, &["--neighbour", "postfix:master.cf"]);
    assert_eq!(alone.code(), Some(4));
    assert!(alone.out().contains("no connection of one arrives at another"), "{}", alone.out());
}

#[test]
fn a_program_prints_its_own_configuration_and_one_that_is_nowhere_is_said() {
    let folder = Folder::new();
    write(&folder, "haproxy.cfg", HAPROXY);
    let script = format!(
        "#!/bin/sh\ncase $1 in\n-n) echo mynetworks = 127.0.0.0/8;;\n*) cat <<'END'\n{MASTER}END\nesac\n"
    );
    write(&folder, "postconf", &script);
    std::fs::set_permissions(folder.path("postconf"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let bin = folder.path("postconf");
    let bin = std::path::Path::new(&bin).parent().unwrap().display().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY)
            .arg("check")
            .args(arguments)
            .current_dir(&bin)
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .output()
            .unwrap();
        Answer(output)
    };
    let said = run(&["--neighbour", "haproxy:haproxy.cfg", "--neighbour", "postfix"]);
    assert_eq!(said.code(), Some(0), "{}{}", said.out(), said.error());
    assert!(said.out().contains("Postfix (postconf -n, postconf -Mf): listens on 1 ports"), "{}", said.out());

    let nowhere = run(&["--neighbour", "mailcow"]);
    assert_eq!(nowhere.code(), Some(3));
    assert!(
        nowhere.error().contains("name its configuration: `--neighbour mailcow:FILE`"),
        "{}",
        nowhere.error()
    );
    let unknown = run(&["--neighbour", "sendmail"]);
    assert_eq!(unknown.code(), Some(2));
    assert!(
        unknown.error().contains("`sendmail` cannot be read; these can: haproxy, nginx"),
        "{}",
        unknown.error()
    );
}

#[test]
fn relay_rights_of_a_local_mail_server_are_seen_without_naming_it() {
    let folder = Folder::new();
    let script = "#!/bin/sh\ncase $1 in\n-n) echo 'mynetworks = 127.0.0.0/8 198.51.100.0/24';;\n*) echo '127.0.0.1:10025 \
                  inet n - n - - smtpd';;\nesac\n";
    write(&folder, "postconf", script);
    std::fs::set_permissions(folder.path("postconf"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let bin = folder.path("postconf");
    let bin = std::path::Path::new(&bin).parent().unwrap().to_owned();
    let run = |path: &str| {
        let mut command = Command::new(BINARY);
        command.args(["check", "--json", "truepeer.toml"]).current_dir(&bin).env("PATH", path);
        Answer(command.output().unwrap())
    };
    let here = format!("{}:/usr/bin:/bin", bin.display());
    // Nothing is told to the server: every client is truepeer, which may relay.
    let untold = OURS.replace("address = ", "handoff = \"none\"\nsees-only-truepeer = true\naddress = ");
    write(&folder, "truepeer.toml", &untold);
    let found = objects(&run(&here));
    let finding =
        found.iter().find(|object| object["class"] == "BAN").unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((finding["side"].as_str(), finding["product"].as_str()), (Some("both"), Some("postfix")));
    let seen = finding["seen"].as_str().unwrap();
    assert!(seen.contains("postconf -n:1: mynetworks = 127.0.0.0/8 198.51.100.0/24"), "{seen}");
    // A proxy without a header would be a client, and may relay; where such a one is refused, it may not.
    let unsafe_one = OURS
        .replace("203.0.113.1", "198.51.100.5")
        .replace("[server.proxy]\n", "[server.proxy]\nmissing-header = \"unsafe-client-is-peer\"\n");
    write(&folder, "truepeer.toml", &unsafe_one);
    let found = objects(&run(&here));
    let finding =
        found.iter().find(|object| object["class"] == "BAN").unwrap_or_else(|| panic!("{found:#?}"));
    assert!(
        finding["cause"].as_str().unwrap().contains("the proxy 198.51.100.5 without a header"),
        "{finding}"
    );
    assert!(
        finding["change"].as_str().unwrap().contains("postconf -n:1: take `198.51.100.0/24` out"),
        "{finding}"
    );
    write(&folder, "truepeer.toml", OURS);
    let said = objects(&run(&here));
    assert!(said.iter().all(|object| object["class"] != "BAN"), "{said:#?}");
    // A server that is not here cannot be asked.
    let said = objects(&run("/nowhere"));
    let advice =
        said.iter().find(|object| object["advice"].as_str().is_some_and(|text| text.contains("mynetworks")));
    assert!(advice.is_some(), "{said:#?}");
}

#[test]
fn a_backend_without_a_list_that_others_reach_is_an_error_and_one_elsewhere_gets_a_command() {
    let folder = Folder::new();
    let wide = TcpListener::bind("0.0.0.0:0").unwrap();
    let narrow = TcpListener::bind("127.0.0.1:0").unwrap();
    let with = |address: &str| OURS.replace("127.0.0.1:10025", address);
    write(&folder, "truepeer.toml", &with(&format!("127.0.0.1:{}", wide.local_addr().unwrap().port())));
    let said = check(&folder, &["truepeer.toml"]);
    assert_eq!(said.code(), Some(1), "{}", said.out());
    assert!(said.out().contains("FORGE (certain), to change at the back: Postfix"), "{}", said.out());
    let json = objects(&check(&folder, &["--json", "truepeer.toml"]));
    assert_documented("Finding", &json[0]);

    write(&folder, "truepeer.toml", &with(&narrow.local_addr().unwrap().to_string()));
    assert_eq!(check(&folder, &["truepeer.toml"]).code(), Some(0));
    // Dovecot asks who it is that sends a header.
    let text = with(&format!("127.0.0.1:{}", wide.local_addr().unwrap().port()));
    write(
        &folder,
        "truepeer.toml",
        &text
            .replace("kind = \"postfix\"", "kind = \"dovecot\"")
            .replace("smtp\"\nbackend", "imap\"\nbackend"),
    );
    assert_eq!(
        check(&folder, &["truepeer.toml"]).code(),
        Some(0),
        "{}",
        check(&folder, &["truepeer.toml"]).out()
    );

    // Stalwart asks which port it is bound to.
    let stalwart = with(&narrow.local_addr().unwrap().to_string())
        .replace("\"postfix\"\naddress", "\"stalwart\"\naddress");
    write(&folder, "truepeer.toml", &stalwart.replace(":2500", ":25"));
    let said = check(&folder, &["truepeer.toml"]);
    assert!(
        said.out().contains(
            "advice: backend.postfix.address: Stalwart's policies treat every other port as one for users"
        ),
        "{}",
        said.out()
    );

    write(&folder, "truepeer.toml", &with("198.51.100.25:10025"));
    let said = check(&folder, &["--config", "truepeer.toml", "--json"]);
    assert_eq!(said.code(), Some(0));
    let advice = objects(&said);
    assert_documented("Advice", &advice[0]);
    let text = advice[0]["advice"].as_str().unwrap();
    assert!(text.contains("`truepeer probe 198.51.100.25:10025 --expect-closed`"), "{text}");
}
