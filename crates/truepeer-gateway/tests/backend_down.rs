//! `when-backend-down = "close-listener"`: nobody listens while no backend can be reached, and then we do again, at the
//! same address.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::program::Program;
use crate::support::fake::{Fake, Nobody, echo_behind_v1, smtp_behind_v1};
use crate::support::{HeaderMailServer, House, PATIENCE, checked, eventually, expect, read_to_end, written};
use rustix::process::Signal;
use truepeer_gateway::facts::machine;
use truepeer_gateway::facts::outcome::Outcome;
use truepeer_gateway::facts::protocol::Protocol;
use truepeer_gateway::rooms::backend::{Check, Readiness, Unready};
use truepeer_gateway::server::Drained;

const CLOSES: &str = "when-backend-down = \"close-listener\"\n";
const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
const GREETING: &str = "220 backend ready\r\n";
const REFUSAL: &[u8] = b"421 4.3.2 mx.example no server is ready for you now, try again later\r\n";

/// A house whose port is not chosen again by itself.
fn house(protocol: Protocol, backend: SocketAddr, more: &str) -> House {
    House::written(protocol, backend, &format!("{CLOSES}{more}"))
}

fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
        // In the instant of shutting.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        Err(error) => panic!("{error}"),
        Ok(_) => false,
    }
}

/// Connects as soon as anybody listens.
#[track_caller]
fn connect_when_open(address: SocketAddr) -> TcpStream {
    let mut stream = None;
    assert!(eventually(|| {
        stream = TcpStream::connect_timeout(&address, PATIENCE).ok();
        stream.is_some()
    }));
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
fn serves(house: &House) {
    let mut client = connect_when_open(house.address());
    client.write_all(HEADER).unwrap();
    client.write_all(b"QUIT\r\n").unwrap();
    let heard = read_to_end(&client);
    assert_eq!(heard, [GREETING.as_bytes(), b"221 bye\r\n"].concat(), "{}", heard.escape_ascii());
}

/// As a failed connection would note it; nobody asks again before something else happens.
fn note(house: &House, pool: usize, readiness: &Readiness) {
    let pool = house.server.pools().remove(pool);
    for target in pool.targets().iter() {
        pool.note(target, readiness.clone());
    }
}

fn unreachable() -> Readiness {
    Readiness::Unready(Unready::Unreachable { error: "test".to_owned() })
}

#[test]
fn at_start_nobody_listens_until_a_backend_is_proved() {
    let nobody = Nobody::new();
    let house = house(Protocol::Smtp, nobody.address(), "");
    let address = house.address();
    assert_ne!(address.port(), 0);
    assert_eq!(house.server.listening(), []);
    assert!(is_refused(address));
    let _backend = Fake::on(nobody.come_back(), smtp_behind_v1(GREETING));
    serves(&house);
    assert_eq!(house.server.listening()[0].tcp, Some(address), "the same port");
}

#[test]
fn when_the_backend_dies_connecting_fails_and_when_it_is_back_the_same_port_serves() {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let house = house(Protocol::Smtp, backend.address, "");
    let address = house.address();
    let (mut backend, mut round) = (backend, 0);
    while round < 2 {
        serves(&house);
        let nobody = Nobody::instead_of(backend);
        // Whoever finds it out hears the refusal.
        let mut client = connect_when_open(address);
        client.write_all(HEADER).unwrap();
        assert_eq!(read_to_end(&client), REFUSAL);
        assert!(eventually(|| is_refused(address)));
        assert_eq!(house.address(), address);
        backend = Fake::on(nobody.come_back(), smtp_behind_v1(GREETING));
        round += 1;
    }
    serves(&house);
}

#[test]
fn a_backend_that_dies_is_noticed_without_a_client() {
    let smtp = Fake::start(smtp_behind_v1(GREETING));
    // What cannot be asked in words is connected to, where the backend's check says so.
    let tcp = Fake::start(echo_behind_v1);
    let checks = [(Protocol::Smtp, Check::Protocol, smtp), (Protocol::Tcp, Check::Connect, tcp)];
    let houses = checks.map(|(protocol, check, backend)| {
        let house = House::start(&checked(written(protocol, backend.address, CLOSES), check));
        assert!(!is_refused(house.address()), "{protocol}");
        (house, Nobody::instead_of(backend))
    });
    for (house, _nobody) in &houses {
        assert!(eventually(|| house.server.listening().is_empty()));
        assert!(eventually(|| is_refused(house.address())));
    }
}

#[test]
fn connections_in_the_queue_are_served_before_the_socket_shuts() {
    let backend = Fake::start(smtp_behind_v1(GREETING));
    let mut config = written(Protocol::Smtp, backend.address, CLOSES);
    config.server.max_connections = Some(1);
    let house = House::start(&config);
    let address = house.address();
    // Each worker may accept one beyond the maximum; then all of them pause.
    let inside = u32::try_from(machine::workers()).unwrap();
    let mut clients: Vec<_> = (0..inside + 20).map(|_| house.connect()).collect();
    for client in &mut clients {
        client.write_all(HEADER).unwrap();
    }
    assert!(eventually(|| house.server.open_connections() >= 1));
    note(&house, 0, &unreachable());
    assert!(eventually(|| is_refused(address)));
    let mut refused = 0;
    for client in &mut clients {
        let _ = client.write_all(b"QUIT\r\n");
        let heard = read_to_end(client);
        let served = heard == [GREETING.as_bytes(), b"221 bye\r\n"].concat();
        assert!(served || heard == REFUSAL, "{}", heard.escape_ascii());
        refused += usize::from(!served);
    }
    assert!(refused >= 20, "{refused} were in the queue");
}

#[test]
fn another_program_that_takes_the_port_is_named_and_waited_for() {
    let nobody = Nobody::new();
    let backend_at = nobody.address();
    let config = format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n{CLOSES}\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{backend_at}\"\n"
    );
    let mut program = Program::start(&config);
    // Said before it was ready, so that its address is known.
    let address = program.address("door");
    // One that does not mind sockets that do not listen, as most servers do.
    let other = TcpListener::bind(address).unwrap();
    let backend = Fake::on(nobody.come_back(), smtp_behind_v1(GREETING));
    let blocked = program.wait_for("event=listener_blocked");
    assert!(blocked.contains(&format!("{address} is in use by another program")), "{blocked}");
    let ours = TcpStream::connect(address).unwrap();
    assert!(other.accept().is_ok(), "who came while the other had it is its client");
    drop((ours, other));
    let opened = program.wait_for("event=listener_opened");
    assert!(opened.contains(&address.to_string()), "{opened}");
    program.signal(Signal::HUP);
    program.wait_for("event=reloaded");
    assert_eq!(program.count("event=listening"), 0, "that it listens was said when it opened");
    let mut client = program.connect("door");
    client.write_all(HEADER).unwrap();
    expect(&client, GREETING.as_bytes());
    drop(client);
    let _nobody = Nobody::instead_of(backend);
    let closed = program.wait_for("event=listener_closed");
    let named = ["listener=door", &address.to_string(), "none of its backends can be reached"];
    assert!(named.iter().all(|text| closed.contains(text)), "{closed}");
}

#[test]
fn a_reload_may_open_what_is_shut_and_shut_what_is_open() {
    let nobody = Nobody::new();
    let mut house = house(Protocol::Smtp, nobody.address(), "");
    let address = house.address();
    assert!(is_refused(address));
    // The same once more changes nothing.
    house.server.take(&written(Protocol::Smtp, nobody.address(), CLOSES)).unwrap();
    assert!(is_refused(address));
    house.server.take(&written(Protocol::Smtp, nobody.address(), "")).unwrap();
    let mut client = connect_when_open(address);
    client.write_all(HEADER).unwrap();
    assert_eq!(read_to_end(&client), REFUSAL);
    house.server.take(&written(Protocol::Smtp, nobody.address(), CLOSES)).unwrap();
    assert!(eventually(|| is_refused(address)));
    // Another backend, which is there.
    let backend = Fake::start(smtp_behind_v1(GREETING));
    house.server.take(&written(Protocol::Smtp, backend.address, CLOSES)).unwrap();
    serves(&house);
    assert_eq!(house.address(), address);
}

#[test]
fn a_reload_does_not_say_again_that_an_address_is_closed() {
    let nobody = Nobody::new();
    let backend_at = nobody.address();
    let config = format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n{CLOSES}\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mail]\nhandoff = \"proxy-v1\"\naddress = \"{backend_at}\"\n\
         [admin]\nsocket = \"ADMIN\"\n"
    );
    let mut program = Program::start(&config);
    let reload = |program: &mut Program, config: &str| {
        program.write_config(config);
        program.command(&["reload"]).ok();
        program.wait_for("event=reloaded");
        program.count("event=listener_closed")
    };
    assert_eq!(reload(&mut program, &config), 1);
    assert_eq!(reload(&mut program, &config.replace(CLOSES, "")), 1);
    // One that a reload shuts says so, maybe a moment later.
    if reload(&mut program, &config) == 1 {
        program.wait_for("event=listener_closed");
    }
    assert_eq!(reload(&mut program, &config), 2);
}

#[test]
fn a_listener_that_a_reload_removes_while_it_is_shut_is_free_for_others() {
    let nobody = Nobody::new();
    let mut house = house(Protocol::Smtp, nobody.address(), "");
    let address = house.address();
    assert_eq!(TcpListener::bind(address).map(drop).map_err(|error| error.kind()), Ok(()));
    let mut config = written(Protocol::Smtp, nobody.address(), CLOSES);
    let mut listener = (*config.listeners[0]).clone();
    listener.id = "other".into();
    config.listeners = vec![listener.into()];
    house.server.take(&config).unwrap();
    assert_eq!(house.server.address("door"), None);
    assert_ne!(house.server.address("other"), Some(address));
    let plain = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Without the option that overlooks sockets which do not listen: nothing of ours is left there.
    assert!(eventually(|| plain().bind(&address.into()).is_ok()));
}

#[test]
fn a_drain_while_everything_is_shut_ends_at_once_and_leaves_nothing() {
    let nobody = Nobody::new();
    let house = house(Protocol::Smtp, nobody.address(), "health-bind = \"127.0.0.1:0\"\n");
    assert_eq!(house.server.health(), []);
    let addresses = [house.address(), house.server.view().layout().health[0].bound.tcp.unwrap()];
    assert!(addresses.iter().all(|address| is_refused(*address)));
    let (drained, records) = house.drain();
    assert_eq!((drained, records.len()), (Drained { open: 0, cut: 0 }, 0));
    for address in addresses {
        // Without the option that overlooks sockets which do not listen.
        let plain = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        plain.bind(&address.into()).unwrap();
    }
}

#[test]
fn with_a_backend_for_tls_one_of_the_two_keeps_it_open_and_both_make_it_ready() {
    let (plain, secure) = (HeaderMailServer::start(), HeaderMailServer::start());
    let more = format!(
        "backend-when-secure = \"auth\"\n[backend.auth]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        secure.address
    );
    let house = house(Protocol::Submission, plain.address, &more);
    let (view, address) = (house.server.view(), house.address());
    assert_eq!(view.is_ready("door"), Some(true));
    for (down, up) in [(0, 1), (1, 0)] {
        note(&house, down, &unreachable());
        assert_eq!(view.is_ready("door"), Some(false));
        assert_eq!(view.unready(), [std::sync::Arc::<str>::from("door")]);
        assert!(!is_refused(address));
        note(&house, up, &unreachable());
        assert!(eventually(|| is_refused(address)));
        note(&house, down, &Readiness::Proved);
        drop(connect_when_open(address));
        assert_eq!(view.is_ready("door"), Some(false));
        note(&house, up, &Readiness::Proved);
        assert_eq!(view.is_ready("door"), Some(true));
    }
}

#[test]
fn where_tls_is_required_only_the_backend_for_it_counts() {
    let (plain, secure) = (HeaderMailServer::start(), HeaderMailServer::start());
    let more = format!(
        "require-secure = true\nbackend-when-secure = \"auth\"\n\
         [backend.auth]\nhandoff = \"proxy-v1\"\naddress = \"{}\"\n",
        secure.address
    );
    let house = house(Protocol::Submission, plain.address, &more);
    let view = house.server.view();
    note(&house, 0, &unreachable());
    assert_eq!(view.is_ready("door"), Some(true));
    note(&house, 1, &unreachable());
    assert!(eventually(|| is_refused(house.address())));
    assert_eq!(view.is_ready("door"), Some(false));
}

#[test]
fn without_the_setting_clients_hear_the_refusal() {
    let nobody = Nobody::new();
    let house = House::written(Protocol::Smtp, nobody.address(), "");
    for _ in 0..2 {
        let mut client = house.connect();
        client.write_all(HEADER).unwrap();
        assert_eq!(read_to_end(&client), REFUSAL);
        drop(client);
        house.record().assert_outcome(Outcome::BackendUnready);
    }
}
