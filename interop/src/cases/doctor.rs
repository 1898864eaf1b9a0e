//! `truepeer doctor` on a machine with real proxies and servers: nothing is found while they agree, and the class, the
//! side and the line where one of them was set up wrongly.
//!
//! Called by `cases`. Each case has a network namespace of its own, so that nothing else is in sight of the doctor.

mod machine;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Case, case, row};
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::space::Apart;
use crate::verdict::{During, Result, ensure};
use machine::{Bind, Finds, Machine, Service, To};
pub(super) use machine::{HEALTHY, Needs, start};

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    let wrong = |name: &str, machine: Machine| row(format!("doctor_finds_{name}"), machine, examine);
    vec![
        row("doctor_finds_nothing_where_all_agree".to_owned(), HEALTHY, examine),
        wrong(
            "a_proxy_that_sends_no_header",
            Machine {
                smtp: ("", To::Header),
                finds: &[Finds {
                    class: "MISS",
                    side: "front",
                    product: "haproxy",
                    change: "send-proxy-v2",
                    line: "server postfix ",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_server_that_reads_no_header",
            Machine {
                smtp: ("send-proxy-v2", To::Plain),
                finds: &[Finds {
                    class: "UNEX",
                    // Postfix has a port for headers beside this one.
                    side: "front",
                    product: "haproxy",
                    change: "connect to that port; or in",
                    line: "server postfix ",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_switch_in_the_wrong_direction",
            Machine {
                nginx: (" proxy_protocol", ""),
                finds: &[Finds {
                    class: "DIR",
                    side: "front",
                    product: "nginx",
                    change: "proxy_protocol on",
                    line: " proxy_protocol",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_proxy_that_is_not_the_one_trusted",
            Machine {
                imap: (Service::Imap, "send-proxy-v2 source 127.0.0.9"),
                finds: &[Finds {
                    class: "HOP",
                    side: "back",
                    product: "dovecot",
                    change: "127.0.0.9",
                    line: "haproxy_trusted_networks",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_list_that_means_something_else",
            Machine {
                dovecot: ("0.0.0.0 127.0.0.1", HEALTHY.dovecot.1),
                finds: &[Finds {
                    class: "SYN",
                    side: "back",
                    product: "dovecot",
                    change: "the proxies' own addresses",
                    line: "haproxy_trusted_networks",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "tls_where_the_server_reads_none",
            Machine {
                imap: (Service::Imap, "send-proxy-v2 ssl verify none"),
                finds: &[Finds {
                    class: "TLS",
                    side: "front",
                    product: "haproxy",
                    change: "without TLS",
                    line: "server dovecot ",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_port_on_which_everybody_may_forge",
            Machine {
                smtp: ("send-proxy-v2", To::Open),
                finds: &[Finds {
                    class: "FORGE",
                    side: "back",
                    product: "postfix",
                    change: "127.0.0.1",
                    line: "inet n ",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_proxy_whose_clients_may_all_relay",
            Machine {
                smtp: ("", To::Plain),
                finds: &[Finds {
                    class: "BAN",
                    side: "both",
                    product: "postfix",
                    change: "send-proxy-v2",
                    line: "server postfix ",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_check_without_a_header_and_one_socket_for_both_families",
            Machine {
                smtp: ("send-proxy-v2 check port PORT inter 1h", To::Header),
                bind: Bind::Both,
                finds: &[
                    Finds {
                        class: "MIX",
                        side: "front",
                        product: "haproxy",
                        change: "check-send-proxy",
                        line: "server postfix ",
                    },
                    Finds {
                        class: "FAM",
                        side: "front",
                        product: "haproxy",
                        change: "v6only",
                        line: "bind :::143 ",
                    },
                ],
                ..HEALTHY
            },
        ),
        wrong(
            "an_http_header_that_is_believed_in_place_of_this_one",
            Machine {
                web: "set_real_ip_from 127.0.0.1;\n    real_ip_header X-Forwarded-For;",
                finds: &[Finds {
                    class: "XFF",
                    side: "back",
                    product: "nginx",
                    change: "real_ip_header proxy_protocol;",
                    line: "real_ip_header X-Forwarded-For",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_port_for_imap_that_leads_to_pop3",
            Machine {
                imap: (Service::Pop3, "send-proxy-v2"),
                finds: &[Finds {
                    class: "PORT",
                    side: "front",
                    product: "haproxy",
                    change: "connect to Dovecot's port for IMAP: ",
                    line: "server dovecot ",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_log_that_names_the_proxy_for_every_client",
            Machine {
                dovecot: (HEALTHY.dovecot.0, "user=<%u> rip=%{real_rip}"),
                finds: &[Finds {
                    class: "SEE",
                    side: "back",
                    product: "dovecot",
                    change: "rip=%r",
                    line: "login_log_format_elements = ",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_log_of_a_web_server_that_names_the_proxy_for_every_client",
            Machine {
                log: "$realip_remote_addr",
                finds: &[Finds {
                    class: "SEE",
                    side: "back",
                    product: "nginx",
                    change: "`$remote_addr`",
                    line: "log_format seen ",
                }],
                ..HEALTHY
            },
        ),
        case("doctor_finds_nothing_with_truepeer_between", between),
        case("doctor_needs_no_rights_and_says_what_root_would_add", ordinary),
        case("doctor_finds_a_server_that_runs_with_an_older_configuration", stale),
    ]
}

/// Whoever runs the doctor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// It may see everything.
    Root,
    /// It sees no files, sockets or environments of others.
    Nobody,
}

/// What the doctor says, and with which exit code. Logs are left out: those of this machine are not this namespace's.
fn doctor(program: &Path, user: User) -> Result<(Vec<Value>, Option<i32>, String)> {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(program);
    command.args(["doctor", "--json", "--since", "0s"]).current_dir("/");
    if user == User::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().during("run truepeer doctor")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let shown = format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let findings = text
        .lines()
        .map(|line| serde_json::from_str(line).during("read a finding"))
        .collect::<Result<_>>()?;
    Ok((findings, output.status.code(), shown))
}

fn compare(expected: &[Finds], (findings, code, shown): &(Vec<Value>, Option<i32>, String)) -> Result {
    let field = |finding: &Value, name: &str| {
        finding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    ensure(findings.len() == expected.len(), || format!("{} are expected: {shown}", expected.len()))?;
    for (wanted, found) in expected.iter().zip(findings) {
        for (name, value) in [("class", wanted.class), ("side", wanted.side), ("product", wanted.product)] {
            ensure(field(found, name) == value, || format!("`{name}` is not {value}: {shown}"))?;
        }
        ensure(field(found, "change").contains(wanted.change), || {
            format!("the change does not say `{}`: {shown}", wanted.change)
        })?;
        // `FILE:LINE: what stands there`, of which the change names file and line.
        let (seen, change) = (field(found, "seen"), field(found, "change"));
        let places = seen.split("; ").flat_map(|part| part.split(" -> "));
        let named = places.filter_map(|place| place.split_once(": "));
        let mut named = named.filter(|(spot, text)| text.contains(wanted.line) && change.contains(*spot));
        ensure(wanted.line.is_empty() || named.next().is_some(), || {
            format!("no line with `{}` is named as the one to change: {shown}", wanted.line)
        })?;
    }
    let wanted = i32::from(!expected.is_empty());
    ensure(*code == Some(wanted), || format!("exit code {wanted} is expected: {shown}"))
}

/// One machine, looked at twice: the doctor's own visit leaves nothing to find. It differs from [`HEALTHY`], where nothing
/// is found, in the line that is named, and in no other.
fn examine(lab: &Lab, machine: &Machine) -> Result {
    let (machine, needs) = (*machine, Needs::of(lab)?);
    Apart::build()?.enter(move || {
        let running = start(&machine, &needs)?;
        compare(machine.finds, &doctor(&needs.program, User::Root)?)?;
        compare(machine.finds, &doctor(&needs.program, User::Root)?)?;
        drop(running);
        Ok(())
    })
}

/// truepeer stands between HAProxy and the same servers: both of its sides are compared, and its own port is not asked.
fn between(lab: &Lab) -> Result {
    let needs = Needs::of(lab)?;
    Apart::build()?.enter(move || {
        let running = start(&HEALTHY, &needs)?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = Listener { id: "smtp", ip: loopback, protocol: "smtp", backend: "postfix", lines: "" };
        let backend =
            Backend { id: "postfix", kind: "postfix", handoff: None, addr: running.postfix.header_port() };
        let truepeer = Truepeer::start(&needs.program, &needs.dir.join("truepeer"), &[listener], &[backend])?;
        let door = truepeer.port("smtp")?;
        let front = Port::free(loopback)?;
        let config = |words: &str| {
            format!("{HEAD}listen door\n  bind {}\n  server truepeer {door} {words}\n", front.addr())
        };
        let dir = needs.dir.join("haproxy-door");
        let haproxy = Haproxy::start_as_written(&dir, &config("send-proxy-v2"))?;
        compare(&[], &doctor(&needs.program, User::Root)?)?;
        drop(haproxy);
        let haproxy = Haproxy::start_as_written(&dir, &config(""))?;
        let finds = [Finds {
            class: "MISS",
            side: "front",
            product: "haproxy",
            change: "send-proxy-v2",
            line: "server truepeer ",
        }];
        compare(&finds, &doctor(&needs.program, User::Root)?)?;
        drop((haproxy, truepeer, running));
        Ok(())
    })
}

/// A line was added to Postfix' file, and nobody said so to Postfix.
fn stale(lab: &Lab) -> Result {
    let needs = Needs::of(lab)?;
    Apart::build()?.enter(move || {
        let machine = Machine { smtp: ("send-proxy-v2", To::Plain), ..HEALTHY };
        let running = start(&machine, &needs)?;
        let file = running.postfix.services();
        let text = fs::read_to_string(&file).during("read master.cf")?;
        let plain = "-o syslog_name=plain\n";
        let added = format!("{plain}  -o smtpd_upstream_proxy_protocol=haproxy\n");
        ensure(text.contains(plain), || "there is no service without a header".to_owned())?;
        fs::write(&file, text.replace(plain, &added)).during("write master.cf")?;
        let finds =
            [Finds { class: "UNEX", side: "back", product: "postfix", change: "postfix reload", line: "" }];
        compare(&finds, &doctor(&needs.program, User::Root)?)
    })
}

/// Who is nobody sees the same misfit in what everybody may read, and hears where root would see more.
fn ordinary(lab: &Lab) -> Result {
    let needs = Needs::of(lab)?;
    Apart::build()?.enter(move || {
        let machine = Machine { imap: (Service::Imap, "send-proxy-v2 source 127.0.0.9"), ..HEALTHY };
        let running = start(&machine, &needs)?;
        let said = doctor(&needs.program, User::Nobody)?;
        compare(
            &[Finds {
                class: "HOP",
                side: "back",
                product: "dovecot",
                change: "127.0.0.9",
                line: "haproxy_trusted_networks",
            }],
            &said,
        )?;
        let (_, _, shown) = said;
        ensure(shown.contains("not seen: ") && shown.contains("`sudo "), || shown.clone())?;
        drop(running);
        Ok(())
    })
}
