//! What a backend can do wrong: each has its outcome and its words for the client, and nothing is left over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::support::fake::{Fake, Nobody, listens, reset, resets_behind_v1, smtp_behind_v1};
use crate::support::{House, PATIENCE, Plan, expect, read_to_end};
use socket2::{Domain, Socket, Type};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::BackendAddress;
use truepeer_gateway::rooms::handoff::Handoff;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const REFUSAL: &str = "421 4.3.2 mx.example no server is ready for you now, try again later\r\n";
const GREETING: &str = "220 backend ready\r\n";

/// A backend that is in order while it is asked, and does `then` to clients once `broken` is set.
fn turns(
    broken: &Arc<AtomicBool>,
    then: impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static,
) -> impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static {
    let (broken, good) = (Arc::clone(broken), smtp_behind_v1(GREETING));
    move |stream| if broken.load(Ordering::SeqCst) { then(stream) } else { good(stream) }
}

fn plan(backend: SocketAddr) -> Plan {
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend);
    plan.connect_timeout = Duration::from_millis(400);
    plan
}

/// What one client hears, to the end.
fn session(house: &House) -> String {
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    String::from_utf8(read_to_end(&client)).unwrap()
}

/// Nothing of any connection is kept.
#[track_caller]
fn assert_nothing_left(house: &House) {
    house.wait_for_open(0);
    assert!(house.server.registry().list().is_empty());
    assert_eq!(house.server.limits().open(), 0);
    assert_eq!(house.server.limits().status().clients, 0);
    assert_eq!(house.server.view().pending_headers(), 0);
}

#[test]
fn a_backend_that_breaks_after_the_handoff_has_its_outcome_and_leaves_nothing() {
    type Serve = fn(TcpStream) -> Vec<u8>;
    let half: Serve = |mut stream| {
        let _ = BufReader::new(&stream).read_until(b'\n', &mut Vec::new());
        stream.write_all(b"220 half").unwrap();
        Vec::new()
    };
    let half_and_reset: Serve = |mut stream| {
        let _ = BufReader::new(&stream).read_until(b'\n', &mut Vec::new());
        stream.write_all(b"220 half").unwrap();
        // Only what the other end has taken survives a reset: the client closes when it has it.
        let _ = stream.read(&mut [0]);
        reset(stream);
        Vec::new()
    };
    let closes: Serve = |stream| {
        let _ = BufReader::new(&stream).read_until(b'\n', &mut Vec::new());
        Vec::new()
    };
    // What it does, how the connection ends, what the client hears.
    for (name, serve, outcome, hears) in [
        ("never speaks", listens as Serve, Outcome::IdleTimeout, ""),
        ("resets behind our header", resets_behind_v1, Outcome::BackendFailed, ""),
        ("closes behind our header", closes, Outcome::Done, ""),
        ("closes mid-way", half, Outcome::Done, "220 half"),
        ("resets mid-way", half_and_reset, Outcome::BackendFailed, "220 half"),
    ] {
        let broken = Arc::new(AtomicBool::new(false));
        let backend = Fake::start(turns(&broken, serve));
        let mut plan = plan(backend.address);
        if outcome == Outcome::IdleTimeout {
            plan.idle_timeout = Duration::from_millis(400);
        }
        let house = plan.start();
        broken.store(true, Ordering::SeqCst);
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        expect(&client, hears.as_bytes());
        if name == "resets mid-way" {
            client.write_all(b"x").unwrap();
        }
        assert_eq!(read_to_end(&client), b"", "{name}");
        drop(client);
        let record = house.record();
        record.assert(&[("outcome", outcome.facts().code), ("bytes_out", &hears.len().to_string())]);
        assert_eq!(record.get("backend"), Some("b"), "{name}: {}", record.0);
        assert_nothing_left(&house);
        // It broke one connection; it is not taken out of service for that.
        assert!(house.server.pools()[0].is_ready(), "{name}");
        broken.store(false, Ordering::SeqCst);
        let mut next = house.connect();
        next.write_all(HEADER).unwrap();
        expect(&next, GREETING.as_bytes());
    }
}

#[test]
fn a_backend_that_resets_at_once_is_the_clients_to_see_or_a_temporary_no() {
    let broken = Arc::new(AtomicBool::new(false));
    let resets = |stream| {
        reset(stream);
        Vec::new()
    };
    let backend = Fake::start(turns(&broken, resets));
    let house = plan(backend.address).start();
    broken.store(true, Ordering::SeqCst);
    // As many as are written before records of one cause are summed up.
    for _ in 0..truepeer_gateway::observe::folding::Folding::SHOWN_PER_MINUTE {
        let heard = session(&house);
        let record = house.record();
        match record.get("outcome") {
            // Its reset was there before our header was; once the keeper knows, nobody is sent there.
            Some("backend_refused" | "handoff_failed" | "backend_unready") => {
                assert_eq!(heard, REFUSAL, "{}", record.0);
            }
            // Our header was there first.
            Some("backend_failed") => assert_eq!(heard, "", "{}", record.0),
            _ => panic!("{}", record.0),
        }
    }
    assert_nothing_left(&house);
}

#[test]
fn a_backend_that_cannot_be_reached_means_a_temporary_no_in_every_language_and_leaves_nothing() {
    for (protocol, hears) in [
        (Protocol::Smtp, REFUSAL),
        (Protocol::Submission, REFUSAL),
        (Protocol::Imap, "* BYE [UNAVAILABLE] "),
        (Protocol::Pop3, "-ERR [SYS/TEMP] "),
        (Protocol::ManageSieve, "BYE (TRYLATER) "),
        (Protocol::Tcp, ""),
    ] {
        let start = |address| {
            let mut plan = plan(address);
            (plan.protocol, plan.handoff) = (protocol, Handoff::None);
            plan.start()
        };
        let assert_refused = |house: &House, outcome| {
            let heard = session(house);
            assert!(heard.starts_with(hears) && heard.is_empty() == hears.is_empty(), "{protocol}: {heard}");
            house.record().assert_outcome(outcome);
            assert_nothing_left(house);
        };
        let gone = Fake::start(listens);
        let house = start(gone.address);
        let _nobody = Nobody::instead_of(gone);
        assert_refused(&house, Outcome::BackendRefused);

        // Its queue holds one connection, which nobody accepts: the front door's own question at start.
        let hanging = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        hanging.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        hanging.listen(0).unwrap();
        let house = start(hanging.local_addr().unwrap().as_socket().unwrap());
        assert_refused(&house, Outcome::BackendTimeout);
    }
}

#[test]
fn a_backend_that_ignores_the_header_is_never_handed_a_client_again() {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let house = plan(backend.address).start();
    let nobody = Nobody::instead_of(backend);
    assert_eq!(session(&house), REFUSAL);
    house.record().assert_outcome(Outcome::BackendRefused);
    let deaf = Fake::on(nobody.come_back(), support::fake::deaf_smtp);
    let ignores = || {
        let readiness = house.readiness();
        matches!(&*readiness, truepeer_gateway::rooms::backend::Readiness::Unready(why) if why.code() == "backend_ignores_header")
    };
    assert!(support::eventually(ignores));
    assert_eq!(session(&house), REFUSAL);
    let record = house.record();
    record.assert_outcome(Outcome::BackendUnready);
    assert!(record.get("cause").unwrap().contains("does not read our header"), "{}", record.0);
    assert_nothing_left(&house);
    house.finish();
    assert!(deaf.finish().iter().all(|heard| !heard.starts_with(HEADER)));
}

/// SMTP behind v1 that counts whom it greeted, and resets everybody once it is to die.
fn mortal(
    greeting: &'static str,
    served: &Arc<AtomicU32>,
    dying: &Arc<AtomicBool>,
) -> impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static {
    let (served, dying) = (Arc::clone(served), Arc::clone(dying));
    move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let mut write = |text: &str| stream.write_all(text.as_bytes()).is_ok();
        if !dying.load(Ordering::SeqCst) && write(greeting) {
            let mut said = String::new();
            while matches!(reader.read_line(&mut said), Ok(1..)) && !dying.load(Ordering::SeqCst) {
                let quit = said.ends_with("QUIT\r\n");
                if quit {
                    served.fetch_add(1, Ordering::SeqCst);
                }
                if !write(if quit { "221 bye\r\n" } else { "250 ok\r\n" }) || quit {
                    return Vec::new();
                }
                said.clear();
            }
        }
        reset(stream);
        Vec::new()
    }
}

#[test]
fn when_one_of_several_backends_dies_under_load_only_its_own_clients_lose_anything() {
    const THREADS: u32 = 8;
    const SESSIONS: u32 = 60;
    let counts: [Arc<AtomicU32>; 2] = Default::default();
    let (dying, never) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let dies = Fake::start(mortal("220 a\r\n", &counts[0], &dying));
    let lives = Fake::start(mortal("220 b\r\n", &counts[1], &never));
    let addresses = [dies.address, lives.address];
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, addresses[0]);
    plan.addresses = addresses.map(BackendAddress::Socket).into();
    let house = plan.start();
    let asked = counts.each_ref().map(|count| count.swap(0, Ordering::SeqCst));
    assert_eq!(asked, [1, 1], "each was asked once at start");

    let (tell, half_way) = sync_channel(THREADS as usize);
    let clients: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (address, tell) = (house.address(), tell.clone());
            std::thread::spawn(move || {
                let mut heard = Vec::new();
                for session in 0..SESSIONS {
                    if session == SESSIONS / 4 {
                        tell.send(()).unwrap();
                    }
                    let mut client = TcpStream::connect(address).unwrap();
                    client.set_read_timeout(Some(PATIENCE)).unwrap();
                    let port = 1000 + thread * SESSIONS + session;
                    write!(client, "PROXY TCP4 203.0.113.{} 198.51.100.25 {port} 25\r\n", thread + 1)
                        .unwrap();
                    let mut reader = BufReader::new(client.try_clone().unwrap());
                    let mut text = String::new();
                    for command in ["NOOP\r\n", "QUIT\r\n"] {
                        let _ = reader.read_line(&mut text);
                        let _ = client.write_all(command.as_bytes());
                    }
                    let _ = reader.read_to_string(&mut text);
                    heard.push((port, text));
                }
                heard
            })
        })
        .collect();
    for _ in 0..THREADS {
        half_way.recv_timeout(PATIENCE).unwrap();
    }
    dying.store(true, Ordering::SeqCst);
    let nobody = Nobody::instead_of(dies);
    let heard: BTreeMap<u32, String> =
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert_eq!(heard.len() as u32, THREADS * SESSIONS);

    // One record for each, and it says what the client saw.
    let mut lost = 0;
    for _ in 0..THREADS * SESSIONS {
        let record = house.record();
        let port: u32 = record.get("client").unwrap().rsplit(':').next().unwrap().parse().unwrap();
        let whole = heard[&port].ends_with("250 ok\r\n221 bye\r\n");
        let on_dead = record.get("backend_address") == Some(&addresses[0].to_string());
        assert!(
            !heard[&port].starts_with("421") || record.get("outcome") == Some("handoff_failed"),
            "{}",
            record.0
        );
        match record.get("outcome").unwrap() {
            "done" => assert!(whole, "{:?}: {}", heard[&port], record.0),
            // Handed over, so that it may not be tried elsewhere.
            "backend_failed" => {
                assert!(!whole && on_dead, "{:?}: {}", heard[&port], record.0);
                lost += 1;
            }
            "handoff_failed" => lost += 1,
            _ => panic!("{}", record.0),
        }
    }
    let whole = heard.values().filter(|text| text.ends_with("221 bye\r\n")).count() as u32;
    let served: u32 = counts.iter().map(|count| count.load(Ordering::SeqCst)).sum();
    assert_eq!((whole + lost, served), (THREADS * SESSIONS, whole), "{lost} lost");
    // What was under way when it died; every second client of the last three quarters, if none went elsewhere.
    assert!(lost < THREADS * SESSIONS / 4, "{lost} lost");
    assert_nothing_left(&house);
    drop(nobody);
}
