//! Several addresses: the next one when one is down, a polite no when all are, and never a second try behind a header.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::support::fake::{Fake, Nobody, echo_behind_v1, resets_behind_v1, smtp_behind_v1};
use crate::support::{House, Plan, eventually, expect, read_to_end};
use socket2::{Domain, Socket, Type};
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{BackendAddress, Readiness, Unready, connect};
use truepeer_gateway::rooms::handoff::{Handoff, Header, Introduction};

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const REFUSAL: &[u8] = b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n";
const GREETINGS: [&str; 3] = ["220 a\r\n", "220 b\r\n", "220 c\r\n"];

fn plan(protocol: Protocol, handoff: Handoff, addresses: &[SocketAddr]) -> Plan {
    let mut plan = Plan::new(protocol, handoff, addresses[0]);
    plan.addresses = addresses.iter().copied().map(BackendAddress::Socket).collect();
    plan
}

/// One client's whole session; returns the greeting that it got.
fn session(house: &House) -> String {
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"QUIT\r\n").unwrap();
    let heard = String::from_utf8(read_to_end(&client)).unwrap();
    let (greeting, rest) = heard.split_at(heard.find('\n').map_or(0, |at| at + 1));
    assert!(greeting.starts_with("421") || rest == "221 bye\r\n", "{heard:?}");
    greeting.to_owned()
}

#[test]
fn clients_are_spread_over_all_addresses() {
    let backends = GREETINGS.map(|greeting| Fake::start(smtp_behind_v1(greeting)));
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let house = plan(Protocol::Smtp, Handoff::ProxyV1, &addresses).start();
    let mut greetings: Vec<_> = (0..9).map(|_| session(&house)).collect();
    greetings.sort();
    assert_eq!(greetings, GREETINGS.map(|greeting| [greeting; 3]).concat());
}

#[test]
fn when_one_address_dies_the_next_client_goes_to_the_other_and_notices_nothing() {
    let [a, b] = [0, 1].map(|at| Fake::start(smtp_behind_v1(GREETINGS[at])));
    let (dead, alive) = (a.address, b.address);
    let house = plan(Protocol::Smtp, Handoff::ProxyV1, &[dead, alive]).start();
    let _nobody = Nobody::instead_of(a);
    for _ in 0..4 {
        assert_eq!(session(&house), GREETINGS[1]);
        let record = house.record();
        record.assert_outcome(Outcome::Done);
        record.assert(&[("backend_address", &alive.to_string())]);
        assert_eq!(record.get("cause"), None, "{}", record.0);
    }
    let found = house.readiness();
    assert!(matches!(&*found, Readiness::Unready(Unready::Unreachable { .. })), "{found:?}");
}

#[test]
fn when_all_are_dead_clients_hear_a_temporary_no_and_the_record_names_the_address() {
    let backend = Fake::start(smtp_behind_v1(GREETINGS[0]));
    let address = backend.address.to_string();
    let house = plan(Protocol::Smtp, Handoff::ProxyV1, &[backend.address]).start();
    let _nobody = Nobody::instead_of(backend);
    for outcome in [Outcome::BackendRefused, Outcome::BackendUnready] {
        assert_eq!(session(&house).as_bytes(), REFUSAL);
        let record = house.record();
        record.assert_outcome(outcome);
        assert!(record.get("cause").unwrap().contains(&address), "{}", record.0);
        assert_eq!(record.get("backend"), None, "{}", record.0);
    }
}

#[test]
fn a_backend_that_was_never_there_does_not_keep_the_server_from_starting() {
    let nobody = Nobody::new();
    let house = plan(Protocol::Smtp, Handoff::ProxyV1, &[nobody.address()]).start();
    assert_eq!(session(&house).as_bytes(), REFUSAL);
    let record = house.record();
    record.assert_outcome(Outcome::BackendUnready);
    assert!(record.get("cause").unwrap().contains(&nobody.address().to_string()), "{}", record.0);
}

#[test]
fn a_backend_that_comes_back_is_proved_again_and_served() {
    let backend = Fake::start(smtp_behind_v1(GREETINGS[0]));
    let address = backend.address;
    let house = plan(Protocol::Smtp, Handoff::ProxyV1, &[address]).start();
    assert_eq!(session(&house), GREETINGS[0]);
    let nobody = Nobody::instead_of(backend);
    assert_eq!(session(&house).as_bytes(), REFUSAL);
    assert!(!house.server.pools()[0].is_ready());
    let again = Fake::on(nobody.come_back(), smtp_behind_v1(GREETINGS[1]));
    assert!(eventually(|| house.server.pools()[0].is_ready()));
    assert_eq!(*house.readiness(), Readiness::Proved);
    assert_eq!(session(&house), GREETINGS[1]);
    house.finish();
    let asked = again.finish();
    assert!(asked.iter().any(|heard| heard.ends_with(b"\r\nQUIT\r\n") && !heard.starts_with(HEADER)));
}

#[test]
fn a_backend_that_comes_back_without_its_option_is_not_served() {
    let backend = Fake::start(smtp_behind_v1(GREETINGS[0]));
    let address = backend.address;
    let house = plan(Protocol::Smtp, Handoff::ProxyV1, &[address]).start();
    let nobody = Nobody::instead_of(backend);
    assert_eq!(session(&house).as_bytes(), REFUSAL);
    let again = Fake::on(nobody.come_back(), support::fake::deaf_smtp);
    let found = || house.readiness();
    assert!(eventually(|| matches!(&*found(), Readiness::Unready(Unready::IgnoresHeader { .. }))));
    assert_eq!(session(&house).as_bytes(), REFUSAL);
    house.finish();
    assert!(again.finish().iter().all(|heard| !heard.starts_with(HEADER)));
}

/// A listening socket whose queue holds one connection that is never accepted: the next one gets no answer.
fn full() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

#[test]
fn a_backend_that_hangs_on_connect_ends_as_a_timeout() {
    let hanging = full();
    let mut plan = plan(Protocol::Smtp, Handoff::None, &[address(&hanging)]);
    plan.connect_timeout = Duration::from_millis(300);
    // The front door's own question at start takes the only place in the queue.
    let house = plan.start();
    assert_eq!(session(&house).as_bytes(), REFUSAL);
    let record = house.record();
    record.assert_outcome(Outcome::BackendTimeout);
    let cause = record.get("cause").unwrap();
    assert!(cause.contains(&address(&hanging).to_string()) && cause.contains("0.3 s"), "{cause}");
}

#[test]
fn a_hanging_address_is_passed_over_for_one_that_answers() {
    let hanging = full();
    let alive = Fake::start(smtp_behind_v1(GREETINGS[0]));
    let mut plan = plan(Protocol::Tcp, Handoff::ProxyV1, &[address(&hanging), alive.address]);
    plan.connect_timeout = Duration::from_millis(300);
    let house = plan.start();
    for _ in 0..2 {
        assert_eq!(session(&house), GREETINGS[0]);
        house.record().assert(&[("outcome", "done"), ("backend_address", &alive.address.to_string())]);
    }
}

#[test]
fn once_our_header_was_written_nothing_is_tried_again() {
    let (breaks, spare) = (Fake::start(resets_behind_v1), Fake::start(echo_behind_v1));
    let house = plan(Protocol::Tcp, Handoff::ProxyV1, &[breaks.address, spare.address]).start();
    // Of two clients one comes to each address, whoever is first.
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let heard = read_to_end(&client);
        let record = house.record();
        let outcome = record.get("outcome").unwrap().to_owned();
        let address = record.get("backend_address").unwrap().to_owned();
        outcomes.push((address, outcome, heard));
    }
    let broken = (breaks.address.to_string(), "backend_failed".to_owned(), Vec::new());
    let served = (spare.address.to_string(), "done".to_owned(), b"hello".to_vec());
    assert!(outcomes.contains(&broken) && outcomes.contains(&served), "{outcomes:?}");
    house.finish();
    let heard: Vec<_> = spare.finish().into_iter().filter(|heard| !heard.is_empty()).collect();
    assert_eq!(heard, [[HEADER, b"hello"].concat()]);
}

#[test]
fn a_silent_client_of_a_backend_that_breaks_sees_the_close() {
    let breaks = Fake::start(resets_behind_v1);
    let house = plan(Protocol::Tcp, Handoff::ProxyV1, &[breaks.address]).start();
    let mut client = house.connect();
    client.write_all(HEADER).unwrap();
    expect(&client, b"");
    assert_eq!(read_to_end(&client), b"");
    drop(client);
    house.record().assert_outcome(Outcome::BackendFailed);
}

#[test]
fn a_backend_that_takes_no_more_of_our_header_is_a_failed_handoff_and_nothing_else_is_tried() {
    // No header fills a send buffer, so this one is made by hand.
    let (stuck, spare) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    spare.set_nonblocking(true).unwrap();
    let (stuck_at, spare_at) = (stuck.local_addr().unwrap(), spare.local_addr().unwrap());
    let mut plan = plan(Protocol::Tcp, Handoff::ProxyV1, &[stuck_at, spare_at]);
    plan.connect_timeout = Duration::from_millis(300);
    let config = plan.config();
    let pool = truepeer_gateway::rooms::backend::Pool::new(
        config.backends[0].clone(),
        Protocol::Tcp,
        truepeer_gateway::rooms::backend::Greeting::Readable,
    );
    pool.set_addresses([stuck_at, spare_at].map(truepeer_gateway::engine::Address::Tcp).into());
    for target in pool.targets().iter() {
        target.set_readiness(Readiness::Unproven);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let introduction = Introduction::written(Header::default());
    let opening = vec![b'x'; 64 * 1024 * 1024];
    let failure = runtime.block_on(connect::to_backend(&pool, &introduction, 0, opening)).unwrap_err();
    assert_eq!(failure.outcome, Outcome::HandoffFailed);
    assert!(failure.because.contains(&stuck_at.to_string()), "{}", failure.because);
    assert_eq!(spare.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn an_address_that_stays_silent_does_not_keep_a_good_one_from_serving() {
    // Connections to it are made by the kernel; nobody ever reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = Fake::start(smtp_behind_v1(GREETINGS[0]));
    let house = plan(Protocol::Smtp, Handoff::ProxyV1, &[silent.local_addr().unwrap(), good.address]).start();
    assert_eq!(session(&house), GREETINGS[0]);
}

#[test]
fn a_name_that_does_not_resolve_holds_up_no_other_address() {
    let backend = Fake::start(smtp_behind_v1("220 backend ready\r\n"));
    let mut plan = Plan::new(Protocol::Smtp, Handoff::ProxyV1, backend.address);
    let nowhere = |name: &str| BackendAddress::Host { name: name.to_owned(), port: 25 };
    plan.addresses.insert(0, nowhere("one.invalid"));
    plan.addresses.push(nowhere("two.invalid"));
    let house = plan.start();
    let targets = house.server.pools()[0].targets();
    assert_eq!(targets.len(), 1, "{targets:?}");
    assert_eq!(*targets[0].readiness(), Readiness::Proved);
}
