//! A server that ignores the header is found out at start, and no client ever talks to it; one that takes some clients
//! only is found out by the first of the others.
//!
//! Called by `cases`.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use super::{Case, PROXY, hello, row, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::{Feed, Mark};
use crate::header;
use crate::lab::Lab;
use crate::servers::truepeer::{Backend, Listener};
use crate::space::{GATE_V6, OUTSIDE_V6};
use crate::verdict::{During, Result, ensure};

/// A server's port that lacks its setting.
struct Lacking {
    kind: &'static str,
    protocol: &'static str,
    addr: fn(&Lab) -> Result<SocketAddr>,
    /// How the refusal begins that a client hears.
    refusal: &'static str,
    /// What truepeer's log must name.
    cure: &'static str,
}

/// Both servers.
pub(super) fn cases() -> Vec<Case> {
    vec![
        row(
            "postfix_without_smtpd_upstream_proxy_protocol_is_found_out_at_start".to_owned(),
            Lacking {
                kind: "postfix",
                protocol: "smtp",
                addr: |lab| Ok(lab.postfix()?.plain_port()),
                refusal: "421",
                cure: "smtpd_upstream_proxy_protocol",
            },
            run,
        ),
        row(
            "a_slow_postfix_without_smtpd_upstream_proxy_protocol_is_found_out_as_well".to_owned(),
            Lacking {
                kind: "postfix",
                protocol: "smtp",
                addr: |lab| Ok(lab.postfix()?.slow_port()),
                refusal: "421",
                cure: "smtpd_upstream_proxy_protocol",
            },
            run,
        ),
        row(
            "dovecot_without_haproxy_yes_is_found_out_at_start".to_owned(),
            Lacking {
                kind: "dovecot",
                protocol: "imap",
                addr: |lab| Ok(lab.dovecot()?.plain_port()),
                refusal: "* BYE",
                cure: "haproxy = yes",
            },
            run,
        ),
        row("a_server_that_greets_twice_is_found_out_at_start".to_owned(), (), twice),
        row("a_postfix_that_knows_ipv4_only_is_proved_in_part_and_named".to_owned(), (), in_part),
        row("a_postscreen_that_lets_clients_wait_is_slow_and_then_proved".to_owned(), (), waits),
    ]
}

/// It greets whoever connects, and once more behind the first line, which is our header to it; after that all looks right.
fn twice(lab: &Lab, (): &()) -> Result {
    for (protocol, greeting, bye, refusal) in [
        ("smtp", "220 twice.interop.test\r\n", "221 bye\r\n", "421"),
        ("imap", "* OK ready\r\n", "* BYE bye\r\na OK done\r\n", "* BYE"),
    ] {
        let server = TcpListener::bind((PROXY.ip(), 0)).during("listen")?;
        let addr = server.local_addr().during("read an address")?;
        let (read, written) = UnixStream::pair().during("make a log")?;
        let heard = Feed::default();
        heard.follow(read);
        // Ends with the harness: it waits for connections until then.
        thread::spawn(move || {
            for stream in server.incoming().flatten() {
                let Ok(log) = written.try_clone() else { return };
                thread::spawn(move || greet_twice(stream, greeting, bye, log));
            }
        });
        let listener = Listener { id: "door", ip: PROXY.ip(), protocol, backend: "server", lines: "" };
        let backend = Backend { id: "server", kind: "other", handoff: Some("proxy-v1"), addr };
        let truepeer = lab.start_truepeer("truepeer-greeted-twice", &[listener], &[backend])?;
        truepeer.wait_event(Mark::default(), "backend_ignores_header", &addr.to_string())?;
        let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
        client.send(&header::v1(told_client(4734), told_destination()))?;
        client.send(b"secret\r\n")?;
        let said = client.line("a refusal")?;
        ensure(said.starts_with(refusal), || format!("{protocol}: expected `{refusal}`, got `{said}`"))?;
        let record = truepeer.record_of(Mark::default(), told_client(4734))?;
        ensure(record.text("outcome") == "backend_unready", || format!("{record:?}"))?;
        drop(truepeer);
        let told = heard.lines(Mark::default());
        let is_client = |line: &String| line.contains("secret") || line.contains("203.0.113.9");
        ensure(!told.iter().any(is_client), || format!("a client spoke to it: {told:#?}"))?;
    }
    Ok(())
}

fn greet_twice(stream: TcpStream, greeting: &str, bye: &str, mut log: UnixStream) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    writer.write_all(greeting.as_bytes())?;
    for answer in [greeting, bye] {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        log.write_all(line.as_bytes())?;
        writer.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The first client of IPv6 finds it out by Postfix' own refusal; from then on truepeer says it, and why.
fn in_part(lab: &Lab, (): &()) -> Result {
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "smtp", backend: "server", lines: "" };
    let backend = Backend { id: "server", kind: "postfix", handoff: None, addr: lab.postfix()?.ipv4_port() };
    let truepeer = lab.start_truepeer("truepeer-ipv4", &[listener], &[backend])?;
    let door = truepeer.port("door")?;
    lab.wait_until_served(door)?;
    let client = |port: u16| SocketAddr::new(OUTSIDE_V6.into(), port);
    let sent = |client: SocketAddr, to: SocketAddr| -> Result<Client> {
        let mut connection = Client::dial(PROXY, door)?;
        connection.send(&header::v2(client, to, &[]))?;
        Ok(connection)
    };
    let to_v6 = SocketAddr::new(GATE_V6.into(), 25);
    let mut first = sent(client(4731), to_v6)?;
    first.expect_reply("421 4.3.0")?;
    drop(first);
    let saw = truepeer.wait_event(Mark::default(), "backend_proved_in_part", "IPv6")?;
    ensure(saw.contains("inet_protocols = all"), || saw.clone())?;

    let mark = truepeer.log().mark();
    sent(client(4732), to_v6)?.expect_reply("421 4.3.2 truepeer.interop.test")?;
    let record = truepeer.record_of(mark, client(4732))?;
    for (field, words) in
        [("outcome", "backend_unready"), ("cause", "421 4.3.0"), ("remedy", "inet_protocols")]
    {
        let text = record.text(field);
        ensure(text.contains(words), || format!("{field} must say {words}: {text}"))?;
    }
    let status = truepeer.command(&["status"])?;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure(status.contains("proved_in_part: it turns IPv6 clients away"), || status.clone())?;
    hello(&mut sent(told_client(4733), told_destination())?)
}

/// Silence and a first `220-` prove nothing: the port is called slow, and proved once the greeting is whole.
fn waits(lab: &Lab, (): &()) -> Result {
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol: "smtp", backend: "server", lines: "" };
    let backend =
        Backend { id: "server", kind: "postscreen", handoff: None, addr: lab.postfix()?.screen_port() };
    let truepeer = lab.start_truepeer("truepeer-screened", &[listener], &[backend])?;
    let log = truepeer.log();
    log.wait_line(Mark::default(), "truepeer calls postscreen slow", |line| line.contains("backend_slow"))?;
    log.wait_line(Mark::default(), "truepeer proves postscreen", |line| line.contains("backend_proved"))?;
    let blamed = |line: &String| line.contains("_ignores_header") || line.contains("_refuses_header");
    let wrong: Vec<_> = log.lines(Mark::default()).into_iter().filter(blamed).collect();
    ensure(wrong.is_empty(), || format!("a port that reads headers was blamed: {wrong:#?}"))
}

fn run(lab: &Lab, lacking: &Lacking) -> Result {
    let Lacking { kind, protocol, addr, refusal, cure } = *lacking;
    let listener = Listener { id: "door", ip: PROXY.ip(), protocol, backend: "server", lines: "" };
    let backend = Backend { id: "server", kind, handoff: None, addr: addr(lab)? };
    let (postfix, dovecot) = (lab.postfix()?.log(), lab.dovecot()?.log());
    let marks = (postfix.mark(), dovecot.mark());
    let truepeer = lab.start_truepeer("truepeer-lacking", &[listener], &[backend])?;
    let door = truepeer.port("door")?;
    // One before the proof can have ended, one after it.
    let mut early = Client::dial(Place::Here(lab.fresh_source()), door)?;
    hears(&mut early, refusal)?;
    let line = truepeer
        .log()
        .wait_line(Mark::default(), &format!("truepeer names `{cure}`"), |line| line.contains(cure))?;
    // Which of the two depends on how the server takes bytes before its greeting.
    let codes = ["backend_ignores_header", "backend_refuses_header"];
    ensure(codes.iter().any(|code| line.contains(code)), || format!("the line has no code: {line}"))?;
    let mut late = Client::dial(Place::Here(lab.fresh_source()), door)?;
    hears(&mut late, refusal)?;
    for line in postfix.lines(marks.0).into_iter().chain(dovecot.lines(marks.1)) {
        let words = [&early, &late].map(|client| client.addr().ip().to_string());
        ensure(!words.iter().any(|words| line.contains(words.as_str())), || {
            format!("a client reached a server that ignores headers: {line}")
        })?;
    }
    Ok(())
}

fn hears(client: &mut Client, refusal: &str) -> Result {
    let heard = client.rest("truepeer refuses and closes")?;
    ensure(heard.starts_with(refusal), || format!("expected `{refusal}`, heard `{heard}`"))
}
