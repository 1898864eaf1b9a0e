//! A backend that takes its time is slow, not disobedient: only a wrong answer proves anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::fake::{Fake, smtp_behind_v1};
use crate::support::{House, PATIENCE, Plan, eventually, expect, read_to_end};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{Readiness, Unready};
use truepeer_gateway::rooms::handoff::Handoff;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const SMTP_REFUSAL: &[u8] = b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n";
/// Long for a loopback that answers, short for a test.
const SHORT: Duration = Duration::from_millis(400);

fn house(backend: &Fake) -> House {
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    plan.proof_timeout = SHORT;
    plan.start()
}

/// Reads to the end and says nothing more.
fn mute(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    heard
}

#[test]
fn silence_and_unfinished_answers_are_slow_and_never_called_disobedience() {
    type Serve = fn(TcpStream) -> Vec<u8>;
    let cases: [(Serve, &str); 3] = [
        (mute, "nothing"),
        (
            |mut stream| {
                if matches!(stream.peek(&mut [0]), Ok(1)) {
                    let _ = stream.write_all(b"220-wait for it\r\n");
                }
                mute(stream)
            },
            "220-wait for it",
        ),
        (
            |mut stream| {
                if matches!(stream.peek(&mut [0]), Ok(1)) {
                    let _ = stream.write_all(b"220 mx.example\r\n");
                }
                mute(stream)
            },
            "to our goodbye it said so far nothing",
        ),
    ];
    for (serve, told) in cases {
        let backend = Fake::start(serve);
        let house = house(&backend);
        let found = house.readiness();
        let Readiness::Unready(Unready::Slow { saw }) = &*found else { panic!("{found:?}") };
        assert!(saw.contains(told), "{saw}");
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        assert_eq!(read_to_end(&client).escape_ascii().to_string(), SMTP_REFUSAL.escape_ascii().to_string());
        let record = house.record();
        record.assert_outcome(Outcome::BackendUnready);
        assert!(record.get("cause").unwrap().contains("has not shown yet"), "{}", record.0);
        house.finish();
        for heard in backend.finish() {
            assert!(!heard.windows(11).any(|window| window == b"203.0.113.7"));
        }
    }
}

/// A backend that reads headers and stays silent while `silent` says so; it reports each silent connection that began.
fn gated(silent: &Arc<AtomicBool>) -> (Fake, Receiver<()>) {
    let (begun, began) = sync_channel(64);
    let (silent, begun) = (Arc::clone(silent), Arc::new(Mutex::new(begun)));
    let backend = Fake::start(move |stream: TcpStream| {
        if silent.load(Ordering::SeqCst) {
            let _ = begun.lock().unwrap().send(());
            return mute(stream);
        }
        smtp_behind_v1("220 backend ready\r\n")(stream)
    });
    (backend, began)
}

#[test]
fn a_slow_backend_is_asked_again_and_serves_once_it_answers() {
    let silent = Arc::new(AtomicBool::new(true));
    let (backend, _began) = gated(&silent);
    let house = house(&backend);
    assert!(matches!(&*house.readiness(), Readiness::Unready(Unready::Slow { .. })));
    silent.store(false, Ordering::SeqCst);
    assert!(eventually(|| *house.readiness() == Readiness::Proved), "{:?}", house.readiness());
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"QUIT\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n221 bye\r\n");
}

#[test]
fn a_proved_backend_stays_proved_when_asking_again_is_not_answered_in_time() {
    let silent = Arc::new(AtomicBool::new(false));
    let (backend, began) = gated(&silent);
    let house = house(&backend);
    assert_eq!(*house.readiness(), Readiness::Proved);
    silent.store(true, Ordering::SeqCst);
    // A second round begins only when the first has been noted.
    for _ in 0..2 {
        house.server.pools()[0].ask_again();
        for _ in 0..2 {
            began.recv_timeout(PATIENCE).expect("it is asked again");
        }
        assert_eq!(*house.readiness(), Readiness::Proved);
    }
    silent.store(false, Ordering::SeqCst);
    house.finish();
}
