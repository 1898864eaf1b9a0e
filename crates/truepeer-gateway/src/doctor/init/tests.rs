use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::config::DEFAULT_PATH;

fn mail_host() -> Found {
    Found {
        postfix: true,
        dovecot: Some(Dovecot::V2_3),
        haproxy: true,
        unit: true,
        listening: BTreeSet::from([25, 143, 993]),
        ..Found::default()
    }
}

fn planned(found: &Found, answers: &str) -> Plan {
    let given = GivenAnswers::parse(answers).unwrap().or_found(found);
    let towards =
        |proxy: IpAddr| Some(if proxy.is_loopback() { proxy } else { IpAddr::from([192, 0, 2, 20]) });
    plan(found, &given.complete(towards).unwrap(), DEFAULT_PATH).unwrap()
}

#[test]
fn a_proxy_on_this_machine_is_tried_beside_what_runs_and_moved_last() {
    let plan = planned(&mail_host(), "");
    for line in [
        "trusted-networks = \"127.0.0.1\"",
        "unlisted = \"refuse\"",
        "bind = \"127.0.0.1:20025\"",
        "bind = \"127.0.0.1:20993\"",
        "tls.implicit = true",
        "address = \"127.0.0.1:10025\"",
        "[backend.dovecot-tls]",
    ] {
        assert!(plan.config.lines().any(|have| have == line), "{line}\n{}", plan.config);
    }
    let titles: Vec<_> = plan.steps.iter().map(|step| step.title.split(' ').next().unwrap()).collect();
    assert_eq!(titles, ["Postfix", "Dovecot", "truepeer", "haproxy", "When"]);
    let proxy = plan.steps[3].commands.join("\n");
    assert!(
        proxy.contains("bind :2525\n") && proxy.contains("server truepeer 127.0.0.1:20025 send-proxy-v2"),
        "{proxy}"
    );
    let moving = &plan.steps[4];
    let (gives, takes) = (
        moving.commands.iter().position(|line| line == "postconf -MX smtp/inet").unwrap(),
        moving.commands.iter().position(|line| line == "systemctl reload haproxy").unwrap(),
    );
    assert!(gives < takes, "{moving:?}");
    // Both ports of mailboxes in one file; on the way back the proxy lets go of each before a server takes it.
    for name in ["imap", "imaps"] {
        assert!(moving.commands.contains(&format!("  inet_listener {name} {{")), "{moving:?}");
    }
    let at = |line: &str| moving.back.iter().position(|have| have.starts_with(line)).unwrap();
    assert!(at("systemctl reload haproxy") < at("timeout 10 sh"), "{moving:?}");
    assert!(
        at("timeout 10 sh") < at("postconf -M") && at("postconf -M") < at("rm /etc/dovecot"),
        "{moving:?}"
    );
    for step in &plan.steps {
        assert!(!step.proof.is_empty() && !step.back.is_empty() && !step.commands.is_empty(), "{step:?}");
    }
}

#[test]
fn a_proxy_elsewhere_gets_the_usual_ports_and_our_address_as_it_sees_it() {
    let plan = planned(
        &mail_host(),
        "proxy = [\"192.0.2.10\", \"192.0.2.11\"]\nservices = \"smtp\"\nproduct = \"nginx\"",
    );
    assert!(plan.config.contains("trusted-networks = [\"192.0.2.10\", \"192.0.2.11\"]"), "{}", plan.config);
    assert!(plan.config.contains("bind = \"192.0.2.20:20025\""), "{}", plan.config);
    let titles: Vec<_> = plan.steps.iter().map(|step| step.title.split(' ').next().unwrap()).collect();
    assert_eq!(titles, ["Postfix", "truepeer", "nginx"]);
    let lines = plan.steps[2].commands.join("\n");
    assert!(lines.contains("listen 25;") && lines.contains("proxy_pass 192.0.2.20:20025;"), "{lines}");
}

#[test]
fn dovecot_is_told_in_the_words_of_its_version() {
    for (version, word) in
        [(Dovecot::V2_3, "    address = 127.0.0.1"), (Dovecot::V2_4, "    listen = 127.0.0.1")]
    {
        let found = Found { dovecot: Some(version), haproxy: true, ..Found::default() };
        let plan = planned(&found, "");
        assert!(plan.steps[0].commands.iter().any(|line| line == word), "{:?}", plan.steps[0]);
        // Nobody listens at 993, so it is not offered.
        assert!(!plan.config.contains("imaps"), "{}", plan.config);
    }
}

#[test]
fn what_cannot_be_planned_says_what_is_missing() {
    let towards = |_| None;
    let refused = |found: &Found, answers: &str| {
        GivenAnswers::parse(answers).and_then(|given| given.or_found(found).complete(towards)).unwrap_err().0
    };
    let proxy_elsewhere = Found { postfix: true, ..Found::default() };
    assert!(refused(&proxy_elsewhere, "").starts_with("no proxy is installed here"));
    assert!(
        refused(&Found::default(), "proxy = \"192.0.2.10\"").starts_with("neither Postfix, Exim nor Dovecot")
    );
    assert!(refused(&proxy_elsewhere, "proxy = \"192.0.2.10\"").contains("no route to 192.0.2.10"));
    for (answers, error) in [
        (
            "proxies = \"192.0.2.10\"",
            "`proxies`: no answer is called that; there are `proxy`, `product`, `services` and `hostname`",
        ),
        ("proxy = \"192.0.2.0/24\"", "any host in it could claim to be any client"),
        ("proxy = \"0.0.0.0\"", "nobody connects from 0.0.0.0"),
        ("proxy = []", "`proxy`: there is none"),
        ("product = \"caddy\"", "write one of haproxy, nginx, traefik, envoy"),
        ("services = [\"smtp\", \"pop3\"]", "\"pop3\" is no service here; there are smtp, imap, imaps"),
        ("hostname = 5", "`hostname`: write a string"),
        ("hostname = ", "TOML"),
    ] {
        let said = refused(&proxy_elsewhere, answers);
        assert!(said.contains(error), "{answers}: {said}");
    }
    let answers = GivenAnswers::parse("proxy = \"127.0.0.1\"\nservices = [\"imap\"]").unwrap();
    let answers = answers.or_found(&proxy_elsewhere).complete(Some).unwrap();
    assert!(
        plan(&proxy_elsewhere, &answers, DEFAULT_PATH).unwrap_err().contains("Dovecot is not installed here")
    );
}

#[test]
fn every_product_with_every_service_makes_what_run_takes() {
    for product in ["haproxy", "nginx", "traefik", "envoy"] {
        for proxy in ["127.0.0.1", "::1", "192.0.2.10"] {
            let answers =
                format!("product = \"{product}\"\nproxy = \"{proxy}\"\nhostname = \"mx1.example.org\"");
            let plan = planned(&mail_host(), &answers);
            assert!(plan.config.contains("hostname = \"mx1.example.org\""));
        }
    }
}
