//! Nothing is ever sent anywhere but to the address given: every command of the doctor's runs once under a watch that
//! sees the sockets of it and of all that it starts.
//!
//! Called by `cases`. Only programs that hold no connection of their own are watched; who comes to them may be answered.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use super::doctor::{HEALTHY, Needs, start};
use super::{Case, PROXY, case, row, told_client, told_destination};
use crate::client::Client;
use crate::contacts::{Contact, Contacts};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::program::Program;
use crate::servers::write;
use crate::space::Apart;
use crate::verdict::{During, Result, Verdict, ensure, failed};

/// Whom a command may contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// Nobody.
    Nobody,
    /// The address that it was given, and no other.
    Given(SocketAddr),
    /// Servers on loopback, as `doctor` promises.
    Loopback,
}

/// What the C library and the service manager bring along, on this machine only: the cache of names, which `postconf`
/// and its like ask for users, too, and the journal. Each is a UNIX socket.
const OF_THE_SYSTEM: [&str; 3] = ["/var/run/nscd/", "/run/systemd/", "/dev/log"];

/// One run of the program: its words, with `CONFIG`, `GIVEN` and `HAPROXY` for what the case has made, and its input.
#[derive(Clone, Copy, Debug)]
struct Run {
    words: &'static [&'static str],
    input: &'static str,
    given: Given,
}

/// Which address is given to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// None: it has no business with sockets.
    None,
    /// That of a Postfix that reads headers.
    Postfix,
    /// The same by a name, which this machine's own list of names has.
    ByName,
}

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    let quiet = |words| Run { words, input: "", given: Given::None };
    let to = |words, given| Run { words, input: "", given };
    let named = |name: &str, runs: Vec<Run>| row(format!("nothing_is_sent_by_{name}"), runs, all);
    vec![
        case("a_contact_that_was_not_asked_for_is_seen", stray_is_seen),
        named(
            "explain",
            vec![
                quiet(&["explain", "50524f5859205443503420313938"]),
                // The client, the server and the names in it are facts, not addresses to call.
                Run {
                    words: &["explain"],
                    input: "PROXY TCP4 198.51.100.7 192.0.2.25 4711 25\r\n",
                    given: Given::None,
                },
                Run {
                    words: &["explain", "--log"],
                    input: "nginx: [error] 7#7: *1 broken header: \"GET / HTTP/1.1\" while reading PROXY protocol, client: \
                            198.51.100.7, server: mail.interop.test:25\nconnect to mail.interop.test[192.0.2.25]:25: Connection refused\n",
                    given: Given::None,
                },
            ],
        ),
        named(
            "check",
            vec![
                quiet(&["check", "CONFIG"]),
                quiet(&["check", "CONFIG", "--neighbour", "haproxy:HAPROXY"]),
                quiet(&[
                    "check",
                    "CONFIG",
                    "--neighbour",
                    "postfix",
                    "--neighbour",
                    "dovecot",
                    "--neighbour",
                    "nginx",
                ]),
                quiet(&["check", "--neighbour", "haproxy:HAPROXY", "--neighbour", "postfix"]),
            ],
        ),
        named(
            "snippet",
            ["haproxy", "nginx", "caddy", "traefik", "envoy", "postfix", "nginx behind", "firewall"]
                .map(|product| quiet(words_of_snippet(product)))
                .to_vec(),
        ),
        named(
            "probe_but_to_the_address_given",
            vec![
                to(&["probe", "GIVEN", "--protocol", "smtp", "--wait", "200ms"], Given::Postfix),
                to(
                    &["probe", "GIVEN", "--protocol", "smtp", "--wait", "200ms", "--expect-closed"],
                    Given::ByName,
                ),
                to(&["probe", "192.0.2.25:25", "--dry-run"], Given::None),
            ],
        ),
        named(
            "send_but_to_the_address_given",
            vec![
                to(
                    &[
                        "send",
                        "GIVEN",
                        "--client",
                        "198.51.100.7:4711",
                        "--destination",
                        "192.0.2.25:25",
                        "--protocol",
                        "smtp",
                    ],
                    Given::Postfix,
                ),
                to(&["send", "GIVEN", "--tls", "--server-name", "mail.interop.test"], Given::Postfix),
                to(&["send", "GIVEN", "--version", "v1", "--protocol", "smtp"], Given::ByName),
            ],
        ),
        case("nothing_is_sent_by_watch_but_to_who_came", watch),
        case("nothing_is_sent_by_doctor_but_to_loopback", doctor),
    ]
}

fn words_of_snippet(product: &str) -> &'static [&'static str] {
    match product {
        "haproxy" => &["snippet", "haproxy", "--config", "CONFIG"],
        "nginx" => &["snippet", "nginx", "--config", "CONFIG"],
        "caddy" => &["snippet", "caddy", "--listener", "web", "--config", "CONFIG"],
        "traefik" => &["snippet", "traefik", "--config", "CONFIG"],
        "envoy" => &["snippet", "envoy", "--config", "CONFIG"],
        "postfix" => &["snippet", "postfix", "--from", "127.0.0.1", "--config", "CONFIG"],
        // Asks the kernel from where it would connect to the backend, and sends nothing there.
        "nginx behind" => &["snippet", "nginx", "--backend", "web", "--config", "CONFIG"],
        _ => &["snippet", "firewall", "--user", "daemon", "--from", "127.0.0.1", "--config", "CONFIG"],
    }
}

/// Those who were contacted and must not have been.
fn strays(seen: &[Contact], may: May) -> Vec<&Contact> {
    let is_meant = |contact: &&Contact| match contact {
        Contact::Internet(addr) => match may {
            May::Nobody => false,
            May::Given(given) => *addr == given,
            May::Loopback => addr.ip().is_loopback(),
        },
        Contact::Unix(path) => OF_THE_SYSTEM.iter().any(|known| path.starts_with(known)),
        Contact::Strange(_) => false,
    };
    seen.iter().filter(|contact| !is_meant(contact)).collect()
}

/// Judges what the watch saw; `shown` is what was run.
fn judge(contacts: &Contacts, may: May, shown: &str) -> Result {
    let (seen, calls) = contacts.seen()?;
    let strays = strays(&seen, may);
    ensure(strays.is_empty(), || format!("{shown}: {strays:?} of {calls} calls"))?;
    // Whoever was to be asked was: a program that does nothing keeps the promise, too.
    match may {
        May::Given(addr) => {
            ensure(seen.contains(&Contact::Internet(addr)), || format!("{shown}: nobody was asked"))
        }
        May::Nobody | May::Loopback => Ok(()),
    }
}

fn all(lab: &Lab, runs: &Vec<Run>) -> Result {
    let dir = lab.fresh_dir("contacts")?;
    for run in runs {
        let given = match run.given {
            Given::None => None,
            Given::Postfix | Given::ByName => Some(lab.postfix()?.header_port()),
        };
        let text = match (run.given, given) {
            (Given::ByName, Some(addr)) => format!("localhost:{}", addr.port()),
            (_, Some(addr)) => addr.to_string(),
            (_, None) => String::new(),
        };
        one(lab.program()?, &dir, run, &text, given.map_or(May::Nobody, May::Given))?;
    }
    Ok(())
}

fn one(program: &Path, dir: &Path, run: &Run, given: &str, may: May) -> Result {
    let config = dir.join("truepeer.toml");
    // A backend by its name: nobody looks it up.
    write(
        &config,
        "[server]\nproxy.trusted-networks = [\"198.51.100.7\"]\n[server.listener.front]\nbind = \
         \"127.0.0.1:2525\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n[server.listener.web]\nbind = \
         \"127.0.0.1:8080\"\nprotocol = \"http\"\nbackend = \"web\"\n[backend.mail]\nkind = \"postfix\"\naddress = \
         \"mail.interop.test:10025\"\n[backend.web]\nkind = \"nginx\"\naddress = \"127.0.0.1:18080\"\n",
    )?;
    let haproxy = dir.join("haproxy.cfg");
    write(&haproxy, "listen smtp\n  bind :25\n  server mx mail.interop.test:25 send-proxy-v2 check\n")?;
    let input = dir.join("input");
    write(&input, run.input)?;
    let contacts = Contacts::new(dir.join("calls"))?;
    let words: Vec<String> = run
        .words
        .iter()
        .map(|word| {
            word.replace("CONFIG", &config.to_string_lossy())
                .replace("HAPROXY", &haproxy.to_string_lossy())
                .replace("GIVEN", given)
        })
        .collect();
    let mut command = contacts.command(program);
    command.args(&words).stdin(File::open(&input).during("open an input")?).current_dir(dir);
    let output = command.output().during("run truepeer under strace")?;
    let shown = format!("truepeer {}", words.join(" "));
    // It may find fault with what it was given; that the words themselves are wrong would prove nothing.
    let worst = if run.words.starts_with(&["snippet"]) { 0 } else { 4 };
    ensure(output.status.code().is_some_and(|code| code != 2 && code <= worst), || {
        format!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    judge(&contacts, may, &shown)
}

/// The watch is awake: what goes to another address than the one said to be given is named, by a stream, by a datagram,
/// and from a program that was started by the one that is watched.
fn stray_is_seen(lab: &Lab) -> Result {
    let dir = lab.fresh_dir("contacts")?;
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
    let elsewhere = elsewhere.local_addr().during("see the address")?;
    let given = lab.postfix()?.header_port();
    let send = |to: SocketAddr| {
        format!(
            "'{}' send {to} --version none --timeout 100ms </dev/null",
            lab.program().unwrap_or(&dir).display()
        )
    };
    let datagram = "printf x >/dev/udp/127.0.0.1/9";
    for (words, strays_to) in [
        (send(given), None),
        (format!("{}; {}", send(given), send(elsewhere)), Some(elsewhere)),
        (format!("{}; {datagram}", send(given)), Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)))),
    ] {
        let contacts = Contacts::new(dir.join("calls"))?;
        let shell = crate::servers::find("bash")?;
        contacts.command(&shell).args(["-c", &words]).output().during("run a shell under strace")?;
        let verdict = judge(&contacts, May::Given(given), &words);
        match (verdict, strays_to) {
            (Ok(()), None) => {}
            (Err(Verdict::Failed(why)), Some(addr)) => {
                ensure(why.contains(&addr.to_string()), || format!("{addr} is not named: {why}"))?;
            }
            (verdict, _) => return failed(format!("{words}: {verdict:?}")),
        }
    }
    Ok(())
}

/// It answers who came, and asks nobody about him: neither the client that his header names, nor the backend of the
/// configuration.
fn watch(lab: &Lab) -> Result {
    let dir = lab.fresh_dir("contacts")?;
    let door = Port::free(PROXY.ip())?;
    let contacts = Contacts::new(dir.join("calls"))?;
    let mut command = contacts.command(lab.program()?);
    command.args(["watch", "--listen", &door.addr().to_string(), "--as", "smtp", "--count", "1"]);
    let watch = Program::start("truepeer watch", &mut command)?;
    watch.wait_started(|line| line.contains(&door.addr().to_string()))?;
    let mut client = Client::dial(PROXY, door.addr())?;
    client.send(&header::v2(told_client(4711), told_destination(), &[]))?;
    client.expect_reply("220")?;
    client.smtp("QUIT", "221")?;
    watch.log().wait_end(Mark::default(), "watch ends", crate::feed::PATIENCE)?;
    judge(&contacts, May::Nobody, "truepeer watch")
}

/// On a machine with proxies and servers, one of which it has to ask: all that it asks is on loopback, as is all that
/// the programs do which it has print their configurations.
fn doctor(lab: &Lab) -> Result {
    let needs = Needs::of(lab)?;
    let dir = lab.fresh_dir("contacts")?;
    Apart::build()?.enter(move || {
        let running = start(&HEALTHY, &needs)?;
        let asked = running.postfix.header_port();
        let contacts = Contacts::new(dir.join("calls"))?;
        let run = |words: &[&str]| {
            let mut command = contacts.command(&needs.program);
            command.arg("doctor").args(words).current_dir("/").stdin(Stdio::null());
            let output = command.output().during("run truepeer doctor under strace")?;
            ensure(matches!(output.status.code(), Some(0 | 1)), || format!("{output:?}"))
        };
        run(&["--json"])?;
        judge(&contacts, May::Loopback, "truepeer doctor")?;
        let (seen, _) = contacts.seen()?;
        ensure(seen.contains(&Contact::Internet(asked)), || format!("{asked} was not asked: {seen:?}"))?;
        run(&["--json", "--no-probe"])?;
        judge(&contacts, May::Nobody, "truepeer doctor --no-probe")?;
        drop(running);
        Ok(())
    })
}
