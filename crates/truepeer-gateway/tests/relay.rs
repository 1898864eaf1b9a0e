//! Bytes through the whole front door: exact both ways, under back-pressure, to the last word, and beside peers that
//! say nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::fake::{Fake, echo_behind_v1, listens, reset, smtp_behind_v1};
use crate::support::{HeaderMailServer, PATIENCE, Plan, expect, read_to_end};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::handoff::Handoff;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const MIB: usize = 1024 * 1024;

/// Bytes without a period that a buffer's size could hide, different for each seed (xorshift64).
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A backend that the test plays itself: the next connection behind our own header, which has been read.
fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut header = Vec::new();
        let mut byte = [0];
        // The front door's own question at start ends without a byte.
        while matches!((&stream).read(&mut byte), Ok(1)) {
            header.push(byte[0]);
            if byte[0] == b'\n' {
                assert_eq!(header, HEADER);
                return stream;
            }
        }
    }
}

fn plan(listener: &TcpListener) -> Plan {
    Plan::new(Protocol::Tcp, Handoff::ProxyV1, listener.local_addr().unwrap())
}

/// Writes until nobody takes a byte any more; returns how many were taken.
fn write_until_stuck(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    const STUCK: Duration = Duration::from_millis(300);
    stream.set_write_timeout(Some(STUCK)).unwrap();
    let mut written = 0;
    let stuck = loop {
        match stream.write(&bytes[written..]) {
            Ok(0) => panic!("everything was taken"),
            Ok(len) => written += len,
            Err(error) => break error,
        }
    };
    assert!(matches!(stuck.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stuck}");
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    written
}

#[test]
fn megabytes_arrive_exactly_both_ways_though_neither_side_takes_them_at_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = plan(&listener).start();
    let (there, back) = (pattern(48 * MIB, 1), pattern(40 * MIB, 2));
    let client = house.connect();
    (&client).write_all(HEADER).unwrap();
    let backend = accept(&listener);
    let moved = std::thread::scope(|scope| {
        // Both are stuck before either reads: no side may be read while the other has not taken what came.
        let to_backend = scope.spawn(|| write_until_stuck(&client, &there));
        let to_client = scope.spawn(|| write_until_stuck(&backend, &back));
        let (sent, answered) = (to_backend.join().unwrap(), to_client.join().unwrap());
        let (mut client, mut backend) = (&client, &backend);
        let (at_backend, at_client) =
            (scope.spawn(move || read_to_end(backend)), scope.spawn(move || read_to_end(client)));
        let (rest, rest_back) = (&there[sent..], &back[answered..]);
        scope.spawn(move || {
            client.write_all(rest).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(move || {
            backend.write_all(rest_back).unwrap();
            backend.shutdown(Shutdown::Write).unwrap();
        });
        (at_backend.join().unwrap(), at_client.join().unwrap())
    });
    assert!(moved.0 == there, "{} of {} bytes", moved.0.len(), there.len());
    assert!(moved.1 == back, "{} of {} bytes", moved.1.len(), back.len());
    house.record().assert(&[
        ("outcome", "done"),
        ("bytes_in", &there.len().to_string()),
        ("bytes_out", &back.len().to_string()),
    ]);
}

#[test]
fn a_client_that_takes_nothing_holds_up_its_own_backend_and_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = plan(&listener).start();
    let greedy = house.connect();
    (&greedy).write_all(HEADER).unwrap();
    let full = accept(&listener);
    write_until_stuck(&full, &pattern(64 * MIB, 3));
    // Every worker gets some of these.
    for _ in 0..16 {
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        client.write_all(b"ping").unwrap();
        let mut backend = accept(&listener);
        expect(&backend, b"ping");
        backend.write_all(b"pong").unwrap();
        expect(&client, b"pong");
    }
}

#[test]
fn the_end_of_either_side_is_passed_on_and_the_other_side_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = plan(&listener).start();
    let long = pattern(MIB, 4);
    // The client ends first.
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut backend = accept(&listener);
    assert_eq!(read_to_end(&backend), b"question");
    let answer = long.clone();
    let answering = std::thread::spawn(move || backend.write_all(&answer));
    assert!(read_to_end(&client) == long);
    answering.join().unwrap().unwrap();
    house.record().assert(&[("outcome", "done"), ("bytes_in", "8"), ("bytes_out", "1048576")]);
    // The backend ends first.
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    let backend = accept(&listener);
    backend.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), b"");
    let sending = {
        let long = long.clone();
        std::thread::spawn(move || client.write_all(&long))
    };
    assert!(read_to_end(&backend) == long);
    sending.join().unwrap().unwrap();
    house.record().assert(&[("outcome", "done"), ("bytes_in", "1048576"), ("bytes_out", "0")]);
}

#[test]
fn a_backends_last_words_arrive_though_the_client_is_still_sending() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = plan(&listener).start();
    for _ in 0..20 {
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        client.write_all(&pattern(16 * 1024, 5)).unwrap();
        let mut backend = accept(&listener);
        expect(&backend, &pattern(1024, 5));
        backend.write_all(b"554 5.7.1 go away\r\n").unwrap();
        // Closed with bytes that were not read: the kernel answers further ones with a reset.
        drop(backend);
        let mut sent = 0;
        while sent < 16 && client.write_all(&[b'x'; 1024]).is_ok() {
            sent += 1;
        }
        assert_eq!(read_to_end(&client), b"554 5.7.1 go away\r\n");
        drop(client);
        let record = house.record();
        record.assert(&[("bytes_out", "19")]);
        let outcome = record.get("outcome").unwrap();
        assert!(matches!(outcome, "backend_failed" | "done" | "client_failed"), "{}", record.0);
    }
}

#[test]
fn silence_ends_at_the_idle_limit_on_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = plan(&listener);
    plan.idle_timeout = Duration::from_millis(300);
    let house = plan.start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    let mut backend = accept(&listener);
    client.write_all(b"ping").unwrap();
    expect(&backend, b"ping");
    backend.write_all(b"pong!").unwrap();
    expect(&client, b"pong!");
    assert_eq!(read_to_end(&client), b"");
    assert_eq!(read_to_end(&backend), b"");
    let record = house.record();
    record.assert(&[("outcome", "idle_timeout"), ("bytes_in", "4"), ("bytes_out", "5")]);
    let lasted: u64 = record.get("relay_ms").unwrap().parse().unwrap();
    assert!(lasted >= 300, "{}", record.0);
}

#[test]
fn a_client_that_never_speaks_ends_at_the_idle_limit_too() {
    let backend = Fake::start(listens);
    let mut plan = Plan::new(Protocol::Tcp, Handoff::None, backend.address);
    plan.idle_timeout = Duration::from_millis(300);
    let house = plan.start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    assert_eq!(read_to_end(&client), b"");
    house.record().assert(&[("outcome", "idle_timeout"), ("bytes_in", "0")]);
}

#[test]
fn a_client_that_resets_is_a_failed_client_and_the_backend_sees_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = plan(&listener).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"ping").unwrap();
    let backend = accept(&listener);
    expect(&backend, b"ping");
    reset(client);
    assert_eq!(read_to_end(&backend), b"");
    drop(backend);
    house.record().assert(&[("outcome", "client_failed"), ("bytes_in", "4"), ("bytes_out", "0")]);
}

#[test]
fn a_client_that_resets_while_bytes_wait_for_it_is_a_failed_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = plan(&listener).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    let backend = accept(&listener);
    let sent = write_until_stuck(&backend, &pattern(64 * MIB, 6));
    reset(client);
    let record = house.record();
    record.assert_outcome(Outcome::ClientFailed);
    let out: usize = record.get("bytes_out").unwrap().parse().unwrap();
    assert!(out <= sent, "{out} of {sent}");
    drop(backend);
}

#[test]
fn a_backend_that_broke_first_is_to_blame_though_the_client_resets_afterwards() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = plan(&listener).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    reset(accept(&listener));
    // The end of stream says that the front door has seen the backend break.
    assert_eq!(read_to_end(&client), b"");
    reset(client);
    house.record().assert_outcome(Outcome::BackendFailed);
}

#[test]
fn a_thousand_silent_trusted_peers_keep_no_good_client_waiting() {
    const SILENT: u32 = 1000;
    let backend = HeaderMailServer::start();
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    (plan.max_connections, plan.max_pending) = (Some(2000), 2000);
    plan.header_timeout = Duration::from_secs(600);
    let house = plan.start();
    let silent: Vec<_> = (0..SILENT).map(|_| house.connect()).collect();
    house.wait_for_open(SILENT);
    for _ in 0..10 {
        let mut good = house.connect();
        good.write_all(HEADER).unwrap();
        good.write_all(b"QUIT\r\n").unwrap();
        expect(&good, b"220 backend ready\r\n221 bye\r\n");
        drop(good);
        // The only record so far: every silent one is still waited for.
        house.record().assert(&[("outcome", "done"), ("client", "203.0.113.7:4711")]);
        house.wait_for_open(SILENT);
    }
    // None of them was forgotten either: each may still send its header.
    for mut late in silent.into_iter().rev().take(10) {
        late.write_all(HEADER).unwrap();
        expect(&late, b"220 backend ready\r\n");
    }
}

#[test]
fn many_clients_at_once_get_each_their_own_bytes() {
    let backend = Fake::start(echo_behind_v1);
    let house = Plan::new(Protocol::Tcp, Handoff::ProxyV1, backend.address).start();
    std::thread::scope(|scope| {
        for seed in 1..=16 {
            let client = house.connect();
            scope.spawn(move || {
                let bytes = pattern(256 * 1024, seed);
                std::thread::scope(|inner| {
                    let (mut sender, sent) = (&client, &bytes);
                    inner.spawn(move || {
                        sender.write_all(HEADER).unwrap();
                        // In pieces that fit no buffer.
                        for piece in sent.chunks(1013) {
                            sender.write_all(piece).unwrap();
                        }
                        sender.shutdown(Shutdown::Write).unwrap();
                    });
                    assert!(read_to_end(&client) == bytes, "client {seed}");
                });
            });
        }
    });
    for _ in 1..=16 {
        house.record().assert(&[("outcome", "done"), ("bytes_in", "262144"), ("bytes_out", "262144")]);
    }
}

#[test]
fn a_session_of_many_turns_ends_cleanly() {
    let backend = Fake::start(smtp_behind_v1("220 backend ready\r\n"));
    let house = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"220 backend ready\r\n");
    for turn in 0..500 {
        client.write_all(format!("NOOP {turn}\r\n").as_bytes()).unwrap();
        expect(&client, b"250 ok\r\n");
    }
    client.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"221 bye\r\n");
    drop(client);
    house.record().assert(&[("outcome", "done"), ("bytes_out", &(19 + 500 * 8 + 9).to_string())]);
}
