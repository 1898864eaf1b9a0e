//! `truepeer snippet`, the real command: the lines of a proxy fit the configuration, or it says why they cannot.
//!
//! That the programs start with them and carry clients is seen in `interop`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod program;
mod support;

use std::process::Command;

use program::{Answer, BINARY, Folder, write_config};

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
