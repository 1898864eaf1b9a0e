//! `truepeer doctor` on machines that were recorded as folders: nothing runs there, and nothing of this machine is seen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use crate::support::shapes;

use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// The program.
const BINARY: &str = env!("CARGO_BIN_EXE_truepeer");
/// The network namespace of the machine.
const HERE: &str = "net:[4026531840]";
const MASTER: &str = "/usr/lib/postfix/sbin/master";
const DOVECOT: &str = "\
haproxy_trusted_networks = 127.0.0.1
service imap-login {
  inet_listener imap {
    haproxy = yes
    port = 10143
  }
}
";

/// A machine as a folder.
struct Machine {
    root: PathBuf,
    tcp: String,
}

impl Machine {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("truepeer-doctor-{}-{count}", std::process::id()));
        let machine = Self { root, tcp: "  sl  local_address rem_address\n".to_owned() };
        machine.link("proc/self/ns/net", HERE);
        machine
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// A process of root's, whose words are separated by blanks.
    fn process(&self, pid: u32, words: &str, exe: &str) {
        self.file(&format!("proc/{pid}/cmdline"), &format!("{}\0", words.replace(' ', "\0")));
        self.file(&format!("proc/{pid}/comm"), exe.rsplit('/').next().unwrap());
        self.file(&format!("proc/{pid}/status"), "Name:\tx\nUid:\t0\t0\t0\t0\n");
        self.link(&format!("proc/{pid}/exe"), exe);
        self.link(&format!("proc/{pid}/cwd"), "/");
        self.link(&format!("proc/{pid}/ns/net"), HERE);
    }

    fn haproxy(&self, config: &str) {
        self.process(20, "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg", "/usr/sbin/haproxy");
        self.file("etc/haproxy/haproxy.cfg", config);
    }

    /// Postfix with a port 10025 that reads headers.
    fn postfix(&self) {
        self.process(30, &format!("{MASTER} -w"), MASTER);
        self.file("printed/postconf -n", "mynetworks = 127.0.0.0/8\n");
        self.file(
            "printed/postconf -Mf",
            "127.0.0.1:10025 inet n - n - - smtpd\n    -o smtpd_upstream_proxy_protocol=haproxy\n",
        );
    }

    fn dovecot(&self, printed: &str) {
        self.process(40, "/usr/sbin/dovecot -F", "/usr/sbin/dovecot");
        self.file("printed/doveconf -n", printed);
    }

    /// A row of `/proc/net/tcp`.
    fn socket(&mut self, local: &str, peer: &str, state: &str) {
        let end = |text: &str| {
            let addr: SocketAddrV4 = text.parse().unwrap();
            format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port())
        };
        let (local, peer) = (end(local), end(peer));
        self.tcp +=
            &format!("   0: {local} {peer} {state} 00000000:00000000 00:00000000 00000000 0 0 7 1 0\n");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.file("proc/net/tcp", &self.tcp);
        Command::new(BINARY).arg("doctor").arg("--root").arg(&self.root).args(arguments).output().unwrap()
    }

    /// The findings, after it was proved that each keeps what the page promises.
    fn findings(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(&[&["--json"], arguments].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for finding in &found {
            shapes::assert_documented("Finding", finding);
        }
        assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{text}");
        found
    }

    fn classes(&self, arguments: &[&str]) -> Vec<String> {
        let word = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("-").to_owned();
        self.findings(arguments)
            .iter()
            .map(|found| ["class", "side", "product"].map(|name| word(found, name)).join(" "))
            .collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A table of routes with that default gateway.
fn route(gateway: [u8; 4]) -> String {
    let gateway = u32::from_ne_bytes(gateway);
    format!(
        "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t{gateway:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    )
}

fn front(server: &str) -> String {
    format!("listen smtp\n  mode tcp\n  bind :25\n  server mail 127.0.0.1:10025 {server}\n")
}

#[test]
fn a_machine_in_order_has_no_findings_and_what_was_looked_at_is_told() {
    let machine = Machine::new();
    machine.haproxy(&front("send-proxy-v2"));
    machine.postfix();
    assert_eq!(machine.classes(&[]), [""; 0]);
    let output = machine.run(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for words in [
        "Nothing is wrong, as far as was seen.",
        "HAProxy (process 20): /etc/haproxy/haproxy.cfg",
        "Postfix (process 30): postconf -n, postconf -Mf",
        "HAProxy sends version 2 to Postfix (127.0.0.1:10025)",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_proxy_that_sends_no_header_is_found_with_file_and_line() {
    let machine = Machine::new();
    machine.haproxy(&front("check"));
    machine.postfix();
    let found = machine.findings(&[]);
    assert_eq!(machine.classes(&[]), ["MISS front haproxy"]);
    let said = |name: &str| found[0][name].as_str().unwrap();
    assert!(said("seen").contains("/etc/haproxy/haproxy.cfg:4"), "{}", said("seen"));
    assert!(said("change").contains("send-proxy-v2"), "{}", said("change"));
    let text = String::from_utf8(machine.run(&[]).stdout).unwrap();
    assert!(text.starts_with("MISS (certain), to change at the front: HAProxy\n"), "{text}");
    assert!(text.contains("One thing is wrong."), "{text}");
}

#[test]
fn nginx_shows_its_files_where_it_does_not_print_them() {
    let machine = Machine::new();
    machine.process(50, "nginx: master process /usr/sbin/nginx", "/usr/sbin/nginx");
    // Its title is one word.
    machine.file("proc/50/cmdline", "nginx: master process /usr/sbin/nginx\0");
    machine.file("etc/nginx/nginx.conf", "stream {\n  include streams/*.conf;\n}\n");
    machine.file(
        "etc/nginx/streams/smtp.conf",
        "server {\n  listen 25 proxy_protocol;\n  proxy_pass 127.0.0.1:10025;\n}\n",
    );
    machine.postfix();
    let found = machine.findings(&[]);
    assert_eq!(machine.classes(&[]), ["DIR front nginx"]);
    assert!(found[0]["seen"].as_str().unwrap().contains("/etc/nginx/streams/smtp.conf:"), "{found:#?}");
}

#[test]
fn logs_are_read_as_far_back_as_wanted() {
    let machine = Machine::new();
    machine.dovecot(&format!("log_path = /srv/dovecot.log\n{DOVECOT}"));
    let line = |time: &str, text: &str| format!("Nov 30 {time} imap-login: {text}\n");
    machine.file(
        "srv/dovecot.log",
        &[
            line("08:00:00", "Info: haproxy: Client not trusted (rip=10.0.0.7)"),
            line("12:30:00", "Error: haproxy: Client timed out (rip=10.0.0.5)"),
            line("12:40:00", "Error: haproxy: Client timed out (rip=10.0.0.5)"),
            line("13:00:00", "Info: Login: user=<x>"),
        ]
        .concat(),
    );
    let found = machine.findings(&[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["product"], "dovecot");
    let seen = found[0]["seen"].as_str().unwrap();
    assert!(seen.contains("Client timed out") && seen.ends_with("(2 times, /srv/dovecot.log)"), "{seen}");
    assert_eq!(machine.findings(&["--since", "1d"]).len(), 2);
    assert_eq!(machine.findings(&["--since", "0s"]).len(), 0);
    // The journal of the machine.
    machine.file(
        "printed/journalctl",
        "Nov 30 13:00:00 mx postfix/smtpd[7]: warning: haproxy read: timeout error\n",
    );
    assert!(machine.classes(&[]).iter().any(|found| found.ends_with(" postfix")));
}

#[test]
fn a_peer_that_is_the_gateway_is_seen_in_the_kernel_s_table() {
    let mut machine = Machine::new();
    machine.dovecot(DOVECOT);
    machine.file(".dockerenv", "");
    machine.file("proc/net/route", &route([172, 18, 0, 1]));
    machine.socket("0.0.0.0:10143", "0.0.0.0:0", "0A");
    machine.socket("172.18.0.2:10143", "127.0.0.1:40000", "01");
    assert_eq!(machine.classes(&[]), [""; 0]);
    machine.socket("172.18.0.2:10143", "172.18.0.1:40001", "01");
    assert_eq!(machine.classes(&[]), ["HOP network dovecot"]);
}

/// The first digits of a container's id.
const CONTAINER: &str = "0123456789ab";

/// A Dovecot in a container, whose namespaces have that number.
fn contained_dovecot(machine: &Machine) {
    let id = format!("{CONTAINER}{}", "c".repeat(52));
    machine.process(60, "/usr/sbin/dovecot -F", "/usr/sbin/dovecot");
    machine.file("proc/60/cgroup", &format!("0::/system.slice/docker-{id}.scope\n"));
    fs::remove_file(machine.root.join("proc/60/ns/net")).unwrap();
    machine.link("proc/60/ns/net", "net:[4026532999]");
}

#[test]
fn a_container_that_cannot_be_looked_into_is_named_with_the_command_that_shows_it() {
    let machine = Machine::new();
    contained_dovecot(&machine);
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Dovecot (process 60) in container 0123456789ab"), "{text}");
    assert!(text.contains("`docker exec 0123456789ab doveconf -n >dovecot.conf && "), "{text}");
}

#[test]
fn a_container_is_looked_into_and_reached_through_its_published_port() {
    let machine = Machine::new();
    contained_dovecot(&machine);
    machine.link("proc/self/ns/mnt", "mnt:[1]");
    machine.link("proc/60/ns/mnt", "mnt:[2]");
    // Links of a container stay within it.
    machine.file("proc/60/root/etc/dovecot/real.conf", &format!("!include conf.d/*.conf\n{DOVECOT}"));
    machine.link("proc/60/root/etc/dovecot/dovecot.conf", "/etc/dovecot/real.conf");
    machine.link("proc/60/root/etc/dovecot/conf.d/90-host.conf", "/../../etc/passwd");
    machine.file("proc/60/net/route", &route([172, 18, 0, 1]));
    machine
        .file("proc/60/net/fib_trie", "|-- 127.0.0.1\n /32 host LOCAL\n |-- 172.18.0.3\n /32 host LOCAL\n");
    let words = "docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port 20143 -container-ip 172.18.0.3 -container-port 10143";
    machine.process(70, words, "/usr/bin/docker-proxy");
    machine.haproxy("listen imap\n  mode tcp\n  bind :143\n  server mail 127.0.0.1:20143\n");
    let found = machine.findings(&[]);
    assert_eq!(machine.classes(&[]), ["MISS front haproxy"]);
    let seen = found[0]["seen"].as_str().unwrap();
    assert!(seen.contains("/etc/haproxy/haproxy.cfg:4"), "{seen}");
    assert!(seen.contains("0123456789ab:/etc/dovecot/dovecot.conf:"), "{seen}");
    // Once it sends one, it comes from the gateway, which the list does not hold.
    machine.file(
        "etc/haproxy/haproxy.cfg",
        "listen imap\n  mode tcp\n  bind :143\n  server mail 127.0.0.1:20143 send-proxy-v2\n",
    );
    assert_eq!(machine.classes(&[]), ["HOP back dovecot"]);
    assert!(machine.findings(&[])[0]["seen"].as_str().unwrap().contains(CONTAINER));
    let text = String::from_utf8(machine.run(&[]).stdout).unwrap();
    assert!(text.contains("Dovecot (process 60, container 0123456789ab): "), "{text}");
    assert!(text.contains("`docker exec 0123456789ab cat /etc/dovecot/conf.d/90-host.conf`"), "{text}");
}

#[test]
fn truepeer_between_is_a_neighbour_like_the_others() {
    let machine = Machine::new();
    machine.haproxy("listen smtp\n  mode tcp\n  bind :25\n  server door 127.0.0.1:2526\n");
    machine.postfix();
    machine.process(80, "/usr/bin/truepeer run", "/usr/bin/truepeer");
    machine.file(
        "etc/truepeer/truepeer.toml",
        "[server.proxy]\ntrusted-networks = [\"127.0.0.1\"]\n[server.listener.smtp]\nbind = \"127.0.0.1:2526\"\n\
         protocol = \"smtp\"\nbackend = \"mail\"\n[backend.mail]\nkind = \"postfix\"\naddress = \"127.0.0.1:10025\"\n",
    );
    assert_eq!(machine.classes(&[]), ["MISS front haproxy"]);
    machine.file(
        "etc/haproxy/haproxy.cfg",
        "listen smtp\n  mode tcp\n  bind :25\n  server door 127.0.0.1:2526 send-proxy-v2\n",
    );
    assert_eq!(machine.classes(&[]), [""; 0]);
    let text = String::from_utf8(machine.run(&[]).stdout).unwrap();
    assert!(text.contains("truepeer sends version 2 with TLS facts to Postfix"), "{text}");
    machine.file("etc/truepeer/truepeer.toml", "[server.oops]\n");
    let text = String::from_utf8(machine.run(&[]).stdout).unwrap();
    assert!(text.contains("truepeer (process 80): its configuration (it has mistakes)"), "{text}");
}

#[test]
fn who_listens_and_is_not_known_is_no_misfit() {
    let mut machine = Machine::new();
    machine.haproxy(&front("send-proxy-v2").replace("10025", "10026"));
    machine.postfix();
    // Nobody is there: the two mean each other.
    assert_eq!(machine.classes(&[]), ["MISS front haproxy"]);
    machine.socket("127.0.0.1:10026", "0.0.0.0:0", "0A");
    machine.process(90, "/opt/mta --serve", "/opt/mta");
    machine.link("proc/90/fd/3", "socket:[7]");
    assert_eq!(machine.classes(&[]), [""; 0]);
    let text = String::from_utf8(machine.run(&[]).stdout).unwrap();
    assert!(text.contains("what mta (process 90) does with the header on 127.0.0.1:10026"), "{text}");
    assert!(text.contains("`truepeer probe 127.0.0.1:10026`"), "{text}");
}

#[test]
fn what_cannot_be_read_is_told_with_the_command_that_reads_it() {
    let machine = Machine::new();
    machine.process(20, "/usr/sbin/haproxy -f /etc/my$(reboot).cfg", "/usr/sbin/haproxy");
    let text = String::from_utf8(machine.run(&[]).stdout).unwrap();
    assert!(text.contains("Not seen\n  HAProxy (process 20): its configuration"), "{text}");
    assert!(text.contains("`sudo cat '/etc/my$(reboot).cfg'`"), "{text}");
}

#[test]
fn nothing_of_a_stranger_s_reaches_the_terminal_unescaped() {
    let machine = Machine::new();
    let evil = "\u{1b}]0;x\u{7}\u{202e}";
    machine.haproxy(&format!("listen {evil}\n  bind :25\n  server {evil} 127.0.0.1:10025 {evil}\n"));
    machine.postfix();
    machine.process(21, &format!("haproxy -f /etc/{evil}"), "/usr/sbin/haproxy");
    machine.process(22, &format!("/usr/sbin/nginx -c /{evil}"), "/usr/sbin/nginx");
    machine.file(
        "printed/journalctl",
        &format!("Nov 30 13:00:00 mx postfix/smtpd[7]: warning: haproxy read: timeout error {evil}\n"),
    );
    for arguments in [&[][..], &["--json"]] {
        let output = machine.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        for text in [output.stdout, output.stderr] {
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
        }
    }
}

#[test]
fn a_crowded_machine_is_looked_at_in_bounds() {
    let mut machine = Machine::new();
    for pid in 1000..1100 {
        machine.process(pid, &format!("haproxy -f /etc/haproxy/{pid}.cfg"), "/usr/sbin/haproxy");
        machine.file(&format!("etc/haproxy/{pid}.cfg"), &front("send-proxy-v2"));
    }
    for _ in 0..100_000 {
        machine.tcp += "   0: 0100007F:1F90 0100007F:9C40 01 0:0 0:0 0 0 0 7 1 0\n";
    }
    machine.file("var/log/mail.log", &"Nov 30 13:00:00 mx nobody: nothing\n".repeat(800_000));
    let text = String::from_utf8(machine.run(&[]).stdout).unwrap();
    let programs = text.lines().filter(|line| line.contains("HAProxy (process")).count();
    assert_eq!(programs, 32, "{text}");
    // What was left out is said.
    assert!(text.contains("programs beyond the first 32"), "{text}");
    assert!(text.contains("/var/log/mail.log: what is before its last 16777216 bytes"), "{text}");
}

#[test]
fn the_help_has_examples_and_exit_codes() {
    let output = Command::new(BINARY).args(["doctor", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["Examples:", "Exit codes:", "--no-probe", "--since", "--json", "Changes nothing"] {
        assert!(help.contains(words), "{help}");
    }
    assert!(!help.contains("--root"), "{help}");
}
