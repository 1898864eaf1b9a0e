//! What `truepeer snippet` prints for servers behind, and for a firewall: the real programs start with it, and a client
//! who comes through truepeer is known there by its own address; nobody else reaches a backend.
//!
//! Called by `cases`. The lines for proxies in front are tried beside the other tools.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{Case, PROXY, case, hello, imap_hello, row, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::{Feed, Mark};
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::dovecot::{Believes, Dovecot, sasl_socket};
use crate::servers::exim::Exim;
use crate::servers::nginx::Nginx;
use crate::servers::postfix::Postfix;
use crate::servers::stalwart;
use crate::servers::truepeer::{Backend, Listener};
use crate::servers::{ask, find, write};
use crate::space::{GATE_V4, OUTSIDE_V4};
use crate::verdict::{During, Result, ensure, failed};

/// A server behind.
#[derive(Clone, Copy, Debug)]
struct Behind {
    product: &'static str,
    protocol: &'static str,
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let behind = |product, protocol| {
        row(format!("snippet_of_{product}_behind_serves_a_client"), Behind { product, protocol }, serves)
    };
    vec![
        behind("postfix", "smtp"),
        behind("dovecot", "imap"),
        behind("exim", "smtp"),
        behind("nginx", "http"),
        // Whoever has the program names it (`STALWART`); otherwise the one that was recorded reads the lines.
        row(
            "snippet_of_stalwart_is_read_word_for_word_by_the_one_that_was_recorded".to_owned(),
            Behind { product: "stalwart", protocol: "submission" },
            serves,
        ),
        case("the_lines_of_init_for_exim_tell_it_the_client_and_leave_its_usual_port", init_for_exim),
        case("snippet_of_the_firewall_turns_away_another_user_and_another_address", firewall),
    ]
}

/// The printed lines start that server, and the client that a header names is the one that it knows.
fn serves(lab: &Lab, behind: &Behind) -> Result {
    let Behind { product, protocol } = *behind;
    let port = Port::free(PROXY.ip())?;
    let listener = Listener { id: "front", ip: PROXY.ip(), protocol, backend: "server", lines: "" };
    let backend = Backend { id: "server", kind: product, handoff: None, addr: port.addr() };
    let truepeer = lab.start_truepeer("truepeer-behind", &[listener], &[backend])?;
    let words: &[&str] =
        if product == "nginx" { &["snippet", product, "--backend", "server"] } else { &["snippet", product] };
    let output = truepeer.command(words)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(output.status.success() && output.stderr.is_empty(), || format!("{output:?}"))?;
    let (_running, log) = start(lab, product, port.addr(), &text)?;
    lab.watch("behind", &log);
    let door = truepeer.port("front")?;
    truepeer.wait_event(Mark::default(), "backend_proved", "server")?;
    let mark = log.mark();
    let mut client = Client::dial(PROXY, door)?;
    client.send(&header::v2(told_client(4711), told_destination(), &[]))?;
    let words = match protocol {
        "http" => {
            client.send(b"GET / HTTP/1.1\r\nHost: web.interop.test\r\nConnection: close\r\n\r\n")?;
            let heard = client.rest("the web server answers")?;
            return ensure(heard.contains("you are 203.0.113.9"), || heard.clone());
        }
        "imap" => {
            imap_hello(&mut client)?;
            "rip=203.0.113.9"
        }
        _ => {
            if product == "exim" {
                client.expect_reply("220")?;
                let answer = client.smtp("EHLO client.interop.test", "250")?;
                return ensure(answer.contains("[203.0.113.9]"), || answer.clone());
            }
            hello(&mut client)?;
            if product == "stalwart" {
                return log
                    .wait_line(mark, "Stalwart logs the client", |line| {
                        line.contains("remoteIp = 203.0.113.9")
                    })
                    .map(|_| ());
            }
            "connect from unknown[203.0.113.9]"
        }
    };
    log.wait_line(mark, &format!("the server logs `{words}`"), |line| line.contains(words)).map(|_| ())
}

/// Starts that server with the lines.
fn start(lab: &Lab, product: &str, at: SocketAddr, text: &str) -> Result<(Box<dyn core::any::Any>, Feed)> {
    let (dir, pair) = (lab.fresh_dir("behind")?, lab.pair()?);
    Ok(match product {
        "postfix" => {
            let server = Postfix::start_with(&dir, &sasl_socket(&dir), pair, text)?;
            let log = server.log().clone();
            (Box::new(server), log)
        }
        "dovecot" => {
            let server = Dovecot::start_with(&dir, pair, Believes::Nobody, "192.0.2.99", text)?;
            let log = server.log().clone();
            (Box::new(server), log)
        }
        "stalwart" => {
            let server = stalwart::start_as_written(&dir, at, text)?;
            let log = server.log().clone();
            (Box::new(server), log)
        }
        "exim" => {
            let server = Exim::start_with(&dir, text, "0s")?;
            let log = server.log().clone();
            (Box::new(server), log)
        }
        "nginx" => {
            let at = dir.display();
            let paths = format!(
                "http {{\n  access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  \
                 fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n"
            );
            let lines = text
                .replacen("http {\n", &paths, 1)
                .replace("# ... what it does for its clients", "return 200 \"you are $remote_addr\\n\";");
            let server = Nginx::start_as_written(&dir, &lines)?;
            let log = server.log().clone();
            (Box::new(server), log)
        }
        other => return failed(format!("nobody starts {other}")),
    })
}

/// What `truepeer init` prints for Exim, as it stands there but for the ports: truepeer finds that it reads the header at
/// the new one, the client is told there, and who comes to the usual one needs no header.
fn init_for_exim(lab: &Lab) -> Result {
    let dir = lab.fresh_dir("init")?;
    let root = dir.join("root");
    for file in ["etc/exim4/exim4.conf", "etc/haproxy/haproxy.cfg"] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(&root)).during("make a directory")?;
        write(&path, "")?;
    }
    let output = Command::new(lab.program()?)
        .args(["init", "--yes", "--json", "--config"])
        .arg(dir.join("truepeer.toml"))
        .arg("--root")
        .arg(&root)
        .output()
        .during("run truepeer init")?;
    ensure(output.status.success(), || format!("{output:?}"))?;
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).during("read what init says")?;
    let commands =
        plan.pointer("/steps/0/do").and_then(|lines| lines.as_array()).cloned().unwrap_or_default();
    let lines: Vec<_> = commands.iter().filter_map(|line| line.as_str()?.strip_prefix("#   ")).collect();
    let (plain, told) = (Port::free(PROXY.ip())?, Port::free(PROXY.ip())?);
    let (plain, told) = (plain.addr(), told.addr());
    let text = lines.join("\n").replace("10025", &told.port().to_string());
    let usual = "daemon_smtp_ports = 25 ";
    ensure(lines.len() == 2 && text.contains(usual), || format!("init says other lines: {lines:?}"))?;
    let text = text.replace(usual, &format!("daemon_smtp_ports = {} ", plain.port()));
    let exim = Exim::start_with(
        &lab.fresh_dir("exim")?,
        &format!("local_interfaces = {}\n{text}\n", PROXY.ip()),
        "0s",
    )?;
    lab.watch("exim", exim.log());
    let listener = Listener { id: "front", ip: PROXY.ip(), protocol: "smtp", backend: "exim", lines: "" };
    let backend = Backend { id: "exim", kind: "exim", handoff: None, addr: told };
    let truepeer = lab.start_truepeer("truepeer-init", &[listener], &[backend])?;
    truepeer.wait_event(Mark::default(), "backend_proved", "exim")?;
    let mut through = Client::dial(PROXY, truepeer.port("front")?)?;
    through.send(&header::v2(told_client(4711), told_destination(), &[]))?;
    // What it served before, without a header.
    let direct = Client::dial(PROXY, plain)?;
    for (mut client, words) in [(through, "[203.0.113.9]".to_owned()), (direct, format!("[{}]", PROXY.ip()))]
    {
        client.expect_reply("220")?;
        let answer = client.smtp("EHLO client.interop.test", "250")?;
        ensure(answer.contains(&words), || format!("Exim must say {words}: {answer}"))?;
    }
    Ok(())
}

/// The user that truepeer is taken to run as.
const DAEMON: u32 = 1;

/// A backend that root, another user and another machine reached, and that only one user reaches behind the rules.
fn firewall(lab: &Lab) -> Result {
    let nft = find("nft")?;
    let outside = lab.outside()?;
    let backend = TcpListener::bind((GATE_V4, 0)).during("listen")?;
    let addr = backend.local_addr().during("see the address")?;
    let dir = lab.fresh_dir("firewall")?;
    let config = dir.join("truepeer.toml");
    write(
        &config,
        &format!(
            "[server]\nproxy.trusted-networks = [\"127.0.0.1\"]\n[server.listener.front]\nbind = \
             \"127.0.0.1:2525\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n[backend.mail]\nkind = \"postfix\"\naddress = \
             \"{addr}\"\n"
        ),
    )?;
    let words = ["snippet", "firewall", "--user", "daemon", "--config", &config.to_string_lossy()];
    let rules = ask(lab.program()?, &words)?;
    let file = dir.join("truepeer.nft");
    write(&file, &format!("{rules}\n"))?;
    let from_outside = || Client::dial(Place::Outside(outside, IpAddr::V4(OUTSIDE_V4)), addr).is_ok();
    ensure(from_outside(), || "nobody is kept out yet, and still cannot connect".to_owned())?;
    let table = Table::load(nft, &file)?;
    // Loaded again, it is the same.
    ask(&find("nft")?, &["-f", &file.to_string_lossy()])?;
    ensure(!from_outside(), || format!("another machine reaches it: {rules}"))?;
    ensure(TcpStream::connect(addr).is_err(), || format!("root reaches it: {rules}"))?;
    ensure(!reaches(lab, addr, NOBODY)?, || format!("another user reaches it: {rules}"))?;
    ensure(reaches(lab, addr, DAEMON)?, || format!("truepeer's user does not reach it: {rules}"))?;
    drop(table);
    ensure(from_outside(), || "the rules stay".to_owned())?;
    // Another port of the machine was never touched.
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
    let other = other.local_addr().during("see the address")?;
    TcpStream::connect(other).during("connect to another port").map(|_| ())
}

const NOBODY: u32 = 65_534;

/// Whether a connection of that user's arrives.
fn reaches(lab: &Lab, addr: SocketAddr, user: u32) -> Result<bool> {
    const NOT_REACHED: i32 = 3;
    let status = Command::new(lab.program()?)
        .args(["send", &addr.to_string(), "--version", "none", "--timeout", "200ms"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .uid(user)
        .gid(user)
        .status()
        .during("run truepeer send")?;
    Ok(status.code() != Some(NOT_REACHED))
}

/// The rules, as long as the case lasts.
struct Table(std::path::PathBuf);

impl Table {
    fn load(nft: std::path::PathBuf, file: &std::path::Path) -> Result<Self> {
        ask(&nft, &["-f", &file.to_string_lossy()])?;
        Ok(Self(nft))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let _gone = ask(&self.0, &["delete", "table", "inet", "truepeer_backends"]);
    }
}
