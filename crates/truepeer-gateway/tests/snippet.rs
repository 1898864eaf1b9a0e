//! `truepeer snippet`, the real command: the lines of a proxy fit the configuration, or it says why they cannot.
//!
//! That the programs start with them and carry clients is seen in `interop`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::process::Command;

use crate::program::{Answer, BINARY, Folder, write_config};

const CONFIG: &str = "\
[server.proxy]
trusted-networks = [\"192.0.2.10\"]
[server.listener.smtp]
bind = \"0.0.0.0:25\"
health-bind = \"0.0.0.0:8025\"
protocol = \"smtp\"
backend = \"b\"
[server.listener.imaps]
bind = \"192.0.2.20:993\"
protocol = \"imap\"
tls.implicit = true
backend = \"b\"
proxy.trusted-networks = \"off\"
[server.listener.second]
bind = \"[2001:db8::20]:587\"
protocol = \"submission\"
backend = \"b\"
proxy.versions = \"v2\"
[backend.b]
kind = \"whoami\"
";

fn snippet(arguments: &[&str]) -> Answer {
    snippet_of(CONFIG, arguments)
}

fn snippet_of(config: &str, arguments: &[&str]) -> Answer {
    let folder = Folder::new();
    write_config(&folder, config);
    let mut command = Command::new(BINARY);
    command.arg("snippet").args(arguments).arg("--config").arg(folder.path("truepeer.toml"));
    Answer(command.output().unwrap())
}

#[test]
fn a_wildcard_wants_the_address_by_which_the_proxy_comes() {
    let refused = snippet(&["haproxy", "--listener", "smtp"]);
    assert_eq!((refused.code(), refused.out().as_str()), (Some(1), ""));
    assert!(
        refused.error().contains("say with `--to ADDRESS` how the proxy reaches it"),
        "{}",
        refused.error()
    );
    let told = snippet(&["haproxy", "--listener", "smtp", "--to", "192.0.2.20"]).ok();
    assert_eq!(told.error(), "");
    assert_eq!(
        told.out(),
        "frontend smtp\n  mode tcp\n  bind :25\n  bind :::25 v6only\n  timeout client 900s\n  default_backend smtp-truepeer\n\
         backend smtp-truepeer\n  mode tcp\n  timeout connect 5s\n  timeout server 900s\n  option smtpchk EHLO check.invalid\n  \
         server truepeer 192.0.2.20:25 send-proxy-v2-ssl check port 8025\n"
    );
}

#[test]
fn each_proxy_is_told_what_it_can_do() {
    // Clear-text checks have no answer where TLS passes through, and nobody is trusted here.
    let imaps = snippet(&["haproxy", "--listener", "imaps", "--front", "192.0.2.10:993"]).ok();
    assert!(imaps.out().contains("  bind 192.0.2.10:993\n"), "{}", imaps.out());
    assert!(
        imaps.out().ends_with("  server truepeer 192.0.2.20:993 send-proxy-v2-ssl check\n"),
        "{}",
        imaps.out()
    );
    assert!(imaps.error().starts_with("listener `imaps` trusts no address:"), "{}", imaps.error());
    let nginx = snippet(&["nginx", "--listener", "smtp", "--to", "192.0.2.20"]).ok().out();
    assert!(nginx.contains("    listen 25;\n    listen [::]:25 ipv6only=on;\n    proxy_pass 192.0.2.20:25;\n    proxy_protocol on;\n"), "{nginx}");
    let refused = snippet(&["nginx", "--listener", "second"]);
    assert_eq!(refused.code(), Some(1));
    assert!(
        refused.error().contains("nginx sends version 1 only, and listener `second` does not read it"),
        "{}",
        refused.error()
    );
    let traefik = snippet(&["traefik", "--listener", "smtp", "--to", "192.0.2.20"]).ok().out();
    assert!(traefik.contains("          port: 8025\n          expect: \"220\"\n"), "{traefik}");
    let envoy = snippet(&["envoy", "--listener", "second"]).ok().out();
    assert!(envoy.contains("{address: \"2001:db8::20\", port_value: 587}"), "{envoy}");
    assert!(envoy.contains("config: {version: V2}"), "{envoy}");
    // All of them in one go.
    let all = snippet(&["haproxy", "--to", "192.0.2.20"]).ok().out();
    assert_eq!(all.matches("frontend ").count(), 3, "{all}");
}

#[test]
fn caddy_is_told_of_http_and_of_nothing_else() {
    let refused = snippet(&["caddy", "--listener", "second"]);
    assert_eq!((refused.code(), refused.out().as_str()), (Some(1), ""));
    let why = "stock Caddy passes on HTTP requests only, and listener `second` has something else: it cannot carry mail";
    assert!(refused.error().contains(why), "{}", refused.error());
    let web = CONFIG.replace("protocol = \"submission\"", "protocol = \"http\"").replace(":587", ":80");
    let told = snippet_of(&web, &["caddy", "--listener", "second"]).ok();
    assert_eq!(
        told.out(),
        "http://:80 { # second\n  reverse_proxy [2001:db8::20]:80 {\n    transport http {\n      proxy_protocol v2\n    \
         }\n  }\n}\n"
    );
}

#[test]
fn what_cannot_be_answered_says_so() {
    let refused = snippet(&["haproxy", "--listener", "nowhere"]);
    assert_eq!(
        (refused.code(), refused.error().as_str()),
        (Some(1), "error: there is no listener `nowhere`\n")
    );
    assert_eq!(snippet(&["haproxy", "--front", "127.0.0.1:1"]).code(), Some(2));
    assert_eq!(snippet(&["sendmail"]).code(), Some(2));
    let same = snippet(&["haproxy", "--listener", "smtp", "--to", "127.0.0.1"]).ok();
    assert!(same.error().contains("nobody else can listen on its port here"), "{}", same.error());
    let help =
        Answer(Command::new(BINARY).args(["snippet", "haproxy", "--help"]).output().unwrap()).ok().out();
    for text in ["Exit codes: 0", "Examples:", "--to 192.0.2.20"] {
        assert!(help.contains(text), "{text}: {help}");
    }
}

const BEHIND: &str = "\
[server.proxy]
trusted-networks = [\"192.0.2.10\"]
[server.listener.smtp]
bind = \"127.0.0.1:25\"
protocol = \"smtp\"
backend = \"mx\"
[server.listener.submissions]
bind = \"127.0.0.1:465\"
protocol = \"submission\"
tls.implicit = true
backend = \"users\"
[server.listener.imaps]
bind = \"127.0.0.1:993\"
protocol = \"imap\"
tls.implicit = true
backend = \"imaps\"
[server.listener.sieve]
bind = \"127.0.0.1:4190\"
protocol = \"managesieve\"
backend = \"sieve\"
[server.listener.web]
bind = \"127.0.0.1:80\"
protocol = \"http\"
backend = \"web\"
[server.listener.told]
bind = \"127.0.0.1:587\"
protocol = \"submission\"
backend = \"told\"
[backend.mx]
kind = \"postscreen\"
address = \"127.0.0.1:10025\"
[backend.users]
kind = \"postfix\"
address = \"[::1]:10465\"
[backend.imaps]
kind = \"dovecot\"
address = \"127.0.0.1:10993\"
[backend.sieve]
kind = \"dovecot\"
address = \"mail.example.org:14190\"
[backend.web]
kind = \"nginx\"
address = \"127.0.0.1:10080\"
[backend.told]
kind = \"postfix\"
handoff = \"xclient\"
address = \"127.0.0.1:10587\"
";

#[test]
fn each_server_is_told_what_its_backends_need() {
    let postfix = snippet_of(BEHIND, &["postfix"]).ok();
    assert_eq!(postfix.error(), "");
    assert_eq!(
        postfix.out(),
        "# master.cf, for backend `mx`\n127.0.0.1:10025 inet n - n - 1 postscreen\n  -o \
         postscreen_upstream_proxy_protocol=haproxy\nsmtpd pass - - n - - smtpd\n\
         # master.cf, for backend `users`\n[::1]:10465 inet n - n - - smtpd\n  -o \
         smtpd_upstream_proxy_protocol=haproxy\n  -o smtpd_tls_wrappermode=yes\n\
         # main.cf, for backend `told`\nsmtpd_authorized_xclient_hosts = 127.0.0.1\n"
    );
    let dovecot = snippet_of(BEHIND, &["dovecot", "--listener", "imaps"]).ok().out();
    assert_eq!(
        dovecot,
        "haproxy_trusted_networks = 127.0.0.1\nservice imap-login { # backend imaps\n  inet_listener imaps_truepeer {\n    \
         port = 10993\n    haproxy = yes\n    ssl = yes\n  }\n}\n"
    );
    let nginx = snippet_of(BEHIND, &["nginx", "--backend", "web"]).ok().out();
    assert!(
        nginx.contains(
            "    listen 127.0.0.1:10080 proxy_protocol;\n    set_real_ip_from 127.0.0.1;\n    real_ip_header \
             proxy_protocol;\n"
        ),
        "{nginx}"
    );
    let exim = snippet_of(BEHIND, &["exim", "--backend", "users"]).ok().out();
    assert!(
        exim.ends_with(
            "local_interfaces = <; ::1\ndaemon_smtp_ports = <; 10465\ntls_on_connect_ports = <; 10465\nhosts_proxy = <; \
             ${if eq{$received_port}{10465} {::1}{}}\n"
        ),
        "{exim}"
    );
    let stalwart = snippet_of(BEHIND, &["stalwart", "--backend", "imaps"]).ok().out();
    assert!(
        stalwart.ends_with(
            "[server.listener.imaps]\nbind = [\"127.0.0.1:10993\"]\nprotocol = \"imap\"\ntls.implicit = \
             true\nproxy.trusted-networks = [\"127.0.0.1\"]\n"
        ),
        "{stalwart}"
    );
}

#[test]
fn a_server_that_needs_no_line_or_is_elsewhere_says_so() {
    for (words, why) in [
        (&["exim"][..], "no backend has `kind = \"exim\"`: say with `--backend ID` which one Exim is"),
        (&["dovecot"], "backend `sieve` is at the name mail.example.org: say with `--from ADDRESS`"),
        (&["dovecot", "--backend", "told"], "`handoff = \"xclient\"`, for which Dovecot needs no line"),
        (
            &["dovecot", "--backend", "mx"],
            "Dovecot does not speak what the listener of backend `mx` does (smtp)",
        ),
        (&["postfix", "--backend", "nowhere"], "there is no backend `nowhere`"),
        (&["postfix", "--listener", "nowhere"], "there is no listener `nowhere`"),
        (&["firewall", "--backend", "sieve"], "backend `sieve` is at the name mail.example.org"),
    ] {
        let refused = snippet_of(BEHIND, words);
        assert_eq!((refused.code(), refused.out().as_str()), (Some(1), ""), "{words:?}");
        assert!(refused.error().contains(why), "{words:?}: {}", refused.error());
    }
    let sieve = snippet_of(BEHIND, &["dovecot", "--listener", "sieve", "--from", "192.0.2.20"]).ok().out();
    assert!(
        sieve.starts_with("haproxy_trusted_networks = 192.0.2.20\nservice managesieve-login {"),
        "{sieve}"
    );
}

#[test]
fn rules_guard_the_backends_of_this_machine_by_user_and_others_by_address() {
    let rules = snippet_of(BEHIND, &["firewall", "--from", "192.0.2.20", "--user", "_tp"]).ok().out();
    for line in [
        "    ip daddr 127.0.0.1 tcp dport { 10025, 10080, 10587, 10993 } ct state new meta skuid != \"_tp\" reject with tcp reset\n",
        "    ip6 daddr ::1 tcp dport { 10465 } ct state new meta skuid != \"_tp\" reject with tcp reset\n",
        "    iifname != \"lo\" ip daddr 127.0.0.1 tcp dport { 10025, 10080, 10587, 10993 } ct state new reject with tcp reset\n",
        // Those of another machine, to be loaded there.
        "# on mail.example.org\n",
        "#      ip saddr { 192.0.2.20 } tcp dport { 14190 } ct state new accept\n",
    ] {
        assert!(rules.contains(line), "{line}: {rules}");
    }
    // For one machine alone they stand as they are.
    let alone = snippet_of(BEHIND, &["firewall", "--backend", "sieve", "--from", "192.0.2.20"]).ok().out();
    assert!(alone.contains("\n    tcp dport { 14190 } ct state new reject with tcp reset\n"), "{alone}");
    assert_eq!(snippet_of(BEHIND, &["firewall", "--user", "a\"; flush ruleset"]).code(), Some(2));
}

#[test]
fn in_json_it_is_one_object() {
    for words in [
        &["haproxy", "--listener", "sieve", "--json"][..],
        &["nginx", "--backend", "web", "--json"],
        &["postfix", "--json"],
        &["firewall", "--backend", "mx", "--json"],
    ] {
        let told = snippet_of(BEHIND, words);
        let object: serde_json::Value = serde_json::from_str(told.ok().out().trim_end()).unwrap();
        support::shapes::assert_documented("Snippet", &object);
        assert_eq!(object["product"], words[0]);
    }
    let transparent = Command::new(BINARY).args(["snippet", "transparent", "--json"]).output().unwrap();
    let object: serde_json::Value = serde_json::from_slice(&transparent.stdout).unwrap();
    support::shapes::assert_documented("Snippet", &object);
}

/// What is printed for a server agrees with our configuration, as `check` reads both.
#[test]
fn what_is_printed_for_a_server_agrees_with_ours() {
    for (product, kind, protocol, file) in [
        ("stalwart", "stalwart", "imap", "config.toml"),
        ("exim", "exim", "smtp", "exim.conf"),
        ("dovecot", "dovecot", "imap", "dovecot.conf"),
        ("postfix", "postfix", "smtp", "master.cf"),
    ] {
        let folder = Folder::new();
        let port = if protocol == "smtp" { 25 } else { 143 };
        let config = format!(
            "[server.proxy]\ntrusted-networks = [\"203.0.113.1\"]\n[server.listener.l]\nbind = \
             \"127.0.0.1:{port}\"\nprotocol = \"{protocol}\"\nbackend = \"b\"\n[backend.b]\nkind = \
             \"{kind}\"\naddress = \"127.0.0.1:10025\"\n"
        );
        write_config(&folder, &config);
        let ours = folder.path("truepeer.toml");
        let printed =
            Command::new(BINARY).args(["snippet", product, "--config"]).arg(&ours).output().unwrap();
        let mut text = String::from_utf8(printed.stdout).unwrap();
        if product == "dovecot" {
            // What any Dovecot says beside: it listens here only, for this protocol.
            text.push_str("listen = 127.0.0.1\nprotocols = imap\n");
        }
        std::fs::write(folder.path(file), text).unwrap();
        let other = format!("{product}:{}", folder.path(file).display());
        let output = Command::new(BINARY).args(["check", "--neighbour", &other]).arg(&ours).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{product}: {said}");
        assert!(said.contains("sends version 2"), "{product}: {said}");
    }
}
