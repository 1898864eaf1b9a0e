//! `truepeer doctor` on a machine with real proxies and servers: nothing is found while they agree, and the class, the
//! side and the line where one of them was set up wrongly.
//!
//! Called by `cases`. Each case has a network namespace of its own, so that nothing else is in sight of the doctor.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Case, case, row};
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::dovecot::{Believes, Dovecot, sasl_socket};
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::Nginx;
use crate::servers::postfix::Postfix;
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::space::Apart;
use crate::verdict::{During, Result, ensure};

/// How the machine is set up; what is not said is in order.
#[derive(Clone, Copy, Debug)]
struct Machine {
    /// Behind the address on HAProxy's line for mail, and to which port of Postfix.
    smtp: (&'static str, To),
    /// Behind the address on HAProxy's line for IMAP.
    imap: &'static str,
    /// Behind the address on nginx' `listen`, and in its `server`.
    nginx: (&'static str, &'static str),
    /// Dovecot's list of proxies.
    trusted: &'static str,
    /// What is expected; nothing where all is in order.
    finds: &'static [Finds],
}

/// A port of Postfix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// The one that reads a header, on loopback.
    Header,
    /// The one that reads none.
    Plain,
    /// One that reads a header and can be reached from everywhere.
    Open,
}

/// A finding.
#[derive(Clone, Copy, Debug)]
struct Finds {
    class: &'static str,
    side: &'static str,
    product: &'static str,
    /// Part of the line to change.
    change: &'static str,
}

const HEALTHY: Machine = Machine {
    smtp: ("send-proxy-v2", To::Header),
    imap: "send-proxy-v2",
    nginx: ("", "proxy_protocol on;"),
    trusted: "127.0.0.1",
    finds: &[],
};

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    let wrong = |name: &str, machine: Machine| row(format!("doctor_finds_{name}"), machine, examine);
    vec![
        row("doctor_finds_nothing_where_all_agree".to_owned(), HEALTHY, examine),
        wrong(
            "a_proxy_that_sends_no_header",
            Machine {
                smtp: ("", To::Header),
                finds: &[Finds { class: "MISS", side: "front", product: "haproxy", change: "send-proxy-v2" }],
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
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_proxy_that_is_not_the_one_trusted",
            Machine {
                imap: "send-proxy-v2 source 127.0.0.9",
                finds: &[Finds { class: "HOP", side: "back", product: "dovecot", change: "127.0.0.9" }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_list_that_means_something_else",
            Machine {
                trusted: "0.0.0.0 127.0.0.1",
                finds: &[Finds {
                    class: "SYN",
                    side: "back",
                    product: "dovecot",
                    change: "the proxies' own addresses",
                }],
                ..HEALTHY
            },
        ),
        wrong(
            "tls_where_the_server_reads_none",
            Machine {
                imap: "send-proxy-v2 ssl verify none",
                finds: &[Finds { class: "TLS", side: "front", product: "haproxy", change: "without TLS" }],
                ..HEALTHY
            },
        ),
        wrong(
            "a_port_on_which_everybody_may_forge",
            Machine {
                smtp: ("send-proxy-v2", To::Open),
                finds: &[Finds { class: "FORGE", side: "back", product: "postfix", change: "127.0.0.1" }],
                ..HEALTHY
            },
        ),
        case("doctor_finds_nothing_with_truepeer_between", between),
        case("doctor_needs_no_rights_and_says_what_root_would_add", ordinary),
        case("doctor_finds_a_server_that_runs_with_an_older_configuration", stale),
    ]
}

/// What runs in a case, front to back.
struct Running {
    _haproxy: Haproxy,
    _nginx: Nginx,
    _dovecot: Dovecot,
    postfix: Postfix,
}

/// What a case needs that the lab has.
struct Needs {
    dir: PathBuf,
    pair: PathBuf,
    program: PathBuf,
}

impl Needs {
    fn of(lab: &Lab) -> Result<Self> {
        Ok(Self {
            dir: lab.fresh_dir("doctor")?,
            pair: lab.pair()?.to_owned(),
            program: lab.program()?.to_owned(),
        })
    }
}

fn start(machine: &Machine, needs: &Needs) -> Result<Running> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let open = Port::free(IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
    let services = match machine.smtp.1 {
        To::Open => {
            format!("{} inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n", open.addr())
        }
        To::Header | To::Plain => String::new(),
    };
    let dovecot_dir = needs.dir.join("dovecot");
    let postfix =
        Postfix::start_with(&needs.dir.join("postfix"), &sasl_socket(&dovecot_dir), &needs.pair, &services)?;
    let dovecot = Dovecot::start_with(&dovecot_dir, &needs.pair, Believes::Nobody, machine.trusted, "")?;
    let to = match machine.smtp.1 {
        To::Header => postfix.header_port(),
        To::Plain => postfix.plain_port(),
        To::Open => SocketAddr::new(loopback, open.addr().port()),
    };
    let [smtp, imap, nginx] = [Port::free(loopback)?, Port::free(loopback)?, Port::free(loopback)?];
    let text = format!(
        "{HEAD}\
listen smtp
  bind {}
  server postfix {to} {}
listen imap
  bind {}
  server dovecot {} {}
",
        smtp.addr(),
        machine.smtp.0,
        imap.addr(),
        dovecot.header_port(),
        machine.imap,
    );
    let haproxy = Haproxy::start_as_written(&needs.dir.join("haproxy"), &text)?;
    let (listen, more) = machine.nginx;
    let stream = format!(
        "stream {{\n  server {{\n    listen {}{listen};\n    proxy_pass {};\n    {more}\n  }}\n}}\n",
        nginx.addr(),
        postfix.header_port(),
    );
    let nginx = Nginx::start_as_written(&needs.dir.join("nginx"), &stream)?;
    Ok(Running { _haproxy: haproxy, _nginx: nginx, _dovecot: dovecot, postfix })
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
    }
    let wanted = i32::from(!expected.is_empty());
    ensure(*code == Some(wanted), || format!("exit code {wanted} is expected: {shown}"))
}

/// One machine, looked at twice: the doctor's own visit leaves nothing to find.
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
        let finds = [Finds { class: "MISS", side: "front", product: "haproxy", change: "send-proxy-v2" }];
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
        let finds = [Finds { class: "UNEX", side: "back", product: "postfix", change: "postfix reload" }];
        compare(&finds, &doctor(&needs.program, User::Root)?)
    })
}

/// Who is nobody sees the same misfit in what everybody may read, and hears where root would see more.
fn ordinary(lab: &Lab) -> Result {
    let needs = Needs::of(lab)?;
    Apart::build()?.enter(move || {
        let machine = Machine { imap: "send-proxy-v2 source 127.0.0.9", ..HEALTHY };
        let running = start(&machine, &needs)?;
        let said = doctor(&needs.program, User::Nobody)?;
        compare(&[Finds { class: "HOP", side: "back", product: "dovecot", change: "127.0.0.9" }], &said)?;
        let (_, _, shown) = said;
        ensure(shown.contains("not seen: ") && shown.contains("`sudo "), || shown.clone())?;
        drop(running);
        Ok(())
    })
}
