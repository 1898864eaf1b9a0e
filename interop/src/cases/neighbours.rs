//! `check --neighbour` on the configurations of real programs: those that work yield no finding, and each misfit that
//! is planted in one line is named with class, side, file and line, and gone once that line is repaired.
//!
//! Called by `cases`. What Postfix and Dovecot are is asked of them (`postconf`, `doveconf`); HAProxy and NGINX read
//! each configuration themselves before it is checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Case, PROXY, case, hello, imap_hello, row};
use crate::client::Client;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::{Nginx, module};
use crate::servers::{ask, find, write};
use crate::verdict::{During, Result, ensure, failed};

/// One line wrong in a configuration that is right otherwise.
struct Misfit {
    /// The configuration in front, with words for addresses.
    front: Front,
    /// The line that is wrong, and what repairs it.
    wrong: &'static str,
    right: &'static str,
    class: &'static str,
    side: &'static str,
    product: &'static str,
    /// The file whose line the finding names, and a part of that line.
    at: (&'static str, &'static str),
}

/// What stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Haproxy,
    Nginx,
}

/// HAProxy's section around the lines of a case.
const BETWEEN: &str = "listen mail\n";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let misfits = vec![
        (
            "neighbours_haproxy_that_sends_nothing_to_a_postfix_that_expects_it",
            Misfit {
                front: Front::Haproxy,
                wrong: "  server s SMTP check\n",
                right: "  server s SMTP send-proxy-v2 check\n",
                class: "MISS",
                side: "front",
                product: "haproxy",
                at: ("haproxy.cfg", "server s"),
            },
        ),
        (
            "neighbours_haproxy_at_the_postfix_port_without_headers",
            Misfit {
                front: Front::Haproxy,
                wrong: "  server s PLAIN send-proxy-v2\n",
                right: "  server s SMTP send-proxy-v2\n",
                class: "UNEX",
                side: "front",
                product: "haproxy",
                at: ("haproxy.cfg", "server s"),
            },
        ),
        (
            "neighbours_without_any_header_clients_may_relay",
            Misfit {
                front: Front::Haproxy,
                wrong: "  server s PLAIN\n",
                right: "  server s SMTP send-proxy\n",
                class: "BAN",
                side: "both",
                product: "postfix",
                at: ("main.cf", "mynetworks ="),
            },
        ),
        (
            "neighbours_a_check_to_a_port_of_its_own_brings_no_header",
            Misfit {
                front: Front::Haproxy,
                wrong: "  server s SMTP send-proxy-v2 check port SMTPPORT\n",
                right: "  server s SMTP send-proxy-v2 check port SMTPPORT check-send-proxy\n",
                class: "MIX",
                side: "front",
                product: "haproxy",
                at: ("haproxy.cfg", "server s"),
            },
        ),
        (
            "neighbours_dovecot_does_not_trust_the_address_that_haproxy_binds_to",
            Misfit {
                front: Front::Haproxy,
                wrong: "  server s IMAP source 127.0.0.9 send-proxy-v2\n",
                right: "  server s IMAP source 127.0.0.1 send-proxy-v2\n",
                class: "HOP",
                side: "back",
                product: "dovecot",
                at: ("dovecot.conf", "haproxy_trusted_networks ="),
            },
        ),
        (
            "neighbours_one_haproxy_socket_for_both_families",
            Misfit {
                front: Front::Haproxy,
                wrong: "  bind :::DOOR v4v6\n  server s IMAP send-proxy-v2\n",
                right: "  bind :DOOR\n  bind :::DOOR v6only\n  server s IMAP send-proxy-v2\n",
                class: "FAM",
                side: "front",
                product: "haproxy",
                at: ("haproxy.cfg", "v4v6"),
            },
        ),
        (
            "neighbours_haproxy_ends_tls_and_dovecot_does_not_hear_of_it",
            Misfit {
                front: Front::Haproxy,
                wrong: "  bind 127.0.0.1:DOOR ssl crt PAIR\n  server s IMAP send-proxy-v2\n",
                right: "  bind 127.0.0.1:DOOR ssl crt PAIR\n  server s IMAP send-proxy-v2-ssl\n",
                class: "TLS",
                side: "front",
                product: "haproxy",
                at: ("haproxy.cfg", "server s"),
            },
        ),
        (
            "neighbours_clients_of_a_unix_socket_count_as_haproxy",
            Misfit {
                front: Front::Haproxy,
                wrong: "  bind /run/truepeer-interop.sock\n  server s SMTP send-proxy-v2\n",
                right: "  bind 127.0.0.1:DOOR\n  server s SMTP send-proxy-v2\n",
                class: "BAN",
                side: "front",
                product: "haproxy",
                at: ("haproxy.cfg", "bind /run"),
            },
        ),
        (
            "neighbours_nginx_with_the_switch_of_the_wrong_side",
            Misfit {
                front: Front::Nginx,
                wrong: "server {\n listen 127.0.0.1:DOOR proxy_protocol;\n proxy_pass SMTP;\n}\n",
                right: "server {\n listen 127.0.0.1:DOOR;\n proxy_pass SMTP; proxy_protocol on;\n}\n",
                class: "DIR",
                side: "front",
                product: "nginx",
                at: ("nginx.conf", "proxy_protocol;"),
            },
        ),
        (
            "neighbours_nginx_at_the_dovecot_port_without_headers",
            Misfit {
                front: Front::Nginx,
                wrong: "server {\n listen 127.0.0.1:DOOR;\n proxy_pass BARE;\n proxy_protocol on;\n}\n",
                right: "server {\n listen 127.0.0.1:DOOR;\n proxy_pass IMAP;\n proxy_protocol on;\n}\n",
                class: "UNEX",
                side: "front",
                product: "nginx",
                at: ("nginx.conf", "proxy_pass"),
            },
        ),
        (
            "neighbours_nginx_that_believes_no_proxy_in_front_tells_its_address",
            Misfit {
                front: Front::Nginx,
                wrong: "server {\n listen 127.0.0.1:DOOR proxy_protocol;\n proxy_pass SMTP; proxy_protocol on;\n}\n",
                right: "server {\n listen 127.0.0.1:DOOR proxy_protocol; set_real_ip_from 127.0.0.1;\n proxy_pass SMTP; proxy_protocol on;\n}\n",
                class: "HOP",
                side: "back",
                product: "nginx",
                at: ("nginx.conf", "listen"),
            },
        ),
    ];
    let mut cases: Vec<Case> =
        misfits.into_iter().map(|(name, misfit)| row(name.to_owned(), misfit, named)).collect();
    cases.push(case("neighbours_that_work_together_yield_no_finding", healthy));
    cases
}

/// The misfit is named, and gone once its line is repaired.
fn named(lab: &Lab, misfit: &Misfit) -> Result {
    let Misfit { front, wrong, right, class, side, product, at } = misfit;
    let (dir, found) = checked(lab, *front, wrong)?;
    let Some(first) = found.first() else { return failed("no finding at all") };
    for (name, expected) in [("class", class), ("side", side), ("product", product)] {
        ensure(first[name] == **expected, || format!("expected {name} {expected}, got {first}"))?;
    }
    ensure(found.len() == 1, || format!("more than the one: {found:#?}"))?;
    let (file, part) = at;
    let spot = spot(&dir.join(file), part)?;
    for name in ["seen", "change"] {
        let text = first[name].as_str().unwrap_or_default();
        ensure(text.contains(&spot), || format!("{name} does not name {spot}: {text}"))?;
    }
    let (_, left) = checked(lab, *front, right)?;
    ensure(left.is_empty(), || format!("repaired, and still {left:#?}"))
}

/// What a finding calls the line of `file` that holds `part`.
fn spot(file: &Path, part: &str) -> Result<String> {
    let text = std::fs::read_to_string(file).during("read a configuration")?;
    match text.lines().position(|line| line.contains(part)) {
        Some(index) => Ok(format!("{}:{}", file.display(), index.saturating_add(1))),
        None => failed(format!("{} has no `{part}`", file.display())),
    }
}

/// Fills in the addresses, has the program itself read the lines, and checks them against Postfix and Dovecot.
fn checked(lab: &Lab, front: Front, lines: &str) -> Result<(PathBuf, Vec<Value>)> {
    let dir = lab.fresh_dir("neighbours")?;
    let door = Port::free([127, 0, 0, 1].into())?;
    let (postfix, dovecot) = (lab.postfix()?, lab.dovecot()?);
    let text = lines
        .replace("SMTPPORT", &postfix.header_port().port().to_string())
        .replace("SMTP", &postfix.header_port().to_string())
        .replace("PLAIN", &postfix.plain_port().to_string())
        .replace("IMAP", &dovecot.header_port().to_string())
        .replace("BARE", &dovecot.plain_port().to_string())
        .replace("PAIR", &lab.pair()?.to_string_lossy())
        .replace("DOOR", &door.addr().port().to_string());
    let asked = match front {
        Front::Haproxy => {
            let bind =
                if text.contains("bind ") { String::new() } else { format!("  bind {}\n", door.addr()) };
            let file = dir.join("haproxy.cfg");
            write(&file, &format!("{HEAD}{BETWEEN}{bind}{text}"))?;
            ask(&find("haproxy")?, &["-c", "-f", &file.to_string_lossy()])?;
            format!("haproxy:{}", file.display())
        }
        Front::Nginx => {
            let file = dir.join("nginx.conf");
            let pid = dir.join("nginx.pid");
            write(
                &file,
                &format!(
                    "load_module {};\npid {};\nerror_log stderr;\nevents {{}}\nstream {{\n{text}}}\n",
                    module()?,
                    pid.display()
                ),
            )?;
            ask(&find("nginx")?, &["-t", "-c", &file.to_string_lossy(), "-e", "stderr"])?;
            format!("nginx:{}", file.display())
        }
    };
    let mut words = vec!["--neighbour".to_owned(), asked];
    words.extend(servers(lab, &dir)?);
    let output = check(lab, None, &words)?;
    let found: Vec<Value> = lines_of(&output)?;
    let expected = if found.is_empty() { 0 } else { 1 };
    ensure(output.status.code() == Some(expected), || format!("{output:?}"))?;
    Ok((dir, found))
}

/// What Postfix and Dovecot print of themselves, as files of `dir`, and the words that name them.
fn servers(lab: &Lab, dir: &Path) -> Result<Vec<String>> {
    let [main, master] = lab.postfix()?.printed()?;
    let dovecot = lab.dovecot()?.printed()?;
    for (name, text) in [("main.cf", main), ("master.cf", master), ("dovecot.conf", dovecot)] {
        write(&dir.join(name), &(text + "\n"))?;
    }
    let path = |name: &str| dir.join(name).display().to_string();
    Ok(vec![
        "--neighbour".to_owned(),
        format!("postfix:{},{}", path("main.cf"), path("master.cf")),
        "--neighbour".to_owned(),
        format!("dovecot:{}", path("dovecot.conf")),
    ])
}

fn check(lab: &Lab, config: Option<&Path>, words: &[String]) -> Result<Output> {
    let mut command = Command::new(lab.program()?);
    command.args(["check", "--json"]).args(config).args(words).stdin(Stdio::null());
    command.output().during("run a check")
}

fn lines_of(output: &Output) -> Result<Vec<Value>> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).during("read a finding")).collect()
}

/// HAProxy and NGINX in front of truepeer, Postfix and Dovecot behind it: clients are served, and nothing is found.
fn healthy(lab: &Lab) -> Result {
    let truepeer = lab.truepeer()?;
    let dir = lab.fresh_dir("healthy")?;
    let (smtp, imap) = (Port::free([127, 0, 0, 1].into())?, Port::free([127, 0, 0, 1].into())?);
    let haproxy = format!(
        "{HEAD}listen smtp\n  bind {}\n  server truepeer {} send-proxy-v2-ssl check\n",
        smtp.addr(),
        truepeer.port("smtp4")?
    );
    let nginx = format!(
        "stream {{\n  server {{ listen {}; proxy_pass {}; proxy_protocol on; }}\n}}\n",
        imap.addr(),
        truepeer.port("imap4")?
    );
    let (front, second) = (dir.join("haproxy"), dir.join("nginx"));
    let _haproxy = Haproxy::start_as_written(&front, &haproxy)?;
    let _nginx = Nginx::start_as_written(&second, &nginx)?;
    let dial = |addr: SocketAddr| Client::dial(PROXY, addr);
    hello(&mut dial(smtp.addr())?)?;
    imap_hello(&mut dial(imap.addr())?)?;
    let mut words: Vec<String> = [front.join("haproxy.cfg"), second.join("nginx.conf")]
        .iter()
        .zip(["haproxy", "nginx"])
        .flat_map(|(file, product)| ["--neighbour".to_owned(), format!("{product}:{}", file.display())])
        .collect();
    words.extend(servers(lab, &dir)?);
    let output = check(lab, Some(&truepeer.file("truepeer.toml")), &words)?;
    let found = lines_of(&output)?;
    ensure(found.is_empty() && output.status.code() == Some(0), || format!("{found:#?} {output:?}"))
}
