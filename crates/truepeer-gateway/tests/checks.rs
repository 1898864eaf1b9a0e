//! How a backend is asked whether it works: in words where the protocol has some, and no more than needed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::fake::{Fake, echo_behind_v1, listens};
use crate::support::{House, Plan, checked, eventually, expect, written};
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{Check, Readiness, Unready};
use truepeer_gateway::rooms::handoff::Handoff;

const SHOWN: &str = "health-bind = \"127.0.0.1:0\"\n";

/// Counts connections, and reads each to its end.
fn counting(count: &Arc<AtomicUsize>) -> Fake {
    let count = Arc::clone(count);
    Fake::start(move |stream| {
        count.fetch_add(1, Ordering::Relaxed);
        listens(stream)
    })
}

#[test]
fn a_backend_that_works_is_never_connected_to_without_a_client_unless_its_check_says_so() {
    let (idle, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (quiet, connected) = (counting(&idle), counting(&asked));
    let unasked = House::start(&written(Protocol::Tcp, quiet.address, SHOWN));
    let regularly = House::start(&checked(written(Protocol::Tcp, connected.address, SHOWN), Check::Connect));
    // Both houses keep the same time: when one has asked twice more, the other had its chances.
    assert!(eventually(|| asked.load(Ordering::Relaxed) >= 3));
    assert_eq!(idle.load(Ordering::Relaxed), 1, "once, to know that it is there");
    assert_eq!(*unasked.readiness(), Readiness::Unproven);
    assert_eq!(*regularly.readiness(), Readiness::Unproven);
    // A reload with the same backend is no reason either.
    let mut unasked = unasked;
    unasked.server.take(&written(Protocol::Tcp, quiet.address, SHOWN)).unwrap();
    assert_eq!(idle.load(Ordering::Relaxed), 1);
    drop((unasked.finish(), regularly.finish()));
}

#[test]
fn a_backend_whose_check_is_none_is_found_out_by_a_client_and_asked_until_it_is_back() {
    let backend = Fake::start(echo_behind_v1);
    let address = backend.address;
    let house = House::start(&written(Protocol::Tcp, address, ""));
    let client = || {
        let mut client = house.connect();
        client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\nhello").unwrap();
        client
    };
    expect(&client(), b"hello");
    let nobody = support::fake::Nobody::instead_of(backend);
    let _ = client().read(&mut [0]);
    assert!(matches!(&*house.readiness(), Readiness::Unready(Unready::Unreachable { .. })));
    let _backend = Fake::on(nobody.come_back(), echo_behind_v1);
    assert!(eventually(|| *house.readiness() == Readiness::Unproven));
    expect(&client(), b"hello");
}

#[test]
fn a_mail_server_that_is_told_nothing_is_left_with_a_goodbye() {
    let (tell, told) = std::sync::mpsc::sync_channel(16);
    let backend = Fake::start(move |mut stream: TcpStream| {
        let mut heard = Vec::new();
        let _ = stream.write_all(b"220 mx.example\r\n");
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        if lines.read_until(b'\n', &mut heard).is_ok() {
            let _ = stream.write_all(b"221 bye\r\n");
            let _ = lines.read_to_end(&mut heard);
        }
        let _ = tell.try_send(heard.clone());
        heard
    });
    let house = Plan::new(Protocol::Smtp, Handoff::None, backend.address).start();
    assert_eq!(told.recv_timeout(support::PATIENCE).unwrap(), b"QUIT\r\n");
    assert_eq!(*house.readiness(), Readiness::Unproven);
}

/// Answers each request with `behind` if a header came before it, and with `without` otherwise; nothing for nothing.
fn web(behind: &'static str, without: &'static str) -> Fake {
    Fake::start(move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let (mut heard, mut line) = (Vec::new(), Vec::new());
        let mut answer = None;
        while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 2) {
            answer.get_or_insert(if line.starts_with(b"PROXY ") { behind } else { without });
            heard.append(&mut line);
        }
        let _ = stream.write_all(answer.unwrap_or_default().as_bytes());
        heard
    })
}

#[test]
fn a_web_server_is_asked_with_a_request_and_both_answers_together_prove_that_it_ignores_headers() {
    const FINE: &str = "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n";
    const UNKNOWN: &str = "HTTP/1.0 501 Not Implemented\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 400 Bad Request\r\n\r\n";
    type Expected = fn(&Readiness) -> bool;
    let proved: Expected = |found| *found == Readiness::Proved;
    let unproven: Expected = |found| *found == Readiness::Unproven;
    let ignores: Expected = |found| {
        matches!(found, Readiness::Unready(Unready::IgnoresHeader { saw })
            if saw.contains("to one behind a header it said"))
    };
    for (behind, without, expected) in [
        (FINE, "", proved),
        (FINE, BROKEN, proved),
        ("HTTP/1.1 404 Not Found\r\n\r\n", FINE, proved),
        (BROKEN, FINE, ignores),
        ("", FINE, ignores),
        // Of version 1 others see a method that they do not know, or a version.
        (UNKNOWN, FINE, ignores),
        ("HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n", FINE, ignores),
        // It knows no HEAD.
        (BROKEN, UNKNOWN, ignores),
        (UNKNOWN, BROKEN, unproven),
        (UNKNOWN, UNKNOWN, unproven),
        // It may dislike the request itself.
        (BROKEN, BROKEN, unproven),
        ("", "", unproven),
        ("-ERR unknown command\r\n", "-ERR unknown command\r\n", unproven),
    ] {
        let backend = web(behind, without);
        let house = House::written(Protocol::Http, backend.address, "");
        let found = house.readiness();
        assert!(expected(&found), "{behind:?} {without:?} {found:?}");
        house.finish();
        let heard = backend.finish();
        let request = format!(
            "HEAD / HTTP/1.1\r\nHost: {}\r\nUser-Agent: truepeer (check)\r\nConnection: close\r\n",
            backend_address(&heard)
        );
        assert!(heard.iter().all(|heard| heard.ends_with(request.as_bytes())), "{heard:?}");
    }
}

#[test]
fn a_web_server_that_was_found_to_ignore_headers_gets_no_client_for_being_slow_later() {
    let is_slow = Arc::new(AtomicBool::new(false));
    let (tell, given_up) = std::sync::mpsc::sync_channel(16);
    let slow = Arc::clone(&is_slow);
    let backend = Fake::start(move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut first = Vec::new();
        let _ = lines.read_until(b'\n', &mut first);
        if slow.load(Ordering::Relaxed) {
            let _ = lines.read_to_end(&mut first);
            let _ = tell.try_send(());
        } else if first.starts_with(b"PROXY ") {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        } else {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        }
        first
    });
    let house = House::written(Protocol::Http, backend.address, "");
    let ignores = || matches!(&*house.readiness(), Readiness::Unready(Unready::IgnoresHeader { .. }));
    assert!(ignores(), "{:?}", house.readiness());
    is_slow.store(true, Ordering::Relaxed);
    // The question after the next comes when that one has been weighed.
    for _ in 0..2 {
        given_up.recv_timeout(support::PATIENCE).unwrap();
        assert!(ignores(), "{:?}", house.readiness());
    }
}

/// The address that the first request was meant for.
fn backend_address(heard: &[Vec<u8>]) -> String {
    let text = String::from_utf8_lossy(&heard[0]);
    let (_, host) = text.split_once("Host: ").unwrap();
    host.lines().next().unwrap().to_owned()
}
