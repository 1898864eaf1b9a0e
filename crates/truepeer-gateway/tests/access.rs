//! `[access]` end to end: who is listed hears it, its neighbours and the proxy that brought it do not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{ACCEPT_PAUSES, HeaderMailServer, House, expect, read_to_end, written};
use truepeer_gateway::config;
use truepeer_gateway::facts::protocol::Protocol;

const GREETING: &[u8] = b"220 backend ready\r\n";

/// Connects as the trusted proxy and speaks for `client`.
fn behind_proxy(house: &House, client: &str) -> TcpStream {
    let mut stream = house.connect();
    write!(stream, "PROXY TCP4 {client} 198.51.100.25 4711 25\r\n").unwrap();
    stream
}

fn refused(house: &House, client: &str) -> String {
    let mut stream = behind_proxy(house, client);
    // What is sent before the refusal was read must not turn it into a reset.
    let _ = stream.write_all(b"EHLO client.example\r\n");
    String::from_utf8(read_to_end(&stream)).unwrap()
}

fn denied(client: &str) -> String {
    format!("554 5.7.1 mx.example connections from {client} are not accepted here\r\n")
}

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("truepeer-access-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn one_client_is_denied_its_neighbour_behind_the_same_proxy_and_the_proxy_are_not() {
    const OWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let backend = HeaderMailServer::start();
    // The proxy's own address is in the list, too: as a peer it is never asked about.
    let house =
        House::written(Protocol::Smtp, backend.address, "access.deny = [\"203.0.113.7\", \"127.0.0.1\"]\n");
    assert_eq!(refused(&house, "203.0.113.7"), denied("203.0.113.7"));
    let record = house.record();
    record.assert(&[
        ("outcome", "access_denied"),
        ("rule", "deny 203.0.113.7/32 (server.listener.door.access.deny, entry 1)"),
        ("client", "203.0.113.7:4711"),
        ("bytes_in", "0"),
    ]);
    assert_eq!((record.get("backend"), record.get("remedy")), (None, None), "{}", record.0);
    for last in 8..30 {
        expect(&behind_proxy(&house, &format!("203.0.113.{last}")), GREETING);
    }
    let mut check = house.connect();
    check.write_all(OWN).unwrap();
    expect(&check, b"220 ");
}

#[test]
fn a_direct_client_is_a_client() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Smtp, backend.address, "access.deny = \"127.0.0.0/8\"\n");
    let stream = house.connect_from([127, 0, 0, 9].into());
    assert_eq!(read_to_end(&stream), denied("127.0.0.9").as_bytes());
    let record = house.record();
    record.assert(&[("outcome", "access_denied"), ("source", "direct")]);
    assert!(record.get("remedy").unwrap().contains("trusted-networks"), "{}", record.0);
}

#[test]
fn allow_beats_deny_and_default_is_for_the_rest() {
    let backend = HeaderMailServer::start();
    let house = House::written(
        Protocol::Smtp,
        backend.address,
        "access.default = \"deny\"\n[access]\nallow = [\"203.0.113.7\", \"192.0.2.0/24\"]\ndeny = [\"203.0.113.0/24\"]\n",
    );
    expect(&behind_proxy(&house, "203.0.113.7"), GREETING);
    expect(&behind_proxy(&house, "192.0.2.200"), GREETING);
    for _ in 0..2 {
        house.record().assert(&[("outcome", "done")]);
    }
    for (client, rule) in [
        ("203.0.113.8", "deny 203.0.113.0/24 (access.deny, entry 1)"),
        ("198.51.100.1", "access default \\\"deny\\"),
    ] {
        assert_eq!(refused(&house, client), denied(client));
        house.record().assert(&[("outcome", "access_denied"), ("rule", rule)]);
    }
}

#[test]
fn a_denied_client_uses_up_nothing_of_a_limit() {
    let backend = HeaderMailServer::start();
    let limits =
        "access.deny = [\"203.0.113.7\"]\nlimits.rate-per-client = \"1/1h\"\nlimits.ipv4-prefix = 24\n";
    let house = House::written(Protocol::Smtp, backend.address, limits);
    for _ in 0..3 {
        assert_eq!(refused(&house, "203.0.113.7"), denied("203.0.113.7"));
    }
    expect(&behind_proxy(&house, "203.0.113.8"), GREETING);
}

#[test]
fn a_denial_speaks_the_listeners_language_and_is_silent_into_tls() {
    for (protocol, more, said) in [
        (
            Protocol::Submission,
            "",
            "554 5.7.1 mx.example connections from 203.0.113.7 are not accepted here\r\n",
        ),
        (Protocol::Imap, "", "* BYE [ALERT] connections from 203.0.113.7 are not accepted here\r\n"),
        (Protocol::Pop3, "", "-ERR [SYS/PERM] connections from 203.0.113.7 are not accepted here\r\n"),
        (Protocol::ManageSieve, "", "BYE \"connections from 203.0.113.7 are not accepted here\"\r\n"),
        (Protocol::Smtp, "tls.implicit = true\n", ""),
        (Protocol::Tcp, "", ""),
    ] {
        let backend = HeaderMailServer::start();
        let house =
            House::written(protocol, backend.address, &format!("{more}access.deny = [\"203.0.113.7\"]\n"));
        assert_eq!(refused(&house, "203.0.113.7"), said, "{protocol}");
        house.record().assert(&[("outcome", "access_denied")]);
    }
}

#[test]
fn a_file_is_named_with_its_line_and_a_missing_one_keeps_the_old_list() {
    let folder = Folder::new("reload");
    let list = folder.write("deny.txt", "# nuisances\n203.0.113.7\n");
    let backend = HeaderMailServer::start();
    let more = format!("access.deny-files = {:?}\n", list.display().to_string());
    let mut house = House::written(Protocol::Smtp, backend.address, &more);
    assert_eq!(refused(&house, "203.0.113.7"), denied("203.0.113.7"));
    let rule = format!("deny 203.0.113.7/32 ({}, line 2)", list.display());
    house.record().assert(&[("outcome", "access_denied"), ("rule", rule.as_str())]);

    // What a reload does: a configuration that cannot be read is never taken.
    std::fs::remove_file(&list).unwrap();
    let text = format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"b\"\n{more}\
         [backend.b]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        backend.address
    );
    let errors = config::load(Some(&folder.write("truepeer.toml", &text))).unwrap_err();
    let title = format!("`server.listener.door.access.deny-files`: {}: cannot be read", list.display());
    assert_eq!(errors.problems().next().unwrap().1.title(), title);
    assert_eq!(refused(&house, "203.0.113.7"), denied("203.0.113.7"));
    house.record().assert(&[("outcome", "access_denied")]);

    // The next good one is.
    folder.write("deny.txt", "203.0.113.8\n");
    house.server.take(&written(Protocol::Smtp, backend.address, &more)).unwrap();
    expect(&behind_proxy(&house, "203.0.113.7"), GREETING);
    assert_eq!(refused(&house, "203.0.113.8"), denied("203.0.113.8"));
}

/// What `truepeer check` prints about this file, and its exit code.
fn check(folder: &Folder, text: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let file = folder.write("truepeer.toml", text);
    let output = Command::new(env!("CARGO_BIN_EXE_truepeer"))
        .arg("check")
        .arg("--config")
        .arg(file)
        .args(arguments)
        .output()
        .unwrap();
    let (said, complained) = (output.stdout, output.stderr);
    let text = String::from_utf8([said, complained].concat()).unwrap();
    (text.replace(&folder.0.display().to_string(), "DIR"), output.status.code())
}

const EXPLAINED: &str = "\
[server.proxy]
trusted-networks = [
    \"192.0.2.10\",
    \"198.51.100.0/28\",
]
[access]
deny = [\"203.0.113.0/24\"]
deny-files = [\"deny.txt\"]
[limits]
exempt = [\"192.0.2.53\"]
[server.listener.smtp]
bind = \"127.0.0.1:2525\"
protocol = \"smtp\"
backend = \"b\"
limits.rate-per-client = \"60/1m\"
limits.ipv6-prefix = 56
[server.listener.inner]
bind = \"127.0.0.1:2526\"
protocol = \"imap\"
backend = \"b\"
proxy.unlisted = \"refuse\"
access.allow = [\"203.0.113.7\"]
[backend.b]
handoff = \"proxy-v2\"
address = \"127.0.0.1:10025\"
";

#[test]
fn explain_ip_says_what_would_happen_and_which_line_says_so() {
    let folder = Folder::new("explain");
    folder.write("deny.txt", "# nuisances\n203.0.113.7\n198.51.100.1\n");
    for (arguments, expected) in [
        (
            &["--explain-ip", "203.0.113.7"][..],
            "203.0.113.7 at listener `smtp` (smtp):\n  \
               as peer: the client itself, for it is in no trusted network\n  \
               as client 203.0.113.7: denied by deny 203.0.113.7/32 (DIR/deny.txt, line 2)\n    \
                 also in deny 203.0.113.0/24 (access.deny, entry 1)\n\
             203.0.113.7 at listener `inner` (imap):\n  \
               as peer: refused, for it is in no trusted network and `proxy.unlisted` is \"refuse\"\n  \
               as client 203.0.113.7: admitted by allow 203.0.113.7/32 (server.listener.inner.access.allow, entry 1)\n    \
                 also in deny 203.0.113.7/32 (DIR/deny.txt, line 2)\n    \
                 also in deny 203.0.113.0/24 (access.deny, entry 1)\n    \
                 limits: none for a client\n",
        ),
        (
            // A proxy that is denied as a client is a proxy all the same.
            &["--explain-ip", "198.51.100.1", "--listener", "smtp"],
            "198.51.100.1 at listener `smtp` (smtp):\n  \
               as peer: a proxy, must send a header (server.proxy.trusted-networks, line 4: 198.51.100.0/28); \
               access and limits are about the clients it brings\n  \
               as client 198.51.100.1: denied by deny 198.51.100.1/32 (DIR/deny.txt, line 3)\n",
        ),
        (
            &["--explain-ip", "2001:db8::7", "--listener", "smtp"],
            "2001:db8::7 at listener `smtp` (smtp):\n  \
               as peer: the client itself, for it is in no trusted network\n  \
               as client 2001:db8::7: admitted by access default \"allow\"\n    \
                 limits: 50 connections at once, 60 new ones in 1m for 2001:db8::/56\n",
        ),
        (
            &["--explain-ip", "::ffff:192.0.2.53", "--listener", "smtp"],
            "192.0.2.53 at listener `smtp` (smtp):\n  \
               as peer: the client itself, for it is in no trusted network\n  \
               as client 192.0.2.53: admitted by access default \"allow\"\n    \
                 limits: none, for it is in `limits.exempt`\n",
        ),
    ] {
        assert_eq!(check(&folder, EXPLAINED, arguments), (expected.to_owned(), Some(0)));
    }
    let unknown = check(&folder, EXPLAINED, &["--explain-ip", "192.0.2.1", "--listener", "x"]);
    assert_eq!(unknown, ("error: there is no listener `x`; these exist: smtp, inner\n".to_owned(), Some(1)));
    assert_eq!(check(&folder, EXPLAINED, &["--explain-ip", "mail"]).1, Some(2));
}

#[test]
fn explain_ip_says_of_impossible_clients_what_a_connection_would_be_told() {
    let folder = Folder::new("explain-impossible");
    folder.write("deny.txt", "203.0.113.7\n");
    for (addr, because) in [
        ("127.0.0.5", "loopback"),
        ("224.0.0.1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("255.255.255.255", "broadcast"),
        ("::1", "loopback"),
    ] {
        let (said, code) = check(&folder, EXPLAINED, &["--explain-ip", addr, "--listener", "smtp"]);
        let refused = "as client of a proxy elsewhere: refused as client_implausible";
        assert!(said.contains(refused) && said.contains(because), "{said}");
        assert_eq!(code, Some(0));
    }
    let proxy = "[server.proxy]\nunsafe-accept-implausible-clients = [\"127.0.0.5\", \"::ffff:0.0.0.0\"]\n";
    let these = EXPLAINED.replace("[server.proxy]\n", proxy);
    for (addr, believed) in [("127.0.0.5", true), ("0.0.0.0", true), ("127.0.0.6", false)] {
        let (said, _) = check(&folder, &these, &["--explain-ip", addr, "--listener", "smtp"]);
        assert_eq!(!said.contains("client_implausible"), believed, "{said}");
    }
    let nat64 = EXPLAINED.replace("[server.proxy]\n", "[server.proxy]\nnat64-prefixes = \"64:ff9b::/96\"\n");
    assert_ne!(nat64, EXPLAINED);
    let (said, _) = check(&folder, &nat64, &["--explain-ip", "64:ff9b::203.0.113.7", "--listener", "smtp"]);
    assert!(said.contains("as client 203.0.113.7: denied by"), "{said}");
}

#[test]
fn check_names_the_bad_lines_of_a_list_and_a_missing_list_is_an_error() {
    let folder = Folder::new("check");
    folder.write("deny.txt", "203.0.113.7\nspam.example.org\n");
    let (said, code) = check(&folder, EXPLAINED, &[]);
    let advice = "advice: access.deny-files: DIR/deny.txt: 1 entries, 1 lines skipped: line 2: not an IP address or network\n";
    assert!(said.ends_with(advice), "{said}");
    assert_eq!(code, Some(0));
    std::fs::remove_file(folder.0.join("deny.txt")).unwrap();
    let (said, code) = check(&folder, EXPLAINED, &[]);
    assert!(said.starts_with("error: `access.deny-files`: DIR/deny.txt: cannot be read\n"), "{said}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_denied_host_that_does_not_close_takes_no_places_from_others() {
    let backend = HeaderMailServer::start();
    let house = House::written(Protocol::Smtp, backend.address, "[access]\ndeny = \"127.0.0.66\"\n");
    // Twice as many as there are places: each is told, and none of them is ever closed by its client.
    let denied: Vec<_> = (0..1000).map(|_| house.connect_from([127, 0, 0, 66].into())).collect();
    for client in &denied {
        assert!(read_to_end(client).starts_with(b"554 "));
    }
    assert_eq!(house.counted(ACCEPT_PAUSES), 0, "accepting never had to wait for them");
    let good = house.connect_from([127, 0, 0, 9].into());
    expect(&good, b"220 backend ready\r\n");
    drop(denied);
}
