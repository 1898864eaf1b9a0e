//! Bytes and ends are exact with real servers: big letters all the way, slow readers, half-closed connections, a session
//! that waits across a reload.
//!
//! Called by `cases`. An ordinary run has a few megabytes of each, `--all` the sizes that the names promise.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use socket2::Socket;

use super::{Case, Extent, PROXY, case, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::{Mark, PATIENCE};
use crate::header;
use crate::lab::Lab;
use crate::page;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::dovecot::PASSWORD;
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::nginx::Nginx;
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::space::SENDER_V4;
use crate::verdict::{During, Result, ensure, failed};

/// TLV type of the TLS facts; the value says that there was TLS and no certificate.
const SSL_TLV: (u8, &[u8]) = (0x20, &[0x01, 0, 0, 0, 0]);
const MEGABYTE: usize = 1_000_000;
/// What a slow reader's socket holds. Less than a few segments of loopback, and the kernel's timers would set the pace.
const ROOM: usize = 256 << 10;
/// What it takes at a time.
const SIP: usize = 16 << 10;

/// Those that take a whole run's time with the size that they promise.
pub(crate) const SIZED: [&str; 3] = [
    "a_letter_of_100_megabytes_goes_through_postfix_and_dovecot_unchanged",
    "a_gigabyte_each_way_through_haproxy_and_slow_readers_is_exact",
    "a_gigabyte_each_way_through_nginx_and_slow_readers_is_exact",
];

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    let [big_letter, through_haproxy, through_nginx] = SIZED;
    vec![
        case(big_letter, letter),
        case(through_haproxy, gigabyte),
        case(through_nginx, gigabyte_of_nginx),
        case("the_end_of_either_side_leaves_the_other_way_open", half_close),
        case("imap_idle_goes_on_across_a_reload", idle),
        case("postscreen_judges_an_early_talker_as_without_truepeer", early_talker),
    ]
}

/// SMTP in, LMTP to Dovecot, IMAP out: each of them through truepeer.
fn letter(lab: &Lab) -> Result {
    let size = if lab.extent() == Extent::All { 100 * MEGABYTE } else { 4 * MEGABYTE };
    let house = lab.house()?;
    let postfix = lab.start_postfix("postfix-of-letters")?;
    let truepeer = start(
        lab,
        &[
            ("smtp", "postfix", postfix.header_port(), ""),
            // Postfix itself is its client, and sends no header.
            ("lmtp", "dovecot", house.lmtp()?, "proxy.trusted-networks = \"off\"\n"),
            ("imap", "dovecot", house.imap()?, ""),
        ],
    )?;
    postfix.deliver_by_lmtp_to("big@interop.test", truepeer.port("lmtp")?)?;

    let letter = text(size);
    let mut client = Client::dial(PROXY, truepeer.port("smtp")?)?;
    client.send(&header::v2(told_client(4741), told_destination(), &[]))?;
    client.expect_reply("220")?;
    client.smtp("EHLO client.interop.test", "250")?;
    client.smtp("MAIL FROM:<a@interop.test>", "250")?;
    client.smtp("RCPT TO:<big@interop.test>", "250")?;
    client.smtp("DATA", "354")?;
    client.send(&letter)?;
    client.smtp(".", "250")?;
    client.smtp("QUIT", "221")?;
    let is_it = |line: &str| line.contains("to=<big@interop.test>") && line.contains("status=");
    let line = postfix.log().wait_line(Mark::default(), "Postfix delivers the letter", is_it)?;
    ensure(line.contains("status=sent"), || line.clone())?;

    let mut client = log_in(truepeer.port("imap")?, 4742, "big@interop.test")?;
    client.imap("a2", "SELECT INBOX")?;
    client.send(b"a3 FETCH * BODY.PEEK[]\r\n")?;
    let announced = loop {
        let line = client.line("Dovecot announces the letter")?;
        if let Some((_, rest)) = line.rsplit_once("BODY[] {") {
            break rest.trim_end_matches('}').parse::<usize>().during("read the letter's size")?;
        }
    };
    // What stands before it was added on the way.
    let added = announced.checked_sub(letter.len());
    let Some(added) = added else { return failed(format!("{announced} bytes are fewer than were sent")) };
    client.bytes(added, "what was added")?;
    for part in letter.chunks(MEGABYTE) {
        let back = client.bytes(part.len(), "a part of the letter")?;
        ensure(back == part, || "the letter came back changed".to_owned())?;
    }
    Ok(())
}

fn gigabyte(lab: &Lab) -> Result {
    let (backend, truepeer) = echoless(lab)?;
    let front = Port::free(PROXY.ip())?;
    let haproxy = Haproxy::start(
        &lab.fresh_dir("haproxy-bulk")?,
        &[Frontend {
            name: "bulk".to_owned(),
            front: Front { listen: front.addr(), to: truepeer.port("proxied")? },
            bind: String::new(),
            server: "send-proxy-v2".to_owned(),
            lines: String::new(),
        }],
    )?;
    lab.watch("haproxy-bulk", haproxy.log());
    both_ways(lab, &backend, front.addr())
}

fn gigabyte_of_nginx(lab: &Lab) -> Result {
    let (backend, truepeer) = echoless(lab)?;
    let front = Port::free(PROXY.ip())?;
    // Without its `proxy_half_close` NGINX cuts both ways as soon as one side has said all.
    let lines =
        page::block(include_str!("../../../docs/neighbours/nginx.md"), "In front of truepeer", "nginx")?
            .replace("listen 25;", &format!("listen {};\n    proxy_half_close on;", front.addr()))
            .replace("192.0.2.20:25", &truepeer.port("proxied")?.to_string());
    let nginx = Nginx::start_as_written(&lab.fresh_dir("nginx-bulk")?, &lines)?;
    lab.watch("nginx-bulk", nginx.log());
    both_ways(lab, &backend, front.addr())
}

/// As much each way at once; both ends read slowly, and compare every byte.
fn both_ways(lab: &Lab, backend: &TcpListener, front: SocketAddr) -> Result {
    let size = if lab.extent() == Extent::All { 1000 * MEGABYTE } else { 8 * MEGABYTE };
    let client = slow(connect(front)?)?;
    let server = accept(backend)?;
    let server = thread::spawn(move || exchange(&slow(server)?, size, 7));
    exchange(&client, size, 3).and(server.join().unwrap_or_else(|_| failed("a reader panicked")))
}

/// Sends the pattern of `ours`, ends, and reads that of the other side to its end.
fn exchange(stream: &TcpStream, size: usize, ours: u8) -> Result {
    let mut writer = stream.try_clone().during("share a socket")?;
    let sent = thread::spawn(move || -> Result {
        for start in (0..size).step_by(MEGABYTE) {
            writer
                .write_all(&pattern(start, MEGABYTE.min(size.saturating_sub(start)), ours))
                .during("send")?;
        }
        writer.shutdown(Shutdown::Write).during("end")
    });
    let read = compare(stream, size, if ours == 3 { 7 } else { 3 });
    read.and(sent.join().unwrap_or_else(|_| failed("a writer panicked")))
}

/// Either side says all it has to say and ends, and hears the other out.
fn half_close(lab: &Lab) -> Result {
    const LEN: usize = 300_000;
    let (backend, truepeer) = echoless(lab)?;
    for first in ["client", "server"] {
        let mut client = connect(truepeer.port("direct")?)?;
        let mut server = accept(&backend)?;
        let (early, late) = match first {
            "client" => (&mut client, &mut server),
            _ => (&mut server, &mut client),
        };
        early.write_all(&pattern(0, LEN, 3)).during("send")?;
        early.shutdown(Shutdown::Write).during("end")?;
        compare(late, LEN, 3)?;
        late.write_all(&pattern(0, LEN, 7)).during(&format!("answer after the {first}'s end"))?;
        late.shutdown(Shutdown::Write).during("end")?;
        compare(early, LEN, 7)?;
    }
    // And with a server that has a mind of its own: everything at once, and no more to come. It is ready by now: one that
    // is just starting gives such a client up before it has answered.
    let mut ready = TcpStream::connect(lab.truepeer()?.port("imap4")?).during("connect")?;
    ready.write_all(&header::v1(told_client(4746), told_destination())).during("send a header")?;
    ready.set_read_timeout(Some(PATIENCE)).during("set a read timeout")?;
    ready.write_all(b"a0 LOGOUT\r\n").during("send")?;
    let mut heard = String::new();
    ready.read_to_string(&mut heard).during("hear Dovecot's greeting")?;
    ensure(heard.contains("a0 OK"), || format!("no greeting: {heard}"))?;
    // Each client may be given to a process of its own that is just starting, and says so.
    for _ in 0..5 {
        let mut stream = TcpStream::connect(lab.truepeer()?.port("imap4")?).during("connect")?;
        stream.write_all(&header::v1(told_client(4747), told_destination())).during("send a header")?;
        stream.set_read_timeout(Some(PATIENCE)).during("set a read timeout")?;
        stream.write_all(b"a1 CAPABILITY\r\na2 LOGOUT\r\n").during("send")?;
        stream.shutdown(Shutdown::Write).during("end")?;
        heard.clear();
        stream.read_to_string(&mut heard).during("hear Dovecot out")?;
        if !heard.contains("Waiting for authentication process") {
            break;
        }
    }
    ensure(heard.contains("a1 OK") && heard.contains("a2 OK"), || format!("not the whole answer: {heard}"))
}

fn idle(lab: &Lab) -> Result {
    let house = lab.house()?;
    let truepeer = start(lab, &[("imap", "dovecot", house.imap()?, "")])?;
    let door = truepeer.port("imap")?;
    let mut waits = log_in(door, 4743, "idle@interop.test")?;
    waits.imap("a2", "SELECT INBOX")?;
    waits.send(b"a3 IDLE\r\n")?;
    let go_on = waits.line("Dovecot begins to wait")?;
    ensure(go_on.starts_with('+'), || format!("expected `+`, got `{go_on}`"))?;

    let output = truepeer.command(&["reload"])?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;

    let mut other = log_in(door, 4744, "idle@interop.test")?;
    other.send(b"b2 APPEND INBOX {16}\r\n")?;
    other.line("Dovecot asks for the letter")?;
    other.send(b"Subject: hi\r\n\r\n!\r\n")?;
    other.expect_tagged("b2")?;
    while !waits.line("Dovecot tells of the letter")?.ends_with(" EXISTS") {}
    waits.send(b"DONE\r\n")?;
    let answer = waits.expect_tagged("a3")?;
    ensure(answer.contains("a3 OK"), || format!("expected `a3 OK`, got `{answer}`"))
}

/// A stranger who speaks before the greeting hears the same from postscreen, which logs the same.
fn early_talker(lab: &Lab) -> Result {
    let house = lab.house()?;
    let (log, [_, _, screen]) = (lab.postfix()?.log(), lab.postfix()?.page_ports());
    let mut verdicts = Vec::new();
    for (place, to, port) in
        [(PROXY, screen, 4745), (Place::Here(SENDER_V4.into()), house.screen_door()?, 4746)]
    {
        let mark = log.mark();
        // Nobody that its list knows.
        let stranger = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 77), port));
        let mut client = Client::dial(place, to)?;
        client.send(&header::v2(stranger, told_destination(), &[]))?;
        client.send(b"EHLO early.interop.test\r\n")?;
        let words = format!(" from [198.51.100.77]:{port}: EHLO early.interop.test\\r\\n");
        let is_it = |line: &str| line.contains("PREGREET 25 after ") && line.ends_with(&words);
        log.wait_line(mark, &format!("postscreen finds an early talker{words}"), is_it)?;
        verdicts.push(client.rest("postscreen turns it away")?);
    }
    let [direct, through] = verdicts.as_slice() else { return failed("two connections") };
    ensure(direct.ends_with("\r\n521 5.5.1 Protocol error\r\n") && direct == through, || {
        format!("without truepeer `{direct}`, with it `{through}`")
    })
}

/// A truepeer with these protocols, kinds and servers, all of which are proved, and lines of each listener.
pub(super) fn start(lab: &Lab, servers: &[(&str, &str, SocketAddr, &str)]) -> Result<Truepeer> {
    let listeners: Vec<Listener<'_>> = servers
        .iter()
        .map(|(protocol, _, _, lines)| Listener {
            id: protocol,
            ip: PROXY.ip(),
            protocol,
            backend: protocol,
            lines,
        })
        .collect();
    let backends: Vec<Backend<'_>> = servers
        .iter()
        .map(|(protocol, kind, addr, _)| Backend { id: protocol, kind, handoff: None, addr: *addr })
        .collect();
    let truepeer = lab.start_truepeer("truepeer-bulk", &listeners, &backends)?;
    for (protocol, ..) in servers {
        truepeer.wait_event(Mark::default(), "backend_proved", &format!("\"backend\":\"{protocol}\""))?;
    }
    Ok(truepeer)
}

/// A server of ours that reads no header, and truepeer in front of it, for any proxy and for direct clients.
fn echoless(lab: &Lab) -> Result<(TcpListener, Truepeer)> {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
    let addr = backend.local_addr().during("read an address")?;
    let listener = |id, lines| Listener { id, ip: PROXY.ip(), protocol: "tcp", backend: "own", lines };
    let listeners = [listener("proxied", ""), listener("direct", "proxy.trusted-networks = \"off\"\n")];
    let backend_lines = Backend { id: "own", kind: "other", handoff: Some("none"), addr };
    let truepeer = lab.start_truepeer("truepeer-bulk", &listeners, &[backend_lines])?;
    Ok((backend, truepeer))
}

/// A client of the server behind, who shows itself by a byte.
fn connect(to: SocketAddr) -> Result<TcpStream> {
    let mut client = TcpStream::connect(to).during("connect")?;
    client.set_read_timeout(Some(PATIENCE)).during("set a read timeout")?;
    client.set_write_timeout(Some(PATIENCE)).during("set a write timeout")?;
    client.write_all(b"!").during("send a byte")?;
    Ok(client)
}

/// The other end of [`connect`]. Connections without a byte are truepeer's questions whether somebody is there.
fn accept(backend: &TcpListener) -> Result<TcpStream> {
    let begin = Instant::now();
    loop {
        let mut stream = accept_one(backend, begin)?;
        if stream.read(&mut [0]).during("read a byte")? == 1 {
            return Ok(stream);
        }
    }
}

/// The next connection, for which is waited until `begin` is as long ago as patience lasts.
pub(super) fn accept_one(backend: &TcpListener, begin: Instant) -> Result<TcpStream> {
    backend.set_nonblocking(true).during("wait no longer than that")?;
    while begin.elapsed() < PATIENCE {
        let Ok((stream, _)) = backend.accept() else {
            thread::yield_now();
            continue;
        };
        stream.set_nonblocking(false).during("wait for bytes")?;
        stream.set_read_timeout(Some(PATIENCE)).during("set a read timeout")?;
        stream.set_write_timeout(Some(PATIENCE)).during("set a write timeout")?;
        return Ok(stream);
    }
    failed("nobody has come")
}

/// The same socket with little room.
fn slow(stream: TcpStream) -> Result<TcpStream> {
    let socket = Socket::from(stream);
    socket.set_recv_buffer_size(ROOM).during("SO_RCVBUF")?;
    Ok(socket.into())
}

/// Reads to the end, a little at a time, and compares with the pattern of `seed`.
fn compare(mut stream: &TcpStream, size: usize, seed: u8) -> Result {
    let mut buf = vec![0_u8; SIP];
    let mut at = 0_usize;
    loop {
        let len = stream.read(&mut buf).during("read")?;
        let Some(got) = buf.get(..len).filter(|got| !got.is_empty()) else { break };
        ensure(got == pattern(at, len, seed), || format!("changed in the {len} bytes from {at} on"))?;
        at = at.saturating_add(len);
        // So slow that the other side has to wait.
        thread::yield_now();
    }
    ensure(at == size, || format!("{at} of {size} bytes came"))
}

/// Bytes that differ from place to place, and by `seed`.
fn pattern(start: usize, len: usize, seed: u8) -> Vec<u8> {
    let at = |offset: usize| {
        let [low, middle, high, ..] = offset.to_le_bytes();
        low.wrapping_mul(seed) ^ middle.wrapping_add(high.wrapping_mul(seed))
    };
    (start..start.saturating_add(len)).map(at).collect()
}

fn log_in(door: SocketAddr, port: u16, user: &str) -> Result<Client> {
    let mut client = Client::dial(PROXY, door)?;
    client.send(&header::v2(told_client(port), told_destination(), &[SSL_TLV]))?;
    client.line("Dovecot's greeting")?;
    let answer = client.imap("a1", &format!("LOGIN {user} {PASSWORD}"))?;
    ensure(answer.contains("a1 OK"), || format!("expected `a1 OK`, got `{answer}`"))?;
    Ok(client)
}

/// Lines that differ from each other, so that a lost or doubled piece shows.
pub(super) fn text(len: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|count| format!("line {count:>58}\r\n").into_bytes());
    let mut text: Vec<u8> = b"Subject: letter\r\n\r\n".iter().copied().chain(lines).take(len).collect();
    text.extend(b"\r\n");
    text
}
